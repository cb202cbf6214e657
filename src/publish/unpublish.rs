//! Taking a published tree away: out of sight in one step, and only what is ours.

use std::path::Path;

use fs_err as fs;

use super::exchange::Identity;
use super::layout::Layout;
use super::{
    Context, PublishError, Standing, put, recover, refuse_foreign_files, remove_directory,
    staging_path, standing,
};

/// Removes a tree and forgets it. Killed anywhere, the tree is either whole or out of sight, and the next run ends the work.
pub fn unpublish(context: Context<'_>, tree: &Path) -> Result<(), PublishError> {
    let staging = staging_path(tree)?;
    let Some(mut record) = recover(context, tree, &staging)? else {
        return Err(PublishError::NotPublished {
            path: tree.to_owned(),
        });
    };
    // A disk that is not mounted looks like this, and will be back with the tree.
    if fs::symlink_metadata(tree).is_err() {
        return Err(PublishError::TreeMissing {
            path: tree.to_owned(),
        });
    }
    if standing(tree, Some(&record))? == Standing::Ours {
        let known = context
            .store
            .read(|reader| Layout::of_everything_recorded(reader, &record))?;
        refuse_foreign_files(tree, &known)?;
        // Recorded first: what is found under the staging name later is then known to be ours.
        record.leftover = Identity::of(tree)?.map(|tree| (tree.device, tree.inode));
        put(context, tree, &record)?;
        fs::rename(tree, &staging)?;
        remove_directory(&staging)?;
    } else {
        // It holds nothing.
        fs::remove_dir(tree)?;
    }
    context
        .store
        .write(context.lock, |writer| writer.remove_tree(tree))?;
    Ok(())
}
