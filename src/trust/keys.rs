//! Loads the trusted keys: from files, from key URLs, and from the stored keys of URLs.

use std::sync::{Arc, Mutex, MutexGuard};

use super::stored_keys::{KeyError, StoredKeys, pin, pinned_keyring, urls};
use crate::config::{self, Config, HttpUrl, KeySource};
use crate::lock::Locks;
use crate::names::RepoId;
use crate::openpgp::{KeySummary, Keyring, Policy};
use crate::regular_file;
use crate::storage::Storage;
use crate::threads::lock;
use crate::upstream::{Small, Upstream};

/// The keys of one repository in one run: loaded when they are first needed, so that their URLs are
/// requested at most once.
pub struct TrustedKeys<'a> {
    config: &'a Config,
    repository: &'a config::Repository,
    storage: &'a Storage,
    loaded: Mutex<LoadedKeys>,
}

#[derive(Default)]
struct LoadedKeys {
    keyring: Option<Arc<Keyring>>,
    warnings: Vec<String>,
}

impl<'a> TrustedKeys<'a> {
    pub fn new(
        config: &'a Config,
        repository: &'a config::Repository,
        storage: &'a Storage,
    ) -> Self {
        Self {
            config,
            repository,
            storage,
            loaded: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, LoadedKeys> {
        lock(&self.loaded)
    }

    /// Warnings from loading the keys.
    pub fn warnings(&self) -> Vec<String> {
        self.lock().warnings.clone()
    }

    /// The trusted keys. They are loaded once and do not change during a run.
    pub fn keyring(&self, upstream: &Upstream) -> Result<Arc<Keyring>, KeyError> {
        let mut loaded = self.lock();
        if let Some(keyring) = &loaded.keyring {
            return Ok(Arc::clone(keyring));
        }
        let keyring = from_files(self.repository)?;
        let keyring = Arc::new(if urls(self.repository).next().is_some() {
            self.with_keys_of_urls(keyring, upstream, &mut loaded.warnings)?
        } else {
            restricted(keyring, self.repository)?
        });
        loaded.keyring = Some(Arc::clone(&keyring));
        Ok(keyring)
    }

    /// Requests the URLs, and stores the accepted keys.
    fn with_keys_of_urls(
        &self,
        mut keyring: Keyring,
        upstream: &Upstream,
        warnings: &mut Vec<String>,
    ) -> Result<Keyring, KeyError> {
        let (config, repository) = (self.config, self.repository);
        let known = StoredKeys::read(config, repository)?;
        // A key that is no longer at its URL is still trusted until it is revoked.
        keyring.extend(known.keyring().clone());
        let mut kept = known.clone();
        let mut failures = Vec::new();
        for url in urls(repository) {
            match fetch_keys(upstream, url) {
                Ok(keys) => {
                    keyring.extend(keys.clone());
                    let keys = only_configured(keys, repository);
                    if known.contains_url(url) {
                        reject_new_keys(url, known.keyring(), &keys, repository)?;
                    }
                    kept.add(url, keys);
                }
                Err(error) if known.contains_url(url) && error.is_url_error() => {
                    failures.push(error);
                }
                Err(error) => return Err(error),
            }
        }
        // A configured key may have been added to a URL after its other keys were stored.
        if !has_all_configured(&keyring, repository)
            && let Some(failure) = failures.pop()
        {
            return Err(failure);
        }
        let keyring = restricted(keyring, repository)?;
        kept.retain(|fingerprint| is_wanted(fingerprint, repository));
        if !self.storage.is_dry_run() {
            kept.write(config, repository, &self.storage.locks)?;
        }
        let about = |failure: &KeyError| format!("using the stored keys: {failure}");
        warnings.extend(failures.iter().map(about));
        Ok(keyring)
    }
}

/// Fails if a known URL has new keys. If fingerprints are configured, other keys were already
/// removed.
fn reject_new_keys(
    url: &HttpUrl,
    known: &Keyring,
    found: &Keyring,
    repository: &config::Repository,
) -> Result<(), KeyError> {
    let kept = known.fingerprints();
    let found = found.fingerprints();
    let is_known = |fingerprint| kept.contains(fingerprint);
    if !repository.trust.fingerprints.is_empty() || found.iter().all(is_known) {
        return Ok(());
    }
    Err(KeyError::Replaced {
        url: url.to_string(),
        kept,
        found,
    })
}

/// Downloads the keys of a URL.
fn fetch_keys(upstream: &Upstream, url: &HttpUrl) -> Result<Keyring, KeyError> {
    let shown = url.to_string();
    match upstream.small_at(url.as_url()) {
        Ok(Small::Body { bytes, .. }) => Ok(Keyring::parse(&bytes, &shown)?),
        Ok(Small::Missing | Small::NotModified) => Err(KeyError::Missing { url: shown }),
        Err(error) => Err(KeyError::Upstream(error)),
    }
}

/// The trusted keys of URLs before and after [`accept`].
pub struct Accepted {
    pub before: Vec<KeySummary>,
    pub after: Vec<KeySummary>,
}

/// Replaces the stored keys by the current keys of the URLs, as confirmed by the user (`repo
/// trust`).
pub fn accept(
    config: &Config,
    repository: &config::Repository,
    upstream: &Upstream,
    locks: &Locks,
) -> Result<Accepted, KeyError> {
    let before = StoredKeys::read(config, repository)?;
    let mut after = StoredKeys::default();
    let mut all = from_files(repository)?;
    for url in urls(repository) {
        let keys = fetch_keys(upstream, url)?;
        all.extend(keys.clone());
        after.add(url, only_configured(keys, repository));
    }
    restricted(all, repository)?;
    after.remember(&before);
    after.write(config, repository, locks)?;
    let now = crate::time::now();
    let before = only_configured(before.keyring().clone(), repository);
    Ok(Accepted {
        before: before.keys(now),
        after: after.keyring().keys(now),
    })
}

/// Replaces the stored keys of a repository by those of a medium, as confirmed by the user. `None`
/// if its keys are configured as files only: the files decide.
pub fn accept_keyring(
    config: &Config,
    id: &RepoId,
    definition: Option<&config::Repository>,
    keyring: &Keyring,
    locks: &Locks,
) -> Result<Option<Accepted>, KeyError> {
    let now = crate::time::now();
    let Some(repository) = definition else {
        let before = pinned_keyring(&config.storage, id)?.unwrap_or_default();
        pin(&config.storage, id, keyring, locks)?;
        return Ok(Some(Accepted {
            before: before.keys(now),
            after: keyring.keys(now),
        }));
    };
    if urls(repository).next().is_none() {
        return Ok(None);
    }
    let before = StoredKeys::read(config, repository)?;
    let mut after = StoredKeys::default();
    let mut all = from_files(repository)?;
    all.extend(keyring.clone());
    for url in urls(repository) {
        after.add(url, only_configured(keyring.clone(), repository));
    }
    restricted(all, repository)?;
    after.remember(&before);
    after.write(config, repository, locks)?;
    let before = only_configured(before.keyring().clone(), repository);
    Ok(Some(Accepted {
        before: before.keys(now),
        after: after.keyring().keys(now),
    }))
}

/// The trusted keys that are known without network access, for users.
pub fn cached_keys(
    config: &Config,
    repository: &config::Repository,
) -> Result<Vec<KeySummary>, KeyError> {
    let now = crate::time::now();
    if let Some(keyring) = cached_keyring(config, repository)? {
        return Ok(keyring.keys(now));
    }
    let mut keyring = from_files(repository)?;
    keyring.extend(StoredKeys::read(config, repository)?.keyring().clone());
    Ok(only_configured(keyring, repository).keys(now))
}

/// The trusted keys without network access. `None` if some of them must be downloaded.
pub fn cached_keyring(
    config: &Config,
    repository: &config::Repository,
) -> Result<Option<Keyring>, KeyError> {
    let mut keyring = from_files(repository)?;
    if urls(repository).next().is_some() {
        let kept = StoredKeys::read(config, repository)?;
        if !urls(repository).all(|url| kept.contains_url(url)) {
            return Ok(None);
        }
        keyring.extend(kept.keyring().clone());
        if !has_all_configured(&keyring, repository) {
            return Ok(None);
        }
    }
    restricted(keyring, repository).map(Some)
}

fn from_files(repository: &config::Repository) -> Result<Keyring, KeyError> {
    let mut keyring = Keyring::default();
    for source in &repository.trust.keys {
        if let KeySource::File(path) = source {
            let bytes = regular_file::read_named(path).map_err(KeyError::File)?;
            keyring.extend(Keyring::parse(&bytes, &path.display().to_string())?);
        }
    }
    Ok(keyring)
}

/// Whether all configured fingerprints are in the keyring.
fn has_all_configured(keyring: &Keyring, repository: &config::Repository) -> bool {
    let found = keyring.fingerprints();
    let mut named = repository.trust.fingerprints.iter();
    named.all(|named| found.iter().any(|found| found == named.as_str()))
}

/// Whether this fingerprint is configured, or none is.
fn is_wanted(fingerprint: &str, repository: &config::Repository) -> bool {
    let named = &repository.trust.fingerprints;
    named.is_empty() || named.iter().any(|named| named.as_str() == fingerprint)
}

fn only_configured(mut keyring: Keyring, repository: &config::Repository) -> Keyring {
    keyring.retain(|fingerprint| is_wanted(fingerprint, repository));
    keyring
}

/// Keeps only the configured keys, which must exist, and sets the configured policy.
fn restricted(mut keyring: Keyring, repository: &config::Repository) -> Result<Keyring, KeyError> {
    let trust = &repository.trust;
    if !trust.fingerprints.is_empty() {
        let wanted: Vec<String> = trust.fingerprints.iter().map(ToString::to_string).collect();
        keyring.retain_fingerprints(&wanted)?;
    }
    Ok(keyring.with_policy(Policy {
        allow_weak_signatures: trust.allow_weak_signatures,
    }))
}
