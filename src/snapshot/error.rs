//! What can go wrong with snapshots.

use std::path::PathBuf;

use super::reference::{SnapshotReference, StateReference};
use crate::exit::Exit;
use crate::names::{RepoId, SnapshotName, known_names};
use crate::repo_format::RepoFormat;
use crate::state::StateError;
use crate::store::StoreError;

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

/// Paths in a message.
pub fn join_paths(paths: &[PathBuf]) -> String {
    let paths = paths.iter().map(|path| path.display().to_string());
    paths.collect::<Vec<_>>().join(", ")
}
