//! The keys downloaded from key URLs, stored in `{base_path}/gpgkeys/<repository>.asc`.
//!
//! Before the armor there is a line for each URL: its sha256, and the fingerprints of its keys.
//! Lines of URLs that are no longer configured are ignored, and a URL without a line has never been
//! requested. Only the run that holds the lock writes the file, and replaces it atomically.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use fs_err as fs;

use crate::config::{self, Config, HttpUrl, KeySource};
use crate::digest::ObjectId;
use crate::exit::Exit;
use crate::lock::{LockError, Locks};
use crate::names::RepoId;
use crate::openpgp::{Keyring, KeyringError};
use crate::pool::exit_of_io;
use crate::regular_file;
use crate::upstream::UpstreamError;

#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("key not found: {url}")]
    Missing { url: String },
    #[error("cannot load key: {0}")]
    Upstream(UpstreamError),
    #[error("cannot load key: {0}")]
    File(io::Error),
    /// In the storage.
    #[error("stored keys: {0}")]
    Stored(io::Error),
    #[error(transparent)]
    Lock(#[from] LockError),
    #[error(transparent)]
    Unusable(#[from] KeyringError),
    #[error("{url}: keys have changed: expected {}, got {}", kept.join(", "), found.join(", "))]
    Replaced {
        url: String,
        kept: Vec<String>,
        found: Vec<String>,
    },
}

impl KeyError {
    pub fn exit(&self) -> Exit {
        match self {
            Self::File(_) | Self::Unusable(_) => Exit::Usage,
            Self::Stored(error) => exit_of_io(error),
            Self::Lock(error) => error.exit(),
            Self::Missing { .. } | Self::Replaced { .. } => Exit::Refused,
            Self::Upstream(error) => error.exit(),
        }
    }
}

impl KeyError {
    /// Whether the error is caused by the URL, so that stored keys can be used instead.
    pub fn is_url_error(&self) -> bool {
        match self {
            Self::Missing { .. } | Self::Unusable(_) => true,
            Self::Upstream(error) => !matches!(
                error,
                UpstreamError::Interrupted(_) | UpstreamError::Local(_)
            ),
            Self::File(_) | Self::Stored(_) | Self::Lock(_) | Self::Replaced { .. } => false,
        }
    }
}

const LINE: &str = "chantal: keys from the URL with sha256 ";
/// The line in files of older versions: the sha256 of all URLs together, in their order.
const LINE_OF_ALL: &str = "chantal: keys from the URLs with sha256 ";

/// The stored keys of the configured URLs of one repository.
#[derive(Clone, Debug, Default)]
pub struct StoredKeys {
    /// The fingerprints of the keys from each URL.
    sources: BTreeMap<ObjectId, BTreeSet<String>>,
    keyring: Keyring,
}

impl StoredKeys {
    pub fn read(config: &Config, repository: &config::Repository) -> Result<Self, KeyError> {
        let path = path(config, repository);
        let bytes = match regular_file::read_named(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(KeyError::Stored(error)),
        };
        let (mut sources, is_of_all) = read_lines(&bytes, repository);
        if sources.values().all(BTreeSet::is_empty) && !is_of_all {
            let keyring = Keyring::default();
            return Ok(Self { sources, keyring });
        }
        let mut keyring = Keyring::parse(&bytes, &path.display().to_string())?;
        if is_of_all {
            let all: BTreeSet<String> = keyring.fingerprints().into_iter().collect();
            sources = urls(repository)
                .map(|url| (source(url), all.clone()))
                .collect();
        }
        let counts = |fingerprint: &str| sources.values().any(|from| from.contains(fingerprint));
        keyring.retain(counts);
        Ok(Self { sources, keyring })
    }

    /// Whether the URL was requested before.
    pub fn contains_url(&self, url: &HttpUrl) -> bool {
        self.sources.contains_key(&source(url))
    }

    pub fn keyring(&self) -> &Keyring {
        &self.keyring
    }

    /// Adds keys from a URL to its earlier ones.
    pub fn add(&mut self, url: &HttpUrl, keys: Keyring) {
        let fingerprints = self.sources.entry(source(url)).or_default();
        fingerprints.extend(keys.fingerprints());
        self.keyring.extend(keys);
    }

    /// Merges earlier copies of the same keys, so that revocations are not lost.
    pub fn remember(&mut self, earlier: &Self) {
        let mut known = earlier.keyring.clone();
        let here = self.keyring.fingerprints();
        known.retain(|fingerprint| here.iter().any(|here| here == fingerprint));
        self.keyring.extend(known);
    }

    /// Removes all other keys.
    pub fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        self.keyring.retain(&keep);
        for fingerprints in self.sources.values_mut() {
            fingerprints.retain(|fingerprint| keep(fingerprint));
        }
    }

    /// If nothing changed, nothing is written, so that this works on a full disk.
    pub fn write(
        &self,
        config: &Config,
        repository: &config::Repository,
        locks: &Locks,
    ) -> Result<(), KeyError> {
        let path = path(config, repository);
        let text = self.text();
        if regular_file::read(&path).is_ok_and(|bytes| bytes == text.as_bytes()) {
            return Ok(());
        }
        // Keys grow with each merge: a keyring that is too large to be read again is not written.
        if !self.keyring.fingerprints().is_empty() {
            Keyring::parse(text.as_bytes(), &path.display().to_string())?;
        }
        locks.check()?;
        // The parent directory is created with the storage.
        match fs::create_dir(config.storage.keyrings_path()) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => made.map_err(KeyError::Stored)?,
        }
        replace(&path, text.as_bytes()).map_err(|error| {
            // The error should name the file, not the temporary one.
            let why = format!("failed to write file `{}`: {error}", path.display());
            KeyError::Stored(io::Error::new(error.kind(), why))
        })
    }

    fn text(&self) -> String {
        let mut text = String::new();
        for (source, fingerprints) in &self.sources {
            text += &format!("{LINE}{source}:");
            for fingerprint in fingerprints {
                text += &format!(" {fingerprint}");
            }
            text += "\n";
        }
        // Readers of armor ignore the lines before it.
        if !self.keyring.fingerprints().is_empty() {
            text += &self.keyring.to_armored();
        }
        text
    }
}

