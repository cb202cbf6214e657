//! `conf.d`: each file overrides the settings of the files before it.

use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::time::Duration;

use super::error::{Place, Problem};
use super::location;
use super::resolved::{Cache, Config, Download, LogFormat, Logging, Media, Signing, StorageConfig};
use super::scope::Scope;
use super::secret::Secret;
use super::written;
use crate::names::DestinationName;

const BASE_PATH: &str = "/var/lib/chantal";
const WORKERS: usize = 10;
/// More connections are not useful, and a server may treat them as an attack.
const WORKERS_LIMIT: u32 = 256;
const RETRIES: u32 = 5;
const TIMEOUT: Duration = Duration::from_mins(5);
const MAX_AGE: Duration = Duration::from_hours(24);
const MEDIA_HOLD: Duration = Duration::from_hours(30 * 24);

/// The settings so far. Paths are already absolute, resolved relative to the file that contains
/// them.
#[derive(Default)]
pub struct Layer {
    base_path: Option<PathBuf>,
    pool_path: Option<PathBuf>,
    cache_path: Option<PathBuf>,
    database_path: Option<PathBuf>,
    create: Option<bool>,
    workers: Option<usize>,
    retries: Option<u32>,
    timeout: Option<Duration>,
    bandwidth_limit: Option<NonZeroU64>,
    log_level: Option<log::LevelFilter>,
    log_file: Option<PathBuf>,
    log_format: Option<LogFormat>,
    cache_enabled: Option<bool>,
    cache_ttl: Option<Duration>,
    cache_max_age: Option<Duration>,
    signing_key_file: Option<PathBuf>,
    passphrase_file: Option<Passphrase>,
    tls_ca_file: Option<PathBuf>,
    media_destination: Option<DestinationName>,
    media_trusted_keys: Option<Vec<PathBuf>>,
    media_publish_root: Option<PathBuf>,
    media_hold: Option<Duration>,
    media_destinations: BTreeMap<DestinationName, Vec<PathBuf>>,
}

/// `signing.passphrase_file`, and the file that sets it.
struct Passphrase {
    path: PathBuf,
    set_in: PathBuf,
}

impl Layer {
    pub fn new(written: written::Global, scope: &mut Scope<'_>) -> Self {
        reject_unsupported(&written, scope);
        let written::Global {
            storage,
            database,
            download,
            logging,
            cache,
            signing,
            tls,
            media,
            ..
        } = written;
        let destinations = media.destinations.into_iter();
        let destinations = destinations
            .map(|(name, destination)| {
                let key = format!("media.destinations.{name}.key_file");
                let files = key_files(&key, destination.key_file, scope).unwrap_or_default();
                (name, files)
            })
            .collect();
        let passphrase_file = scope.path(
            "signing.passphrase_file",
            signing.passphrase_file.as_deref(),
        );
        Self {
            base_path: scope.path("storage.base_path", storage.base_path.as_deref()),
            pool_path: scope.path("storage.pool_path", storage.pool_path.as_deref()),
            cache_path: scope.path("storage.cache_path", storage.cache_path.as_deref()),
            database_path: database_path(&database, scope),
            create: storage.create,
            workers: workers(download.workers, scope),
            retries: download.retries,
            timeout: timeout(download.timeout, scope),
            bandwidth_limit: download.bandwidth_limit,
            log_level: logging.level,
            log_file: scope.path("logging.file", logging.file.as_deref()),
            log_format: logging.format,
            cache_enabled: cache.enabled,
            cache_ttl: cache.ttl,
            cache_max_age: cache.max_age,
            signing_key_file: scope.path("signing.key_file", signing.key_file.as_deref()),
            passphrase_file: passphrase_file.map(|path| Passphrase {
                path,
                set_in: scope.file().to_owned(),
            }),
            tls_ca_file: scope.path("tls.ca_file", tls.ca_file.as_deref()),
            media_destination: media.destination,
            media_trusted_keys: key_files("media.trusted_keys", media.trusted_keys, scope),
            media_publish_root: scope.path("media.publish_root", media.publish_root.as_deref()),
            media_hold: media.hold,
            media_destinations: destinations,
        }
    }

    /// Merges key by key: this layer overrides the lower one.
    pub fn over(self, lower: Self) -> Self {
        Self {
            base_path: self.base_path.or(lower.base_path),
            pool_path: self.pool_path.or(lower.pool_path),
            cache_path: self.cache_path.or(lower.cache_path),
            database_path: self.database_path.or(lower.database_path),
            create: self.create.or(lower.create),
            workers: self.workers.or(lower.workers),
            retries: self.retries.or(lower.retries),
            timeout: self.timeout.or(lower.timeout),
            bandwidth_limit: self.bandwidth_limit.or(lower.bandwidth_limit),
            log_level: self.log_level.or(lower.log_level),
            log_file: self.log_file.or(lower.log_file),
            log_format: self.log_format.or(lower.log_format),
            cache_enabled: self.cache_enabled.or(lower.cache_enabled),
            cache_ttl: self.cache_ttl.or(lower.cache_ttl),
            cache_max_age: self.cache_max_age.or(lower.cache_max_age),
            signing_key_file: self.signing_key_file.or(lower.signing_key_file),
            passphrase_file: self.passphrase_file.or(lower.passphrase_file),
            tls_ca_file: self.tls_ca_file.or(lower.tls_ca_file),
            media_destination: self.media_destination.or(lower.media_destination),
            media_trusted_keys: self.media_trusted_keys.or(lower.media_trusted_keys),
            media_publish_root: self.media_publish_root.or(lower.media_publish_root),
            media_hold: self.media_hold.or(lower.media_hold),
            media_destinations: {
                let mut destinations = lower.media_destinations;
                destinations.extend(self.media_destinations);
                destinations
            },
        }
    }

