//! Completes interrupted runs, and cleans up after failed ones.

use std::path::Path;

use fs_err as fs;

use super::directory::{identity, is_empty, remove, restore_time};
use super::error::PublishError;
use super::foreign_files::holds_only_pool_files;
use super::tree::{LockWait, LockedTree};
use super::{exchange, generations};
use crate::digest::ObjectId;
use crate::names::RepoId;
use crate::storage::Storage;
use crate::store::records::{DirectoryId, Generation, Staging, TreeRecord};
use crate::store::{Reader, StoreError};

/// Completes an interrupted run of a tree, and removes its staging directory.
pub fn recover_tree(storage: &Storage, tree: &Path) -> Result<(), PublishError> {
    recover(&LockedTree::lock(storage, tree, LockWait::Configured)?).map(drop)
}

/// Completes or reverts the interrupted runs of a repository's trees. Needed before trees are
/// selected by what they show: until then, the record of a tree has what it showed before.
pub fn complete_interrupted(storage: &Storage, repository: &RepoId) -> Result<(), StoreError> {
    for (path, tree) in storage.read(Reader::trees)? {
        if tree.repository == *repository {
            complete(storage, &path, &tree);
        }
    }
    Ok(())
}

/// The same for all trees whose records can be read. Until then, their files are not known.
pub fn complete_all_interrupted(storage: &Storage) -> Result<(), StoreError> {
    for (path, tree) in storage.read(Reader::intact_trees)? {
        complete(storage, &path, &tree);
    }
    Ok(())
}

fn complete(storage: &Storage, path: &Path, tree: &TreeRecord) {
    if tree.staging.is_some()
        && let Err(error) = recover_tree(storage, path)
    {
        // Changing the tree afterwards fails with the same error.
        log::debug!("{}: {error}", path.display());
    }
}

/// The progress of an interrupted run, as far as it was recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum InterruptedRun {
    /// No staging directory is recorded.
    None,
    /// The tree was not replaced yet.
    Staged,
    /// The staged directory is the tree.
    Exchanged,
}

/// Completes or reverts an interrupted run, and returns the record of the tree after that.
pub fn recover(tree: &LockedTree<'_>) -> Result<Option<TreeRecord>, PublishError> {
    let Some(mut record) = tree.record()? else {
        if identity(&tree.staging)?.is_some() {
            remove_unrecorded(tree)?;
        }
        return Ok(None);
    };
    let pending = record.staging.clone();
    let replaced = pending.as_ref().and_then(|pending| pending.part.as_ref());
    let replaced = replaced.map_or(tree.path.to_owned(), |part| part.below(tree.path));
    let interrupted = match &pending {
        None => InterruptedRun::None,
        Some(pending) => match identity(&replaced)? {
            Some(found) if found.is_same(pending.directory) => {
                record_exchange(tree, &mut record, pending)?;
                InterruptedRun::Exchanged
            }
            _ => InterruptedRun::Staged,
        },
    };
    exchange::recover_from_renames(&tree.staging, &replaced)?;
    if let Some(found) = identity(&tree.staging)? {
        remove_staging(tree, &mut record, pending.as_ref(), interrupted, found)?;
    } else if pending.is_some() && !may_be_unmounted(tree, &record)? {
        record.staging = None;
    }
    put_recovered(tree, record, interrupted)
}

/// The run was killed after the exchange and before it was recorded.
fn record_exchange(
    tree: &LockedTree<'_>,
    record: &mut TreeRecord,
    pending: &Staging,
) -> Result<(), PublishError> {
    let before: Vec<ObjectId> = record.manifests().collect();
    // Even if the tree was unpublished before.
    record.wanted = true;
    record.staging = None;
    let replaced = record.manifest.replace(pending.manifest);
    match (&pending.earlier, replaced) {
        (Some(earlier), _) => record.earlier.clone_from(earlier),
        (None, Some(manifest)) if manifest != pending.manifest => {
            let replaced_at = tree.now;
            let replaced = Generation {
                manifest,
                replaced_at,
            };
            record.earlier.insert(0, replaced);
        }
        (None, _) => {}
    }
    record.unfinished.clear();
    if pending.part.is_some() {
        // Files that are not retained are still in the other directories.
        record.unfinished = other_manifests(before, record);
    } else {
        record.directory = Some(pending.directory);
    }
    // So that the next run recognises the previous tree if this run is killed while it removes it.
    record.leftover = identity(&tree.staging)?;
    record.source.clone_from(&pending.source);
    record.root_key.clone_from(&pending.root_key);
    record.snapshot.clone_from(&pending.snapshot);
    Ok(tree.put_record(record)?)
}

