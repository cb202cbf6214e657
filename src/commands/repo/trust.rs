//! `chantal repo trust`.

use serde::Serialize;

use crate::cli::RepoTrust;
use crate::commands::{Context, requester};
use crate::config::KeySource;
use crate::error::Error;
use crate::names::RepoId;
use crate::openpgp::KeySummary;
use crate::storage::Storage;
use crate::sync::SyncError;
use crate::terminal::escape;
use crate::trust;
use crate::upstream::Upstream;

const GONE: &str = "no longer trusted";
const USELESS: &str = "not trusted";

#[derive(Serialize)]
struct Trusted {
    repository: RepoId,
    added: Vec<Key>,
    kept: Vec<Key>,
    removed: Vec<Key>,
}

#[derive(Serialize)]
struct Key {
    fingerprint: String,
    user_id: Option<String>,
    /// Why nothing that it signs now is accepted.
    problem: Option<String>,
}

pub fn trust(context: &Context<'_>, arguments: &RepoTrust) -> Result<(), Error> {
    let repository = context.repository(&arguments.repository.repo_id)?;
    let from_urls = |source: &KeySource| matches!(source, KeySource::Http(_));
    if !repository.trust.keys.iter().any(from_urls) {
        return Err(Error::Usage(format!(
            "{} has no gpgkey_url: its keys are the files that the configuration names",
            repository.id
        )));
    }
    let failed = |source: SyncError| Error::Sync {
        repository: repository.id.clone(),
        source,
    };
    let requester = requester("repo trust", &arguments.waiting)?;
    let storage = Storage::open(&context.config.storage, &requester)?;
    // Nobody else may be about to keep keys of this repository.
    let _lock = storage.locks.repository(&repository.id)?;
    let upstream = Upstream::open(context.config, repository, None, &storage.interrupt)
        .map_err(|error| failed(error.into()))?;
    let accepted = trust::accept(context.config, repository, &upstream, &storage.locks)
        .map_err(|error| failed(error.into()))?;

    let is_in = |keys: &[KeySummary], key: &KeySummary| {
        keys.iter()
            .any(|other| other.fingerprint == key.fingerprint)
    };
    let (kept, added) = accepted
        .after
        .iter()
        .partition::<Vec<&KeySummary>, _>(|key| is_in(&accepted.before, key));
    let removed = accepted
        .before
        .iter()
        .filter(|key| !is_in(&accepted.after, key));
    let trusted = Trusted {
        repository: repository.id.clone(),
        added: added.into_iter().map(Key::from).collect(),
        kept: kept.into_iter().map(Key::from).collect(),
        removed: removed.map(Key::from).collect(),
    };
    context.output.result(&trusted, describe)?;
    Ok(())
}

impl From<&KeySummary> for Key {
    fn from(key: &KeySummary) -> Self {
        Self {
            fingerprint: key.fingerprint.clone(),
            user_id: key.user_id.clone(),
            problem: key.signing_problem().map(ToString::to_string),
        }
    }
}

fn describe(trusted: &Trusted) -> String {
    let mut lines = Vec::new();
    for (keys, what) in [
        (&trusted.added, "now trusted"),
        (&trusted.kept, "still trusted"),
        (&trusted.removed, GONE),
    ] {
        for key in keys {
            let user_id = escape(key.user_id.as_deref().unwrap_or("(nameless)")).into_owned();
            let (what, why) = match &key.problem {
                // It is kept all the same: an older edition of it, still good, must not come back.
                Some(problem) if what != GONE => (USELESS, format!(" ({problem})")),
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
