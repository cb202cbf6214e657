//! Snapshots that were created or deleted.

use serde::{Serialize, Serializer};

use super::{Failure, PublishedTree, UnpublishedTree};
use crate::digest::ObjectId;
use crate::names::{RepoId, SnapshotName};
use crate::publish::Published;
use crate::snapshot::{Deletion, Snapshot};

/// A snapshot that was created.
#[derive(Clone, Debug, Serialize)]
pub struct CreatedSnapshot {
    pub repository: RepoId,
    pub snapshot: SnapshotName,
    pub manifest: ObjectId,
    pub packages: u64,
    pub bytes: u64,
    pub published: Option<PublishedTree>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    #[serde(flatten)]
    pub failure: Option<Failure>,
}

impl CreatedSnapshot {
    pub fn new(snapshot: &Snapshot, published: Option<Published>) -> Self {
        let state = &snapshot.record.state;
        Self {
            repository: snapshot.repository.clone(),
            snapshot: snapshot.name.clone(),
            manifest: state.manifest,
            packages: state.packages,
            bytes: state.bytes,
            published: published.map(PublishedTree::from),
            error: None,
            failure: None,
        }
    }
}

/// A snapshot that was deleted.
#[derive(Clone, Debug, Serialize)]
pub struct DeletedSnapshot {
    pub repository: RepoId,
    pub snapshot: SnapshotName,
    /// Its published trees, which were removed too; JSON has only their paths.
    #[serde(serialize_with = "paths")]
    pub unpublished: Vec<UnpublishedTree>,
}

impl From<Deletion> for DeletedSnapshot {
    fn from(deletion: Deletion) -> Self {
        let unpublished = deletion.unpublished.into_iter();
        Self {
            repository: deletion.snapshot.repository,
            snapshot: deletion.snapshot.name,
            unpublished: unpublished.map(UnpublishedTree::from).collect(),
        }
    }
}

fn paths<S: Serializer>(trees: &[UnpublishedTree], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(trees.iter().map(|tree| tree.path.display().to_string()))
}
