//! Why a transfer cannot be read.

use std::io;
use std::path::{Path, PathBuf};

use crate::digest::ObjectId;
use crate::exit::Exit;
use crate::openpgp::VerifyError;

#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    #[error("{}: no transfer was found here", path.display())]
    NoTransfer { path: PathBuf },
    #[error("{}: the transfer is incomplete: its export was interrupted", folder.display())]
    Incomplete { folder: PathBuf },
    #[error("{}: {name} is missing", folder.display())]
    Missing { folder: PathBuf, name: &'static str },
    #[error("{}: {name} has {size} bytes, at most {limit} are allowed", folder.display())]
    TooLarge {
        folder: PathBuf,
        name: &'static str,
        size: u64,
        limit: u64,
    },
    #[error("{}: {name} is not a regular file", folder.display())]
    NotAFile { folder: PathBuf, name: String },
    #[error("{}: the manifest is not one of chantal", folder.display())]
    NotAManifest { folder: PathBuf },
    #[error(
        "{}: the transfer has format {version}{needs}, this version of chantal reads format 1",
        folder.display()
    )]
    Newer {
        folder: PathBuf,
        version: u64,
        /// What the first line says about programs that can read it.
        needs: String,
    },
    #[error("{}: {source}", folder.display())]
    Signature {
        folder: PathBuf,
        source: VerifyError,
    },
    #[error("{}: the transfer is not signed", folder.display())]
    Unsigned { folder: PathBuf },
    #[error("{}: the manifest is damaged: {why}", folder.display())]
    Malformed { folder: PathBuf, why: String },
    #[error("{}: the manifest changed while it was read", folder.display())]
    Changed { folder: PathBuf },
    #[error("{}: its manifest is that of {found}", folder.display())]
    Renamed { folder: PathBuf, found: String },
    /// The name is escaped.
    #[error("{}: undeclared file {name}", folder.display())]
    Undeclared { folder: PathBuf, name: String },
    /// With the path.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Why an object of a transfer cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    #[error("object {object} is missing on the medium")]
    Missing { object: ObjectId },
    #[error("object {object} is damaged on the medium: it has {got} bytes, expected {expected}")]
    Size {
        object: ObjectId,
        expected: u64,
        got: u64,
    },
    #[error("object {object} is damaged on the medium: its sha256 is {got}")]
    Digest { object: ObjectId, got: ObjectId },
    #[error("object {object} cannot be read from the medium: {source}")]
    Unreadable { object: ObjectId, source: io::Error },
}

impl TransferError {
    pub fn exit(&self) -> Exit {
        match self {
            Self::Newer { .. } => Exit::Usage,
            Self::Signature { .. }
            | Self::Unsigned { .. }
            | Self::NotAFile { .. }
            | Self::Changed { .. }
            | Self::Renamed { .. }
            | Self::Undeclared { .. } => Exit::Refused,
            Self::NoTransfer { .. }
            | Self::Incomplete { .. }
            | Self::Missing { .. }
            | Self::TooLarge { .. }
            | Self::NotAManifest { .. }
            | Self::Malformed { .. } => Exit::Damaged,
            Self::Io(error) => crate::pool::exit_of_io(error),
        }
    }
}

/// Inside an [`io::Error`]: the file changed after it was verified.
#[derive(Debug, thiserror::Error)]
#[error("the manifest changed while it was read")]
pub struct BlockChanged;

impl TransferError {
    /// An error while the stream was read.
    pub(super) fn of_read(folder: &Path, error: io::Error) -> Self {
        let inner = error.get_ref();
        if inner.is_some_and(<dyn std::error::Error + Send + Sync>::is::<BlockChanged>) {
            let folder = folder.to_owned();
            return Self::Changed { folder };
        }
        if error.raw_os_error().is_some() {
            return Self::Io(crate::regular_file::named(folder)(error));
        }
        let why = match error.kind() {
            io::ErrorKind::UnexpectedEof => "it is truncated",
            _ => "the compressed stream is not valid",
        };
        Self::Malformed {
            folder: folder.to_owned(),
            why: why.to_owned(),
        }
    }

    /// The same with the path in an error of the system.
    pub(super) fn named(self, named: &dyn Fn(io::Error) -> io::Error) -> Self {
        match self {
            Self::Io(error) => Self::Io(named(error)),
            error => error,
        }
    }
}
