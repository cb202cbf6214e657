//! The keys that a repository's root is verified with.
//!
//! Keys from files are read whenever they are needed. Keys from URLs are fetched once and kept in
//! `{base_path}/gpgkeys/<repository>.asc`; the URLs are asked again only when the kept keys do not verify a root, or lack one
//! that the configuration names. An update of a
//! known key (new subkeys, another expiry, a revocation) is then taken, a new key only where the configuration names
//! its fingerprint or somebody accepted it ([`accept`]): else whoever controls the URL could replace the trust.

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fs_err as fs;

use super::Session;
use crate::config::{self, Config, HttpUrl, KeySource};
use crate::digest::ObjectId;
use crate::openpgp::{KeySummary, Keyring, KeyringError, Policy};
use crate::upstream::{Small, Upstream, UpstreamError};

#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("a key is missing: {url} does not exist")]
    Missing { url: String },
    #[error("a key: {0}")]
    Upstream(UpstreamError),
    #[error("a key: {0}")]
    File(io::Error),
    #[error(transparent)]
    Unusable(#[from] KeyringError),
    #[error("{url} now has other keys: expected {}, got {}", kept.join(", "), found.join(", "))]
    Replaced {
        url: String,
        kept: Vec<String>,
        found: Vec<String>,
    },
}

/// The keys of one run: loaded when they are first needed, and their URLs asked at most once.
#[derive(Default)]
pub(super) struct Keys {
    loaded: Mutex<Loaded>,
}

#[derive(Default)]
struct Loaded {
    keyring: Option<Arc<Keyring>>,
    /// The URLs were asked in this run.
    are_fresh: bool,
}

/// The kept keys of a repository, and which URLs they came from.
struct Kept {
    path: PathBuf,
    /// Keys that other URLs gave do not count for these.
    sources: ObjectId,
}

impl Session<'_> {
    /// Runs a verification; when the keys at hand do not suffice, once more with what the key URLs give now.
    ///
    /// `newer_keys_may_help` says it of a verdict. Any number of threads may verify at once.
    pub(super) fn verify_with_keys<T, E>(
        &self,
        verification: impl Fn(&Keyring) -> Result<T, E>,
        newer_keys_may_help: impl Fn(&E) -> bool,
    ) -> Result<Result<T, E>, KeyError> {
        let keyring = self.keyring()?;
        match verification(&keyring) {
            Err(error) if newer_keys_may_help(&error) => {
                Ok(match self.newer_keyring(&keyring)? {
                    Some(newer) => verification(&newer),
                    None => Err(error),
                })
            }
            verdict => Ok(verdict),
        }
    }

    /// The trusted keys: files as they are now, URLs as they are kept or, the first time, as they are fetched.
    pub(super) fn keyring(&self) -> Result<Arc<Keyring>, KeyError> {
        let mut loaded = self.keys.lock();
        if let Some(keyring) = &loaded.keyring {
            return Ok(Arc::clone(keyring));
        }
        self.load(&mut loaded)
    }

    /// What the key URLs give beyond a keyring that did not suffice; `None` when they have nothing to add to it.
    fn newer_keyring(&self, than: &Arc<Keyring>) -> Result<Option<Arc<Keyring>>, KeyError> {
        let mut loaded = self.keys.lock();
        if let Some(keyring) = &loaded.keyring
            && !Arc::ptr_eq(keyring, than)
        {
            // Another thread has asked meanwhile.
            return Ok(Some(Arc::clone(keyring)));
        }
        if loaded.are_fresh || urls(self.repository).is_empty() {
            return Ok(None);
        }
        self.ask_for_keys(&mut loaded)?;
        self.load(&mut loaded).map(Some)
    }

    fn load(&self, loaded: &mut Loaded) -> Result<Arc<Keyring>, KeyError> {
        let mut keyring = from_files(self.repository)?;
        if !urls(self.repository).is_empty() {
            match self.kept_keys().read()? {
                Some(kept) => keyring.extend(kept),
                None => keyring.extend(self.ask_for_keys(loaded)?),
            }
            // The configuration may name a key that the URL got only after the others were kept.
            if !loaded.are_fresh && !has_all_named(&keyring, self.repository) {
                keyring.extend(self.ask_for_keys(loaded)?);
            }
        }
        let keyring = Arc::new(narrowed(keyring, self.repository)?);
        loaded.keyring = Some(Arc::clone(&keyring));
        Ok(keyring)
    }

    /// Asks the URLs, and keeps what may be kept.
    fn ask_for_keys(&self, loaded: &mut Loaded) -> Result<Keyring, KeyError> {
        let kept = self.kept_keys();
        let known = kept.read()?;
        let mut keyring = Keyring::default();
        for (url, keys) in ask(&self.upstream, self.repository)? {
            if let Some(known) = &known {
                self.refuse_strangers(&url, known, &keys)?;
            }
            keyring.extend(keys);
        }
        if let Some(known) = known {
            // A key that the URL no longer has is still trusted: only its own revocation ends that.
            keyring.extend(known);
        }
        kept.write(&keyring)?;
        loaded.are_fresh = true;
        Ok(keyring)
    }

    fn refuse_strangers(
        &self,
        url: &str,
        known: &Keyring,
        found: &Keyring,
    ) -> Result<(), KeyError> {
        let known = known.fingerprints();
        let named = &self.repository.trust.fingerprints;
        let stranger = found.fingerprints().into_iter().any(|fingerprint| {
            !known.contains(&fingerprint)
                && !named.iter().any(|named| named.as_str() == fingerprint)
        });
        if !stranger {
            return Ok(());
        }
        Err(KeyError::Replaced {
            url: url.to_owned(),
            kept: known,
            found: found.fingerprints(),
        })
    }

    fn kept_keys(&self) -> Kept {
        Kept::of(self.context.config, self.repository)
    }
}

