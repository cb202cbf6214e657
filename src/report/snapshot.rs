//! Snapshots: created, deleted, all of them as a list, and one in detail.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Serialize, Serializer};

use super::encode::{Timestamp, paths};
use super::failure::Failure;
use super::published::{PublishedTree, UnpublishedTree};
use crate::digest::ObjectId;
use crate::names::{RepoId, SnapshotName};
use crate::publish::Published;
use crate::repo_format::RepoFormat;
use crate::snapshot::{Deletion, Snapshot, Usage};

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
    #[serde(serialize_with = "paths_of_trees")]
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

fn paths_of_trees<S: Serializer>(
    trees: &[UnpublishedTree],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(trees.iter().map(|tree| tree.path.display().to_string()))
}

/// A snapshot in the list of all of them.
#[derive(Clone, Debug, Serialize)]
pub struct ListedSnapshot {
    pub repository: RepoId,
    pub snapshot: SnapshotName,
    pub created_at: Timestamp,
    pub upstream_date: Option<Timestamp>,
    pub packages: u64,
    pub bytes: u64,
    pub manifest: ObjectId,
    pub description: Option<String>,
}

impl From<Snapshot> for ListedSnapshot {
    fn from(snapshot: Snapshot) -> Self {
        let state = snapshot.record.state;
        Self {
            repository: snapshot.repository,
            snapshot: snapshot.name,
            created_at: Timestamp(snapshot.record.created_at),
            upstream_date: state.date().map(Timestamp),
            packages: state.packages,
            bytes: state.bytes,
            manifest: state.manifest,
            description: snapshot.record.description,
        }
    }
}

/// Everything about one snapshot.
#[derive(Clone, Debug, Serialize)]
pub struct SnapshotDetails {
    pub repository: RepoId,
    pub snapshot: SnapshotName,
    #[serde(rename = "type")]
    pub format: RepoFormat,
    pub description: Option<String>,
    pub created_at: Timestamp,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub merged_from: Vec<String>,
    pub synced_at: Timestamp,
    pub upstream_date: Option<Timestamp>,
    pub upstream_valid_until: Option<Timestamp>,
    pub signed_by: Vec<String>,
    pub packages_signed_by: BTreeMap<String, u64>,
    /// Indexes that are not in the new metadata because clients cannot read them, and why.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub left_out: BTreeMap<String, String>,
    pub packages: u64,
    /// Size of all published paths.
    pub bytes: u64,
    /// Number of different contents, and their size in the pool.
    pub objects: u64,
    pub pool_bytes: u64,
    /// Those that nothing else needs: deleting the snapshot would free them.
    pub own_objects: u64,
    pub own_bytes: u64,
    pub manifest: ObjectId,
    #[serde(serialize_with = "paths")]
    pub published: Vec<PathBuf>,
}

impl SnapshotDetails {
    /// `published` are the paths of its published trees.
    pub fn new(snapshot: Snapshot, usage: Usage, published: Vec<PathBuf>) -> Self {
        let record = snapshot.record;
        let state = &record.state;
        Self {
            repository: snapshot.repository,
            snapshot: snapshot.name,
            format: state.format,
            description: record.description,
            created_at: Timestamp(record.created_at),
            merged_from: record.merged_from,
            synced_at: Timestamp(state.synced_at),
            upstream_date: state.date().map(Timestamp),
            upstream_valid_until: state.valid_until().map(Timestamp),
            signed_by: state.signed_by(),
            packages_signed_by: state.packages_signed_by.clone(),
            left_out: state.absent(),
            packages: state.packages,
            bytes: state.bytes,
            objects: usage.objects,
            pool_bytes: usage.bytes,
            own_objects: usage.own_objects,
            own_bytes: usage.own_bytes,
            manifest: state.manifest,
            published,
        }
    }
}
