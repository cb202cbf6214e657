//! `chantal config check`.

use crate::commands::{Context, Failure, conclude};
use crate::config::{Repository, StorageConfig, UpstreamUrl};
use crate::error::Error;
use crate::output::table;
use crate::report::{CheckError, CheckedConfiguration, CheckedKey, CheckedRepository};
use crate::terminal::escape;
use crate::trust;
use crate::{storage, upstream};

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
    let checked = CheckedConfiguration {
        base_path: context.config.storage.base_path.clone(),
        signing_key: signing_key.map(CheckedKey::from),
        repositories: usable.into_iter().map(CheckedRepository::from).collect(),
        errors: errors.iter().map(check_error).collect(),
    };
    let broken = context.config.broken.len();
    context
        .output
        .result(&checked, |checked| describe(checked, broken))?;
    conclude(errors)
}

fn check_error(error: &Error) -> CheckError {
    CheckError {
        error: error.to_string(),
        failure: Failure::from(error),
    }
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

fn describe(checked: &CheckedConfiguration, broken: usize) -> String {
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
            checked.base_path.display()
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