impl Keys {
    fn lock(&self) -> MutexGuard<'_, Loaded> {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the key URLs have now, each with its keys.
fn ask(
    upstream: &Upstream,
    repository: &config::Repository,
) -> Result<Vec<(String, Keyring)>, KeyError> {
    let mut answers = Vec::new();
    for url in urls(repository) {
        let shown = url.to_string();
        let bytes = match upstream.small_at(url.as_url()) {
            Ok(Small::Body { bytes, .. }) => bytes,
            Ok(Small::Missing | Small::NotModified) => {
                return Err(KeyError::Missing { url: shown });
            }
            Err(error) => return Err(KeyError::Upstream(error)),
        };
        let keys = Keyring::parse(&bytes, &shown)?;
        answers.push((shown, keys));
    }
    Ok(answers)
}

/// The kept keys before and after [`accept`].
pub struct Accepted {
    pub before: Vec<KeySummary>,
    pub after: Vec<KeySummary>,
}

/// Keeps what the key URLs have now, and nothing else, whatever was kept before: somebody looked at it and said so.
pub fn accept(
    config: &Config,
    repository: &config::Repository,
    upstream: &Upstream,
) -> Result<Accepted, KeyError> {
    let kept = Kept::of(config, repository);
    let before = kept.read()?.unwrap_or_default();
    let mut after = Keyring::default();
    for (_, keys) in ask(upstream, repository)? {
        after.extend(keys);
    }
    kept.write(&after)?;
    let now = crate::time::now();
    Ok(Accepted {
        before: before.keys(now),
        after: after.keys(now),
    })
}

/// The trusted keys as they are known without asking anyone, for a person to look at.
pub fn at_hand(
    config: &Config,
    repository: &config::Repository,
) -> Result<Vec<KeySummary>, KeyError> {
    let keyring = match keyring_at_hand(config, repository)? {
        Some(keyring) => keyring,
        None => from_files(repository)?,
    };
    Ok(keyring.keys(crate::time::now()))
}

/// The trusted keys without asking anyone. `None` when the URLs have to be asked for some of them.
pub(super) fn keyring_at_hand(
    config: &Config,
    repository: &config::Repository,
) -> Result<Option<Keyring>, KeyError> {
    let mut keyring = from_files(repository)?;
    if !urls(repository).is_empty() {
        let Some(kept) = Kept::of(config, repository).read()? else {
            return Ok(None);
        };
        keyring.extend(kept);
        if !has_all_named(&keyring, repository) {
            return Ok(None);
        }
    }
    narrowed(keyring, repository).map(Some)
}

fn from_files(repository: &config::Repository) -> Result<Keyring, KeyError> {
    let mut keyring = Keyring::default();
    for source in &repository.trust.keys {
        if let KeySource::File(path) = source {
            let bytes = fs::read(path).map_err(KeyError::File)?;
            keyring.extend(Keyring::parse(&bytes, &path.display().to_string())?);
        }
    }
    Ok(keyring)
}

/// Whether the keys that the configuration names, if it names any, are all there.
fn has_all_named(keyring: &Keyring, repository: &config::Repository) -> bool {
    let found = keyring.fingerprints();
    let mut named = repository.trust.fingerprints.iter();
    named.all(|named| found.iter().any(|found| found == named.as_str()))
}

/// Only the keys that the configuration names, judged as strictly as it says.
fn narrowed(mut keyring: Keyring, repository: &config::Repository) -> Result<Keyring, KeyError> {
    let trust = &repository.trust;
    if !trust.fingerprints.is_empty() {
        let wanted: Vec<String> = trust.fingerprints.iter().map(ToString::to_string).collect();
        keyring.retain_fingerprints(&wanted)?;
    }
    Ok(keyring.with_policy(Policy {
        allow_weak_signatures: trust.allow_weak_signatures,
    }))
}

impl Kept {
    fn of(config: &Config, repository: &config::Repository) -> Self {
        let urls: Vec<String> = urls(repository)
            .iter()
            .map(|url| url.as_url().to_string())
            .collect();
        let directory = config.storage.keyrings_path();
        Self {
            path: directory.join(format!("{}.asc", repository.id)),
            sources: ObjectId::of(urls.join("\n").as_bytes()),
        }
    }

