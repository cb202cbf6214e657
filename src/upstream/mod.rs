//! Where a repository comes from: small files into memory, everything else into the pool.
//!
//! Transient trouble (connections, stalls, truncated bodies, 5xx, 429) is retried with growing pauses; an interrupted
//! download goes on where it stopped. What arrives in the pool has the digest and size that were expected, or it does not arrive.

mod credentials;
mod http;
mod limiter;
mod resolver;

use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ureq::tls::Certificate;
use url::Url;

use crate::config;
use crate::digest::Digest;
use crate::interrupt::{Interrupt, Interrupted};
use crate::pool::{BUFFER, Incoming, Stored};
use crate::progress::Active;
use crate::rel_path::RelPath;

use http::{Answer, Conditions, Http};

pub use credentials::CredentialError;
pub use http::Validators;
pub use limiter::Limiter;

/// Roots, signatures and keys are read into memory: none is near this large.
pub const SMALL_FILE_MAX: u64 = 32 * 1024 * 1024;
/// For a package whose index does not say how large it is.
const UNDECLARED_SIZE_MAX: u64 = 64 * 1024 * 1024 * 1024;
/// The first pause between two attempts; it doubles from there.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_mins(1);
/// A server may ask for patience, but not for the day.
const RETRY_AFTER_MAX: Duration = Duration::from_mins(5);

#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    #[error("{url} is not there")]
    Missing { url: String },
    #[error("{url} is not a regular file")]
    NotAFile { url: String },
    #[error("{url} is refused with HTTP status {status}")]
    Denied { url: String, status: u16 },
    #[error("{url} answers with HTTP status {status}")]
    Status {
        url: String,
        status: u16,
        retry_after: Option<Duration>,
    },
    #[error("{url}: {why}")]
    Unreachable { url: String, why: String },
    #[error("{url}: a redirect is not followed: {why}")]
    Redirect { url: String, why: String },
    #[error("{url} is larger than the {limit} bytes that are allowed here")]
    TooLarge { url: String, limit: u64 },
    #[error("{url} is not what was declared: expected {}, got {}", about(expected, *expected_size), about_got(got.as_ref(), *got_size, *expected_size))]
    Mismatch {
        url: String,
        expected: Digest,
        expected_size: Option<u64>,
        /// Not computed when the size was wrong already.
        got: Option<Digest>,
        got_size: u64,
    },
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
    /// Trouble on our side of the wire: the pool's disk.
    #[error(transparent)]
    Local(#[from] io::Error),
}

fn about(digest: &Digest, size: Option<u64>) -> String {
    match size {
        Some(size) => format!("{digest} ({size} bytes)"),
        None => digest.to_string(),
    }
}

/// Of a file that is too long only the beginning was read.
fn about_got(got: Option<&Digest>, size: u64, expected: Option<u64>) -> String {
    match got {
        Some(digest) => about(digest, Some(size)),
        None if expected.is_some_and(|expected| size <= expected) => format!("{size} bytes"),
        None => format!("{size} bytes or more"),
    }
}

impl UpstreamError {
    /// Another attempt may succeed.
    fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Status { status, .. } => *status >= 500 || matches!(status, 408 | 425 | 429),
            _ => false,
        }
    }
}

/// A small file, or why there is none.
#[derive(Debug)]
pub enum Small {
    Body {
        bytes: Vec<u8>,
        validators: Validators,
    },
    /// The validators that were given still hold.
    NotModified,
    Missing,
}

/// What a download must turn out to be.
#[derive(Clone, Copy, Debug)]
pub struct Expected {
    pub digest: Digest,
    /// In bytes, as far as it is declared.
    pub size: Option<u64>,
}

/// One repository's upstream.
pub struct Upstream {
    source: Source,
    settings: http::Settings,
    retries: u32,
    limiters: Vec<Arc<Limiter>>,
    interrupt: Interrupt,
    requests: AtomicU64,
    bytes: AtomicU64,
}

enum Source {
    Http(Box<Http>),
    Directory(PathBuf),
}

