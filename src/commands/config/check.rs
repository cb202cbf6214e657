//! `chantal config check`.

use crate::commands::{Context, Failure, conclude};
use crate::config::StorageConfig;
use crate::error::Error;
use crate::output::table;
use crate::report::{CheckError, CheckedConfiguration, CheckedKey, CheckedRepository};
use crate::terminal::escape;
use crate::{repository, storage, upstream};

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
    for definition in &context.config.repositories {
        let found = if definition.enabled {
            repository::check(context.config, context.config_dir, definition)
        } else {
            Vec::new()
        };
        if found.is_empty() {
            usable.push(definition);
        }
        let found = found.into_iter();
        errors.extend(found.map(|failure| Error::from_check(&definition.id, failure)));
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
