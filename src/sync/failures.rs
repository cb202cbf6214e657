//! Collects failures of single files, so that one run reports all of them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};

use super::error::SyncError;
use crate::threads::lock;

/// After this many failures, the remaining files are not checked.
const FAILURES_MAX: usize = 10;

/// The failures of single files in a run.
pub struct Failures {
    /// Number of files to check in total.
    files: u64,
    checked: AtomicU64,
    reported: Mutex<Vec<SyncError>>,
}

impl Failures {
    pub fn new(files: u64) -> Self {
        Self {
            files,
            checked: AtomicU64::new(0),
            reported: Mutex::default(),
        }
    }

    /// Counts files that were checked, with any result.
    pub fn count_checked(&self, files: u64) {
        self.checked.fetch_add(files, Ordering::Relaxed);
    }

    /// Adds a failure. If the limit is reached, returns all failures as the error that stops the
    /// work.
    pub fn report(&self, failure: SyncError) -> Result<(), SyncError> {
        let mut reported = self.lock();
        reported.push(failure);
        if reported.len() < FAILURES_MAX {
            return Ok(());
        }
        let errors = std::mem::take(&mut *reported);
        Err(SyncError::Files {
            errors,
            unchecked: 0,
        })
    }

    /// Adds a failure without a limit, where continuing costs nothing.
    pub fn add(&self, failure: SyncError) {
        self.lock().push(failure);
    }

    pub fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// Returns the failures as an error, if there are any.
    pub fn conclude(&self) -> Result<(), SyncError> {
        match self.take_error(None) {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    /// Combines the failures with the error that stopped the work, except for an interruption.
    pub fn conclude_with<T>(&self, result: Result<T, SyncError>) -> Result<T, SyncError> {
        match result {
            Ok(value) => self.conclude().map(|()| value),
            Err(SyncError::Interrupted(interrupted)) => Err(interrupted.into()),
            Err(SyncError::Files { errors, .. }) => {
                self.lock().extend(errors);
                Err(self.take_error(None).expect("failures were added"))
            }
            Err(error) => Err(self.take_error(Some(error)).expect("an error was added")),
        }
    }

    /// All failures, in an order that does not depend on the threads, followed by `last`.
    fn take_error(&self, last: Option<SyncError>) -> Option<SyncError> {
        let mut errors = std::mem::take(&mut *self.lock());
        errors.sort_by_cached_key(ToString::to_string);
        errors.extend(last);
        let unchecked = self
            .files
            .saturating_sub(self.checked.load(Ordering::Relaxed));
        SyncError::combine(errors, unchecked)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<SyncError>> {
        lock(&self.reported)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interrupt::Interrupted;

    fn refused(number: u64) -> SyncError {
        SyncError::PackageRefused {
            what: format!("package {number:02}\n  it is not signed"),
        }
    }

    #[test]
    fn one_alone_stays_itself_and_several_are_counted() {
        let failures = Failures::new(20);
        assert!(failures.conclude().is_ok());
        failures.count_checked(2);
        failures.report(refused(7)).unwrap();
        let alone = failures.conclude().unwrap_err();
        assert_eq!(alone.to_string(), "package 07\n  it is not signed");

        for number in [3, 1, 2] {
            failures.count_checked(1);
            failures.report(refused(number)).unwrap();
        }
        let several = failures.conclude().unwrap_err().to_string();
        assert_eq!(
            several.lines().step_by(2).collect::<Vec<_>>(),
            [
                "3 packages failed verification, and 15 other files were not checked",
                "    it is not signed",
                "    it is not signed",
                "    it is not signed"
            ]
        );
    }

    /// The counts must be right even if other threads report failures after the limit is reached.
    #[test]
    fn what_is_not_told_one_by_one_is_counted() {
        let failures = Failures::new(13);
        failures.count_checked(12);
        for number in 1..10 {
            failures.report(refused(number)).unwrap();
        }
        let ended = failures.report(refused(10));
        for number in 11..=12 {
            failures.report(refused(number)).unwrap();
        }
        let told = failures.conclude_with(ended).unwrap_err().to_string();
        assert!(
            told.starts_with(
                "12 packages failed verification, and one other file was not checked\n"
            ),
            "{told}"
        );
        assert!(told.ends_with("\n  and 2 more"), "{told}");
    }

    #[test]
    fn what_ended_the_work_stands_last_and_an_interruption_alone() {
        let failures = Failures::new(1);
        failures.add(refused(1));
        let io = std::io::Error::other("the disk is full");
        let ended = failures.conclude_with::<()>(Err(io.into())).unwrap_err();
        let told = ended.to_string();
        assert!(told.starts_with("2 failures"), "{told}");
        assert!(told.ends_with("\n  the disk is full"), "{told}");

        failures.add(refused(1));
        let ended = failures.conclude_with::<()>(Err(Interrupted.into()));
        assert!(matches!(ended, Err(SyncError::Interrupted(_))));
    }
}
