//! Ctrl-C and SIGTERM: a run stops between two steps; completed steps are kept, and the next run
//! continues there.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGINT, SIGTERM};

use crate::exit::Exit;

/// Whether this run, or this part of it, has been asked to stop.
#[derive(Clone, Debug, Default)]
pub struct Interrupt {
    by_user: Arc<AtomicBool>,
    part_stopped: Arc<AtomicBool>,
}

#[derive(Debug, thiserror::Error)]
#[error("interrupted")]
pub struct Interrupted;

impl Interrupt {
    /// Installs the signal handlers. The first signal requests a stop, the second one forces it.
    pub fn listen() -> io::Result<Self> {
        let flag = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            // The order matters: at the first signal the flag is not set yet.
            let code = Exit::Interrupted.code();
            signal_hook::flag::register_conditional_shutdown(signal, code, Arc::clone(&flag))?;
            signal_hook::flag::register(signal, Arc::clone(&flag))?;
        }
        Ok(Self {
            by_user: flag,
            part_stopped: Arc::default(),
        })
    }

    /// For a part of the run that can be stopped and resumed while the rest continues.
    pub fn part(&self) -> Self {
        Self {
            by_user: Arc::clone(&self.by_user),
            part_stopped: Arc::default(),
        }
    }

    pub fn stop_part(&self) {
        self.part_stopped.store(true, Ordering::Relaxed);
    }

    pub fn resume_part(&self) {
        self.part_stopped.store(false, Ordering::Relaxed);
    }

    pub fn check(&self) -> Result<(), Interrupted> {
        if self.by_user.load(Ordering::Relaxed) || self.part_stopped.load(Ordering::Relaxed) {
            Err(Interrupted)
        } else {
            Ok(())
        }
    }

    /// Sleeps until the time has passed or the run is interrupted.
    pub fn sleep(&self, duration: Duration) -> Result<(), Interrupted> {
        let end = Instant::now() + duration;
        loop {
            self.check()?;
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            std::thread::sleep(left.min(Duration::from_millis(100)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_stops_alone_and_with_the_whole() {
        let whole = Interrupt::default();
        let (one, other) = (whole.part(), whole.part());
        one.stop_part();
        assert!(one.clone().check().is_err());
        assert!(other.check().is_ok() && whole.check().is_ok());
        one.resume_part();
        assert!(one.check().is_ok());
        whole.by_user.store(true, Ordering::Relaxed);
        assert!(one.check().is_err() && other.check().is_err());
    }
}
