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
    #[error("{file}: {named_by} names a path that cannot be mirrored: {source}")]
    Path {
        file: String,
        /// The package or field that names the path.
        named_by: String,
        source: RelPathError,
    },
    /// Only digests that cannot be trusted, or none.
    #[error(
        "{file}: {named_by} has no digest that can be trusted (sha256, sha384 or sha512; rpm also sha1)"
    )]
    NoDigest { file: String, named_by: String },
    /// The root lacks what the configuration asks for.
    #[error("{file} has no {what} {wanted:?}, only: {}", available.join(", "))]
    NotFound {
        file: String,
        /// `component`, `architecture`, ...
        what: &'static str,
        wanted: String,
        available: Vec<String>,
    },
    /// The place for new indexes cannot be written.
    #[error("{file} cannot be written: {source}")]
    Write {
        file: String,
        source: std::io::Error,
    },
    /// What was written is not what is read from where it is stored.
    #[error("{file}: what was written cannot be read back: {what}")]
    ReadBack { file: String, what: String },
    /// The index is there only in compressions that are not read.
    #[error("{file}: {name} is there only as {}: that compression is not supported (gz, xz, bz2, zst and none are)", found.join(", "))]
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
    #[error("it is not an RPM package: {0}")]
    NotAPackage(&'static str),
    #[error("its signature header is broken: {0}")]
    SignatureHeader(String),
    #[error("its header is broken: {0}")]
    Header(String),
    #[error("its payload is broken: {0}")]
    Payload(String),
    #[error("its header or its payload is broken: {0}")]
    HeaderOrPayload(String),
    #[error("it is not signed")]
    NotSigned,
    #[error("only its header is signed, which has no digest of the payload that can be trusted")]
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
