//! The validated configuration.

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::names::{DestinationName, RepoId};
use crate::rel_path::RelPath;
use crate::repo_format::RepoFormat;

use super::filters::Filters;
use super::location::{KeySource, UpstreamUrl};
use super::secret::SecretSource;

/// How long the files of earlier generations are kept by default.
pub(super) const KEEP: Duration = Duration::from_hours(24);

#[derive(Debug)]
pub struct Config {
    pub storage: StorageConfig,
    pub download: Download,
    pub logging: Logging,
    pub cache: Cache,
    /// The key for metadata that chantal generates itself.
    pub signing: Option<Signing>,
    /// Certificates that are trusted in addition to those of the system.
    pub tls_ca_file: Option<PathBuf>,
    pub media: Media,
    /// Including disabled ones; sorted by name.
    pub repositories: Vec<Repository>,
    /// Invalid files of `repos.d`, in name order. Each may define any repository that no other file
    /// defines, and any published tree that is not theirs.
    pub broken: Vec<PathBuf>,
}

impl Config {
    pub fn repository(&self, id: &RepoId) -> Option<&Repository> {
        self.repositories
            .iter()
            .find(|repository| repository.id == *id)
    }

    /// The first invalid file that may define a repository that no other file defines.
    pub fn may_be_about(&self, id: &RepoId) -> Option<&Path> {
        let first = self.broken.first()?;
        self.repository(id).is_none().then_some(first)
    }

    /// The invalid file for this repository, according to its file name or a line in it.
    pub fn broken_file_of(&self, id: &RepoId) -> Option<&Path> {
        let is_meant = |file: &&PathBuf| {
            let line = format!("name: {id}");
            file.file_stem().is_some_and(|stem| stem == id.as_str())
                || std::fs::read_to_string(file)
                    .is_ok_and(|text| text.lines().any(|other| other.trim_end() == line))
        };
        let mut files = self.broken.iter();
        files.find(is_meant).map(PathBuf::as_path)
    }

    /// How long files of earlier generations are kept in the trees of a repository, even if it is
    /// no longer configured. Unlimited if an invalid file may configure it.
    pub fn keep(&self, repository: &RepoId) -> Duration {
        match self.repository(repository) {
            Some(repository) => repository.publish.keep,
            None if self.may_be_about(repository).is_some() => Duration::MAX,
            None => KEEP,
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
pub struct StorageConfig {
    pub base_path: PathBuf,
    pub pool_path: PathBuf,
    pub cache_path: PathBuf,
    pub database_path: PathBuf,
    /// Whether a sync may create the storage.
    pub create: bool,
}

impl StorageConfig {
    /// The directory of the trusted keys, one file per repository.
    pub fn keyrings_path(&self) -> PathBuf {
        self.base_path.join("gpgkeys")
    }
}

#[derive(Debug, PartialEq, Eq)]
pub struct Download {
    /// Parallel downloads, at least 1.
    pub workers: usize,
    /// Attempts after the first one.
    pub retries: u32,
    /// Time without progress after which an attempt fails; not zero.
    pub timeout: Duration,
    /// Bytes per second, for the whole process.
    pub bandwidth_limit: Option<NonZeroU64>,
}

#[derive(Debug, PartialEq, Eq)]
pub struct Logging {
    pub level: log::LevelFilter,
    pub file: Option<PathBuf>,
    pub format: LogFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    Text,
    Json,
}

impl Default for Logging {
    fn default() -> Self {
        Self {
            level: log::LevelFilter::Info,
            file: None,
            format: LogFormat::Text,
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
pub struct Cache {
    /// Whether requests are made conditional.
    pub enabled: bool,
    /// A root that was checked more recently than this is not requested again.
    pub ttl: Duration,
    /// Validators older than this are not used.
    pub max_age: Duration,
}

/// Offline media.
#[derive(Debug, PartialEq, Eq)]
pub struct Media {
    /// The name of this host for exporters.
    pub destination: Option<DestinationName>,
    /// Key files: media that are signed by one of these keys can be imported.
    pub trusted_keys: Vec<PathBuf>,
    /// Imported repositories without a definition are published below it.
    pub publish_root: Option<PathBuf>,
    /// How long the objects of an unconfirmed export are kept.
    pub hold: Duration,
    /// The key files of the destinations' receipts.
    pub destinations: BTreeMap<DestinationName, Vec<PathBuf>>,
}

/// These files are read when something is signed, not when the configuration is loaded.
#[derive(Debug, PartialEq, Eq)]
pub struct Signing {
    pub key_file: PathBuf,
    /// The first line is the passphrase.
    pub passphrase_file: Option<PathBuf>,
}

#[derive(Debug)]
pub struct Repository {
    pub id: RepoId,
    /// The file that defines it, for messages.
    pub file: PathBuf,
    pub enabled: bool,
    pub upstream: UpstreamUrl,
    pub credentials: Credentials,
    pub trust: Trust,
    pub freshness: Freshness,
    pub format: FormatConfig,
    pub filters: Filters,
    pub publish: Publish,
    /// Bytes per second, in addition to the global limit.
    pub bandwidth_limit: Option<NonZeroU64>,
}

impl Repository {
    /// How packages are checked; `None` for a format whose packages are not signed themselves.
    pub fn package_check(&self) -> Option<PackageCheck> {
        match self.format {
            FormatConfig::Apt(_) => None,
            FormatConfig::Rpm(_) => Some(self.trust.packages),
        }
    }
}

/// What the repository's own host gets to see, and no other.
#[derive(Debug, PartialEq, Eq)]
pub enum Credentials {
    None,
    Basic {
        /// Without `:`.
        username: String,
        password: SecretSource,
    },
    Bearer {
        token: SecretSource,
    },
    Header {
        /// A valid header name.
        name: String,
        value: SecretSource,
    },
    ClientCert {
        cert: PathBuf,
        key: PathBuf,
        /// CA certificates for the server, in addition to the usual ones.
        ca_cert: Option<PathBuf>,
    },
}

/// Which signatures are accepted.
#[derive(Debug, PartialEq, Eq)]
pub struct Trust {
    pub root: RootCheck,
    pub packages: PackageCheck,
    /// Not empty if `root` or `packages` is `Required`.
    pub keys: Vec<KeySource>,
    /// If not empty, only these keys of `keys` are trusted. Not empty if a key comes from a plain
    /// http URL.
    pub fingerprints: Vec<Fingerprint>,
    /// Also accepts digests such as SHA-1 and keys below 2048 bits.
    pub allow_weak_signatures: bool,
}

/// How the dates of a root are checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Freshness {
    /// Whether an expired `Valid-Until` is refused.
    pub check_valid_until: bool,
    /// Whether a root from the future is refused.
    pub check_date: bool,
}

/// How the signature of a root is checked: `apt.gpgcheck`, `rpm.repo_gpgcheck`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RootCheck {
    Required,
    /// Verified if there is a signature and a key is configured.
    Auto,
    Off,
}

/// How the signatures inside packages are checked: `rpm.gpgcheck`. APT packages have none; they are
/// verified by the digests in signed indexes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PackageCheck {
    Required,
    Off,
}

impl RootCheck {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Required => "required",
            Self::Auto => "auto",
            Self::Off => "off",
        }
    }
}

impl PackageCheck {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Required => "required",
            Self::Off => "off",
        }
    }
}

