//! A bandwidth limit that several downloads share.

use std::num::NonZeroU64;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::threads::lock;

/// Limits the rate of downloads. Bursts are smaller than one buffer per download.
pub struct Limiter {
    bytes_per_second: u64,
    /// When the bytes received so far are within the rate.
    paid_until: Mutex<Instant>,
}

impl Limiter {
    pub fn new(bytes_per_second: u64) -> Self {
        Self {
            bytes_per_second: bytes_per_second.max(1),
            paid_until: Mutex::new(Instant::now()),
        }
    }

    /// A limiter for several downloads, if there is a limit in bytes a second.
    pub fn shared(limit: Option<NonZeroU64>) -> Option<Arc<Self>> {
        limit.map(|rate| Arc::new(Self::new(rate.get())))
    }

    /// Bytes a second.
    pub fn rate(&self) -> u64 {
        self.bytes_per_second
    }

    /// How long to wait after receiving these bytes.
    pub fn wait_for(&self, bytes: u64, now: Instant) -> Duration {
        let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(self.bytes_per_second);
        let cost = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        let mut paid_until = lock(&self.paid_until);
        // Idle time is not accumulated.
        *paid_until = (*paid_until).max(now) + cost;
        paid_until.saturating_duration_since(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn concurrent_downloads_share_the_rate() {
        let limiter = Limiter::new(1000);
        let now = Instant::now() + Duration::from_secs(1);
        assert_eq!(limiter.wait_for(500, now), Duration::from_millis(500));
        assert_eq!(limiter.wait_for(500, now), Duration::from_secs(1));
        // Idle time is not saved up.
        let later = now + Duration::from_mins(1);
        assert_eq!(limiter.wait_for(100, later), Duration::from_millis(100));
    }
}
