//! The keys that a repository's root is verified with.
//!
//! Keys from files are read whenever they are needed. Keys from URLs are fetched once and kept in
//! `{base_path}/gpgkeys/<repository>.asc`; the URLs are asked again only when the kept keys do not verify a root, or lack one
//! that the configuration names. An update of a
//! known key (new subkeys, another expiry, a revocation) is then taken, a new key only where the configuration names
//! its fingerprint or somebody accepted it ([`accept`]): else whoever controls the URL could replace the trust.

use std::io::{self, Write};
use std::path::PathBuf;

use fs_err as fs;

use super::{Session, SyncError};
use crate::config::{self, Config, HttpUrl, KeySource};
use crate::digest::ObjectId;
use crate::openpgp::{KeySummary, Keyring, KeyringError, Policy, Trusted, VerifyError};
use crate::upstream::{Small, Upstream, UpstreamError};

use super::root::RootError;

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

/// A repository's keys, loaded when they are first needed.
pub struct Keys<'a> {
    session: &'a Session<'a>,
    loaded: Option<Keyring>,
    /// The URLs were asked in this run.
    fresh: bool,
}

/// The kept keys of a repository, and which URLs they came from.
struct Kept {
    path: PathBuf,
    /// Keys that other URLs gave do not count for these.
    sources: ObjectId,
}

impl<'a> Keys<'a> {
    pub fn new(session: &'a Session<'a>) -> Self {
        Self {
            session,
            loaded: None,
            fresh: false,
        }
    }

    /// Runs a verification; when the keys at hand do not suffice, once more with what the key URLs give now.
    pub fn verify(
        &mut self,
        verification: impl Fn(&Keyring) -> Result<Trusted, VerifyError>,
    ) -> Result<Trusted, SyncError> {
        if self.loaded.is_none() {
            self.loaded = Some(self.load()?);
        }
        let error = match self.loaded.as_ref().map(&verification) {
            Some(Ok(trusted)) => return Ok(trusted),
            Some(Err(error)) => error,
            None => unreachable!("keys were loaded above"),
        };
        if self.fresh || !error.newer_keys_may_help() || self.urls().is_empty() {
            return Err(RootError::from(error).into());
        }
        self.fetch()?;
        let keyring = self.load()?;
        let verdict = verification(&keyring).map_err(|error| RootError::from(error).into());
        self.loaded = Some(keyring);
        verdict
    }

    fn urls(&self) -> Vec<&'a HttpUrl> {
        urls(self.session.repository)
    }

    /// Files as they are now, URLs as they are kept or, the first time, as they are fetched.
    fn load(&mut self) -> Result<Keyring, SyncError> {
        let mut keyring = from_files(self.session.repository)?;
        if !self.urls().is_empty() {
            match self.kept().read()? {
                Some(kept) => keyring.extend(kept),
                None => keyring.extend(self.fetch()?),
            }
            // The configuration may name a key that the URL got only after the others were kept.
            if !self.fresh && !has_all_named(&keyring, self.session.repository) {
                keyring.extend(self.fetch()?);
            }
        }
        Ok(narrowed(keyring, self.session.repository)?)
    }

    /// Asks the URLs, and keeps what may be kept.
    fn fetch(&mut self) -> Result<Keyring, SyncError> {
        let kept = self.kept();
        let known = kept.read()?;
        let mut keyring = Keyring::default();
        for (url, keys) in ask(&self.session.upstream, self.session.repository)? {
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
        self.fresh = true;
        Ok(keyring)
    }

    fn refuse_strangers(
        &self,
        url: &str,
        known: &Keyring,
        found: &Keyring,
    ) -> Result<(), KeyError> {
        let known = known.fingerprints();
        let named = &self.session.repository.trust.fingerprints;
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

    fn kept(&self) -> Kept {
        Kept::of(self.session.context.config, self.session.repository)
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
    let mut keyring = from_files(repository)?;
    if urls(repository).is_empty() {
        keyring = narrowed(keyring, repository)?;
    } else if let Some(kept) = Kept::of(config, repository).read()? {
        let mut all = keyring.clone();
        all.extend(kept);
        if has_all_named(&all, repository) {
            keyring = narrowed(all, repository)?;
        }
    }
    Ok(keyring.keys(crate::time::now()))
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

/// Changes when the configured keys do. A key file counts with its content, so that exchanging it is noticed.
pub fn fingerprint_of_sources(repository: &config::Repository) -> Result<String, KeyError> {
    let mut facts: Vec<String> = Vec::new();
    for source in &repository.trust.keys {
        facts.push(match source {
            KeySource::Http(url) => url.as_url().to_string(),
            KeySource::File(path) => {
                ObjectId::of(&fs::read(path).map_err(KeyError::File)?).to_string()
            }
        });
    }
    facts.push(repository.trust.allow_weak_signatures.to_string());
    facts.extend(
        repository
            .trust
            .fingerprints
            .iter()
            .map(ToString::to_string),
    );
    Ok(facts.join("\n"))
}
