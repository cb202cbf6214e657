//! Finishes what a killed run began, and leaves nothing of a run that failed.

use std::path::Path;

use fs_err as fs;

use super::directory::{identity, is_empty, remove};
use super::error::PublishError;
use super::foreign_files::holds_only_pool_files;
use super::tree::{LockWait, LockedTree};
use super::{exchange, generations};
use crate::storage::Storage;
use crate::store::records::{DirectoryId, Generation, Staging, TreeRecord};

/// Ends what a killed run began at a tree: its staging directory is removed then.
pub fn recover_tree(storage: &Storage, tree: &Path) -> Result<(), PublishError> {
    recover(&LockedTree::lock(storage, tree, LockWait::Configured)?).map(drop)
}

/// How far a run came that recorded a staging directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum InterruptedRun {
    /// None is recorded.
    None,
    /// The tree is still the one of before.
    Staged,
    /// The staged directory is the tree now.
    Exchanged,
}

/// Finishes or clears away what a killed run began, and returns what is recorded of the tree then.
pub fn recover(tree: &LockedTree<'_>) -> Result<Option<TreeRecord>, PublishError> {
    let Some(mut record) = tree.record()? else {
        if identity(&tree.staging)?.is_some() {
            remove_unrecorded(tree)?;
        }
        return Ok(None);
    };
    let pending = record.staging.clone();
    let interrupted = match &pending {
        None => InterruptedRun::None,
        Some(pending) => match identity(tree.path)? {
            Some(found) if found.is_same(pending.directory) => {
                record_exchange(tree, &mut record, pending)?;
                InterruptedRun::Exchanged
            }
            _ => InterruptedRun::Staged,
        },
    };
    exchange::recover_from_renames(&tree.staging, tree.path)?;
    if let Some(found) = identity(&tree.staging)? {
        remove_staging(tree, &mut record, pending.as_ref(), interrupted, found)?;
    } else if pending.is_some() && !may_be_unmounted(tree, &record)? {
        record.staging = None;
    }
    put_recovered(tree, record, interrupted)
}

/// The run was killed between the exchange and its record.
fn record_exchange(
    tree: &LockedTree<'_>,
    record: &mut TreeRecord,
    pending: &Staging,
) -> Result<(), PublishError> {
    // Also where it had been unpublished before.
    record.wanted = true;
    record.staging = None;
    if let Some(replaced) = record.manifest.replace(pending.manifest)
        && replaced != pending.manifest
    {
        record.earlier.insert(
            0,
            Generation {
                manifest: replaced,
                replaced_at: tree.now,
            },
        );
    }
    record.directory = Some(pending.directory);
    // Its remains are known to be ours also when this run is killed while it removes them.
    record.leftover = identity(&tree.staging)?;
    record.source.clone_from(&pending.source);
    record.root_key.clone_from(&pending.root_key);
    Ok(tree.put_record(record)?)
}

/// Removes the directory `found` that has the staging name: half of a new tree, or what the tree
/// was before it was exchanged.
fn remove_staging(
    tree: &LockedTree<'_>,
    record: &mut TreeRecord,
    pending: Option<&Staging>,
    interrupted: InterruptedRun,
    found: DirectoryId,
) -> Result<(), PublishError> {
    let is_exchanged = interrupted == InterruptedRun::Exchanged;
    let is_staged = pending.is_some_and(|pending| pending.directory.is_same(found));
    let is_leftover = record
        .leftover
        .is_some_and(|leftover| leftover.is_same(found));
    let was_shown = record.manifest.is_some();
    if is_leftover && !is_exchanged && was_shown && was_being_unpublished(tree, record)? {
        record.forget_content();
        tree.put_record(record)?;
    }
    tree.check_lock()?;
    if is_staged && !is_exchanged && !was_shown {
        // After a kill behind the removal it would look like one whose disk is away.
        record.staging = None;
        record.leftover = Some(found);
        tree.put_record(record)?;
    }
    if is_exchanged || is_staged || is_leftover {
        remove(&tree.staging)?;
    } else {
        remove_unrecorded(tree)?;
    }
    record.staging = None;
    Ok(())
}

/// Writes down what is left of a record once its staging directory is removed.
fn put_recovered(
    tree: &LockedTree<'_>,
    mut record: TreeRecord,
    interrupted: InterruptedRun,
) -> Result<Option<TreeRecord>, PublishError> {
    let was_being_removed = record.is_being_removed() && identity(tree.path)?.is_none();
    if was_being_removed {
        record.leftover = None;
    }
    // Its first publishing came to nothing.
    if record.manifest.is_none() && record.staging.is_none() && record.wanted {
        tree.remove_record()?;
        return Ok(None);
    }
    let is_corrected = generations::correct_times(&mut record, tree.now);
    let was_cleared = interrupted == InterruptedRun::Staged && record.staging.is_none();
    if is_corrected || was_being_removed || was_cleared {
        tree.put_record(&record)?;
    }
    Ok(Some(record))
}

/// Whether a run was killed that had moved the tree out of sight to remove it: what is left has the
/// identity of the tree itself.
fn was_being_unpublished(tree: &LockedTree<'_>, record: &TreeRecord) -> Result<bool, PublishError> {
    let is_itself = match (record.leftover, record.directory) {
        (Some(leftover), Some(directory)) => leftover.is_same(directory),
        _ => true,
    };
    Ok(is_itself && identity(tree.path)?.is_none())
}

/// Whether the disk that a first publishing was killed on may be away: then neither directory is
/// there.
fn may_be_unmounted(tree: &LockedTree<'_>, record: &TreeRecord) -> Result<bool, PublishError> {
    Ok(record.manifest.is_none() && identity(tree.path)?.is_none())
}

/// A staging directory that no record names: made and killed before it was recorded, or by a newer
/// state of this store.
fn remove_unrecorded(tree: &LockedTree<'_>) -> Result<(), PublishError> {
    let staging = &tree.staging;
    if is_empty(staging)? {
        return Ok(fs::remove_dir(staging)?);
    }
    if holds_only_pool_files(tree.storage, staging)? {
        return Ok(remove(staging)?);
    }
    Err(PublishError::Occupied {
        path: staging.clone(),
    })
}

/// Leaves nothing of a publishing that failed: half a tree of copies would keep a full disk full,
/// and a record of something that was never shown would keep objects. What cannot be cleared away
/// the next run does; why it failed is what counts.
pub fn clean_up_failed(tree: &LockedTree<'_>, before: Option<&TreeRecord>) {
    let clear = || {
        // Where the lock is lost, what has that name may be another run's.
        tree.check_lock()?;
        remove(&tree.staging)?;
        match before {
            Some(record) => tree.put_record(record)?,
            None => tree.remove_record()?,
        }
        Ok::<_, PublishError>(())
    };
    if let Err(error) = clear() {
        log::warn!("{error}");
    }
}
