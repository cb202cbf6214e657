//! Errors of a sync and their exit codes.

use std::path::PathBuf;

use indicatif::HumanBytes;

use super::freshness::FreshnessError;
use crate::exit::Exit;
use crate::format::FormatError;
use crate::interrupt::Interrupted;
use crate::lock::LockError;
use crate::manifest::ManifestError;
use crate::openpgp::VerifyError;
use crate::pool::exit_of_io;
use crate::rel_path::RelPath;
use crate::store::StoreError;
use crate::trust::KeyError;
use crate::upstream::{CredentialError, UpstreamError};

/// How many failures of files are described individually.
const LISTED_MAX: usize = 10;

#[derive(Debug, thiserror::Error)]
pub enum SyncError {
    #[error(transparent)]
    Credentials(#[from] CredentialError),
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error(transparent)]
    Root(#[from] RootError),
    #[error(transparent)]
    Freshness(#[from] FreshnessError),
    #[error(transparent)]
    Format(#[from] FormatError),
    /// `what` is an index or a package in the terms of its format.
    #[error("{what}: {source}")]
    Download { what: String, source: UpstreamError },
    /// After each restart from a newer root, files were missing again.
    #[error("the upstream changed {times} times during the sync: {last}")]
    KeepsChanging { times: u32, last: Box<SyncError> },
    #[error("{name}: listed in the metadata, but no variant exists on the upstream: {}", tried.join(", "))]
    IndexMissing { name: String, tried: Vec<String> },
    #[error("no package matches the filters")]
    NoMatchingPackage,
    #[error("{path} is listed twice with different content: {first} and {second}")]
    TwoContents {
        path: RelPath,
        first: String,
        second: String,
    },
    #[error("{path} is listed with {declared} bytes, but the file with {digest} has {actual}")]
    SizeConflict {
        path: RelPath,
        digest: String,
        declared: u64,
        actual: u64,
    },
    /// Such a file may not be covered by any digest, and clients would import it.
    #[error("the upstream has a file {path} where the trusted keys are published ({key_file})")]
    KeyPlace { path: RelPath, key_file: RelPath },
    #[error("{what}")]
    PackageRefused { what: String },
    /// Several failures; `unchecked` is the number of other files that were not checked.
    #[error("{}", summarize(errors, *unchecked))]
    Files {
        errors: Vec<SyncError>,
        unchecked: u64,
    },
    #[error("not enough space in {}: {} short ({} to download, {} free)", pool.display(), HumanBytes(needed.saturating_sub(*free)), HumanBytes(*needed), HumanBytes(*free))]
    NoSpace {
        pool: PathBuf,
        needed: u64,
        free: u64,
    },
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    #[error(transparent)]
    Lock(#[from] LockError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

impl SyncError {
    pub fn exit(&self) -> Exit {
        match self {
            Self::Files { errors, .. } => most_severe(errors).map_or(Exit::Refused, Self::exit),
            Self::Key(error) => error.exit(),
            Self::Root(error) => error.exit(),
            Self::Freshness(error) => error.exit(),
            Self::Format(error) => error.exit(),
            Self::Download { source, .. } => source.exit(),
            Self::KeepsChanging { .. } => Exit::Unreachable,
            Self::IndexMissing { .. }
            | Self::TwoContents { .. }
            | Self::SizeConflict { .. }
            | Self::PackageRefused { .. }
            | Self::KeyPlace { .. }
            | Self::Manifest(_) => Exit::Refused,
            Self::Lock(error) => error.exit(),
            Self::Store(error) => error.exit(),
            Self::Credentials(CredentialError::Interrupted(_)) | Self::Interrupted(_) => {
                Exit::Interrupted
            }
            Self::Credentials(_) | Self::NoMatchingPackage => Exit::Usage,
            Self::Io(error) => exit_of_io(error),
            Self::NoSpace { .. } => Exit::Other,
        }
    }
}

/// The first of the most severe errors, which determines the exit code.
pub fn most_severe(errors: &[SyncError]) -> Option<&SyncError> {
    let latest_first = errors.iter().rev();
    latest_first.max_by_key(|error| error.exit().severity())
}

impl SyncError {
    /// Removes the context from an interruption: what it interrupted is irrelevant.
    pub(super) fn without_context(self) -> Self {
        match self {
            Self::Credentials(CredentialError::Interrupted(error))
            | Self::Root(RootError::Upstream(UpstreamError::Interrupted(error)))
            | Self::Key(KeyError::Upstream(UpstreamError::Interrupted(error)))
            | Self::Download {
                source: UpstreamError::Interrupted(error),
                ..
            } => Self::Interrupted(error),
            error => error,
        }
    }

    /// Whether the error can be caused by a change of the upstream after its root was fetched.
    pub(super) fn may_be_upstream_change(&self) -> bool {
        match self {
            Self::Download { source, .. } => matches!(
                source,
                UpstreamError::Missing { .. }
                    | UpstreamError::Mismatch { .. }
                    | UpstreamError::Denied { status: 403, .. }
            ),
            Self::IndexMissing { .. } => true,
            Self::Files { errors, .. } => errors.iter().any(Self::may_be_upstream_change),
            _ => false,
        }
    }
}

impl SyncError {
    /// Combines several errors into one; a single error is returned unchanged.
    pub fn combine(mut errors: Vec<Self>, unchecked: u64) -> Option<Self> {
        match errors.len() {
            0 | 1 => errors.pop(),
            _ => Some(Self::Files { errors, unchecked }),
        }
    }
}

/// A line with the number of errors, and one for each of them.
pub fn summarize(errors: &[SyncError], unchecked: u64) -> String {
    let are_refused = |error: &SyncError| matches!(error, SyncError::PackageRefused { .. });
    let are_files = |error: &SyncError| matches!(error, SyncError::Download { .. });
    let count = errors.len();
    let mut text = if errors.iter().all(are_refused) {
        format!("{count} packages failed verification")
    } else if errors.iter().all(|one| are_refused(one) || are_files(one)) {
        format!("{count} files are missing or failed verification")
    } else {
        format!("{count} failures")
    };
    match unchecked {
        0 => {}
        1 => text += ", and one other file was not checked",
        _ => text += &format!(", and {unchecked} other files were not checked"),
    }
    for error in errors.iter().take(LISTED_MAX) {
        text += "\n  ";
        text += &error.to_string().replace('\n', "\n  ");
    }
    if let Some(more @ 1..) = count.checked_sub(LISTED_MAX) {
        text += &format!("\n  and {more} more");
    }
    text
}

#[derive(Debug, thiserror::Error)]
pub enum RootError {
    #[error("no repository found: none of {} exists", tried.join(", "))]
    NotFound { tried: Vec<String> },
    /// The upstream is a local path.
    #[error("{} does not exist or is not a directory", path.display())]
    NoDirectory { path: PathBuf },
    #[error("{url} is not signed ({signature} does not exist or is refused)")]
    SignatureMissing { url: String, signature: String },
    /// As above, if signatures are optional but earlier roots were signed.
    #[error(
        "{url} is not signed, but earlier ones were ({signature} does not exist or is refused)"
    )]
    SignatureGone { url: String, signature: String },
    #[error(transparent)]
    NotVerified(#[from] VerifyError),
    #[error("cannot fetch the metadata: {0}")]
    Upstream(#[from] UpstreamError),
}

impl RootError {
    pub fn exit(&self) -> Exit {
        match self {
            Self::Upstream(error) => error.exit(),
            Self::NotFound { .. }
            | Self::NoDirectory { .. }
            | Self::SignatureMissing { .. }
            | Self::SignatureGone { .. }
            | Self::NotVerified(_) => Exit::Refused,
        }
    }
}

impl RootError {
    /// Whether the error can be caused by fetching root and signature at different times.
    pub(super) fn is_about_signature(&self) -> bool {
        matches!(
            self,
            Self::SignatureMissing { .. } | Self::SignatureGone { .. } | Self::NotVerified(_)
        )
    }
}
