//! Replaces a tree: the next generation is staged next to it and exchanged with it in one step.

use super::directory::{identity, make_directory, make_parents, remove};
use super::error::PublishError;
use super::existing::{self, Existing};
use super::generations;
use super::layout::Layout;
use super::request::{Caller, PreparedRequest, PublishMode, Request};
use super::root::{self, ChosenRoot, GeneratedRoot};
use super::tree::{LockWait, LockedTree};
use super::{exchange, recover, stage};
use crate::digest::ObjectId;
use crate::storage::Storage;
use crate::store::records::{DirectoryId, Generation, Staging, TreeRecord};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The tree already shows the manifest.
    Unchanged,
    /// It was unpublished, and no command has published it since.
    Skipped,
    Published(Summary),
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    pub files: u64,
    /// Of these, files that could not be hard links (another file system, too many links) and take
    /// additional space.
    pub copied: u64,
    /// Of these, files that only earlier generations have.
    pub retained: u64,
    pub root: GeneratedRoot,
}

/// Makes `request.tree` show `request.manifest`.
pub fn publish(storage: &Storage, request: Request<'_>) -> Result<Outcome, PublishError> {
    publish_at(storage, request, crate::time::now())
}

/// The same at a given time, in seconds since the epoch.
pub fn publish_at(
    storage: &Storage,
    request: Request<'_>,
    now: i64,
) -> Result<Outcome, PublishError> {
    let wait = match request.caller {
        Caller::Command => LockWait::Configured,
        Caller::Sync => LockWait::Extended,
    };
    let tree = LockedTree::lock_at(storage, request.tree, wait, now)?;
    let record = recover::recover(&tree)?;
    let prepared = PreparedRequest::new(request, record.as_ref())?;
    if request.caller == Caller::Sync && record.as_ref().is_some_and(|record| !record.wanted) {
        return Ok(Outcome::Skipped);
    }
    let found = existing::inspect(&tree, &prepared, record)?;
    if let Existing::Published(record) = &found.existing
        && request.mode == PublishMode::IfChanged
        && prepared.is_shown_by(record)
    {
        return Ok(Outcome::Unchanged);
    }
    let record = found.existing.into_record();
    let newest =
        generations::newest_root_date(&tree, &prepared, record.as_ref(), found.extra_files)?;
    let root = root::choose_root(&tree, &prepared, record.as_ref(), newest)?;
    let earlier = generations::kept_generations(record.as_ref(), root.manifest, request.keep, now);
    let layout = storage.read(|reader| Layout::new(reader, root.manifest, &earlier))?;
    let next = next_record(&tree, &prepared, record.as_ref(), &root, newest, earlier);
    let copied = replace(&tree, record.as_ref(), next, &layout)?;
    Ok(Outcome::Published(Summary {
        files: layout.len() as u64,
        copied,
        retained: layout.retained(),
        root: root.generated,
    }))
}

/// The next record of the tree; its directory is set after that is created.
fn next_record(
    tree: &LockedTree<'_>,
    prepared: &PreparedRequest<'_>,
    before: Option<&TreeRecord>,
    root: &ChosenRoot,
    newest: Option<i64>,
    earlier: Vec<Generation>,
) -> TreeRecord {
    let request = &prepared.request;
    let (source, root_key) = generated_root_record(root, before, request.manifest);
    TreeRecord {
        repository: request.repository.clone(),
        snapshot: request.snapshot.cloned(),
        newest_root_date: newest.max(root.date),
        source,
        root_key,
        manifest: Some(root.manifest),
        directory: None,
        wanted: true,
        published_at: tree.now,
        earlier,
        staging: None,
        leftover: None,
    }
}

/// The manifest that a generated root was made for, and the key that signed it.
fn generated_root_record(
    root: &ChosenRoot,
    before: Option<&TreeRecord>,
    manifest: ObjectId,
) -> (Option<ObjectId>, Option<String>) {
    match (&root.generated, before) {
        // A tree that is published again verbatim may have a generated root.
        (GeneratedRoot::None, Some(record)) if record.manifest == Some(root.manifest) => {
            (record.source, record.root_key.clone())
        }
        (GeneratedRoot::None, _) => (None, None),
        (GeneratedRoot::Unsigned, _) => (Some(manifest), None),
        (GeneratedRoot::SignedBy(key), _) => (Some(manifest), Some(key.clone())),
    }
}

/// Publishes the tree that `next` describes; `before` is the current record. Returns the number of
/// copied files.
fn replace(
    tree: &LockedTree<'_>,
    before: Option<&TreeRecord>,
    next: TreeRecord,
    layout: &Layout,
) -> Result<u64, PublishError> {
    make_parents(tree.path)?;
    let (copied, directory) = stage_and_exchange(tree, before, &next, layout)
        .inspect_err(|_| recover::clean_up_failed(tree, before))?;
    tree.put_record(&TreeRecord {
        directory: Some(directory),
        leftover: identity(&tree.staging)?,
        ..next
    })?;
    // The previous tree, now at the staging path. If the run is killed from here on, the next
    // publishing or cleanup removes it.
    remove(&tree.staging)?;
    Ok(copied)
}

/// Returns the number of copied files, and the directory of the tree.
fn stage_and_exchange(
    tree: &LockedTree<'_>,
    before: Option<&TreeRecord>,
    next: &TreeRecord,
    layout: &Layout,
) -> Result<(u64, DirectoryId), PublishError> {
    let staging = &tree.staging;
    if before.is_none() {
        // Recorded first, so that cleanup checks this path if the run is killed before it has
        // recorded the directory.
        tree.put_record(&pending(None, next, None))?;
    }
    make_directory(staging)?;
    let directory = identity(staging)?.ok_or_else(|| PublishError::NoFileName {
        path: staging.clone(),
    })?;
    tree.put_record(&pending(before, next, Some(directory)))?;
    let copied = stage::fill(tree, layout)?;
    tree.check_lock()?;
    exchange::exchange(staging, tree.path)?;
    Ok((copied, directory))
}

/// The record while `next` is being staged in `directory`; `before` is the record before that.
pub fn pending(
    before: Option<&TreeRecord>,
    next: &TreeRecord,
    directory: Option<DirectoryId>,
) -> TreeRecord {
    let nothing = || TreeRecord {
        source: None,
        root_key: None,
        manifest: None,
        earlier: Vec::new(),
        ..next.clone()
    };
    let staging = directory.zip(next.manifest);
    TreeRecord {
        repository: next.repository.clone(),
        // Clients may see that root from the exchange on, and a killed run cannot record it any
        // more.
        newest_root_date: next.newest_root_date,
        staging: staging.map(|(directory, manifest)| Staging {
            manifest,
            source: next.source,
            root_key: next.root_key.clone(),
            snapshot: next.snapshot.clone(),
            directory,
        }),
        ..before.cloned().unwrap_or_else(nothing)
    }
}