/// The fingerprint of an `OpenPGP` key: 40 (v4) or 64 (v6) uppercase hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(Box<str>);

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "{0:?} is not a valid fingerprint (expected 40 or 64 hexadecimal digits, spaces are allowed)"
)]
pub struct FingerprintError(String);

impl Fingerprint {
    /// As `gpg --fingerprint` prints it, or without the spaces, in uppercase or lowercase, with or
    /// without `0x`.
    pub fn parse(text: &str) -> Result<Self, FingerprintError> {
        let digits: String = text
            .strip_prefix("0x")
            .unwrap_or(text)
            .chars()
            .filter(|c| *c != ' ')
            .map(|c| c.to_ascii_uppercase())
            .collect();
        // A short key id is not enough: keys with the same id can be generated in seconds.
        if matches!(digits.len(), 40 | 64) && digits.chars().all(|c| c.is_ascii_hexdigit()) {
            Ok(Self(digits.into()))
        } else {
            Err(FingerprintError(text.to_owned()))
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[derive(Debug, PartialEq, Eq)]
pub enum FormatConfig {
    Apt(Apt),
    Rpm(Rpm),
}

impl FormatConfig {
    /// The `type` of the repository.
    pub const fn kind(&self) -> RepoFormat {
        match self {
            Self::Apt(_) => RepoFormat::Apt,
            Self::Rpm(_) => RepoFormat::Rpm,
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
pub struct Apt {
    pub distribution: Distribution,
    /// Not empty, except in a flat repository, which has none.
    pub components: Vec<String>,
    /// Not empty.
    pub architectures: Vec<String>,
    pub sources: bool,
    pub udebs: bool,
    pub installer: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Distribution {
    /// `dists/<suite>/`; some suites have a `/` in their name (`bookworm/updates`).
    Suite(RelPath),
    /// The directory of Release and Packages; `None` is the top of the repository.
    Flat(Option<RelPath>),
}

impl fmt::Display for Distribution {
    /// As written in the configuration.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Suite(suite) => suite.fmt(f),
            Self::Flat(Some(directory)) => write!(f, "{directory}/"),
            Self::Flat(None) => f.write_str("./"),
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
pub struct Rpm {
    /// `None` selects all.
    pub architectures: Option<Vec<String>>,
    pub sources: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub struct Publish {
    pub latest_path: Option<PathBuf>,
    pub snapshots_path: Option<PathBuf>,
    /// Whether a sync publishes the new state.
    pub auto: bool,
    /// How long the files of earlier generations stay reachable.
    pub keep: Duration,
    /// The name of the key files at the top of a published tree: one component. For apt it leaves
    /// room for the four-character ending of the two files.
    pub key_name: RelPath,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints() {
        let parsed = "0123456789ABCDEF0123456789ABCDEF01234567";
        for text in [
            parsed,
            "0x0123456789abcdef0123456789abcdef01234567",
            "0123 4567 89AB CDEF 0123  4567 89AB CDEF 0123 4567",
        ] {
            assert_eq!(Fingerprint::parse(text).unwrap().as_str(), parsed);
        }
        assert!(Fingerprint::parse(&"a".repeat(64)).is_ok());
        for text in ["", "01234567", "89ABCDEF01234567", &"g".repeat(40)] {
            assert!(Fingerprint::parse(text).is_err(), "{text}");
        }
    }
}
