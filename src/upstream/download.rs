//! Downloads of files of any size into the pool: resumed after an interruption, and complete only
//! with the expected digest and size.

use std::io::Read;
use std::path::Path;
use std::sync::atomic::Ordering;

use url::Url;

use crate::digest::{Digest, ObjectRef};
use crate::pool::Incoming;
use crate::progress::ActiveDownload;
use crate::rel_path::RelPath;

use super::attempts::{Attempts, FIRST_PAUSE, jittered};
use super::client::{Source, Upstream, open_local, refused};
use super::error::UpstreamError;
use super::http::{self, Conditions, Http};

/// Limit for a package without a size in the index.
const UNDECLARED_SIZE_MAX: u64 = 64 * 1024 * 1024 * 1024;
/// Bytes that an attempt at a file of unknown size must receive to count as progress.
const PROGRESS_MIN: u64 = 64 * 1024;

/// The expected digest and size of a download.
#[derive(Clone, Copy, Debug)]
pub struct Expected {
    pub digest: Digest,
    /// In bytes, if declared.
    pub size: Option<u64>,
}

impl Upstream {
    /// Downloads a file into the pool. [`UpstreamError::Missing`] and [`UpstreamError::Mismatch`]
    /// are not retried: only the root tells whether the upstream has changed.
    pub fn download(
        &self,
        path: &RelPath,
        expected: Expected,
        mut incoming: Box<Incoming<'_>>,
        active: &ActiveDownload,
    ) -> Result<ObjectRef, UpstreamError> {
        active.add(incoming.length());
        let mut is_afresh = false;
        loop {
            let brought = self.fetch_file(path, expected, &mut incoming, active);
            let is_wrong = match &brought {
                Ok(_) => !incoming.is_expected(),
                Err(error) => matches!(error, UpstreamError::Mismatch { .. }),
            };
            // The partial file may contain other bytes: only a complete download shows whether
            // those of the upstream are wrong.
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

    /// Receives all bytes of a file. Returns its URL.
    fn fetch_file(
        &self,
        path: &RelPath,
        expected: Expected,
        incoming: &mut Incoming<'_>,
        active: &ActiveDownload,
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

    /// One attempt to download a body, from the end of the partial file. Returns its URL.
    fn transfer(
        &self,
        http: &Http,
        url: &Url,
        expected: Expected,
        incoming: &mut Incoming<'_>,
        active: &ActiveDownload,
    ) -> Result<String, UpstreamError> {
        if expected.size.is_some_and(|size| incoming.length() > size) {
            incoming.restart()?;
            active.restart();
        }
        if incoming.length() > 0 && expected.size == Some(incoming.length()) {
            // It was interrupted between the last byte and the rename.
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
                // Not the requested range: start from the beginning.
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
            // The server did not declare the length: the body may be truncated, and the download
            // can be resumed.
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
        active: &ActiveDownload,
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

    /// Writes the body, until it ends or exceeds the declared size.
    fn receive(
        &self,
        body: &mut dyn Read,
        url: &str,
        expected: Expected,
        incoming: &mut Incoming<'_>,
        active: &ActiveDownload,
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

    /// As [`Self::retry`], for a download: an attempt that made progress does not count as a
    /// failure, otherwise an unstable connection would never complete a large file. With no retries
    /// configured, it does count.
    fn retry_while_progressing<T>(
        &self,
        expected: Expected,
        incoming: &mut Incoming<'_>,
        mut attempt: impl FnMut(&mut Incoming<'_>) -> Result<T, UpstreamError>,
    ) -> Result<T, UpstreamError> {
        // Each offset counts once: a server that always starts from the beginning makes no
        // progress.
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

fn mismatch(url: String, expected: Expected, got: Option<Digest>, got_size: u64) -> UpstreamError {
    UpstreamError::Mismatch {
        url,
        expected: expected.digest,
        expected_size: expected.size,
        got,
        got_size,
    }
}
