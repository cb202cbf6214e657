//! What a check found: damage, where it is, and what it affects.

use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::digest::{ObjectId, ObjectRef};
use crate::manifest::{Package, Role};
use crate::names::{RepoId, SnapshotName};
use crate::rel_path::RelPath;

/// An object of the pool that is not what its name says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DamagedObject {
    pub object: ObjectId,
    /// The size in bytes according to the manifests.
    pub size: u64,
    pub damage: Damage,
    /// Everything that needs it, in the order of repositories, snapshots and paths.
    pub uses: Vec<ObjectUse>,
}

/// How an object or a file of a published tree is damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    Missing,
    Size {
        /// In bytes.
        got: u64,
    },
    Digest {
        got: ObjectId,
    },
    /// Its file exists, but cannot be read.
    Unreadable {
        /// The error number of the system.
        errno: i32,
    },
}

impl Damage {
    /// What an error at its file means.
    pub fn of_error(error: &io::Error) -> Self {
        match error.raw_os_error() {
            _ if error.kind() == io::ErrorKind::NotFound => Self::Missing,
            Some(errno) => Self::Unreadable { errno },
            // Not a regular file.
            None => Self::Missing,
        }
    }

    /// Compares a file that was read to its end with what it should be.
    pub fn compare(expected: ObjectRef, got: ObjectId, size: u64) -> Result<(), Self> {
        if size != expected.size {
            Err(Self::Size { got: size })
        } else if got != expected.object {
            Err(Self::Digest { got })
        } else {
            Ok(())
        }
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("missing"),
            Self::Size { got } => write!(f, "wrong size: {got} bytes"),
            Self::Digest { got } => write!(f, "wrong content: its sha256 is {got}"),
            Self::Unreadable { errno } => {
                write!(
                    f,
                    "cannot be read: {}",
                    io::Error::from_raw_os_error(*errno)
                )
            }
        }
    }
}

/// A file of a manifest that refers to an object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ObjectUse {
    pub repository: RepoId,
    pub owner: Owner,
    pub path: RelPath,
    pub role: Role,
    /// Present exactly for [`Role::Package`].
    pub package: Option<Package>,
}

/// What a manifest belongs to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Owner {
    /// The repository's current state.
    State,
    Snapshot(SnapshotName),
    /// The upstream's own roots and indexes of a filtered state or snapshot; `None` for the current
    /// state.
    Evidence(Option<SnapshotName>),
    /// A published tree: its manifest has a generated root, or it retains an earlier generation.
    Tree(PathBuf),
    /// A generated root that no tree shows; `None` for that of the current state.
    GeneratedRoot(Option<SnapshotName>),
    /// The keys that a state or snapshot was verified with; `None` for the current state.
    Keyring(Option<SnapshotName>),
}
