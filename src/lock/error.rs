//! What a lock protects, who holds it, and why it could not be taken or was lost.

use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::exit::Exit;
use crate::interrupt::Interrupted;
use crate::names::{DestinationName, RepoId};

/// The holder of a lock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    pub pid: u32,
    /// The command, such as `repo sync`.
    pub command: String,
    /// Seconds since the epoch.
    pub since: i64,
}

/// What a lock protects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LockTarget {
    /// The storage at this base path.
    Storage(PathBuf),
    Repository(RepoId),
    Tree(PathBuf),
    /// The exports to a destination.
    Destination(DestinationName),
    /// The file that names the owner of the pool.
    PoolMarker,
}

impl std::fmt::Display for LockTarget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Storage(base_path) => write!(f, "{}", base_path.display()),
            Self::Repository(id) => write!(f, "repository {id}"),
            Self::Tree(path) => write!(f, "the published tree {}", path.display()),
            Self::Destination(name) => write!(f, "the destination {name}"),
            Self::PoolMarker => f.write_str("the pool marker"),
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum LockError {
    #[error("{what} is locked by another process: {}", describe(holder.as_ref()))]
    Busy {
        what: LockTarget,
        holder: Option<Holder>,
    },
    /// Another run may hold the lock by now.
    #[error(
        "lock file {path} was removed or replaced while it was held: no further changes were made"
    )]
    Lost { path: PathBuf },
    #[error("{path} is not a regular file")]
    NotAFile { path: PathBuf },
    #[error("{path} is not a directory")]
    NotADirectory { path: PathBuf },
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: io::Error },
}

impl LockError {
    pub fn exit(&self) -> Exit {
        match self {
            Self::Busy { .. } => Exit::Busy,
            // Waiting does not help: the lock file or the whole storage was replaced.
            Self::Lost { .. } | Self::NotAFile { .. } | Self::NotADirectory { .. } => Exit::Damaged,
            Self::Interrupted(_) => Exit::Interrupted,
            Self::Io { .. } => Exit::Other,
        }
    }
}

pub fn describe(holder: Option<&Holder>) -> String {
    match holder {
        Some(holder) => {
            format!(
                "`{}`, process {}, since {}",
                holder.command,
                holder.pid,
                crate::time::rfc3339(holder.since)
            )
        }
        None => "unknown command".to_owned(),
    }
}
