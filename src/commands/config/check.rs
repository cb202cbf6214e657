//! `chantal config check`.

use serde::Serialize;

use crate::commands::{Context, Failure, conclude};
use crate::config::{Repository, StorageConfig, UpstreamUrl};
use crate::error::Error;
use crate::names::RepoId;
use crate::openpgp::SigningKey;
use crate::output::table;
use crate::repo_format::RepoFormat;
use crate::terminal::escape;
use crate::trust;
use crate::{storage, time, upstream};

#[derive(Serialize)]
struct CheckResult {
    base_path: String,
    /// `null` when none is configured.
    signing_key: Option<CheckedKey>,
    /// Without the repositories in `errors`.
    repositories: Vec<CheckedRepository>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<CheckedError>,
}

#[derive(Serialize)]
struct CheckedError {
    error: String,
    #[serde(flatten)]
    failure: Failure,
}

#[derive(Serialize)]
struct CheckedKey {
    fingerprint: String,
    user_id: Option<String>,
    /// Fingerprint of the signing subkey, or of the primary key.
    signing_fingerprint: String,
    expires: Option<String>,
}

#[derive(Serialize)]
struct CheckedRepository {
    repository: RepoId,
    #[serde(rename = "type")]
    format: RepoFormat,
    enabled: bool,
    upstream: String,
    file: String,
}

impl From<&Error> for CheckedError {
    fn from(error: &Error) -> Self {
        Self {
            error: error.to_string(),
            failure: Failure::from(error),
        }
    }
}

impl From<&Repository> for CheckedRepository {
    fn from(repository: &Repository) -> Self {
        Self {
            repository: repository.id.clone(),
            format: repository.format.kind(),
            enabled: repository.enabled,
            upstream: repository.upstream.to_string(),
            file: repository.file.display().to_string(),
        }
    }
}

impl From<&SigningKey> for CheckedKey {
    fn from(key: &SigningKey) -> Self {
        Self {
            fingerprint: key.fingerprint(),
            user_id: key.summary(time::now()).user_id,
            signing_fingerprint: key.signing_fingerprint(),
            expires: key.expires().map(time::rfc3339),
        }
    }
}

/// The configuration itself was already loaded without errors, and its warnings were logged. This
/// checks the files that it refers to: keys, certificates, secrets, and upstreams that are local
/// paths. Commands that print secrets are not run.
pub fn check(context: &Context<'_>) -> Result<(), Error> {
    let mut errors = Vec::new();
    let signing_key = context.key.read().unwrap_or_else(|error| {
        errors.push(error.into());
        None
    });
    if let Err(error) = upstream::authorities(context.config) {
        errors.push(Error::Usage(error.to_string()));
    }
    let mut usable = Vec::new();
    for repository in &context.config.repositories {
        let found = if repository.enabled {
            check_repository(context, repository)
        } else {
            Vec::new()
        };
        if found.is_empty() {
            usable.push(repository);
        }
        errors.extend(found);
    }
    if errors.is_empty() {
        check_storage(&context.config.storage);
    }
    let checked = CheckResult {
        base_path: context.config.storage.base_path.display().to_string(),
        signing_key: signing_key.map(CheckedKey::from),
        repositories: usable.into_iter().map(CheckedRepository::from).collect(),
        errors: errors.iter().map(CheckedError::from).collect(),
    };
    let broken = context.config.broken.len();
    context
        .output
        .result(&checked, |checked| describe(checked, broken))?;
    conclude(errors)
}

/// Finds what prevents an enabled repository from being synced.
fn check_repository(context: &Context<'_>, repository: &Repository) -> Vec<Error> {
    let of_sync = |source| Error::Sync {
        repository: repository.id.clone(),
        source,
    };
    let credentials = upstream::check_credentials(&repository.credentials);
    let keys = trust::cached_keys(context.config, repository);
    let mut found = Vec::new();
    found.extend(credentials.err().map(|source| of_sync(source.into())));
    found.extend(keys.err().map(|source| of_sync(source.into())));
    found.extend(missing_upstream(context, repository));
    found
}

/// An upstream that is a local path and does not exist. Outside of the configuration directory the
/// disk may just not be mounted: that is only a warning.
fn missing_upstream(context: &Context<'_>, repository: &Repository) -> Option<Error> {
    let path = match &repository.upstream {
        UpstreamUrl::File(path) if !path.is_dir() => path,
        _ => return None,
    };
    let what = format!(
        "{}: upstream.url: {} does not exist or is not a directory",
        repository.file.display(),
        path.display()
    );
    if path.starts_with(context.config_dir) {
        let what = format!("{what} (a URL begins with https:// or http://)");
        return Some(Error::Usage(what));
    }
    log::warn!("{what}: is its file system mounted?");
    None
}

/// Problems of the storage are not errors of the configuration.
fn check_storage(places: &StorageConfig) {
    match storage::is_made_or_warn(places) {
        Ok(true) if places.create => log::warn!(
            "storage.create is set, but the storage {} already exists: remove the key, so that a \
             sync does not create a new storage while the disk is not mounted",
            places.base_path.display()
        ),
        Ok(_) => {}
        Err(error) => log::warn!("{error}"),
    }
}

fn describe(checked: &CheckResult, broken: usize) -> String {
    let rows: Vec<Vec<String>> = checked
        .repositories
        .iter()
        .map(|repository| {
            vec![
                repository.repository.to_string(),
                repository.format.to_string(),
                if repository.enabled { "yes" } else { "no" }.to_owned(),
                repository.upstream.clone(),
            ]
        })
        .collect();
    let mut text = String::new();
    if !rows.is_empty() {
        text = table(&["REPOSITORY", "TYPE", "ENABLED", "UPSTREAM"], &rows);
    }
    text.extend(checked.signing_key.iter().map(describe_key));
    let repositories = rows.len();
    let noun = if repositories == 1 {
        "repository"
    } else {
        "repositories"
    };
    if broken > 0 {
        let files = if broken == 1 { "file" } else { "files" };
        text += &format!("{repositories} valid {noun}, {broken} invalid {files} in repos.d");
    } else if checked.errors.is_empty() {
        text += &format!(
            "configuration OK: {repositories} {noun}, storage {}",
            checked.base_path
        );
    } else if repositories > 0 {
        text += &format!("{repositories} valid {noun}");
    }
    text
}

fn describe_key(key: &CheckedKey) -> String {
    let user_id = escape(key.user_id.as_deref().unwrap_or("(no user ID)"));
    let mut text = format!("signing key {} {user_id}", key.fingerprint);
    if key.signing_fingerprint != key.fingerprint {
        text += &format!(", signing subkey {}", key.signing_fingerprint);
    }
    if let Some(expires) = &key.expires {
        text += &format!(", expires {expires}");
    }
    text + "\n"
}
