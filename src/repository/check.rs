//! Checks what prevents a configured repository from being synced, without network access.

use std::path::{Path, PathBuf};

use crate::config::{Config, Repository, UpstreamUrl};
use crate::sync::SyncError;
use crate::{trust, upstream};

/// What prevents a sync.
#[derive(Debug, thiserror::Error)]
pub enum CheckFailure {
    /// Credentials or keys cannot be read.
    #[error(transparent)]
    Sync(SyncError),
    #[error("{missing} (a URL begins with https:// or http://)")]
    UpstreamMissing { missing: MissingDirectory },
}

/// An upstream that is a local path and does not exist.
#[derive(Debug, thiserror::Error)]
#[error(
    "{}: upstream.url: {} does not exist or is not a directory",
    file.display(),
    path.display()
)]
pub struct MissingDirectory {
    /// The file with the definition of the repository.
    file: PathBuf,
    path: PathBuf,
}

/// Checks the credentials, the keys, and an upstream that is a local path. Commands that print
/// secrets are not run.
pub fn check(config: &Config, config_dir: &Path, repository: &Repository) -> Vec<CheckFailure> {
    let credentials = upstream::check_credentials(&repository.credentials);
    let keys = trust::cached_keys(config, repository);
    let sync_errors = [
        credentials.err().map(SyncError::from),
        keys.err().map(SyncError::from),
    ];
    let sync_errors = sync_errors.into_iter().flatten();
    let mut failures: Vec<CheckFailure> = sync_errors.map(CheckFailure::Sync).collect();
    failures.extend(missing_upstream(config_dir, repository));
    failures
}

/// Outside of the configuration directory the disk may just not be mounted: that is only a warning.
fn missing_upstream(config_dir: &Path, repository: &Repository) -> Option<CheckFailure> {
    let path = match &repository.upstream {
        UpstreamUrl::File(path) if !path.is_dir() => path,
        _ => return None,
    };
    let missing = MissingDirectory {
        file: repository.file.clone(),
        path: path.clone(),
    };
    if path.starts_with(config_dir) {
        return Some(CheckFailure::UpstreamMissing { missing });
    }
    log::warn!("{missing}: is its file system mounted?");
    None
}
