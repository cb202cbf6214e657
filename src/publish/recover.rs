//! Ending what a run began that was killed, and leaving nothing of one that failed.

use std::path::Path;

use fs_err as fs;

use super::directory::{identity, is_empty, remove, staging_path};
use super::strays::is_of_the_pool;
use super::{Context, PublishError, check_lock, exchange, generations, put};
use crate::storage::Storage;
use crate::store::records::{Generation, TreeRecord};

/// Ends what a killed run began at a tree: its staging directory is removed then.
pub fn recover_at(storage: &Storage, tree: &Path) -> Result<(), PublishError> {
    let _lock = storage.locks.tree(tree)?;
    let context = Context::new(storage);
    recover(context, tree, &staging_path(tree)?).map(drop)
}

/// Finishes or clears away what a killed run began, and returns what is recorded of the tree then.
pub fn recover(
    context: Context<'_>,
    tree: &Path,
    staging: &Path,
) -> Result<Option<TreeRecord>, PublishError> {
    let Some(mut record) = context.storage.read(|reader| reader.tree(tree))? else {
        if identity(staging)?.is_some() {
            remove_unrecorded(context, staging)?;
        }
        return Ok(None);
    };
    let mut is_exchanged = false;
    let pending = record.staging.clone();
    if let Some(pending) = &pending
        && identity(tree)?.is_some_and(|found| found.is_same(pending.directory))
    {
        is_exchanged = true;
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
                    replaced_at: context.now,
                },
            );
        }
        record.directory = Some(pending.directory);
        // Its remains are known to be ours also when this run is killed while it removes them.
        record.leftover = identity(staging)?;
        record.source.clone_from(&pending.source);
        record.root_key.clone_from(&pending.root_key);
        put(context, tree, &record)?;
    }
    exchange::recover_from_renames(staging, tree)?;
    if let Some(found) = identity(staging)? {
        // Half of a new tree, or what the tree was before it was exchanged.
        let is_staged = pending
            .as_ref()
            .is_some_and(|pending| pending.directory.is_same(found));
        let is_leftover = record
            .leftover
            .is_some_and(|leftover| leftover.is_same(found));
        let was_shown = record.manifest.is_some();
        if is_leftover && !is_exchanged && was_shown && was_being_unpublished(tree, &record)? {
            record.forget_content();
            put(context, tree, &record)?;
        }
        check_lock(context)?;
        if is_staged && !is_exchanged && !was_shown {
            // Killed behind the removal, nobody could tell it from one whose disk is away.
            record.staging = None;
            record.leftover = Some(found);
            put(context, tree, &record)?;
        }
        if is_exchanged || is_staged || is_leftover {
            remove(staging)?;
        } else {
            remove_unrecorded(context, staging)?;
        }
        record.staging = None;
    } else if pending.is_some() && !may_be_away(tree, &record)? {
        record.staging = None;
    }
    settle(context, tree, record, pending.is_some() && !is_exchanged)
}

/// Writes down what is left of a record once its staging directory is removed.
fn settle(
    context: Context<'_>,
    tree: &Path,
    mut record: TreeRecord,
    was_pending: bool,
) -> Result<Option<TreeRecord>, PublishError> {
    let was_being_removed = record.is_being_removed() && identity(tree)?.is_none();
    if was_being_removed {
        record.leftover = None;
    }
    // Its first publishing came to nothing.
    if record.manifest.is_none() && record.staging.is_none() && record.wanted {
        context.storage.write(|writer| writer.remove_tree(tree))?;
        return Ok(None);
    }
    let is_corrected = generations::correct_times(&mut record, context.now);
    if is_corrected || was_being_removed || (was_pending && record.staging.is_none()) {
        put(context, tree, &record)?;
    }
    Ok(Some(record))
}

/// Whether a run was killed that had moved the tree out of sight to remove it: what is left has the identity of the tree itself.
fn was_being_unpublished(tree: &Path, record: &TreeRecord) -> Result<bool, PublishError> {
    let is_itself = match (record.leftover, record.directory) {
        (Some(leftover), Some(directory)) => leftover.is_same(directory),
        _ => true,
    };
    Ok(is_itself && identity(tree)?.is_none())
}

/// Whether the disk that a first publishing was killed on may be away: then neither directory is there.
fn may_be_away(tree: &Path, record: &TreeRecord) -> Result<bool, PublishError> {
    Ok(record.manifest.is_none() && identity(tree)?.is_none())
}

/// A staging directory that no record names: made and killed before it was recorded, or by a newer state of this store.
fn remove_unrecorded(context: Context<'_>, staging: &Path) -> Result<(), PublishError> {
    if is_empty(staging)? {
        return Ok(fs::remove_dir(staging)?);
    }
    if is_of_the_pool(context, staging)? {
        return Ok(remove(staging)?);
    }
    Err(PublishError::Occupied {
        path: staging.to_owned(),
    })
}

/// Leaves nothing of a publishing that failed: half a tree of copies would keep a full disk full, and a record of something that
/// was never shown would keep objects. What cannot be cleared away the next run does; why it failed is what counts.
pub fn give_up(context: Context<'_>, tree: &Path, staging: &Path, before: Option<&TreeRecord>) {
    let clear = || {
        // Where the lock is lost, what has that name may be another run's.
        check_lock(context)?;
        remove(staging)?;
        context.storage.write(|writer| match before {
            Some(record) => writer.put_tree(tree, record),
            None => writer.remove_tree(tree),
        })?;
        Ok::<_, PublishError>(())
    };
    if let Err(error) = clear() {
        log::warn!("{error}");
    }
}
