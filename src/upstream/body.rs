//! Reads the body of a response, and fails if the transfer stalls.

use std::io::{self, Read};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::wire::Deadlines;

/// A lower average over `download.timeout` is a stall: otherwise single bytes could keep a run
/// waiting forever.
const BYTES_PER_SECOND_MIN: u64 = 100;

/// Only bytes of the body are counted, not chunk headers and trailers.
pub struct BodyReader<'a> {
    body: ureq::BodyReader<'a>,
    timeout: Duration,
    deadlines: &'a Arc<Deadlines>,
    /// The time spent waiting, and the bytes received in it.
    waited: Duration,
    bytes: u64,
    /// The part of it since the last byte.
    silent: Duration,
}

/// The cause of a read error after a timeout.
#[derive(Debug, thiserror::Error)]
pub enum Stalled {
    #[error("no data received within download.timeout")]
    Nothing,
    #[error("only {0} bytes received within download.timeout")]
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
            waited: Duration::ZERO,
            bytes: 0,
            silent: Duration::ZERO,
        }
    }

    fn count(&mut self, bytes: u64) {
        self.bytes += bytes;
        self.silent = Duration::ZERO;
        let enough = self.timeout.as_millis() * u128::from(BYTES_PER_SECOND_MIN) / 1000;
        if u128::from(self.bytes) >= enough {
            self.waited = Duration::ZERO;
            self.bytes = 0;
        }
    }
}

impl Read for BodyReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let begun = Instant::now();
        let left = self.timeout.saturating_sub(self.waited);
        self.deadlines.set(begun + left);
        let read = self.body.read(buffer);
        // Only time spent here is counted, not the bandwidth limit or the local disk.
        let took = begun.elapsed();
        self.waited += took;
        self.silent += took;
        match read {
            Ok(read) => {
                self.count(read as u64);
                Ok(read)
            }
            Err(error) if took < left => Err(error),
            // A short body that arrived at once is not a slow connection.
            Err(_) if self.silent >= self.timeout.mul_f32(0.9) => {
                Err(io::Error::other(Stalled::Nothing))
            }
            Err(_) => Err(io::Error::other(Stalled::TooSlow(self.bytes))),
        }
    }
}
