//! Errors of upstreams.

use std::io;
use std::time::Duration;

use crate::digest::Digest;
use crate::exit::Exit;
use crate::interrupt::Interrupted;
use crate::pool::exit_of_io;

#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    #[error("{url}: not found")]
    Missing { url: String },
    #[error("{url}: not a regular file")]
    NotAFile { url: String },
    #[error("{url}: access denied (HTTP status {status}{})", if *with_certificate { ", client certificate sent" } else { "" })]
    Denied {
        url: String,
        status: u16,
        with_certificate: bool,
    },
    #[error("{url}: server returned HTTP status {status}")]
    Status {
        url: String,
        status: u16,
        retry_after: Option<Duration>,
    },
    #[error("{url}: {why}")]
    Unreachable { url: String, why: String },
    /// Not retried, like the next one.
    #[error("{url}: {why}")]
    Tls { url: String, why: TlsFailure },
    #[error("{url}: host not found")]
    UnknownHost { url: String },
    #[error("{url}: redirect not followed: {why}")]
    Redirect { url: String, why: String },
    #[error("{url}: file is larger than the limit of {limit} bytes")]
    TooLarge { url: String, limit: u64 },
    #[error("{url}: content does not match the metadata: expected {}, got {}", about(expected, *expected_size), about_got(got.as_ref(), *got_size, *expected_size))]
    Mismatch {
        url: String,
        expected: Digest,
        expected_size: Option<u64>,
        /// Not computed if the size is wrong.
        got: Option<Digest>,
        got_size: u64,
    },
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
    /// A local error: the disk of the pool.
    #[error(transparent)]
    Local(#[from] io::Error),
}

/// A permanent TLS error.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum TlsFailure {
    #[error("the server certificate is not signed by a trusted CA")]
    UnknownIssuer,
    #[error("the server certificate is for another host name")]
    OtherName,
    #[error("the server certificate has expired")]
    Expired,
    #[error("the server certificate is not valid yet")]
    NotValidYet,
    #[error("the server certificate cannot be used: {0}")]
    BadCertificate(String),
    #[error("the server requires a client certificate")]
    ClientCertificateWanted,
    #[error("the server rejected the client certificate: {0}")]
    ClientCertificateRefused(String),
    #[error("the server does not use TLS")]
    NotTls,
    #[error("the server requires TLS")]
    TlsWanted,
}

impl UpstreamError {
    pub fn exit(&self) -> Exit {
        match self {
            Self::Status { status, .. } if *status < 500 && *status != 429 => Exit::Refused,
            Self::Status { .. } | Self::Unreachable { .. } => Exit::Unreachable,
            Self::Tls { .. } | Self::UnknownHost { .. } => Exit::Usage,
            Self::Missing { .. }
            | Self::NotAFile { .. }
            | Self::Denied { .. }
            | Self::Redirect { .. }
            | Self::TooLarge { .. }
            | Self::Mismatch { .. } => Exit::Refused,
            Self::Interrupted(_) => Exit::Interrupted,
            Self::Local(error) => exit_of_io(error),
        }
    }
}

fn about(digest: &Digest, size: Option<u64>) -> String {
    match size {
        Some(size) => format!("{digest} ({size} bytes)"),
        None => digest.to_string(),
    }
}

/// Of a file that is too large, only the beginning was read.
fn about_got(got: Option<&Digest>, size: u64, expected: Option<u64>) -> String {
    match got {
        Some(digest) => about(digest, Some(size)),
        None if expected.is_some_and(|expected| size <= expected) => format!("{size} bytes"),
        None => format!("{size} bytes or more"),
    }
}

impl UpstreamError {
    /// Whether the error concerns one file only, and other files of the upstream may be available.
    /// Some servers return 403 for files that do not exist (S3 without permission to list) or 406
    /// (content negotiation).
    pub fn affects_one_file(&self) -> bool {
        match self {
            Self::Missing { .. } | Self::NotAFile { .. } | Self::Mismatch { .. } => true,
            Self::Denied { status, .. } => matches!(status, 401 | 403),
            Self::Status { status, .. } => (400..500).contains(status) && !self.is_transient(),
            Self::Unreachable { .. }
            | Self::Tls { .. }
            | Self::UnknownHost { .. }
            | Self::Redirect { .. }
            | Self::TooLarge { .. }
            | Self::Interrupted(_)
            | Self::Local(_) => false,
        }
    }

    /// Whether the server returned a 5xx status. If it still does after all attempts, other files
    /// may be available.
    pub fn is_server_error(&self) -> bool {
        matches!(self, Self::Status { status, .. } if *status >= 500)
    }

    /// Which of two errors about a file to report.
    pub fn is_more_severe_than(&self, other: &Self) -> bool {
        let severity = |error: &Self| match error {
            Self::Missing { .. } => 0,
            Self::NotAFile { .. } | Self::Status { .. } => 1,
            Self::Denied { .. } => 2,
            _ => 3,
        };
        severity(self) > severity(other)
    }

    /// Another attempt may succeed.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Status { status, .. } => *status >= 500 || matches!(status, 408 | 425 | 429),
            _ => false,
        }
    }
}
