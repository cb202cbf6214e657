//! The configuration as the rest of the program sees it.

use std::fmt;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::rel_path::RelPath;
use crate::repo_format::RepoFormat;

use super::filters::Filters;
use super::location::{KeySource, UpstreamUrl};
use super::secret::SecretSource;

/// How long the files of earlier generations stay where nothing else is said.
pub(super) const KEEP: Duration = Duration::from_hours(24);

#[derive(Debug)]
pub struct Config {
    pub storage: StorageConfig,
    pub download: Download,
    pub logging: Logging,
    pub cache: Cache,
    /// What signs what chantal makes itself.
    pub signing: Option<Signing>,
    /// Certificates that are trusted beside the system's.
    pub tls_ca_file: Option<PathBuf>,
    /// Also the disabled ones; sorted by name.
    pub repositories: Vec<Repository>,
    /// Files of `repos.d` that cannot be used, in name order. Each may define any repository that is not among the others, and have
    /// any tree that is not theirs.
    pub broken: Vec<PathBuf>,
}

impl Config {
    pub fn repository(&self, name: &str) -> Option<&Repository> {
        self.repositories
            .iter()
            .find(|repository| repository.id.as_str() == name)
    }

    /// The first file that cannot be used and may be about a repository that the others do not define.
    pub fn may_be_about(&self, name: &str) -> Option<&Path> {
        let first = self.broken.first()?;
        self.repository(name).is_none().then_some(first)
    }

    /// The file that cannot be used and was meant for this repository, as far as its name or a line in it tells.
    pub fn broken_file_of(&self, name: &str) -> Option<&Path> {
        let is_meant = |file: &&PathBuf| {
            let line = format!("name: {name}");
            file.file_stem().is_some_and(|stem| stem == name)
                || std::fs::read_to_string(file)
                    .is_ok_and(|text| text.lines().any(|other| other.trim_end() == line))
        };
        let mut files = self.broken.iter();
        files.find(is_meant).map(PathBuf::as_path)
    }

    /// How long files of earlier generations are kept in a repository's trees, also when it is no longer configured. Without limit
    /// where an unusable file may configure it.
    pub fn keep(&self, repository: &str) -> Duration {
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
    /// Whether a sync may make the storage.
    pub create: bool,
}

impl StorageConfig {
    /// The repositories' trusted keys, a file each.
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
    /// Time without progress after which an attempt is given up; not zero.
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

#[derive(Debug, PartialEq, Eq)]
pub struct Cache {
    /// Whether requests are made conditional.
    pub enabled: bool,
    /// A root that was checked less than this ago is not asked for again.
    pub ttl: Duration,
    /// Validators older than this are not used.
    pub max_age: Duration,
}

/// Files that are read when something is signed, not when the configuration is.
#[derive(Debug, PartialEq, Eq)]
pub struct Signing {
    pub key_file: PathBuf,
    /// Its first line opens the key.
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
    /// Bytes per second, beside the global limit.
    pub bandwidth_limit: Option<NonZeroU64>,
}

impl Repository {
    /// How packages are checked; `None` for a format whose packages have no signatures inside.
    pub fn package_check(&self) -> Option<PackageCheck> {
        match self.format {
            FormatConfig::Apt(_) => None,
            FormatConfig::Rpm(_) => Some(self.trust.packages),
        }
    }
}

/// A repository's name. It can be a file name and a URL's segment as it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RepoId(Box<str>);

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum RepoIdError {
    #[error("is empty")]
    Empty,
    #[error("{0:?} starts with `{1}`")]
    Start(String, char),
    #[error("{0:?} contains {1:?}, only letters, digits, `.`, `_` and `-` are possible")]
    Character(String, char),
    #[error("is longer than {} characters", RepoId::LIMIT)]
    TooLong,
}

impl RepoId {
    /// Leaves room for what is put before and behind it in file names.
    pub const LIMIT: usize = 100;

