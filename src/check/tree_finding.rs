//! What is wrong in a published tree, apart from damaged objects that it shows.

use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::digest::ObjectId;
use crate::names::{RepoId, SnapshotName};

/// Something in a published tree that its record does not explain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreeFinding {
    pub tree: PathBuf,
    pub repository: RepoId,
    /// The snapshot that it shows; `None` for a state.
    pub snapshot: Option<SnapshotName>,
    pub damage: TreeDamage,
    /// The file, relative to the tree; `None` for the tree itself.
    pub path: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TreeDamage {
    /// The tree does not exist: its disk may not be mounted.
    TreeMissing,
    /// There is something else at its path.
    NotADirectory,
    /// A file of the manifest does not exist.
    Missing,
    /// There is something else than a regular file.
    NotAFile,
    /// A file that is no link to its object, and has another size.
    Size {
        /// In bytes.
        got: u64,
    },
    /// A file on the file system of the pool that is neither a link to its object nor a read-only
    /// copy of it.
    Writable,
    /// A file that is no link to its object, and has another content.
    Digest { got: ObjectId },
    Unreadable {
        /// The error number of the system.
        errno: i32,
    },
    /// A file that chantal did not publish.
    Foreign,
    /// A file of the pool that is in no manifest of the tree.
    Unlisted,
}

impl TreeDamage {
    /// Whether it is at a file that a repair can replace by its object.
    pub fn is_of_a_file(self) -> bool {
        match self {
            Self::Missing
            | Self::NotAFile
            | Self::Size { .. }
            | Self::Writable
            | Self::Digest { .. }
            | Self::Unreadable { .. } => true,
            Self::TreeMissing | Self::NotADirectory | Self::Foreign | Self::Unlisted => false,
        }
    }
}

impl fmt::Display for TreeDamage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TreeMissing => {
                f.write_str("the published tree is missing: is its file system mounted?")
            }
            Self::NotADirectory => f.write_str("not a directory"),
            Self::Missing => f.write_str("missing"),
            Self::NotAFile => f.write_str("not a regular file"),
            Self::Size { got } => write!(f, "wrong size: {got} bytes"),
            Self::Writable => f.write_str("neither a link to the pool nor a read-only copy"),
            Self::Digest { got } => write!(f, "wrong content: its sha256 is {got}"),
            Self::Unreadable { errno } => {
                write!(
                    f,
                    "cannot be read: {}",
                    io::Error::from_raw_os_error(*errno)
                )
            }
            Self::Foreign => f.write_str("a file that chantal did not publish"),
            Self::Unlisted => {
                f.write_str("a file of the pool that the database does not list here")
            }
        }
    }
}