fn path(config: &Config, repository: &config::Repository) -> PathBuf {
    path_of(&config.storage, &repository.id)
}

fn path_of(storage: &config::StorageConfig, repository: &RepoId) -> PathBuf {
    storage.keyrings_path().join(format!("{repository}.asc"))
}

/// The key file of a repository, which may no longer be configured, if it exists.
pub fn file_of(
    storage: &config::StorageConfig,
    repository: &RepoId,
) -> io::Result<Option<PathBuf>> {
    let path = path_of(storage, repository);
    Ok(path.try_exists()?.then_some(path))
}

/// The keys of a repository without a definition that a person accepted; `None` if there are none.
pub fn pinned_keyring(
    storage: &config::StorageConfig,
    repository: &RepoId,
) -> Result<Option<Keyring>, KeyError> {
    let path = path_of(storage, repository);
    match regular_file::read_named(&path) {
        Ok(bytes) => Ok(Some(Keyring::parse(&bytes, &path.display().to_string())?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(KeyError::Stored(error)),
    }
}

/// Stores the accepted keys of a repository without a definition.
pub fn pin(
    storage: &config::StorageConfig,
    repository: &RepoId,
    keyring: &Keyring,
    locks: &Locks,
) -> Result<(), KeyError> {
    locks.check()?;
    match fs::create_dir(storage.keyrings_path()) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        made => made.map_err(KeyError::Stored)?,
    }
    let path = path_of(storage, repository);
    replace(&path, keyring.to_armored().as_bytes())
        .map_err(|error| KeyError::Stored(regular_file::named(&path)(error)))
}

/// Removes the key file and the temporary file of a killed run.
pub fn forget(storage: &config::StorageConfig, repository: &RepoId) -> io::Result<()> {
    let path = path_of(storage, repository);
    for path in [new_file(&path), path] {
        match fs::remove_file(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            removed => removed?,
        }
    }
    Ok(())
}

fn new_file(path: &Path) -> PathBuf {
    path.with_extension("asc.new")
}

fn source(url: &HttpUrl) -> ObjectId {
    ObjectId::of(url.as_url().as_str().as_bytes())
}

/// Reads the lines of the configured URLs, and whether the file has the line of an older version
/// that is valid for them.
fn read_lines(
    bytes: &[u8],
    repository: &config::Repository,
) -> (BTreeMap<ObjectId, BTreeSet<String>>, bool) {
    let text = String::from_utf8_lossy(bytes);
    let sources: BTreeSet<ObjectId> = urls(repository).map(source).collect();
    let of_all: Vec<&str> = urls(repository).map(|url| url.as_url().as_str()).collect();
    let of_all = ObjectId::of(of_all.join("\n").as_bytes()).to_string();
    let mut found = BTreeMap::new();
    for line in text.lines() {
        if let Some(id) = line.strip_prefix(LINE_OF_ALL) {
            return (BTreeMap::new(), id == of_all);
        }
        let Some((id, fingerprints)) = line
            .strip_prefix(LINE)
            .and_then(|line| line.split_once(':'))
        else {
            break;
        };
        if let Some(source) = id.parse().ok().filter(|id| sources.contains(id)) {
            let fingerprints = fingerprints.split_whitespace().map(str::to_owned);
            found.insert(source, fingerprints.collect());
        }
    }
    (found, false)
}

fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = new_file(path);
    let write = || {
        // Not fs_err, whose errors name the temporary file.
        let mut file = std::fs::File::create(&new)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&new, path)
    };
    write().inspect_err(|_| drop(std::fs::remove_file(&new)))
}

pub fn urls(repository: &config::Repository) -> impl Iterator<Item = &HttpUrl> {
    let sources = repository.trust.keys.iter();
    sources.filter_map(|source| match source {
        KeySource::Http(url) => Some(url),
        KeySource::File(_) => None,
    })
}
