//! The result of a cleanup.

use std::path::PathBuf;

use serde::Serialize;

use super::encode::{Timestamp, paths};
use crate::cleanup::{CleanupOutcome, Plan};

/// What was removed, or would be removed in a dry run.
#[derive(Clone, Debug, Serialize)]
pub struct CleanupResult {
    pub dry_run: bool,
    pub objects: u64,
    #[serde(skip)]
    pub object_bytes: u64,
    pub partial_downloads: u64,
    #[serde(skip)]
    pub partial_bytes: u64,
    /// Damaged objects that were put aside, and that exist again or are not needed any more.
    pub damaged_files: u64,
    #[serde(skip)]
    pub damaged_bytes: u64,
    pub manifests: u64,
    pub bytes: u64,
    pub objects_kept: u64,
    /// Of these, what only transfers on offline media need.
    pub objects_held_for_media: u64,
    pub bytes_held_for_media: u64,
    /// Objects that are older than the database, which does not know them: they are kept.
    pub objects_unknown: u64,
    pub bytes_unknown: u64,
    /// Objects older than this are kept, if there are any.
    #[serde(skip)]
    pub adopting: Option<Timestamp>,
    /// Published trees from which files of expired generations are removed.
    #[serde(serialize_with = "paths")]
    pub trees: Vec<PathBuf>,
    /// Size of the database file, in bytes.
    pub store_before: u64,
    pub store_after: u64,
}

impl CleanupResult {
    /// The result of a dry run.
    pub fn planned(plan: &Plan, store_bytes: u64) -> Self {
        Self {
            dry_run: true,
            objects: plan.objects.len() as u64,
            object_bytes: plan.object_bytes(),
            partial_downloads: plan.partials.len() as u64,
            partial_bytes: plan.partial_bytes(),
            damaged_files: plan.damaged.len() as u64,
            damaged_bytes: plan.damaged_bytes(),
            manifests: plan.manifests,
            bytes: plan.bytes(),
            objects_kept: plan.kept(),
            objects_held_for_media: plan.held_for_media.count,
            bytes_held_for_media: plan.held_for_media.bytes,
            objects_unknown: plan.unknown.count,
            bytes_unknown: plan.unknown.bytes,
            adopting: plan.adopting.map(Timestamp),
            trees: plan.expired.paths().cloned().collect(),
            store_before: store_bytes,
            store_after: store_bytes,
        }
    }
}

impl From<&CleanupOutcome> for CleanupResult {
    fn from(outcome: &CleanupOutcome) -> Self {
        Self {
            dry_run: false,
            store_after: outcome.store_after,
            ..Self::planned(&outcome.plan, outcome.store_before)
        }
    }
}
