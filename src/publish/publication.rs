//! Publishes a manifest at a path: decides whether the tree is updated in place or replaced.

use std::collections::BTreeSet;
use std::time::Duration;

use super::changes::TreeChanges;
use super::directory::identity;
use super::error::PublishError;
use super::existing::{self, Existing};
use super::foreign_files::{ExtraFiles, reject_foreign_files_below};
use super::layout::Layout;
use super::replace::replace;
use super::request::{Caller, PreparedRequest, PublishMode, Request};
use super::root::{self, ChosenRoot, GeneratedRoot};
use super::stage::{Created, FileSystemFeature, PreviousFiles};
use super::tree::{LockWait, LockedTree};
use super::update::{Updated, update};
use super::{generations, modified, recover};
use crate::digest::ObjectId;
use crate::storage::Storage;
use crate::store::records::{Generation, TreeRecord};

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
    /// Of the generation that was published.
    pub files: u64,
    /// Files that could not be hard links (another file system, too many links) and take additional
    /// space.
    pub copied: u64,
    /// Number of earlier generations whose files are retained.
    pub earlier_generations: u64,
    pub root: GeneratedRoot,
    /// What the file system of the tree lacks.
    pub missing_features: BTreeSet<FileSystemFeature>,
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
    let prepared = PreparedRequest::new(storage, request, record.as_ref())?;
    if request.caller == Caller::Sync && record.as_ref().is_some_and(|record| !record.wanted) {
        return Ok(Outcome::Skipped);
    }
    let found = existing::inspect(&tree, &prepared, record)?;
    if let Existing::Published(record) = &found.existing
        && request.mode == PublishMode::IfChanged
        && prepared.is_shown_by(record)
    {
        remove_expired(&tree, record, request.keep)?;
        return Ok(Outcome::Unchanged);
    }
    let (record, is_published) = match found.existing {
        Existing::Published(record) => (Some(record), true),
        Existing::Nothing(record) | Existing::Unrecorded(record) => (record, false),
    };
    let newest =
        generations::newest_root_date(&tree, &prepared, record.as_ref(), found.extra_files)?;
    let root = root::choose_root(&tree, &prepared, record.as_ref(), newest)?;
    let earlier = generations::kept_generations(record.as_ref(), root.manifest, request.keep, now);
    let next = next_record(&tree, &prepared, record.as_ref(), &root, newest, earlier);
    let change = Change {
        manifest: root.manifest,
        mode: request.mode,
        next,
    };
    let summary = match &record {
        Some(record) if is_published => change.apply(&tree, record)?,
        record => change.replace(&tree, record.as_ref(), PreviousFiles::Unrecorded)?,
    };
    Ok(Outcome::Published(Summary {
        root: root.generated,
        ..summary
    }))
}

/// Removes the generations of a tree that outlived their retention, and what interrupted runs have
/// left in it.
fn remove_expired(
    tree: &LockedTree<'_>,
    record: &TreeRecord,
    keep: Duration,
) -> Result<(), PublishError> {
    let Some(manifest) = record.manifest else {
        return Ok(());
    };
    let earlier = generations::kept_generations(Some(record), manifest, keep, tree.now);
    if earlier == record.earlier && record.unfinished.is_empty() {
        return Ok(());
    }
    let next = TreeRecord {
        earlier,
        unfinished: Vec::new(),
        ..record.clone()
    };
    let mode = PublishMode::IfChanged;
    let change = Change {
        manifest,
        mode,
        next,
    };
    change.apply(tree, record).map(drop)
}

/// A change of a tree to what `next` describes.
struct Change {
    manifest: ObjectId,
    mode: PublishMode,
    next: TreeRecord,
}

impl Change {
    /// Changes a tree that is what `record` describes: in place if that is possible.
    fn apply(&self, tree: &LockedTree<'_>, record: &TreeRecord) -> Result<Summary, PublishError> {
        let whole = || self.replace(tree, Some(record), PreviousFiles::recorded(record));
        if self.mode == PublishMode::RecreateMissing {
            return whole();
        }
        let earlier = &self.next.earlier;
        let changes = tree
            .storage
            .read(|reader| TreeChanges::plan(reader, record, self.manifest, earlier))?;
        let Some(changes) = changes else {
            return whole();
        };
        match is_as_recorded(tree, record, &changes, self.mode) {
            Ok(true) => {}
            // What is missing may be a generated root, which is not published any more.
            Ok(false) | Err(PublishError::ObjectMissing { .. }) => return whole(),
            Err(error) => return Err(error),
        }
        match update(tree, record, &self.next, &changes)? {
            Updated::Obstructed => whole(),
            Updated::Done(created) => self.summary(tree, created),
        }
    }

    /// Exchanges the whole tree, after a check for files that would be lost.
    fn replace(
        &self,
        tree: &LockedTree<'_>,
        before: Option<&TreeRecord>,
        previous: PreviousFiles<'_>,
    ) -> Result<Summary, PublishError> {
        if let (Some(record), PreviousFiles::Recorded { .. }) = (before, &previous) {
            existing::find_extra_files(tree.storage, tree.path, record)?;
        }
        let earlier = &self.next.earlier;
        let layout = tree
            .storage
            .read(|reader| Layout::new(reader, self.manifest, earlier))?;
        let created = replace(tree, before, self.next.clone(), &layout, previous)?;
        self.summary(tree, created)
    }

    fn summary(&self, tree: &LockedTree<'_>, created: Created) -> Result<Summary, PublishError> {
        let manifest = tree.storage.read(|reader| reader.manifest(self.manifest))?;
        Ok(Summary {
            files: manifest.totals().entries,
            copied: created.copied,
            earlier_generations: self.next.earlier.len() as u64,
            root: GeneratedRoot::None,
            missing_features: created.missing_features,
        })
    }
}

/// Whether the directories that change have the recorded files; for a publication on request, all
/// of them. A foreign file where files are exchanged is an error.
fn is_as_recorded(
    tree: &LockedTree<'_>,
    record: &TreeRecord,
    changes: &TreeChanges,
    mode: PublishMode,
) -> Result<bool, PublishError> {
    let storage = tree.storage;
    if let Some((directory, _)) = &changes.exchanged {
        let known = storage.read(|reader| Layout::of_record_below(reader, directory, record))?;
        let exchanged = directory.below(tree.path);
        if identity(&exchanged)?.is_none() {
            return Ok(false);
        }
        let extra = reject_foreign_files_below(storage, tree.path, &exchanged, &known)?;
        if extra != ExtraFiles::None {
            return Ok(false);
        }
    }
    if mode == PublishMode::Always {
        return modified::is_as_recorded(tree, record);
    }
    let mut directories = BTreeSet::new();
    let added = changes.added.iter().map(|(path, _)| path);
    for path in added.chain(changes.removed.keys()) {
        modified::add_parents(path, &mut directories);
    }
    modified::are_as_recorded(tree, record, &directories)
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
        snapshot: request.snapshot.cloned(),
        newest_root_date: newest.max(root.date),
        source,
        root_key,
        manifest: Some(root.manifest),
        published_at: tree.now,
        earlier,
        ..TreeRecord::new(request.repository.clone())
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
