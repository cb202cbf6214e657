//! Removing a published tree: out of sight in one step, and only what is ours.

use std::io;
use std::path::Path;

use fs_err as fs;

use super::directory::{identity, remove, staging_path};
use super::layout::Layout;
use super::presence::{Glance, glance};
use super::recover::recover;
use super::strays::refuse_foreign_files;
use super::{Context, PublishError, check_lock, put};
use crate::storage::Storage;
use crate::store::records::TreeRecord;

/// What is remembered of a place once its tree is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Afterwards {
    /// Syncs leave it alone, and clients may know the date of the root that it had.
    NotWanted,
    Nothing,
}

/// Which trees may be forgotten without being removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absent {
    /// None: the disk may be back tomorrow.
    Refused,
    /// Those that are not there: their disks are lost for good.
    Forgotten,
}

/// What became of a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removal {
    Removed,
    /// It was not there: what may be on its disk stays.
    Forgotten,
}

/// Removes a tree. Killed anywhere, the tree is either whole or out of sight, and the next run ends the work.
pub fn unpublish(
    storage: &Storage,
    tree: &Path,
    afterwards: Afterwards,
    absent: Absent,
) -> Result<Removal, PublishError> {
    let _lock = storage.locks.tree(tree)?;
    let context = Context::new(storage);
    let staging = staging_path(tree)?;
    let mut removal = Removal::Removed;
    let not_published = || PublishError::NotPublished {
        path: tree.to_owned(),
    };
    let mut record = context
        .storage
        .read(|reader| reader.tree(tree))?
        .ok_or_else(not_published)?;
    if is_out_of_sight(&record, tree, &staging)? {
        // Its rest goes next, and is all that tells it from a tree whose disk is away.
        record.leftover = identity(&staging)?;
        record.staging = None;
        put_not_wanted(context, tree, &mut record)?;
    }
    if let Some(mut record) = recover(context, tree, &staging)?
        && record.is_on_disk()
    {
        match glance(tree, Some(&record))? {
            // A disk that is not mounted looks like this, and will be back with the tree.
            Glance::Missing if absent == Absent::Refused => {
                return Err(PublishError::TreeMissing {
                    path: tree.to_owned(),
                });
            }
            Glance::Missing => {
                put_not_wanted(context, tree, &mut record)?;
                removal = Removal::Forgotten;
            }
            _ => take_away(context, tree, &staging, &mut record)?,
        }
    }
    match afterwards {
        Afterwards::NotWanted => {
            if let Some(mut record) = context.storage.read(|reader| reader.tree(tree))? {
                record.leftover = None;
                put(context, tree, &record)?;
            }
        }
        Afterwards::Nothing => context.storage.write(|writer| writer.remove_tree(tree))?,
    }
    Ok(removal)
}

fn take_away(
    context: Context<'_>,
    tree: &Path,
    staging: &Path,
    record: &mut TreeRecord,
) -> Result<(), PublishError> {
    if super::directory::is_empty(tree)? {
        put_not_wanted(context, tree, record)?;
        check_lock(context)?;
        return Ok(fs::remove_dir(tree)?);
    }
    let known = context
        .storage
        .read(|reader| Layout::of_everything_recorded(reader, record))?;
    refuse_foreign_files(context, tree, &known)?;
    // Recorded first: what is found under the staging name later is then known to be ours.
    record.leftover = identity(tree)?;
    put(context, tree, record)?;
    check_lock(context)?;
    fs::rename(tree, staging)?;
    put_not_wanted(context, tree, record)?;
    Ok(remove(staging)?)
}

/// From here on nothing is expected there.
fn put_not_wanted(
    context: Context<'_>,
    tree: &Path,
    record: &mut TreeRecord,
) -> Result<(), PublishError> {
    record.forget_content();
    Ok(put(context, tree, record)?)
}

/// Whether a tree is not there because a killed run removed it, or had not published it yet.
fn is_out_of_sight(record: &TreeRecord, tree: &Path, staging: &Path) -> io::Result<bool> {
    if identity(tree)?.is_some() {
        return Ok(false);
    }
    let Some(found) = identity(staging)? else {
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
