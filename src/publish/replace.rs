//! Replaces a whole tree: the next generation is staged next to it and exchanged with it in one
//! step.

use super::directory::{flush, identity, make_directory, make_parents, remove, settle};
use super::error::PublishError;
use super::layout::Layout;
use super::stage::{Created, FileMaker, PreviousFiles};
use super::tree::{LockedTree, pending};
use super::{exchange, recover};
use crate::store::records::{DirectoryId, TreeRecord};

/// Publishes the tree that `next` describes; `before` is the current record.
pub fn replace(
    tree: &LockedTree<'_>,
    before: Option<&TreeRecord>,
    next: TreeRecord,
    layout: &Layout,
    previous: PreviousFiles<'_>,
) -> Result<Created, PublishError> {
    make_parents(tree.path)?;
    let maker = FileMaker::new(tree, previous);
    let directory = stage_and_exchange(tree, before, &next, layout, &maker)
        .inspect_err(|_| recover::clean_up_failed(tree, before))?;
    let settled_at = settle(tree.path)?;
    flush(tree.path)?;
    tree.put_record(&TreeRecord {
        directory: Some(directory),
        settled_at: Some(settled_at),
        leftover: identity(&tree.staging)?,
        ..next
    })?;
    // The previous tree, now at the staging path. If the run is killed from here on, the next
    // publishing or cleanup removes it.
    remove(&tree.staging)?;
    Ok(maker.created())
}

/// Returns the directory of the tree.
fn stage_and_exchange(
    tree: &LockedTree<'_>,
    before: Option<&TreeRecord>,
    next: &TreeRecord,
    layout: &Layout,
    maker: &FileMaker<'_>,
) -> Result<DirectoryId, PublishError> {
    let staging = &tree.staging;
    if before.is_none() {
        // Recorded first, so that cleanup checks this path if the run is killed before it has
        // recorded the directory.
        tree.put_record(&pending(None, next, None))?;
    }
    make_directory(staging)?;
    let directory = identity(staging)?.ok_or_else(|| PublishError::NoFileName {
        path: staging.clone(),
    })?;
    tree.put_record(&pending(before, next, Some(directory)))?;
    maker.fill(staging, None, layout)?;
    maker.flush(staging)?;
    tree.check_lock()?;
    exchange::exchange(staging, tree.path)?;
    Ok(directory)
}
