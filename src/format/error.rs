//! Errors in the metadata and packages of a repository.

use std::io;

use crate::digest::ObjectId;
use crate::exit::Exit;
use crate::pool::exit_of_io;
use crate::rel_path::{RelPath, RelPathError};

#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    /// The content of the file is invalid.
    #[error("{file}: {what}")]
    Malformed { file: String, what: String },
    #[error("{file}: {named_by} has an unsafe path: {source}")]
    Path {
        file: String,
        /// The package or field with the path.
        named_by: String,
        source: RelPathError,
    },
    /// Only weak digests, or none.
    #[error(
        "{file}: {named_by} has no strong digest (sha256, sha384 or sha512; for rpm also sha1)"
    )]
    NoDigest { file: String, named_by: String },
    /// The root does not contain something that is configured.
    #[error("{what} {wanted:?} not found in {file}, available: {}", available.join(", "))]
    NotFound {
        file: String,
        /// `component`, `architecture`, ...
        what: &'static str,
        wanted: String,
        available: Vec<String>,
    },
    /// A new index cannot be written.
    #[error("cannot write {file}: {source}")]
    Write {
        file: String,
        source: std::io::Error,
    },
    /// A new index cannot be read back as it was written.
    #[error("{file}: verification of the written file failed: {what}")]
    ReadBack { file: String, what: String },
    /// The index is only available in unsupported compression formats.
    #[error("{file}: {name} is only available as {}, which is not supported (supported: gz, xz, bz2, zst, uncompressed)", found.join(", "))]
    Compression {
        file: String,
        name: String,
        /// `.lzma`
        found: Vec<String>,
    },
    #[error("{file}: {source}")]
    Read {
        file: String,
        source: std::io::Error,
    },
    /// The upstream is not to blame, whatever the parser found in the file.
    #[error("object {object} of {path} is missing from the pool or damaged")]
    ObjectDamaged { path: RelPath, object: ObjectId },
}

impl FormatError {
    pub fn exit(&self) -> Exit {
        match self {
            Self::Write { source, .. } => exit_of_io(source),
            Self::Read { source, .. } if !self.is_about_content() => exit_of_io(source),
            Self::ObjectDamaged { .. } => Exit::Damaged,
            // A bug in chantal.
            Self::ReadBack { .. } => Exit::Other,
            // As for a wrong suite, which is not found.
            Self::NotFound { .. }
            | Self::Compression { .. }
            | Self::Malformed { .. }
            | Self::Path { .. }
            | Self::NoDigest { .. }
            | Self::Read { .. } => Exit::Refused,
        }
    }
}

/// Why a package is invalid. The messages follow the name of the package.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    #[error("not an RPM package: {0}")]
    NotAPackage(&'static str),
    #[error("invalid signature header: {0}")]
    SignatureHeader(String),
    #[error("invalid header: {0}")]
    Header(String),
    #[error("invalid payload: {0}")]
    Payload(String),
    #[error("invalid header or payload: {0}")]
    HeaderOrPayload(String),
    #[error("the package is not signed")]
    NotSigned,
    #[error("only the header is signed, and it has no strong digest of the payload")]
    PayloadNotSigned,
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// An error while a new index is written.
pub(super) fn not_written(file: &str, source: io::Error) -> FormatError {
    FormatError::Write {
        file: file.to_owned(),
        source,
    }
}

impl FormatError {
    /// Converts an error in a file that chantal has just written.
    pub fn into_read_back_error(self) -> Self {
        let what = match &self {
            Self::Malformed { what, .. } => what.clone(),
            Self::Read { source, .. } if self.is_about_content() => source.to_string(),
            Self::ReadBack { .. }
            | Self::Read { .. }
            | Self::Write { .. }
            | Self::ObjectDamaged { .. } => return self,
            Self::Path { .. }
            | Self::NoDigest { .. }
            | Self::NotFound { .. }
            | Self::Compression { .. } => self.to_string(),
        };
        match self {
            Self::Malformed { file, .. }
            | Self::Read { file, .. }
            | Self::ReadBack { file, .. }
            | Self::Write { file, .. }
            | Self::Path { file, .. }
            | Self::NoDigest { file, .. }
            | Self::NotFound { file, .. }
            | Self::Compression { file, .. } => Self::ReadBack { file, what },
            damaged @ Self::ObjectDamaged { .. } => damaged,
        }
    }

    pub(super) fn malformed(file: &str, what: impl Into<String>) -> Self {
        Self::Malformed {
            file: file.to_owned(),
            what: what.into(),
        }
    }
}
