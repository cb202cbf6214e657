//! `chantal repo trust`.

use std::path::Path;

use crate::cli::RepoTrust;
use crate::commands::{Context, requester};
use crate::config::KeySource;
use crate::error::Error;
use crate::media::{self, MediaError};
use crate::report::AcceptedKeys;
use crate::storage::Storage;
use crate::sync::SyncError;
use crate::terminal::escape;
use crate::trust;
use crate::upstream::Upstream;

const REMOVED: &str = "no longer trusted";
const NOT_TRUSTED: &str = "not trusted";

pub fn trust(context: &Context<'_>, arguments: &RepoTrust) -> Result<(), Error> {
    if let Some(medium) = &arguments.from_medium {
        return trust_medium(context, arguments, medium);
    }
    let repository = context.repository(&arguments.repository.repo_id)?;
    let from_urls = |source: &KeySource| matches!(source, KeySource::Http(_));
    if !repository.trust.keys.iter().any(from_urls) {
        return Err(Error::Usage(format!(
            "{} has no gpgkey_url: its keys are configured as files",
            repository.id
        )));
    }
    let failed = |source: SyncError| Error::Sync {
        repository: repository.id.clone(),
        source,
    };
    let requester = requester("repo trust", &arguments.waiting)?;
    let storage = Storage::open(&context.config.storage, &requester)?;
    // No other run may store keys of this repository at the same time.
    let _lock = storage.locks.repository(&repository.id)?;
    let upstream = Upstream::open(context.config, repository, None, &storage.interrupt)
        .map_err(|error| failed(error.into()))?;
    let accepted = trust::accept(context.config, repository, &upstream, &storage.locks)
        .map_err(|error| failed(error.into()))?;
    let trusted = AcceptedKeys::new(&repository.id, &accepted);
    context.output.result(&trusted, describe)?;
    Ok(())
}

/// An isolated host cannot ask a URL: the exporter did, and its medium has the keys.
fn trust_medium(context: &Context<'_>, arguments: &RepoTrust, medium: &Path) -> Result<(), Error> {
    let id = &arguments.repository.repo_id;
    let requester = requester("repo trust", &arguments.waiting)?;
    let storage = Storage::open(&context.config.storage, &requester)?;
    let _lock = storage.locks.repository(id)?;
    let keyring = media::keys_of_medium(&storage, context.config, medium, id)?;
    let definition = match context.config.repository(id) {
        Some(definition) => Some(definition),
        // An invalid definition may be that of the repository.
        None if context.config.may_be_about(id).is_some() => Some(context.repository(id)?),
        None => None,
    };
    let accepted = trust::accept_keyring(context.config, id, definition, &keyring, &storage.locks)
        .map_err(MediaError::from)?;
    let Some(accepted) = accepted else {
        return Err(Error::Usage(format!(
            "{id} has no gpgkey_url: its keys are configured as files"
        )));
    };
    let trusted = AcceptedKeys::new(id, &accepted);
    context.output.result(&trusted, describe)?;
    Ok(())
}

fn describe(trusted: &AcceptedKeys) -> String {
    let mut lines = Vec::new();
    for (keys, what) in [
        (&trusted.added, "now trusted"),
        (&trusted.kept, "still trusted"),
        (&trusted.removed, REMOVED),
    ] {
        for key in keys {
            let user_id = escape(key.user_id.as_deref().unwrap_or("(no user ID)")).into_owned();
            let (what, why) = match &key.problem {
                // The key is stored anyway, so that an older, valid version of it is not accepted.
                Some(problem) if what != REMOVED => (NOT_TRUSTED, format!(" ({problem})")),
                _ => (what, String::new()),
            };
            lines.push(format!(
                "{}: {what}: {} {user_id}{why}",
                trusted.repository, key.fingerprint
            ));
        }
    }
    lines.join("\n")
}