/// Manifests of which the record promises no file.
pub fn other_manifests(manifests: Vec<ObjectId>, record: &TreeRecord) -> Vec<ObjectId> {
    let promised: Vec<ObjectId> = record.promised().collect();
    let mut others: Vec<ObjectId> = Vec::new();
    for manifest in manifests {
        if !promised.contains(&manifest) && !others.contains(&manifest) {
            others.push(manifest);
        }
    }
    others
}

/// Removes the staging directory, which is `found`: an incomplete tree, or the previous one after
/// the exchange.
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
    let is_ours = is_exchanged || is_staged || is_leftover;
    if is_ours
        && record.changing_in_place
        && let Some(settled_at) = record.settled_at
    {
        restore_time(tree.path, settled_at)?;
    }
    if is_staged && !is_exchanged && !was_shown {
        // Otherwise, after a kill following the removal, the tree would seem to be on a disk that
        // is not mounted.
        record.staging = None;
        record.leftover = Some(found);
        tree.put_record(record)?;
    }
    if is_ours {
        remove(&tree.staging)?;
    } else {
        remove_unrecorded(tree)?;
    }
    record.staging = None;
    Ok(())
}

/// Stores the record after the staging directory was removed.
fn put_recovered(
    tree: &LockedTree<'_>,
    mut record: TreeRecord,
    interrupted: InterruptedRun,
) -> Result<Option<TreeRecord>, PublishError> {
    let was_being_removed = record.is_being_removed() && identity(tree.path)?.is_none();
    if was_being_removed {
        record.leftover = None;
    }
    // It was never published.
    if record.manifest.is_none() && record.staging.is_none() && record.wanted {
        tree.remove_record()?;
        return Ok(None);
    }
    let is_corrected = generations::correct_times(&mut record, tree.now);
    let was_cleared = interrupted == InterruptedRun::Staged && record.staging.is_none();
    let was_changing = std::mem::take(&mut record.changing_in_place);
    if is_corrected || was_being_removed || was_cleared || was_changing {
        tree.put_record(&record)?;
    }
    Ok(Some(record))
}

/// Whether a run was killed after it had moved the tree to the staging path to remove it: the
/// directory there has the identity of the tree.
fn was_being_unpublished(tree: &LockedTree<'_>, record: &TreeRecord) -> Result<bool, PublishError> {
    let is_itself = match (record.leftover, record.directory) {
        (Some(leftover), Some(directory)) => leftover.is_same(directory),
        _ => true,
    };
    Ok(is_itself && identity(tree.path)?.is_none())
}

/// Whether a first publishing was interrupted on a disk that may not be mounted: neither the tree
/// nor the staging directory exists.
fn may_be_unmounted(tree: &LockedTree<'_>, record: &TreeRecord) -> Result<bool, PublishError> {
    Ok(record.manifest.is_none() && identity(tree.path)?.is_none())
}

/// Removes a staging directory without a record: its run was killed before recording it, or the
/// store was restored from an older backup.
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

/// Cleans up after a run that failed: incomplete copies would keep a full disk full, and the record
/// of a tree that was never published would keep objects. Errors are only logged: the next run
/// tries again, and the original error matters more.
pub fn clean_up_failed(tree: &LockedTree<'_>, before: Option<&TreeRecord>) {
    let clear = || {
        // Without the lock, the staging directory may belong to another run.
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