    /// Armor begins where it begins: a line before it is for us.
    fn header(&self) -> String {
        format!("chantal: keys from the URLs with sha256 {}\n", self.sources)
    }

    fn read(&self) -> Result<Option<Keyring>, KeyError> {
        let bytes = match fs::read(&self.path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(KeyError::File(error)),
        };
        if !bytes.starts_with(self.header().as_bytes()) {
            return Ok(None);
        }
        let keyring = Keyring::parse(&bytes, &self.path.display().to_string())?;
        Ok(Some(keyring))
    }

    fn write(&self, keyring: &Keyring) -> Result<(), KeyError> {
        let directory = self.path.parent().expect("it was joined to a directory");
        fs::create_dir_all(directory).map_err(KeyError::File)?;
        let write = || -> io::Result<()> {
            let mut file = tempfile::NamedTempFile::new_in(directory)?;
            file.write_all(self.header().as_bytes())?;
            file.write_all(keyring.to_armored().as_bytes())?;
            file.as_file().sync_all()?;
            file.persist(&self.path).map_err(|error| error.error)?;
            Ok(())
        };
        write().map_err(|error| {
            KeyError::File(io::Error::new(
                error.kind(),
                format!("{}: {error}", self.path.display()),
            ))
        })
    }
}

fn urls(repository: &config::Repository) -> Vec<&HttpUrl> {
    repository
        .trust
        .keys
        .iter()
        .filter_map(|source| match source {
            KeySource::Http(url) => Some(url),
            KeySource::File(_) => None,
        })
        .collect()
}