    pub fn parse(name: &str) -> Result<Self, RepoIdError> {
        if name.len() > Self::LIMIT {
            return Err(RepoIdError::TooLong);
        }
        let first = name.chars().next().ok_or(RepoIdError::Empty)?;
        if let Some(c) = name
            .chars()
            .find(|c| !c.is_ascii_alphanumeric() && !"._-".contains(*c))
        {
            return Err(RepoIdError::Character(name.to_owned(), c));
        }
        if ".-".contains(first) {
            return Err(RepoIdError::Start(name.to_owned(), first));
        }
        Ok(Self(name.into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RepoId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
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
        /// A valid name of a header.
        name: String,
        value: SecretSource,
    },
    ClientCert {
        cert: PathBuf,
        key: PathBuf,
        /// What the server's certificate is checked against, beside the usual.
        ca_cert: Option<PathBuf>,
    },
}

/// Whose signatures count.
#[derive(Debug, PartialEq, Eq)]
pub struct Trust {
    pub root: RootCheck,
    pub packages: PackageCheck,
    /// Not empty where `root` or `packages` is `Required`.
    pub keys: Vec<KeySource>,
    /// Where not empty, only these keys of `keys` are trusted. Not empty where a key comes over plain http.
    pub fingerprints: Vec<Fingerprint>,
    /// Digests such as SHA-1 and keys below 2048 bits count too.
    pub allow_weak_signatures: bool,
}

/// What is asked of a root's own dates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Freshness {
    /// Whether an expired `Valid-Until` is refused.
    pub check_valid_until: bool,
    /// Whether a root from the future is refused.
    pub check_date: bool,
}

/// What is asked of a root's signature: `apt.gpgcheck`, `rpm.repo_gpgcheck`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RootCheck {
    Required,
    /// Verified when there is a signature and a key is configured.
    Auto,
    Off,
}

/// What is asked of the signatures inside packages: `rpm.gpgcheck`. APT's packages have none; its indexes vouch for them.
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
#[error("{0:?} is not a fingerprint (40 or 64 hexadecimal digits, blanks between them are fine)")]
pub struct FingerprintError(String);

impl Fingerprint {
    /// As `gpg --fingerprint` prints it, or without the blanks, in either case, with or without `0x`.
    pub fn parse(text: &str) -> Result<Self, FingerprintError> {
        let digits: String = text
            .strip_prefix("0x")
            .unwrap_or(text)
            .chars()
            .filter(|c| *c != ' ')
            .map(|c| c.to_ascii_uppercase())
            .collect();
        // A short key id is not enough: keys that share one are made in seconds.
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
    /// `dists/<suite>/`; there are suites with a `/` in their name (`bookworm/updates`).
    Suite(RelPath),
    /// The directory that holds Release and Packages; `None` is the top of the repository.
    Flat(Option<RelPath>),
}

impl fmt::Display for Distribution {
    /// As it is written in the configuration.
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
    /// `None` takes all.
    pub architectures: Option<Vec<String>>,
    pub sources: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub struct Publish {
    pub latest_path: Option<PathBuf>,
    pub snapshots_path: Option<PathBuf>,
    /// Whether a sync publishes what it brought.
    pub auto: bool,
    /// How long the files of earlier generations stay reachable.
    pub keep: Duration,
    /// What the trusted keys are called at the top of a published tree: one component. For apt it leaves room for the
    /// ending of four characters that its two files differ by.
    pub key_name: RelPath,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_repositories() {
        for name in ["epel9", "Debian_12.updates-x", "_", "9", &"x".repeat(100)] {
            assert_eq!(RepoId::parse(name).unwrap().as_str(), name);
        }
        let err = |name: &str| RepoId::parse(name).unwrap_err();
        assert_eq!(err(""), RepoIdError::Empty);
        assert_eq!(err("../x"), RepoIdError::Character("../x".to_owned(), '/'));
        assert_eq!(err(".x"), RepoIdError::Start(".x".to_owned(), '.'));
        assert_eq!(err("-x"), RepoIdError::Start("-x".to_owned(), '-'));
        assert_eq!(err("é"), RepoIdError::Character("é".to_owned(), 'é'));
        assert_eq!(err(&"x".repeat(101)), RepoIdError::TooLong);
    }

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
