//! Deletes snapshots and their published trees.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::error::SnapshotError;
use super::named::Snapshot;
use crate::config::Config;
use crate::publish::{
    MissingTree, RecordFate, RequestError, Unpublished, complete_interrupted, snapshot_path,
    unpublish_tree,
};
use crate::storage::Storage;
use crate::store::Reader;
use crate::store::records::TreeRecord;

/// Whether snapshots are deleted that are published at paths other than the configured one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OtherPaths {
    /// Refused, because such a path was set up explicitly.
    Refused,
    Unpublished,
}

/// The result of deleting a snapshot.
#[derive(Debug)]
pub struct Deletion {
    pub snapshot: Snapshot,
    pub unpublished: Vec<Unpublished>,
    /// Errors at trees that could not be removed. With any error, the snapshot is kept.
    pub errors: Vec<RequestError>,
}

/// Deletes these snapshots. If one is refused, nothing is deleted. A snapshot whose trees cannot be
/// removed does not prevent the others from being deleted.
pub fn delete(
    storage: &Storage,
    config: &Config,
    snapshots: Vec<Snapshot>,
    other_paths: OtherPaths,
    absent: MissingTree,
) -> Result<Vec<Deletion>, SnapshotError> {
    for snapshot in &snapshots {
        complete_interrupted(storage, &snapshot.repository)?;
    }
    let trees = storage.read(Reader::trees)?;
    if other_paths == OtherPaths::Refused {
        for snapshot in &snapshots {
            reject_published_at_other_paths(config, snapshot, &trees)?;
        }
    }
    let mut deletions = Vec::new();
    for snapshot in snapshots {
        let (mut unpublished, mut errors) = (Vec::new(), Vec::new());
        for (path, tree) in trees.iter().filter(|(_, tree)| belongs_to(tree, &snapshot)) {
            match unpublish_tree(storage, path, tree, RecordFate::Remove, absent) {
                Ok(tree) => unpublished.push(tree),
                Err(error) => errors.push(error),
            }
        }
        // The objects of a tree that is still published are kept only because of this record.
        if errors.is_empty() {
            storage.write(|writer| writer.remove_snapshot(&snapshot.repository, &snapshot.name))?;
        }
        deletions.push(Deletion {
            snapshot,
            unpublished,
            errors,
        });
    }
    Ok(deletions)
}

fn reject_published_at_other_paths(
    config: &Config,
    snapshot: &Snapshot,
    trees: &BTreeMap<PathBuf, TreeRecord>,
) -> Result<(), SnapshotError> {
    let own = snapshot_path(config, &snapshot.repository, &snapshot.name);
    let other_paths = trees
        .iter()
        .filter(|(path, tree)| belongs_to(tree, snapshot) && own.as_ref() != Some(path));
    let paths: Vec<PathBuf> = other_paths.map(|(path, _)| path.clone()).collect();
    if paths.is_empty() {
        return Ok(());
    }
    Err(SnapshotError::PublishedAtOtherPaths {
        snapshot: snapshot.full_name(),
        paths,
    })
}

fn belongs_to(tree: &TreeRecord, snapshot: &Snapshot) -> bool {
    tree.is_of_snapshot(&snapshot.repository, &snapshot.name)
}
