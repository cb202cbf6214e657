//! Points before durable steps, where tests kill a run: what is on disk then must be complete, and
//! the next run must finish it. The program itself has no such points.

/// A durable step is about to be made.
#[cfg(not(test))]
pub const fn reach(_step: &'static str) {}

/// The variable with the number of the point at which the process is killed, from 1.
#[cfg(test)]
pub const KILL_AT: &str = "CHANTAL_TEST_KILL_AT";

#[cfg(test)]
pub fn reach(step: &'static str) {
    use std::sync::atomic::{AtomicU32, Ordering};

    use rustix::process::{Signal, getpid, kill_process};

    static REACHED: AtomicU32 = AtomicU32::new(0);

    let Ok(kill_at) = std::env::var(KILL_AT) else {
        return;
    };
    let reached = REACHED.fetch_add(1, Ordering::SeqCst) + 1;
    if kill_at.parse() == Ok(reached) {
        eprintln!("killed at point {reached}: {step}");
        let _ = kill_process(getpid(), Signal::KILL);
    }
}
