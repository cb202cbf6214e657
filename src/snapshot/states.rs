//! A state where a snapshot or a repository's current state will do, as it is named on the command line.

use std::fmt;

use super::{LATEST, NameError, SnapshotError, SnapshotReference, list};
use crate::config::RepoId;
use crate::store::Store;
use crate::store::records::StateRecord;

/// `REPOSITORY/NAME`, `REPOSITORY/latest`, or one of `NAME` and `REPOSITORY` where only one of them can be meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StateReference {
    Snapshot(SnapshotReference),
    Latest(RepoId),
    /// A snapshot, or the repository's current state.
    Either(RepoId),
}

/// A state that is there.
#[derive(Clone, Debug)]
pub struct State {
    pub repository: String,
    /// `None` for the repository's current state.
    pub snapshot: Option<String>,
    pub record: StateRecord,
}

impl StateReference {
    pub fn parse(text: &str) -> Result<Self, NameError> {
        match text.split_once('/') {
            Some((repository, LATEST)) => Ok(Self::Latest(RepoId::parse(repository)?)),
            Some(_) => Ok(Self::Snapshot(SnapshotReference::parse(text)?)),
            None if text == LATEST => Err(NameError::Latest),
            None => Ok(Self::Either(RepoId::parse(text)?)),
        }
    }

    fn means(&self, state: &State) -> bool {
        let is = |name: &RepoId| name.as_str() == state.repository;
        let snapshot = state.snapshot.as_deref();
        match self {
            Self::Latest(repository) => snapshot.is_none() && is(repository),
            Self::Either(name) => match snapshot {
                None => is(name),
                Some(snapshot) => snapshot == name.as_str(),
            },
            Self::Snapshot(reference) => {
                snapshot == Some(reference.name.as_str())
                    && reference.repository.as_ref().is_none_or(is)
            }
        }
    }
}

impl fmt::Display for StateReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Snapshot(reference) => reference.fmt(f),
            Self::Latest(repository) => write!(f, "{repository}/{LATEST}"),
            Self::Either(name) => name.fmt(f),
        }
    }
}

impl State {
    /// `REPOSITORY/NAME` or `REPOSITORY/latest`, which are never ambiguous.
    pub fn full_name(&self) -> String {
        let name = self.snapshot.as_deref().unwrap_or(LATEST);
        format!("{}/{name}", self.repository)
    }
}

/// The one state that is meant.
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
    let meant: Vec<usize> = (0..all.len())
        .filter(|index| reference.means(&all[*index]))
        .collect();
    match meant[..] {
        [index] => Ok(all.swap_remove(index)),
        [] => Err(SnapshotError::NoState {
            reference: reference.clone(),
            known: all.iter().map(State::full_name).collect(),
        }),
        _ => Err(SnapshotError::AmbiguousState {
            reference: reference.clone(),
            candidates: meant.iter().map(|index| all[*index].full_name()).collect(),
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
