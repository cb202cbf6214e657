//! The upstream of one repository, over HTTP or in a directory: requests, retries, bandwidth limits,
//! and small files, which are read into memory.

use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use ureq::tls::Certificate;
use url::Url;

use crate::config;
use crate::interrupt::Interrupt;
use crate::pool::{BUFFER, UPSTREAM_SMALL_MAX};
use crate::regular_file::is_absent;
use crate::rel_path::RelPath;

use super::attempts::Attempts;
use super::credentials::{self, CredentialError};
use super::error::UpstreamError;
use super::failure::{ClientCertificate, classify_read, failure_in_page};
use super::http::{self, Conditions, Http, Response};
use super::limiter::Limiter;
use super::validators::Validators;

/// The result of requesting a small file.
#[derive(Debug)]
pub enum Small {
    Body {
        bytes: Vec<u8>,
        validators: Validators,
    },
    /// The validators still match.
    NotModified,
    Missing,
}

/// The upstream of one repository.
pub struct Upstream {
    pub(super) source: Source,
    settings: http::Settings,
    pub(super) retries: u32,
    limiters: Vec<Arc<Limiter>>,
    pub(super) interrupt: Interrupt,
    pub(super) requests: AtomicU64,
    bytes: AtomicU64,
}

pub(super) enum Source {
    Http(Box<Http>),
    Directory(PathBuf),
}

impl Upstream {
    /// `limiter` is the global bandwidth limit.
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
            // Nothing is there: callers do not ask.
            config::UpstreamUrl::Media => Source::Directory(std::path::PathBuf::from("/dev/null")),
            config::UpstreamUrl::Http(url) => Source::Http(Box::new(Http::new(
                url.as_url().clone(),
                credentials::identity(&repository.credentials, interrupt)?,
                settings.clone(),
            ))),
        };
        let own = Limiter::shared(repository.bandwidth_limit);
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

    /// The URL or file of a path, for messages.
    pub fn shown(&self, path: &RelPath) -> String {
        match &self.source {
            Source::Http(http) => http::shown(&http.url_of(path)),
            Source::Directory(root) => path.below(root).display().to_string(),
        }
    }

    /// Requests a small file, such as a root or a signature.
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

    /// Requests a small file outside of the repository, such as a key. Credentials are sent only if
    /// it has the same origin.
    pub fn small_at(&self, url: &Url) -> Result<Small, UpstreamError> {
        match &self.source {
            Source::Http(http) => self.small_http(http, url, None),
            Source::Directory(_) => {
                let anonymous = http::Identity::default();
                let http = Http::new(url.clone(), anonymous, self.settings.clone());
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
            let limit = UPSTREAM_SMALL_MAX + 1;
            self.read_all(&mut answer.reader(), &from, limit, &mut |part| {
                bytes.extend_from_slice(part);
                Ok(())
            })?;
            if bytes.len() as u64 > UPSTREAM_SMALL_MAX {
                return Err(UpstreamError::TooLarge {
                    url: from,
                    limit: UPSTREAM_SMALL_MAX,
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
        file.take(UPSTREAM_SMALL_MAX + 1)
            .read_to_end(&mut bytes)
            .map_err(|error| unreadable(path, &error))?;
        if bytes.len() as u64 > UPSTREAM_SMALL_MAX {
            return Err(UpstreamError::TooLarge {
                url: path.display().to_string(),
                limit: UPSTREAM_SMALL_MAX,
            });
        }
        self.count(bytes.len() as u64)?;
        Ok(Small::Body {
            bytes,
            validators: Validators::default(),
        })
    }

    /// Reads a body to its end or up to `limit` bytes, within the bandwidth limits.
    pub(super) fn read_all(
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

    pub(super) fn request(
        &self,
        http: &Http,
        url: &Url,
        conditions: Conditions<'_>,
    ) -> Result<Response, UpstreamError> {
        self.interrupt.check()?;
        self.requests.fetch_add(1, Ordering::Relaxed);
        let answer = http.get(url, conditions).or_else(|error| {
            // The interruption is the cause of the error.
            self.interrupt.check()?;
            Err(error)
        })?;
        log::debug!("GET {} -> {}", http::shown(url), answer.status);
        Ok(answer)
    }

    /// Counts received bytes, and waits as long as the bandwidth limits require.
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

    /// Buffer size: with a limit at most one second's worth, otherwise servers would close
    /// connections during the pause.
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
}

/// The certificates of `tls.ca_file`.
pub fn authorities(config: &config::Config) -> Result<Vec<Certificate<'static>>, CredentialError> {
    match &config.tls_ca_file {
        Some(path) => credentials::authorities(path).map_err(credentials::at("tls.ca_file")),
        None => Ok(Vec::new()),
    }
}

pub(super) fn refused(answer: Response) -> UpstreamError {
    let (url, status, retry_after) = (answer.url.clone(), answer.status, answer.retry_after);
    let with_certificate = answer.client_certificate == ClientCertificate::Sent;
    let transport = answer.transport;
    let page = answer.discard();
    if status == 400
        && let Some(why) = failure_in_page(&page, transport)
    {
        return UpstreamError::Tls { url, why };
    }
    match status {
        401 | 403 | 407 => UpstreamError::Denied {
            url,
            status,
            with_certificate,
        },
        // The status of nginx for a client certificate that it rejects.
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

pub(super) fn open_local(path: &Path) -> Result<Option<std::fs::File>, UpstreamError> {
    let opened = std::fs::OpenOptions::new()
        .read(true)
        // Opening a pipe would block until there is a writer.
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
