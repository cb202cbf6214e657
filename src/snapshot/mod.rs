//! Snapshots: immutable names for states.
//!
//! A snapshot is only an entry in the database: no file is copied, and nothing is downloaded. Its
//! objects are kept in the pool until the snapshot is deleted and `db cleanup` has run.

mod create;
mod delete;
pub mod diff;
pub mod merge;
mod states;
mod usage;

use std::fmt;
use std::path::PathBuf;

use crate::exit::Exit;
use crate::names::{RepoId, SnapshotName, SnapshotNameError};
use crate::repo_format::RepoFormat;
use crate::state::StateError;
use crate::store::records::SnapshotRecord;
use crate::store::{Name, Reader, Store, StoreError, Transaction};

pub use create::{NewSnapshot, SnapshotRequest, create};
pub use delete::{Deletion, OtherPaths, delete};
pub use states::{State, StateReference, find_state};
pub use usage::{NameUsage, Usage, exclusive_usage};

/// A snapshot on the command line: `NAME` if only one repository has it, otherwise
/// `REPOSITORY/NAME`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotReference {
    repository: Option<RepoId>,
    name: SnapshotName,
}

#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    #[error("unknown snapshot {reference}{}", known_names(known))]
    NotFound {
        reference: SnapshotReference,
        known: Vec<String>,
    },
    #[error("snapshot {name} is ambiguous: {}", candidates.join(", "))]
    Ambiguous {
        name: SnapshotName,
        candidates: Vec<String>,
    },
    #[error("snapshot {repository}/{name} already exists")]
    Exists {
        repository: RepoId,
        name: SnapshotName,
    },
    #[error("unknown snapshot or state {reference}{}", known_names(known))]
    StateNotFound {
        reference: StateReference,
        known: Vec<String>,
    },
    #[error("{reference} is ambiguous: {}", candidates.join(", "))]
    AmbiguousState {
        reference: StateReference,
        candidates: Vec<String>,
    },
    /// Names and types of the two states.
    #[error("cannot compare {} ({}) with {} ({}): different types", from.0, from.1, to.0, to.1)]
    FormatMismatch {
        from: (String, RepoFormat),
        to: (String, RepoFormat),
    },
    #[error("snapshot {snapshot} is published at {}", join_paths(paths))]
    PublishedAtOtherPaths {
        snapshot: String,
        paths: Vec<PathBuf>,
    },
    #[error("{repository} has never been synced")]
    NeverSynced { repository: RepoId },
    #[error(transparent)]
    Stored(#[from] StateError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl SnapshotError {
    pub fn exit(&self) -> Exit {
        match self {
            Self::NotFound { .. }
            | Self::Ambiguous { .. }
            | Self::StateNotFound { .. }
            | Self::AmbiguousState { .. }
            | Self::FormatMismatch { .. }
            | Self::PublishedAtOtherPaths { .. }
            | Self::Exists { .. } => Exit::Usage,
            Self::Stored(error) => error.exit(),
            Self::NeverSynced { .. } => Exit::Other,
            Self::Store(error) => error.exit(),
        }
    }
}

fn known_names(known: &[String]) -> String {
    if known.is_empty() {
        String::new()
    } else {
        format!(" (known: {})", known.join(", "))
    }
}

fn join_paths(paths: &[PathBuf]) -> String {
    let paths = paths.iter().map(|path| path.display().to_string());
    paths.collect::<Vec<_>>().join(", ")
}

/// An existing snapshot.
#[derive(Clone, Debug)]
pub struct Snapshot {
    pub repository: RepoId,
    pub name: SnapshotName,
    pub record: SnapshotRecord,
}

impl SnapshotReference {
    pub fn parse(text: &str) -> Result<Self, SnapshotNameError> {
        let (repository, name) = match text.split_once('/') {
            Some((repository, name)) => (Some(RepoId::parse(repository)?), name),
            None => (None, text),
        };
        Ok(Self {
            repository,
            name: SnapshotName::parse(name)?,
        })
    }

    fn matches(&self, repository: &RepoId, name: &SnapshotName) -> bool {
        let owner = self.repository.as_ref();
        self.name == *name && owner.is_none_or(|owner| owner == repository)
    }
}

impl fmt::Display for SnapshotReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.repository {
            Some(repository) => write!(f, "{repository}/{}", self.name),
            None => self.name.fmt(f),
        }
    }
}

impl Snapshot {
    /// How a name counts for the disk usage of this snapshot. Its trees are deleted with it.
    pub fn usage_of(&self, name: &Name) -> NameUsage {
        let is_this = |repository: &RepoId, name: &SnapshotName| {
            *repository == self.repository && *name == self.name
        };
        match name {
            Name::Snapshot { repository, name } if is_this(repository, name) => NameUsage::Counted,
            Name::Tree {
                repository,
                snapshot: Some(name),
                ..
            } if is_this(repository, name) => NameUsage::Ignored,
            Name::State { .. } | Name::Snapshot { .. } | Name::Tree { .. } => NameUsage::Kept,
        }
    }

    /// `REPOSITORY/NAME`, which is never ambiguous.
    pub fn full_name(&self) -> String {
        format!("{}/{}", self.repository, self.name)
    }
}

/// All snapshots, of one repository or of all of them.
pub fn list(reader: &Reader, repository: Option<&RepoId>) -> Transaction<Vec<Snapshot>> {
    let snapshots = reader.snapshots()?.into_iter();
    Ok(snapshots
        .filter(|((owner, _), _)| repository.is_none_or(|repository| repository == owner))
        .map(|((repository, name), record)| Snapshot {
            repository,
            name,
            record,
        })
        .collect())
}

/// Finds the only snapshot that matches.
pub fn find(store: &Store, reference: &SnapshotReference) -> Result<Snapshot, SnapshotError> {
    let all = store.read(|reader| list(reader, None))?;
    let is_match = |snapshot: &&Snapshot| reference.matches(&snapshot.repository, &snapshot.name);
    let matching: Vec<&Snapshot> = all.iter().filter(is_match).collect();
    match matching.as_slice() {
        [snapshot] => Ok((*snapshot).clone()),
        [] => Err(SnapshotError::NotFound {
            reference: reference.clone(),
            known: all.iter().map(Snapshot::full_name).collect(),
        }),
        several => Err(SnapshotError::Ambiguous {
            name: reference.name.clone(),
            candidates: several.iter().map(|one| one.full_name()).collect(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references() {
        assert_eq!(
            SnapshotReference::parse("r/2026-01").unwrap().to_string(),
            "r/2026-01"
        );
        assert_eq!(
            SnapshotReference::parse("tested").unwrap().to_string(),
            "tested"
        );
        assert_eq!(
            SnapshotName::parse("latest"),
            Err(SnapshotNameError::Latest)
        );
        assert_eq!(
            SnapshotReference::parse("r/latest"),
            Err(SnapshotNameError::Latest)
        );
        for bad in [
            "", "r/", "/n", "a/b/c", "../n", ".hidden", "-x", "a b", "a\n",
        ] {
            assert!(SnapshotReference::parse(bad).is_err(), "{bad:?}");
        }
    }
}
