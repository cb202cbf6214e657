//! Removes a published tree: out of sight in one step, and only what is ours.

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
use crate::storage::Storage;
use crate::store::records::TreeRecord;

/// What is remembered of a place once its tree is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordFate {
    /// Syncs leave it alone, and clients may know the date of the root that it had.
    Keep,
    Remove,
}

/// Which trees may be forgotten without being removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MissingTree {
    /// None: the disk may be back tomorrow.
    Reject,
    /// Those that are not there: their disks are lost for good.
    Forget,
}

/// What was done with a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removal {
    Removed,
    /// It was not there: what may be on its disk stays.
    Forgotten,
}

/// A tree that was unpublished.
#[derive(Clone, Debug)]
pub struct Unpublished {
    pub path: PathBuf,
    /// What it showed.
    pub record: TreeRecord,
    pub removal: Removal,
}

/// Removes the tree that `record` is of.
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

/// Removes a tree. Killed anywhere, the tree is either whole or out of sight, and the next run ends
/// the work.
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
        // Its rest goes next, and is all that tells it from a tree whose disk is away.
        record.leftover = identity(&tree.staging)?;
        record.staging = None;
        put_unpublished(&tree, &mut record)?;
    }
    if let Some(mut record) = recover(&tree)?
        && record.is_on_disk()
    {
        match path_state(path, Some(&record))? {
            // A disk that is not mounted looks like this, and will be back with the tree.
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
    // Recorded first: what is found under the staging name later is then known to be ours.
    record.leftover = identity(tree.path)?;
    tree.put_record(record)?;
    tree.check_lock()?;
    fs::rename(tree.path, &tree.staging)?;
    put_unpublished(tree, record)?;
    Ok(remove(&tree.staging)?)
}

/// From here on nothing is expected there.
fn put_unpublished(tree: &LockedTree<'_>, record: &mut TreeRecord) -> Result<(), PublishError> {
    record.forget_content();
    Ok(tree.put_record(record)?)
}

/// Whether a tree is not there because a killed run removed it, or had not published it yet.
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
    // Its first publishing got no further.
    let is_staged = record.manifest.is_none()
        && record
            .staging
            .as_ref()
            .is_some_and(|staging| staging.directory.is_same(found));
    Ok(is_leftover || is_staged)
}
