//! Taking a published tree away: out of sight in one step, and only what is ours.

use std::io;
use std::path::Path;

use fs_err as fs;

use super::exchange::Identity;
use super::layout::Layout;
use super::{
    Context, PublishError, Standing, put, recover, refuse_foreign_files, remove_directory,
    staging_path, standing,
};
use crate::store::records::TreeRecord;

/// Removes a tree and forgets it. Killed anywhere, the tree is either whole or out of sight, and the next run ends the work.
pub fn unpublish(context: Context<'_>, tree: &Path) -> Result<(), PublishError> {
    let staging = staging_path(tree)?;
    let mut is_gone = false;
    if let Some(mut record) = context.store.read(|reader| reader.tree(tree))?
        && is_out_of_sight(&record, tree, &staging)?
    {
        // Its rest goes next, and is all that tells it from a tree whose disk is away.
        record.leftover = identity(&staging)?;
        record.staging = None;
        put_shows_nothing(context, tree, &mut record)?;
        is_gone = true;
    }
    let Some(mut record) = recover(context, tree, &staging)? else {
        return Err(PublishError::NotPublished {
            path: tree.to_owned(),
        });
    };
    if !is_gone {
        // A disk that is not mounted looks like this, and will be back with the tree.
        if fs::symlink_metadata(tree).is_err() {
            return Err(PublishError::TreeMissing {
                path: tree.to_owned(),
            });
        }
        take_away(context, tree, &staging, &mut record)?;
    }
    context
        .store
        .write(context.lock, |writer| writer.remove_tree(tree))?;
    Ok(())
}

fn take_away(
    context: Context<'_>,
    tree: &Path,
    staging: &Path,
    record: &mut TreeRecord,
) -> Result<(), PublishError> {
    if standing(tree, Some(record))? == Standing::Ours {
        let known = context
            .store
            .read(|reader| Layout::of_everything_recorded(reader, record))?;
        refuse_foreign_files(tree, &known)?;
        // Recorded first: what is found under the staging name later is then known to be ours.
        record.leftover = identity(tree)?;
        put(context, tree, record)?;
        fs::rename(tree, staging)?;
        put_shows_nothing(context, tree, record)?;
        remove_directory(staging)?;
    } else {
        // It holds nothing.
        put_shows_nothing(context, tree, record)?;
        fs::remove_dir(tree)?;
    }
    Ok(())
}

/// From here on nobody wonders where the tree is.
fn put_shows_nothing(
    context: Context<'_>,
    tree: &Path,
    record: &mut TreeRecord,
) -> Result<(), PublishError> {
    record.manifest = None;
    record.source = None;
    record.root_key = None;
    record.earlier.clear();
    Ok(put(context, tree, record)?)
}

/// Whether a tree is not there because a killed run took it away, or had not published it yet.
fn is_out_of_sight(record: &TreeRecord, tree: &Path, staging: &Path) -> io::Result<bool> {
    if Identity::of(tree)?.is_some() {
        return Ok(false);
    }
    let found = identity(staging)?;
    let pending = record
        .staging
        .as_ref()
        .map(|staging| (staging.device, staging.inode));
    Ok(match (found, record.manifest) {
        // It was moved there.
        (Some(_), _) if found == record.leftover => true,
        // Its first publishing got no further.
        (Some(_), None) if found == pending => true,
        (None, None) => pending.is_none(),
        _ => false,
    })
}

/// As it is recorded.
fn identity(path: &Path) -> io::Result<Option<(u64, u64)>> {
    Ok(Identity::of(path)?.map(|found| (found.device, found.inode)))
}