    /// Fills in the defaults. There are no repositories in it yet.
    pub fn finish(self, problems: &mut Vec<Problem>) -> Config {
        let signing = signing(self.signing_key_file, self.passphrase_file, problems);
        let base_path = self.base_path.unwrap_or_else(|| PathBuf::from(BASE_PATH));
        let in_base = |path: Option<PathBuf>, name| path.unwrap_or_else(|| base_path.join(name));
        Config {
            storage: StorageConfig {
                pool_path: in_base(self.pool_path, "pool"),
                cache_path: in_base(self.cache_path, "cache"),
                database_path: in_base(self.database_path, "chantal.redb"),
                base_path,
                create: self.create.unwrap_or(false),
            },
            download: Download {
                workers: self.workers.unwrap_or(WORKERS),
                retries: self.retries.unwrap_or(RETRIES),
                timeout: self.timeout.unwrap_or(TIMEOUT),
                bandwidth_limit: self.bandwidth_limit,
            },
            logging: Logging {
                level: self.log_level.unwrap_or(log::LevelFilter::Info),
                file: self.log_file,
                format: self.log_format.unwrap_or(LogFormat::Text),
            },
            cache: Cache {
                enabled: self.cache_enabled.unwrap_or(true),
                ttl: self.cache_ttl.unwrap_or(Duration::ZERO),
                max_age: self.cache_max_age.unwrap_or(MAX_AGE),
            },
            signing,
            tls_ca_file: self.tls_ca_file,
            media: Media {
                destination: self.media_destination,
                trusted_keys: self.media_trusted_keys.unwrap_or_default(),
                publish_root: self.media_publish_root,
                hold: self.media_hold.unwrap_or(MEDIA_HOLD),
                destinations: self.media_destinations,
            },
            repositories: Vec::new(),
            broken: Vec::new(),
        }
    }
}

fn signing(
    key_file: Option<PathBuf>,
    passphrase: Option<Passphrase>,
    problems: &mut Vec<Problem>,
) -> Option<Signing> {
    match (key_file, passphrase) {
        (Some(key_file), passphrase) => Some(Signing {
            key_file,
            passphrase_file: passphrase.map(|passphrase| passphrase.path),
        }),
        (None, None) => None,
        (None, Some(passphrase)) => {
            problems.push(Problem {
                file: passphrase.set_in,
                place: Place::Key("signing.passphrase_file".to_owned()),
                what: "has no effect without signing.key_file".to_owned(),
                hint: None,
            });
            None
        }
    }
}

fn reject_unsupported(written: &written::Global, scope: &mut Scope<'_>) {
    scope.reject_unsupported(&[
        ("proxy", written.proxy.is_some()),
        ("metrics", written.metrics.is_some()),
        ("notify", written.notify.is_some()),
    ]);
}

/// Files of keys, made absolute.
fn key_files(
    key: &str,
    written: Option<Vec<String>>,
    scope: &mut Scope<'_>,
) -> Option<Vec<PathBuf>> {
    let files = written?;
    let paths = files.iter();
    Some(
        paths
            .filter_map(|file| scope.path(key, Some(file)))
            .collect(),
    )
}

fn workers(written: Option<u32>, scope: &mut Scope<'_>) -> Option<usize> {
    let workers = written?;
    if !(1..=WORKERS_LIMIT).contains(&workers) {
        scope.reject(
            "download.workers",
            format!("must be between 1 and {WORKERS_LIMIT}, got {workers}"),
        );
        return None;
    }
    usize::try_from(workers).ok()
}

fn timeout(written: Option<Duration>, scope: &mut Scope<'_>) -> Option<Duration> {
    let timeout = written?;
    if timeout.is_zero() {
        scope.reject("download.timeout", "must be at least 1 second");
        return None;
    }
    Some(timeout)
}

fn database_path(written: &written::Database, scope: &mut Scope<'_>) -> Option<PathBuf> {
    if written.pool_size.is_some() {
        scope.warn(
            "database.pool_size",
            "has no effect: the database is a local file without connections",
        );
    }
    let path = scope.path("database.path", written.path.as_deref());
    let Some(url) = &written.url else {
        return path;
    };
    let from_url = path_of_database_url(url, scope)?;
    if path.as_ref().is_some_and(|path| *path != from_url) {
        scope.reject_with_hint(
            "database.url",
            "names a different file than database.path",
            "remove one of the two",
        );
    }
    Some(from_url)
}

fn path_of_database_url(url: &Secret, scope: &mut Scope<'_>) -> Option<PathBuf> {
    const KEY: &str = "database.url";
    const HINT: &str =
        "set `database.path: PATH`, or omit it: the default is chantal.redb in storage.base_path";
    let url = url.expose();
    if let Some(path) = url.strip_prefix("redb://").filter(|p| p.starts_with('/')) {
        return scope.path(KEY, Some(path));
    }
    match location::scheme(url) {
        Some("redb") => scope.reject_with_hint(KEY, "does not have the form redb:///PATH", HINT),
        Some(scheme) => scope.reject_with_hint(
            KEY,
            format!("{scheme} is not supported: the database is a local file, without a server"),
            HINT,
        ),
        None => scope.reject_with_hint(KEY, "is not a valid URL", HINT),
    }
    None
}
