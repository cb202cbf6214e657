//! Where a repository comes from: small files into memory, everything else into the pool.
//!
//! Transient trouble (connections, stalls, truncated bodies, 5xx, 429) is retried with growing pauses; an interrupted
//! download goes on where it stopped. What arrives in the pool has the digest and size that were expected, or it does not arrive.

mod attempts;
mod body;
mod credentials;
mod error;
mod failure;
mod http;
mod limiter;
mod resolver;
mod validators;
mod wire;

use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use ureq::tls::Certificate;
use url::Url;

use crate::config;
use crate::digest::{Digest, ObjectRef};
use crate::interrupt::Interrupt;
use crate::pool::{BUFFER, Incoming};
use crate::progress::Active;
use crate::regular_file::is_absent;
use crate::rel_path::RelPath;

use http::{Conditions, Http, Response};

pub use credentials::{CredentialError, check as check_credentials};
pub use error::UpstreamError;
pub use failure::TlsFailure;
pub use limiter::Limiter;
pub use validators::Validators;

use attempts::{Attempts, FIRST_PAUSE, jittered};
use failure::{classify_read, failure_in_page};

/// Roots, signatures and keys are read into memory: none is near this large.
pub const SMALL_FILE_MAX: u64 = 32 * 1024 * 1024;
/// For a package whose index does not say how large it is.
const UNDECLARED_SIZE_MAX: u64 = 64 * 1024 * 1024 * 1024;
/// What an attempt at a file of unknown size must deliver to be no failure.
const PROGRESS_MIN: u64 = 64 * 1024;

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
            interrupt: interrupt.clone(),
        };
        let source = match &repository.upstream {
            config::UpstreamUrl::File(path) => Source::Directory(path.clone()),
            config::UpstreamUrl::Http(url) => Source::Http(Box::new(Http::new(
                url.as_url().clone(),
                credentials::identity(&repository.credentials, interrupt)?,
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
        self.retry(|| {
            let conditions = Conditions {
                validators,
                ..Conditions::default()
            };
            let mut answer = self.request(http, url, conditions)?;
            match answer.status {
                200 => {}
                304 if validators.is_some() => return Ok(Small::NotModified),
                404 | 410 => {
                    answer.discard();
                    return Ok(Small::Missing);
                }
                _ => return Err(refused(answer)),
            }
            let from = answer.url.clone();
            let mut bytes = Vec::new();
            let limit = SMALL_FILE_MAX + 1;
            self.read_all(&mut answer.reader(), &from, limit, &mut |part| {
                bytes.extend_from_slice(part);
                Ok(())
            })?;
            if bytes.len() as u64 > SMALL_FILE_MAX {
                return Err(UpstreamError::TooLarge {
                    url: from,
                    limit: SMALL_FILE_MAX,
                });
            }
            Ok(Small::Body {
                bytes,
                validators: answer.validators.clone(),
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
        self.count(bytes.len() as u64)?;
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
    ) -> Result<ObjectRef, UpstreamError> {
        active.add(incoming.length());
        let mut is_afresh = false;
        loop {
            let brought = self.fetch_file(path, expected, &mut incoming, active);
            let is_wrong = match &brought {
                Ok(_) => !incoming.is_expected(),
                Err(error) => matches!(error, UpstreamError::Mismatch { .. }),
            };
            // What was there before may be of other bytes: only a whole download shows whether the upstream's are wrong.
            if is_wrong && incoming.is_resumed() && !is_afresh {
                is_afresh = true;
                incoming.restart()?;
                active.restart();
                continue;
            }
            if is_wrong && brought.is_err() {
                incoming.restart()?;
            }
            let url = brought?;
            return incoming
                .commit()?
                .map_err(|wrong| mismatch(url, expected, Some(wrong.got), wrong.length));
        }
    }

    /// All bytes of a file, wherever it comes from. Returns where that was.
    fn fetch_file(
        &self,
        path: &RelPath,
        expected: Expected,
        incoming: &mut Incoming<'_>,
        active: &Active,
    ) -> Result<String, UpstreamError> {
        let url = match &self.source {
            Source::Http(http) => {
                let url = http.url_of(path);
                self.retry_while_progressing(expected, incoming, |incoming| {
                    self.transfer(http, &url, expected, incoming, active)
                })?
            }
            Source::Directory(root) => self.copy(&path.below(root), expected, incoming, active)?,
        };
        let size = incoming.length();
        if expected.size.is_some_and(|expected| expected != size) {
            return Err(mismatch(url, expected, None, size));
        }
        Ok(url)
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
            if_range: incoming.validator(),
            validators: None,
        };
        let mut answer = self.request(http, url, conditions)?;
        match answer.status {
            200 if incoming.length() > 0 => {
                incoming.restart()?;
                active.restart();
            }
            200 => {}
            206 if answer
                .range
                .is_some_and(|(first, _)| first == incoming.length()) =>
            {
                incoming.resume();
            }
            206 | 416 => {
                // Not the part that was asked for; only the whole will do.
                let url = answer.url.clone();
                answer.discard();
                incoming.restart()?;
                active.restart();
                return Err(UpstreamError::Unreachable {
                    url,
                    why: "the server cannot resume an interrupted download".to_owned(),
                });
            }
            404 | 410 => {
                let url = answer.url.clone();
                answer.discard();
                return Err(UpstreamError::Missing { url });
            }
            _ => return Err(refused(answer)),
        }
        if !incoming.is_resumed() {
            incoming.set_validator(answer.validators.strong());
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
                why: format!("connection closed after {length} of {size} bytes"),
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
        self.read_all(body, url, u64::MAX, &mut |part| {
            let length = incoming.length() + part.len() as u64;
            if length > limit {
                return Err(mismatch(url.to_owned(), expected, None, length));
            }
            incoming.write(part)?;
            active.add(part.len() as u64);
            Ok(())
        })
    }

    /// Reads a body to its end, or until `limit` bytes have come, as fast as the bandwidth limits allow.
    fn read_all(
        &self,
        body: &mut dyn Read,
        url: &str,
        limit: u64,
        each: &mut dyn FnMut(&[u8]) -> Result<(), UpstreamError>,
    ) -> Result<(), UpstreamError> {
        let mut buffer = vec![0; self.piece()];
        let mut left = limit;
        while left > 0 {
            self.interrupt.check()?;
            let wanted = usize::try_from(left).map_or(buffer.len(), |left| left.min(buffer.len()));
            let read = match body.read(&mut buffer[..wanted]) {
                Ok(0) => return Ok(()),
                Ok(read) => read,
                Err(error) => {
                    self.interrupt.check()?;
                    return Err(classify_read(url, &error));
                }
            };
            left -= read as u64;
            each(&buffer[..read])?;
            self.count(read as u64)?;
        }
        Ok(())
    }

    fn request(
        &self,
        http: &Http,
        url: &Url,
        conditions: Conditions<'_>,
    ) -> Result<Response, UpstreamError> {
        self.interrupt.check()?;
        self.requests.fetch_add(1, Ordering::Relaxed);
        let answer = http.get(url, conditions).or_else(|error| {
            // Whatever a wait ended with, this is why.
            self.interrupt.check()?;
            Err(error)
        })?;
        log::debug!("GET {} -> {}", http::shown(url), answer.status);
        Ok(answer)
    }

    /// Counts what came, and waits as long as the bandwidth limits ask for.
    fn count(&self, bytes: u64) -> Result<(), UpstreamError> {
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

    /// How much is read at once: with a limit no more than comes in a second, or servers would end connections during the pause.
    fn piece(&self) -> usize {
        let slowest = self.limiters.iter().map(|limiter| limiter.rate()).min();
        let slowest = slowest.and_then(|rate| usize::try_from(rate).ok());
        slowest.map_or(BUFFER, |rate| rate.clamp(1, BUFFER))
    }

    fn retry<T>(
        &self,
        mut attempt: impl FnMut() -> Result<T, UpstreamError>,
    ) -> Result<T, UpstreamError> {
        let mut attempts = Attempts::new(self.retries);
        loop {
            match attempt() {
                Err(error) if error.is_transient() && attempts.are_left() => {
                    self.interrupt.sleep(attempts.pause_after(&error))?;
                }
                result => return result,
            }
        }
    }

    /// The same for a download: an attempt that brought some of it is no failure, or a line that breaks now and then would
    /// never complete a large file. Where nothing is to be retried, neither is that.
    fn retry_while_progressing<T>(
        &self,
        expected: Expected,
        incoming: &mut Incoming<'_>,
        mut attempt: impl FnMut(&mut Incoming<'_>) -> Result<T, UpstreamError>,
    ) -> Result<T, UpstreamError> {
        // Each step is taken once: a server that begins anew each time makes no progress.
        let step = expected
            .size
            .map_or(PROGRESS_MIN, |size| (size / 20).max(1024));
        let mut reached = incoming.length();
        let mut attempts = Attempts::new(self.retries);
        loop {
            let error = match attempt(incoming) {
                Err(error) if error.is_transient() => error,
                result => return result,
            };
            if self.retries > 0 && incoming.length() >= reached.saturating_add(step) {
                reached = incoming.length();
                attempts = Attempts::new(self.retries);
                log::debug!("{error}; resuming at byte {reached}");
                self.interrupt.sleep(jittered(FIRST_PAUSE))?;
            } else if attempts.are_left() {
                self.interrupt.sleep(attempts.pause_after(&error))?;
            } else {
                return Err(error);
            }
        }
    }
}

/// The certificates of `tls.ca_file`.
pub fn authorities(config: &config::Config) -> Result<Vec<Certificate<'static>>, CredentialError> {
    match &config.tls_ca_file {
        Some(path) => credentials::authorities(path).map_err(credentials::at("tls.ca_file")),
        None => Ok(Vec::new()),
    }
}

fn refused(answer: Response) -> UpstreamError {
    let (url, status, retry_after) = (answer.url.clone(), answer.status, answer.retry_after);
    let (with_certificate, is_tls) = (answer.with_certificate, answer.is_tls);
    let page = answer.discard();
    if status == 400
        && let Some(why) = failure_in_page(&page, is_tls)
    {
        return UpstreamError::Tls { url, why };
    }
    match status {
        401 | 403 | 407 => UpstreamError::Denied {
            url,
            status,
            with_certificate,
        },
        // What nginx says of a certificate that it does not take.
        400 if with_certificate => UpstreamError::Denied {
            url,
            status,
            with_certificate,
        },
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
        Err(error) if is_absent(&error) => Ok(None),
        Err(error) => Err(unreadable(path, &error)),
    }
}

fn unreadable(path: &Path, error: &io::Error) -> UpstreamError {
    UpstreamError::Unreachable {
        url: path.display().to_string(),
        why: error.to_string(),
    }
}