impl Upstream {
    /// `limiter` is the whole process's bandwidth limit.
    pub fn open(
        config: &config::Config,
        repository: &config::Repository,
        limiter: Option<&Arc<Limiter>>,
        interrupt: &Interrupt,
    ) -> Result<Self, CredentialError> {
        let settings = http::Settings {
            timeout: config.download.timeout,
            workers: config.download.workers,
            authorities: authorities(config)?,
        };
        let source = match &repository.upstream {
            config::UpstreamUrl::File(path) => Source::Directory(path.clone()),
            config::UpstreamUrl::Http(url) => Source::Http(Box::new(Http::new(
                url.as_url().clone(),
                credentials::identity(&repository.credentials)?,
                settings.clone(),
            ))),
        };
        let own = repository
            .bandwidth_limit
            .map(|rate| Arc::new(Limiter::new(rate.get())));
        Ok(Self {
            source,
            settings,
            retries: config.download.retries,
            limiters: limiter.cloned().into_iter().chain(own).collect(),
            interrupt: interrupt.clone(),
            requests: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        })
    }

    /// Requests made so far, retries included.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Bytes received so far.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Where a path of the repository is, fit for messages.
    pub fn shown(&self, path: &RelPath) -> String {
        match &self.source {
            Source::Http(http) => http::shown(&http.url_of(path)),
            Source::Directory(root) => path.below(root).display().to_string(),
        }
    }

    /// A root, signature or the like.
    pub fn small(
        &self,
        path: &RelPath,
        validators: Option<&Validators>,
    ) -> Result<Small, UpstreamError> {
        match &self.source {
            Source::Http(http) => self.small_http(http, &http.url_of(path), validators),
            Source::Directory(root) => self.small_file(&path.below(root)),
        }
    }

    /// A file outside of the repository's own tree: a key. Credentials go there only if it is the same origin.
    pub fn small_at(&self, url: &Url) -> Result<Small, UpstreamError> {
        match &self.source {
            Source::Http(http) => self.small_http(http, url, None),
            Source::Directory(_) => {
                let nobody = http::Identity::default();
                let http = Http::new(url.clone(), nobody, self.settings.clone());
                self.small_http(&http, url, None)
            }
        }
    }

    fn small_http(
        &self,
        http: &Http,
        url: &Url,
        validators: Option<&Validators>,
    ) -> Result<Small, UpstreamError> {
        self.retrying(|| {
            let conditions = Conditions {
                from: 0,
                validators,
            };
            let mut answer = self.ask(http, url, conditions)?;
            match answer.status {
                200 => {}
                304 if validators.is_some() => return Ok(Small::NotModified),
                404 | 410 => {
                    answer.discard();
                    return Ok(Small::Missing);
                }
                _ => return Err(refused(answer)),
            }
            let mut bytes = Vec::new();
            let read = answer
                .reader()
                .take(SMALL_FILE_MAX + 1)
                .read_to_end(&mut bytes);
            if let Err(error) = read {
                return Err(UpstreamError::Unreachable {
                    url: answer.url,
                    why: http::explain_io(&error),
                });
            }
            self.received(bytes.len() as u64)?;
            if bytes.len() as u64 > SMALL_FILE_MAX {
                return Err(UpstreamError::TooLarge {
                    url: answer.url,
                    limit: SMALL_FILE_MAX,
                });
            }
            Ok(Small::Body {
                bytes,
                validators: answer.validators,
            })
        })
    }

