//! Results of `config check` and `config keygen`.

use std::path::PathBuf;

use serde::Serialize;

use super::encode::{Timestamp, optional_path, path};
use super::failure::Failure;
use crate::config::Repository;
use crate::names::RepoId;
use crate::openpgp::SigningKey;
use crate::repo_format::RepoFormat;
use crate::time;

/// The result of checking the configuration.
#[derive(Clone, Debug, Serialize)]
pub struct CheckedConfiguration {
    #[serde(serialize_with = "path")]
    pub base_path: PathBuf,
    /// `None` if none is configured.
    pub signing_key: Option<CheckedKey>,
    /// Without the repositories in `errors`.
    pub repositories: Vec<CheckedRepository>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<CheckError>,
}

/// An error in the configuration, or in a file that it refers to.
#[derive(Clone, Debug, Serialize)]
pub struct CheckError {
    pub error: String,
    #[serde(flatten)]
    pub failure: Failure,
}

/// The configured signing key.
#[derive(Clone, Debug, Serialize)]
pub struct CheckedKey {
    pub fingerprint: String,
    pub user_id: Option<String>,
    /// Fingerprint of the signing subkey, or of the primary key.
    pub signing_fingerprint: String,
    pub expires: Option<Timestamp>,
}

/// A repository without errors.
#[derive(Clone, Debug, Serialize)]
pub struct CheckedRepository {
    pub repository: RepoId,
    #[serde(rename = "type")]
    pub format: RepoFormat,
    pub enabled: bool,
    pub upstream: String,
    #[serde(serialize_with = "path")]
    pub file: PathBuf,
}

impl From<&Repository> for CheckedRepository {
    fn from(repository: &Repository) -> Self {
        Self {
            repository: repository.id.clone(),
            format: repository.format.kind(),
            enabled: repository.enabled,
            upstream: repository.upstream.to_string(),
            file: repository.file.clone(),
        }
    }
}

impl From<&SigningKey> for CheckedKey {
    fn from(key: &SigningKey) -> Self {
        Self {
            fingerprint: key.fingerprint(),
            user_id: key.summary(time::now()).user_id,
            signing_fingerprint: key.signing_fingerprint(),
            expires: key.expires().map(Timestamp),
        }
    }
}

/// A signing key that was generated and configured.
#[derive(Clone, Debug, Serialize)]
pub struct GeneratedSigningKey {
    pub fingerprint: String,
    pub user_id: String,
    #[serde(rename = "type")]
    pub algorithm: &'static str,
    #[serde(serialize_with = "path")]
    pub secret_key: PathBuf,
    #[serde(serialize_with = "path")]
    pub public_key: PathBuf,
    #[serde(serialize_with = "optional_path")]
    pub passphrase_file: Option<PathBuf>,
    #[serde(serialize_with = "path")]
    pub configured_in: PathBuf,
}
