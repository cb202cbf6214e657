//! Replaces a tree: the next generation is staged beside it and takes its place in one step.

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
    /// The tree showed it already.
    Unchanged,
    /// It was unpublished, and no command has asked for it since.
    Skipped,
    Published(Summary),
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    pub files: u64,
    /// Of these, files that could not be links (another file system, too many links) and take
    /// space of their own.
    pub copied: u64,
    /// Of these, files of earlier generations.
    pub retained: u64,
    pub root: GeneratedRoot,
}

/// Makes `request.tree` show `request.manifest`.
pub fn publish(storage: &Storage, request: Request<'_>) -> Result<Outcome, PublishError> {
    publish_at(storage, request, crate::time::now())
}

/// The same at a time in seconds since the epoch.
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

/// What the store is to know of the tree; which directory it is shows when it is made.
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

/// The manifest that a root of ours was made for, and the key that signed it.
fn generated_root_record(
    root: &ChosenRoot,
    before: Option<&TreeRecord>,
    manifest: ObjectId,
) -> (Option<ObjectId>, Option<String>) {
    match (&root.generated, before) {
        // A tree that is shown verbatim once more may have a root of ours.
        (GeneratedRoot::None, Some(record)) if record.manifest == Some(root.manifest) => {
            (record.source, record.root_key.clone())
        }
        (GeneratedRoot::None, _) => (None, None),
        (GeneratedRoot::Unsigned, _) => (Some(manifest), None),
        (GeneratedRoot::SignedBy(key), _) => (Some(manifest), Some(key.clone())),
    }
}

/// Puts the tree that `next` describes in its place; `before` is what was recorded of that. Returns
/// how many files were copied.
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
    // What stood there before, now under the staging name. A kill from here on leaves only clutter,
    // which the next publishing or cleanup removes.
    remove(&tree.staging)?;
    Ok(copied)
}

/// Returns how many files were copied, and which directory the tree is.
fn stage_and_exchange(
    tree: &LockedTree<'_>,
    before: Option<&TreeRecord>,
    next: &TreeRecord,
    layout: &Layout,
) -> Result<(u64, DirectoryId), PublishError> {
    let staging = &tree.staging;
    if before.is_none() {
        // A run that is killed between making the directory and recording it leaves a place that
        // cleanup knows to look at.
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

/// What is recorded while `next` is being staged in `directory`, in the place of what was there
/// before.
pub fn pending(
    before: Option<&TreeRecord>,
    next: &TreeRecord,
    directory: Option<DirectoryId>,
) -> TreeRecord {
    let nothing = || TreeRecord {
        snapshot: None,
        source: None,
        root_key: None,
        manifest: None,
        earlier: Vec::new(),
        ..next.clone()
    };
    let staging = directory.zip(next.manifest);
    TreeRecord {
        repository: next.repository.clone(),
        // From the exchange on clients may see it, and a killed run does not come back here.
        newest_root_date: next.newest_root_date,
        staging: staging.map(|(directory, manifest)| Staging {
            manifest,
            source: next.source,
            root_key: next.root_key.clone(),
            directory,
        }),
        ..before.cloned().unwrap_or_else(nothing)
    }
}
