//! What can go wrong in a merge.

use std::io;

use crate::config::UnknownRepository;
use crate::exit::Exit;
use crate::format::FormatError;
use crate::interrupt::Interrupted;
use crate::manifest::ManifestError;
use crate::names::{RepoId, SnapshotName};
use crate::pool::exit_of_io;
use crate::rel_path::RelPath;
use crate::repo_format::RepoFormat;
use crate::state::StateError;
use crate::store::StoreError;

#[derive(Debug, thiserror::Error)]
pub enum MergeError {
    #[error(transparent)]
    UnknownRepository(#[from] UnknownRepository),
    #[error("snapshot {repository}/{name} already exists")]
    Exists {
        repository: RepoId,
        name: SnapshotName,
    },
    /// Names and types of the two states.
    #[error("cannot merge {} ({}) with {} ({}): different types", first.0, first.1, other.0, other.1)]
    FormatMismatch {
        first: (String, RepoFormat),
        other: (String, RepoFormat),
    },
    #[error("cannot merge {flat} (flat repository) with {other} (not a flat repository)")]
    LayoutMismatch { flat: String, other: String },
    /// The repository of the new snapshot has a different type than the sources.
    #[error("{repository} has the type {format}, but the sources have the type {sources}")]
    TypeMismatch {
        repository: RepoId,
        format: RepoFormat,
        sources: RepoFormat,
    },
    #[error("{field} is not supported for repositories of type rpm")]
    UnsupportedField { field: &'static str },
    #[error("{state}: {source}")]
    Stored { state: String, source: StateError },
    #[error("{state}: {path} is listed in the indexes, but not in the manifest")]
    NotInManifest { state: String, path: RelPath },
    #[error(transparent)]
    Format(#[from] FormatError),
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl MergeError {
    pub fn exit(&self) -> Exit {
        match self {
            Self::UnknownRepository(_)
            | Self::Exists { .. }
            | Self::FormatMismatch { .. }
            | Self::LayoutMismatch { .. }
            | Self::TypeMismatch { .. }
            | Self::UnsupportedField { .. } => Exit::Usage,
            Self::Stored { source, .. } => source.exit(),
            Self::NotInManifest { .. } => Exit::Damaged,
            Self::Format(error) => error.exit(),
            Self::Io(error) => exit_of_io(error),
            Self::Manifest(_) => Exit::Refused,
            Self::Interrupted(_) => Exit::Interrupted,
            Self::Store(error) => error.exit(),
        }
    }
}
