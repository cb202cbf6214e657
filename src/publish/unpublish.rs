//! Removes a published tree: moves it away in one step, and removes only files that chantal
//! published.

use std::io;
use std::path::{Path, PathBuf};

use fs_err as fs;

use super::directory::{identity, is_empty, remove};
use super::error::{PublishError, RequestError};
use super::existing::{PathState, path_state};
use super::foreign_files::reject_foreign_files;
use super::layout::Layout;
use super::recover::recover;
use super::tree::{LockWait, LockedTree};
use crate::kill_points;
use crate::storage::Storage;
use crate::store::records::TreeRecord;

/// What happens to the record of a tree that was removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordFate {
    /// It is kept: syncs skip the path, and the newest root date that clients may know is not lost.
    Keep,
    Remove,
}

/// What to do with a tree that is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MissingTree {
    /// Fail: its disk may be mounted again later.
    Reject,
    /// Treat it as unpublished: its disk is lost.
    Forget,
}

/// How a tree was unpublished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removal {
    Removed,
    /// It was missing: files on its disk are kept.
    Forgotten,
}

/// A tree that was unpublished.
#[derive(Clone, Debug)]
pub struct Unpublished {
    pub path: PathBuf,
    /// The record before it was removed.
    pub record: TreeRecord,
    pub removal: Removal,
}

/// Removes the tree of `record`.
pub fn unpublish_tree(
    storage: &Storage,
    path: &Path,
    record: &TreeRecord,
    fate: RecordFate,
    missing: MissingTree,
) -> Result<Unpublished, RequestError> {
    let removal = unpublish(storage, path, fate, missing)
        .map_err(|source| RequestError::failed(&record.repository, source))?;
    Ok(Unpublished {
        path: path.to_owned(),
        record: record.clone(),
        removal,
    })
}

/// Removes a tree. If the run is killed, the tree is either complete or moved away, and the next
/// run completes the removal.
pub fn unpublish(
    storage: &Storage,
    path: &Path,
    fate: RecordFate,
    missing: MissingTree,
) -> Result<Removal, PublishError> {
    let tree = LockedTree::lock(storage, path, LockWait::Configured)?;
    let mut removal = Removal::Removed;
    let mut record = tree.record()?.ok_or_else(|| PublishError::NotPublished {
        path: path.to_owned(),
    })?;
    if is_removed_or_staged(&tree, &record)? {
        // Recorded before the staging directory is removed. Otherwise, after a kill, the tree would
        // seem to be on a disk that is not mounted.
        record.leftover = identity(&tree.staging)?;
        record.staging = None;
        put_unpublished(&tree, &mut record)?;
    }
    if let Some(mut record) = recover(&tree)?
        && record.is_on_disk()
    {
        match path_state(path, Some(&record))? {
            // The disk of the tree may not be mounted.
            PathState::Missing if missing == MissingTree::Reject => {
                return Err(PublishError::TreeMissing {
                    path: path.to_owned(),
                });
            }
            PathState::Missing => {
                put_unpublished(&tree, &mut record)?;
                removal = Removal::Forgotten;
            }
            _ => remove_tree(&tree, &mut record)?,
        }
    }
    match fate {
        RecordFate::Keep => {
            if let Some(mut record) = tree.record()? {
                record.leftover = None;
                tree.put_record(&record)?;
            }
        }
        RecordFate::Remove => tree.remove_record()?,
    }
    Ok(removal)
}

fn remove_tree(tree: &LockedTree<'_>, record: &mut TreeRecord) -> Result<(), PublishError> {
    if is_empty(tree.path)? {
        put_unpublished(tree, record)?;
        tree.check_lock()?;
        return Ok(fs::remove_dir(tree.path)?);
    }
    let known = tree
        .storage
        .read(|reader| Layout::of_record(reader, record))?;
    reject_foreign_files(tree.storage, tree.path, &known)?;
    // Recorded first, so that the next run recognises the directory at the staging path.
    record.leftover = identity(tree.path)?;
    tree.put_record(record)?;
    tree.check_lock()?;
    kill_points::reach("move a tree");
    fs::rename(tree.path, &tree.staging)?;
    put_unpublished(tree, record)?;
    Ok(remove(&tree.staging)?)
}

/// Records the tree as unpublished.
fn put_unpublished(tree: &LockedTree<'_>, record: &mut TreeRecord) -> Result<(), PublishError> {
    record.forget_content();
    Ok(tree.put_record(record)?)
}

/// Whether a tree does not exist because an interrupted run has removed it, or has not published it
/// yet.
fn is_removed_or_staged(tree: &LockedTree<'_>, record: &TreeRecord) -> io::Result<bool> {
    if identity(tree.path)?.is_some() {
        return Ok(false);
    }
    let Some(found) = identity(&tree.staging)? else {
        return Ok(record.manifest.is_none() && record.staging.is_none());
    };
    let is_leftover = record
        .leftover
        .is_some_and(|leftover| leftover.is_same(found));
    // The first publishing was interrupted before the exchange.
    let is_staged = record.manifest.is_none()
        && record
            .staging
            .as_ref()
            .is_some_and(|staging| staging.directory.is_same(found));
    Ok(is_leftover || is_staged)
}
