//! The result of removing a repository.

use std::path::PathBuf;

use serde::Serialize;

use super::encode::{optional_path, paths};
use crate::names::RepoId;
use crate::publish::Removal;
use crate::repository::{RemovalOutcome, RemovalPlan};
use crate::snapshot::Snapshot;

#[derive(Clone, Debug, Serialize)]
pub struct RemovedRepository {
    pub repository: RepoId,
    pub dry_run: bool,
    /// Whether the removal is complete.
    pub removed: bool,
    /// Packages of its state; `None` if there is none.
    pub packages: Option<u64>,
    pub state_bytes: Option<u64>,
    pub syncs: usize,
    /// The file of its trusted keys.
    #[serde(serialize_with = "optional_path")]
    pub keys: Option<PathBuf>,
    /// Its published trees that were removed, or would be.
    #[serde(serialize_with = "paths")]
    pub trees: Vec<PathBuf>,
    /// Those of `trees` that were missing, so that only their records were removed.
    #[serde(serialize_with = "paths", skip_serializing_if = "Vec::is_empty")]
    pub forgotten: Vec<PathBuf>,
    pub snapshots_deleted: Vec<String>,
    pub snapshots_kept: Vec<String>,
    /// Bytes that the kept snapshots need.
    pub kept_bytes: u64,
    /// Objects that nothing else needs.
    pub objects: u64,
    pub bytes: u64,
    pub errors: Vec<String>,
}

impl RemovedRepository {
    /// The result of a dry run.
    pub fn planned(plan: &RemovalPlan) -> Self {
        let snapshots = plan.snapshots.iter().map(Snapshot::full_name).collect();
        let (snapshots_deleted, snapshots_kept) = if plan.deletes_snapshots() {
            (snapshots, Vec::new())
        } else {
            (Vec::new(), snapshots)
        };
        Self {
            repository: plan.repository.clone(),
            dry_run: true,
            removed: false,
            packages: plan.state.as_ref().map(|state| state.packages),
            state_bytes: plan.state.as_ref().map(|state| state.bytes),
            syncs: plan.syncs,
            keys: plan.keys.clone(),
            trees: plan.trees.keys().cloned().collect(),
            forgotten: Vec::new(),
            snapshots_deleted,
            snapshots_kept,
            kept_bytes: plan.kept_bytes,
            objects: plan.freed_objects,
            bytes: plan.freed_bytes,
            errors: Vec::new(),
        }
    }
}

impl From<&RemovalOutcome> for RemovedRepository {
    fn from(removed: &RemovalOutcome) -> Self {
        let unpublished = &removed.unpublished;
        let forgotten = unpublished
            .iter()
            .filter(|tree| tree.removal == Removal::Forgotten);
        Self {
            dry_run: false,
            removed: removed.is_complete(),
            trees: unpublished.iter().map(|tree| tree.path.clone()).collect(),
            forgotten: forgotten.map(|tree| tree.path.clone()).collect(),
            errors: removed.errors.iter().map(ToString::to_string).collect(),
            ..Self::planned(&removed.plan)
        }
    }
}
