//! Errors of a pool, and the error inside an [`io::Error`] of a pool whose disk was unmounted.

use std::io;
use std::path::PathBuf;

use crate::exit::Exit;
use crate::lock::LockError;

use super::layout;

#[derive(Debug, thiserror::Error)]
pub enum PoolError {
    #[error("pool {path} does not exist: is the file system mounted?")]
    Absent { path: PathBuf },
    #[error(
        "{path} has no pool marker ({}): it is the wrong directory, or the file was lost",
        layout::MARKER
    )]
    NoMarker {
        path: PathBuf,
        /// The lines that the marker should have.
        lines: [String; 2],
    },
    #[error("{path} is not empty, and not a pool")]
    Occupied { path: PathBuf },
    #[error(
        "{path} has an unsupported pool layout: expected {:?}, got {got:?}",
        layout::LAYOUT
    )]
    Layout { path: PathBuf, got: String },
    #[error("pool {path} belongs to another database: expected ID {expected}, got {got}")]
    Foreign {
        path: PathBuf,
        expected: String,
        got: String,
        /// The id of the owner, for `pool take-over`.
        owner: String,
    },
    #[error("pool marker {}: line {line:?} is missing or invalid", path.join(layout::MARKER).display())]
    MarkerLine { path: PathBuf, line: &'static str },
    /// Nothing was removed.
    #[error(transparent)]
    Lock(#[from] LockError),
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl PoolError {
    pub fn exit(&self) -> Exit {
        match self {
            Self::Io(error) => exit_of_io(error),
            Self::Lock(error) => error.exit(),
            Self::Occupied { .. } => Exit::Usage,
            Self::Absent { .. }
            | Self::NoMarker { .. }
            | Self::Layout { .. }
            | Self::MarkerLine { .. }
            | Self::Foreign { .. } => Exit::Damaged,
        }
    }
}

/// Inside an [`io::Error`]: the disk of the pool was unmounted after the pool was opened.
#[derive(Debug, thiserror::Error)]
#[error("pool {path} no longer exists: is the file system mounted?")]
pub struct PoolUnmounted {
    pub path: PathBuf,
}

/// The exit code for an I/O error.
pub fn exit_of_io(error: &io::Error) -> Exit {
    if PoolUnmounted::is_in(error) {
        Exit::Damaged
    } else {
        Exit::Other
    }
}

impl PoolUnmounted {
    pub fn is_in(error: &io::Error) -> bool {
        let inner = error.get_ref();
        inner.is_some_and(<dyn std::error::Error + Send + Sync>::is::<Self>)
    }
}