    fn small_file(&self, path: &Path) -> Result<Small, UpstreamError> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let Some(file) = open_local(path)? else {
            return Ok(Small::Missing);
        };
        let mut bytes = Vec::new();
        file.take(SMALL_FILE_MAX + 1)
            .read_to_end(&mut bytes)
            .map_err(|error| unreadable(path, &error))?;
        if bytes.len() as u64 > SMALL_FILE_MAX {
            return Err(UpstreamError::TooLarge {
                url: path.display().to_string(),
                limit: SMALL_FILE_MAX,
            });
        }
        self.received(bytes.len() as u64)?;
        Ok(Small::Body {
            bytes,
            validators: Validators::default(),
        })
    }

    /// Brings a file into the pool. [`UpstreamError::Missing`] and [`UpstreamError::Mismatch`] are not retried: whether
    /// they mean that the upstream has moved on, only the root can tell.
    pub fn download(
        &self,
        path: &RelPath,
        expected: Expected,
        mut incoming: Box<Incoming<'_>>,
        active: &Active,
    ) -> Result<Stored, UpstreamError> {
        active.add(incoming.length());
        let url = match &self.source {
            Source::Http(http) => {
                let url = http.url_of(path);
                self.retrying(|| self.transfer(http, &url, expected, &mut incoming, active))?
            }
            Source::Directory(root) => {
                self.copy(&path.below(root), expected, &mut incoming, active)?
            }
        };
        let size = incoming.length();
        if expected.size.is_some_and(|expected| expected != size) {
            incoming.restart()?;
            return Err(mismatch(url, expected, None, size));
        }
        incoming
            .commit()?
            .map_err(|wrong| mismatch(url, expected, Some(wrong.got), wrong.length))
    }

    /// One attempt at a body, from where the partial file ends. Returns where it came from.
    fn transfer(
        &self,
        http: &Http,
        url: &Url,
        expected: Expected,
        incoming: &mut Incoming<'_>,
        active: &Active,
    ) -> Result<String, UpstreamError> {
        if expected.size.is_some_and(|size| incoming.length() > size) {
            incoming.restart()?;
            active.restart();
        }
        if incoming.length() > 0 && expected.size == Some(incoming.length()) {
            // The interruption came between the last byte and the rename.
            return Ok(http::shown(url));
        }
        let conditions = Conditions {
            from: incoming.length(),
            validators: None,
        };
        let mut answer = self.ask(http, url, conditions)?;
        match answer.status {
            200 if incoming.length() > 0 => {
                incoming.restart()?;
                active.restart();
            }
            200 => {}
            206 if answer
                .range
                .is_some_and(|(first, _)| first == incoming.length()) => {}
            206 | 416 => {
                // Not the part that was asked for; only the whole will do.
                let url = answer.url.clone();
                answer.discard();
                incoming.restart()?;
                active.restart();
                return Err(UpstreamError::Unreachable {
                    url,
                    why: "the server cannot continue an interrupted download".to_owned(),
                });
            }
            404 | 410 => {
                let url = answer.url.clone();
                answer.discard();
                return Err(UpstreamError::Missing { url });
            }
            _ => return Err(refused(answer)),
        }
        let from = answer.url.clone();
        self.receive(&mut answer.reader(), &from, expected, incoming, active)?;
        let length = incoming.length();
        if let Some(size) = expected.size
            && length < size
            && !answer.declares_end
        {
            // Nobody but the index said where the body ends: it may have been cut off, and can be continued.
            return Err(UpstreamError::Unreachable {
                url: from,
                why: format!("the connection ended after {length} of {size} bytes"),
            });
        }
        Ok(from)
    }

    fn copy(
        &self,
        path: &Path,
        expected: Expected,
        incoming: &mut Incoming<'_>,
        active: &Active,
    ) -> Result<String, UpstreamError> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let url = path.display().to_string();
        let Some(mut file) = open_local(path)? else {
            return Err(UpstreamError::Missing { url });
        };
        incoming.restart()?;
        active.restart();
        self.receive(&mut file, &url, expected, incoming, active)?;
        Ok(url)
    }

    /// Writes what comes, until it ends or exceeds what was declared.
    fn receive(
        &self,
        body: &mut dyn Read,
        url: &str,
        expected: Expected,
        incoming: &mut Incoming<'_>,
        active: &Active,
    ) -> Result<(), UpstreamError> {
        let limit = expected.size.unwrap_or(UNDECLARED_SIZE_MAX);
        let mut buffer = vec![0; BUFFER];
        loop {
            self.interrupt.check()?;
            let read = body
                .read(&mut buffer)
                .map_err(|error| UpstreamError::Unreachable {
                    url: url.to_owned(),
                    why: http::explain_io(&error),
                })?;
            if read == 0 {
                return Ok(());
            }
            if incoming.length() + read as u64 > limit {
                let size = incoming.length() + read as u64;
                incoming.restart()?;
                return Err(mismatch(url.to_owned(), expected, None, size));
            }
            incoming.write(&buffer[..read])?;
            active.add(read as u64);
            self.received(read as u64)?;
        }
    }

    fn ask(
        &self,
        http: &Http,
        url: &Url,
        conditions: Conditions<'_>,
    ) -> Result<Answer, UpstreamError> {
        self.interrupt.check()?;
        self.requests.fetch_add(1, Ordering::Relaxed);
        let answer = http.get(url, conditions)?;
        log::debug!("GET {} -> {}", http::shown(url), answer.status);
        Ok(answer)
    }

    fn received(&self, bytes: u64) -> Result<(), UpstreamError> {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        let now = Instant::now();
        let pause = self
            .limiters
            .iter()
            .map(|limiter| limiter.wait_for(bytes, now))
            .max();
        if let Some(pause) = pause {
            self.interrupt.sleep(pause)?;
        }
        Ok(())
    }

    fn retrying<T>(
        &self,
        mut attempt: impl FnMut() -> Result<T, UpstreamError>,
    ) -> Result<T, UpstreamError> {
        let mut pause = FIRST_PAUSE;
        for left in (0..=self.retries).rev() {
            let error = match attempt() {
                Err(error) if error.is_transient() && left > 0 => error,
                result => return result,
            };
            let wished = match &error {
                UpstreamError::Status { retry_after, .. } => *retry_after,
                _ => None,
            };
            let wait = wished.map_or_else(|| jittered(pause), |wished| wished.min(RETRY_AFTER_MAX));
            log::debug!("{error}; next attempt in {wait:.1?}, {left} left");
            self.interrupt.sleep(wait)?;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        unreachable!("the last attempt returns")
    }
}

