//! References to states on the command line: a snapshot or the current state of a repository.

use std::fmt;

use super::{SnapshotError, SnapshotReference, list};
use crate::names::{RepoId, SnapshotName, SnapshotNameError};
use crate::store::Store;
use crate::store::records::StateRecord;

/// `REPOSITORY/NAME`, `REPOSITORY/latest`, or `NAME` or `REPOSITORY` if only one state matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StateReference {
    Snapshot(SnapshotReference),
    Latest(RepoId),
    /// A name that can be a snapshot or a repository, which means its current state.
    Either(SnapshotName, RepoId),
}

/// An existing state.
#[derive(Clone, Debug)]
pub struct State {
    pub repository: RepoId,
    /// `None` for the current state of the repository.
    pub snapshot: Option<SnapshotName>,
    pub record: StateRecord,
}

impl StateReference {
    pub fn parse(text: &str) -> Result<Self, SnapshotNameError> {
        match text.split_once('/') {
            Some((repository, SnapshotName::LATEST)) => {
                Ok(Self::Latest(RepoId::parse(repository)?))
            }
            Some(_) => Ok(Self::Snapshot(SnapshotReference::parse(text)?)),
            None => Ok(Self::Either(
                SnapshotName::parse(text)?,
                RepoId::parse(text)?,
            )),
        }
    }

    fn matches(&self, state: &State) -> bool {
        match (self, &state.snapshot) {
            (Self::Latest(repository) | Self::Either(_, repository), None) => {
                state.repository == *repository
            }
            (Self::Either(name, _), Some(snapshot)) => snapshot == name,
            (Self::Snapshot(reference), Some(snapshot)) => {
                reference.matches(&state.repository, snapshot)
            }
            (Self::Latest(_), Some(_)) | (Self::Snapshot(_), None) => false,
        }
    }
}

impl fmt::Display for StateReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Snapshot(reference) => reference.fmt(f),
            Self::Latest(repository) => write!(f, "{repository}/{}", SnapshotName::LATEST),
            Self::Either(name, _) => name.fmt(f),
        }
    }
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
        .filter(|index| reference.matches(&all[*index]))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_names_a_state() {
        for text in ["n", "r/n", "r/latest"] {
            assert_eq!(StateReference::parse(text).unwrap().to_string(), text);
        }
        for bad in ["", "latest", "/latest", "r/", "a/b/c", "../latest", "-x"] {
            assert!(StateReference::parse(bad).is_err(), "{bad:?}");
        }
    }
}
