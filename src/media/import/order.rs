//! Which imported states become the current ones of their repositories: media can arrive in any
//! order, and the storage can have states of other origin.

use std::collections::BTreeMap;

use super::request::{CurrentState, LatestOutcome};
use crate::digest::ObjectId;
use crate::names::{ExporterId, RepoId};
use crate::store::records::{RepositoryRecord, StateRecord};
use crate::transfer::{CarriedRepository, CarriedState};

/// Stands for an exporter where a repository has its upstream.
pub fn origin(exporter: &ExporterId) -> ObjectId {
    ObjectId::of(format!("chantal medium\n{exporter}\n").as_bytes())
}

/// The state that a transfer brings for a repository: its current one, or, if the transfer has only
/// snapshots, the newest of these.
pub fn newest_state(carried: &CarriedRepository) -> Option<CarriedState> {
    if let Some(state) = &carried.state {
        return Some(state.clone());
    }
    // A merge is not what the repository's upstream had.
    let snapshots = carried.snapshots.values();
    let snapshots = snapshots.filter(|snapshot| snapshot.record.merged_from.is_empty());
    let newest = snapshots.max_by_key(|snapshot| {
        let state = &snapshot.record.state;
        (state.date(), state.synced_at)
    })?;
    let state = newest.record.state.clone();
    Some(CarriedState {
        was_signed: !state.signed_by().is_empty(),
        state,
        newest_root_date: None,
        signed_root: newest.signed_root.clone(),
    })
}

/// What is known of the storage when a transfer is imported.
#[derive(Clone, Copy)]
pub struct Order<'a> {
    pub exporter: &'a ExporterId,
    pub number: u64,
    /// The last transfers of the exporter that were imported, by repository.
    pub last: &'a BTreeMap<RepoId, u64>,
    pub current: CurrentState,
}

impl Order<'_> {
    /// Whether a state becomes the current one.
    pub fn judge(
        &self,
        id: &RepoId,
        current: Option<&RepositoryRecord>,
        state: &StateRecord,
    ) -> LatestOutcome {
        let Some(current) = current else {
            return LatestOutcome::Replaced;
        };
        if current.state.manifest == state.manifest {
            return LatestOutcome::Same;
        }
        if self.current == CurrentState::Replace {
            return LatestOutcome::Replaced;
        }
        if current.origin != origin(self.exporter) {
            return LatestOutcome::OtherOrigin;
        }
        if self.last.get(id).is_some_and(|last| *last > self.number) {
            return LatestOutcome::OlderTransfer;
        }
        match (current.state.date(), state.date()) {
            (Some(current), Some(new)) if new < current => LatestOutcome::OlderRoot,
            _ => LatestOutcome::Replaced,
        }
    }
}
