//! What goes wrong with a repository's metadata and with its packages.

use std::io;

use crate::exit::Exit;
use crate::pool::exit_of_io;
use crate::rel_path::RelPathError;

#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    /// The text is not what this kind of file must be.
    #[error("{file}: {what}")]
    Malformed { file: String, what: String },
    #[error("{file}: {named_by} has an unsafe path: {source}")]
    Path {
        file: String,
        /// The package or field that names the path.
        named_by: String,
        source: RelPathError,
    },
    /// Only digests that cannot be trusted, or none.
    #[error(
        "{file}: {named_by} has no strong digest (sha256, sha384 or sha512; for rpm also sha1)"
    )]
    NoDigest { file: String, named_by: String },
    /// The root lacks what the configuration asks for.
    #[error("{what} {wanted:?} not found in {file}, available: {}", available.join(", "))]
    NotFound {
        file: String,
        /// `component`, `architecture`, ...
        what: &'static str,
        wanted: String,
        available: Vec<String>,
    },
    /// The place for new indexes cannot be written.
    #[error("cannot write {file}: {source}")]
    Write {
        file: String,
        source: std::io::Error,
    },
    /// What was written is not what is read from where it is stored.
    #[error("{file}: verification of the written file failed: {what}")]
    ReadBack { file: String, what: String },
    /// The index is there only in compressions that are not read.
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
}

impl FormatError {
    pub fn exit(&self) -> Exit {
        match self {
            Self::Write { source, .. } => exit_of_io(source),
            // A fault of chantal itself.
            Self::ReadBack { .. } => Exit::Other,
            // As a wrong suite is, which is not found.
            Self::NotFound { .. }
            | Self::Compression { .. }
            | Self::Malformed { .. }
            | Self::Path { .. }
            | Self::NoDigest { .. }
            | Self::Read { .. } => Exit::Refused,
        }
    }
}

/// Why a package is not what it says of itself. The messages follow the package's name.
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

/// What goes wrong when a new index is written.
pub(super) fn not_written(file: &str, source: io::Error) -> FormatError {
    FormatError::Write {
        file: file.to_owned(),
        source,
    }
}

impl FormatError {
    /// What it means for a file that was just written: what is wrong with it, chantal has done.
    pub fn into_read_back_error(self) -> Self {
        let what = match &self {
            Self::Malformed { what, .. } => what.clone(),
            Self::Read { source, .. } if self.is_about_content() => source.to_string(),
            Self::ReadBack { .. } | Self::Read { .. } | Self::Write { .. } => return self,
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
        }
    }

    pub(super) fn malformed(file: &str, what: impl Into<String>) -> Self {
        Self::Malformed {
            file: file.to_owned(),
            what: what.into(),
        }
    }
}