/// The certificates of `tls.ca_file`.
pub fn authorities(config: &config::Config) -> Result<Vec<Certificate<'static>>, CredentialError> {
    match &config.tls_ca_file {
        Some(path) => credentials::certificates(path).map_err(credentials::at("tls.ca_file")),
        None => Ok(Vec::new()),
    }
}

/// Between half of it and all of it, so that many downloads that failed together do not come back together.
fn jittered(pause: Duration) -> Duration {
    // The low digits of the clock are random enough for this.
    let nanos = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |now| now.subsec_nanos());
    pause.mul_f64(0.5 + f64::from(nanos % 1000) / 2000.0)
}

fn refused(answer: Answer) -> UpstreamError {
    let (url, status, retry_after) = (answer.url.clone(), answer.status, answer.retry_after);
    answer.discard();
    match status {
        401 | 403 | 407 => UpstreamError::Denied { url, status },
        _ => UpstreamError::Status {
            url,
            status,
            retry_after,
        },
    }
}

fn mismatch(url: String, expected: Expected, got: Option<Digest>, got_size: u64) -> UpstreamError {
    UpstreamError::Mismatch {
        url,
        expected: expected.digest,
        expected_size: expected.size,
        got,
        got_size,
    }
}

fn open_local(path: &Path) -> Result<Option<std::fs::File>, UpstreamError> {
    let opened = std::fs::OpenOptions::new()
        .read(true)
        // Opening a pipe would wait for somebody to write into it.
        .custom_flags(rustix::fs::OFlags::NONBLOCK.bits().cast_signed())
        .open(path)
        .and_then(|file| Ok((file.metadata()?.is_file(), file)));
    match opened {
        Ok((true, file)) => Ok(Some(file)),
        Ok((false, _)) => Err(UpstreamError::NotAFile {
            url: path.display().to_string(),
        }),
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            Ok(None)
        }
        Err(error) => Err(unreadable(path, &error)),
    }
}

fn unreadable(path: &Path, error: &io::Error) -> UpstreamError {
    UpstreamError::Unreachable {
        url: path.display().to_string(),
        why: error.to_string(),
    }
}
