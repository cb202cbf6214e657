//! The body of an answer, read as long as it comes fast enough.

use std::io::{self, Read};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::wire::Deadlines;

/// Slower than that on average over `download.timeout` is a stall: one byte in time would keep a run waiting for ever.
const BYTES_PER_SECOND_MIN: u64 = 100;

/// What is read at a pace of its own, unless its reader pauses.
pub trait Paced: Read {
    /// The reader waited for reasons of its own, which says nothing of the source.
    fn paused(&mut self, _pause: Duration) {}
}

impl Paced for std::fs::File {}

/// Only bytes of the body count: chunk headers and trailers do not.
pub struct BodyReader<'a> {
    body: ureq::BodyReader<'a>,
    timeout: Duration,
    deadlines: &'a Arc<Deadlines>,
    /// When the window began in which bytes are counted, and how many came in it.
    since: Instant,
    bytes: u64,
    /// When the last one came.
    last: Instant,
}

/// In the error of a read that took too long.
#[derive(Debug, thiserror::Error)]
pub enum Stalled {
    #[error("nothing came within download.timeout")]
    Nothing,
    #[error("only {0} bytes came within download.timeout")]
    TooSlow(u64),
}

impl<'a> BodyReader<'a> {
    pub fn new(
        body: ureq::BodyReader<'a>,
        timeout: Duration,
        deadlines: &'a Arc<Deadlines>,
    ) -> Self {
        Self {
            body,
            timeout,
            deadlines,
            since: Instant::now(),
            bytes: 0,
            last: Instant::now(),
        }
    }
}

impl Read for BodyReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let end = self.since + self.timeout;
        self.deadlines.set(end);
        let read = self.body.read(buffer).map_err(|error| {
            if Instant::now() < end {
                return error;
            }
            // What came at once and was all is no slow line.
            let silence = end.saturating_duration_since(self.last);
            io::Error::other(if silence >= self.timeout.mul_f32(0.9) {
                Stalled::Nothing
            } else {
                Stalled::TooSlow(self.bytes)
            })
        })?;
        self.bytes += read as u64;
        self.last = Instant::now();
        let enough = self.timeout.as_secs_f64()
            * f64::from(u32::try_from(BYTES_PER_SECOND_MIN).unwrap_or(u32::MAX));
        // Whole bytes, far below where a float loses some.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        if self.bytes >= enough as u64 {
            self.since = Instant::now();
            self.bytes = 0;
        }
        Ok(read)
    }
}

impl Paced for BodyReader<'_> {
    fn paused(&mut self, pause: Duration) {
        self.since += pause;
        self.last += pause;
    }
}
