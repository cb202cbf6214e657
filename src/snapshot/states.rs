//! Existing states: snapshots and the current states of repositories.

use super::error::SnapshotError;
use super::named::list;
use super::reference::StateReference;
use crate::names::{RepoId, SnapshotName};
use crate::store::Store;
use crate::store::records::StateRecord;

/// An existing state.
#[derive(Clone, Debug)]
pub struct State {
    pub repository: RepoId,
    /// `None` for the current state of the repository.
    pub snapshot: Option<SnapshotName>,
    pub record: StateRecord,
}

impl State {
    /// `REPOSITORY/NAME` or `REPOSITORY/latest`, which are never ambiguous.
    pub fn full_name(&self) -> String {
        let name = self.snapshot.as_ref();
        let name = name.map_or(SnapshotName::LATEST, SnapshotName::as_str);
        format!("{}/{name}", self.repository)
    }
}

/// Finds the only state that matches.
pub fn find_state(store: &Store, reference: &StateReference) -> Result<State, SnapshotError> {
    let (repositories, snapshots) =
        store.read(|reader| Ok((reader.repositories()?, list(reader, None)?)))?;
    let current = repositories.into_iter().map(|(repository, record)| State {
        repository,
        snapshot: None,
        record: record.state,
    });
    let named = snapshots.into_iter().map(|snapshot| State {
        repository: snapshot.repository,
        snapshot: Some(snapshot.name),
        record: snapshot.record.state,
    });
    let mut all: Vec<State> = current.chain(named).collect();
    let matching: Vec<usize> = (0..all.len())
        .filter(|index| {
            let state = &all[*index];
            reference.matches(&state.repository, state.snapshot.as_ref())
        })
        .collect();
    match matching[..] {
        [index] => Ok(all.swap_remove(index)),
        [] => Err(SnapshotError::StateNotFound {
            reference: reference.clone(),
            known: all.iter().map(State::full_name).collect(),
        }),
        _ => Err(SnapshotError::AmbiguousState {
            reference: reference.clone(),
            candidates: matching
                .iter()
                .map(|index| all[*index].full_name())
                .collect(),
        }),
    }
}
