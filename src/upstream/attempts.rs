//! How often a request is attempted, and the pauses in between.

use std::time::Duration;

use super::error::UpstreamError;

/// The first pause between two attempts; it doubles each time.
pub const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_mins(1);
/// Upper limit for the `Retry-After` of a server.
const RETRY_AFTER_MAX: Duration = Duration::from_mins(5);

/// The attempts of a request, with exponential backoff.
pub struct Attempts {
    left: u32,
    pause: Duration,
}

impl Attempts {
    pub fn new(retries: u32) -> Self {
        Self {
            left: retries,
            pause: FIRST_PAUSE,
        }
    }

    /// Whether another attempt is allowed.
    pub fn are_left(&self) -> bool {
        self.left > 0
    }

    /// How long to wait before the next attempt.
    pub fn pause_after(&mut self, error: &UpstreamError) -> Duration {
        self.left = self.left.saturating_sub(1);
        let wished = match error {
            UpstreamError::Status { retry_after, .. } => *retry_after,
            _ => None,
        };
        let wait = wished.map_or_else(
            || jittered(self.pause),
            |wished| wished.min(RETRY_AFTER_MAX),
        );
        log::debug!(
            "{error}; retrying in {wait:.1?}, {} attempts left",
            self.left
        );
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        wait
    }
}

/// A random time between half of the pause and all of it, so that downloads that failed together
/// are not retried at the same time.
pub fn jittered(pause: Duration) -> Duration {
    // The low digits of the clock are random enough.
    let nanos = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |now| now.subsec_nanos());
    pause.mul_f64(0.5 + f64::from(nanos % 1000) / 2000.0)
}
