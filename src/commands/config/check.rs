//! `chantal config check`.

use serde::Serialize;

use crate::commands::{Context, conclude, signing_key};
use crate::config::{Storage, UpstreamUrl};
use crate::error::Error;
use crate::openpgp::SigningKey;
use crate::output::table;
use crate::repo_format::RepoFormat;
use crate::terminal::escape;
use crate::{storage, sync, time, upstream};

#[derive(Serialize)]
struct Checked {
    base_path: String,
    /// `null` when none is configured.
    signing_key: Option<CheckedKey>,
    repositories: Vec<CheckedRepository>,
}

#[derive(Serialize)]
struct CheckedKey {
    fingerprint: String,
    user_id: Option<String>,
    /// Of the subkey or of the key itself.
    signing_fingerprint: String,
    expires: Option<String>,
}

#[derive(Serialize)]
struct CheckedRepository {
    repository: String,
    #[serde(rename = "type")]
    format: RepoFormat,
    enabled: bool,
    upstream: String,
    file: String,
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

/// Whoever gets here has a configuration that was read without an error; warnings were logged. What is left are the files
/// that it names: keys, certificates, secrets, and upstreams that are paths. Commands that print secrets are not run.
pub fn check(context: &Context<'_>) -> Result<(), Error> {
    let mut errors = Vec::new();
    let signing_key = signing_key(context).unwrap_or_else(|error| {
        errors.push(error);
        None
    });
    if let Err(error) = upstream::authorities(context.config) {
        errors.push(Error::Usage(error.to_string()));
    }
    for repository in &context.config.repositories {
        if let Err(source) = upstream::check_credentials(&repository.credentials)
            && repository.enabled
        {
            errors.push(Error::Sync {
                repository: repository.id.to_string(),
                source: source.into(),
            });
        }
        if let Err(source) = sync::keys_at_hand(context.config, repository)
            && repository.enabled
        {
            errors.push(Error::Sync {
                repository: repository.id.to_string(),
                source: source.into(),
            });
        }
    }
    errors.extend(absent_upstreams(context));
    if !errors.is_empty() {
        return conclude(errors);
    }
    warn_of_storage(&context.config.storage);
    let checked = Checked {
        base_path: context.config.storage.base_path.display().to_string(),
        signing_key: signing_key.as_ref().map(CheckedKey::from),
        repositories: context
            .config
            .repositories
            .iter()
            .map(|repository| CheckedRepository {
                repository: repository.id.to_string(),
                format: repository.format.kind(),
                enabled: repository.enabled,
                upstream: repository.upstream.to_string(),
                file: repository.file.display().to_string(),
            })
            .collect(),
    };
    context.output.result(&checked, |checked| {
        let rows: Vec<Vec<String>> = checked
            .repositories
            .iter()
            .map(|repository| {
                vec![
                    repository.repository.clone(),
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
        text.extend(checked.signing_key.iter().map(describe));
        let repositories = rows.len() as u64;
        let noun = if repositories == 1 {
            "repository"
        } else {
            "repositories"
        };
        let broken = context.config.broken.len();
        if broken > 0 {
            let files = if broken == 1 { "file" } else { "files" };
            return text
                + &format!(
                    "{repositories} {noun} can be used, {broken} {files} of repos.d cannot"
                );
        }
        text + &format!(
            "the configuration is good: {repositories} {noun}, storage {}",
            checked.base_path
        )
    })?;
    Ok(())
}

/// Upstreams that are paths, and are not there. Elsewhere than beside the configuration a disk may only be away: that is a warning.
fn absent_upstreams(context: &Context<'_>) -> Vec<Error> {
    let enabled = context.config.repositories.iter();
    let enabled = enabled.filter(|repository| repository.enabled);
    let mut errors = Vec::new();
    for repository in enabled {
        let path = match &repository.upstream {
            UpstreamUrl::File(path) if !path.is_dir() => path,
            _ => continue,
        };
        let what = format!(
            "{}: upstream.url: there is no directory {}",
            repository.file.display(),
            path.display()
        );
        if path.starts_with(context.config_dir) {
            errors.push(Error::Usage(format!(
                "{what} (a URL begins with https:// or http://)"
            )));
        } else {
            log::warn!("{what}: is its disk mounted?");
        }
    }
    errors
}

/// Whatever is wrong with the storage is no fault of the configuration.
fn warn_of_storage(places: &Storage) {
    match storage::is_made_or_warn(places) {
        Ok(true) if places.create => log::warn!(
            "storage.create is set, and the storage {} was made: an unmounted disk may be taken for a first run. Remove the key",
            places.base_path.display()
        ),
        Ok(_) => {}
        Err(error) => log::warn!("{error}"),
    }
}

fn describe(key: &CheckedKey) -> String {
    let user_id = escape(key.user_id.as_deref().unwrap_or("(nameless)"));
    let mut text = format!("signing key {} {user_id}", key.fingerprint);
    if key.signing_fingerprint != key.fingerprint {
        text += &format!(", signs with its subkey {}", key.signing_fingerprint);
    }
    if let Some(expires) = &key.expires {
        text += &format!(", expires {expires}");
    }
    text + "\n"
}
