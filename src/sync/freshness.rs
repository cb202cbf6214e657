//! Whether a verified root is current. A valid signature does not prove that: an attacker who can answer for the upstream can
//! serve an old root again, and with it packages with known vulnerabilities.
//!
//! Judged at sync, and nowhere else: what was mirrored in time stays valid.

use std::fmt;

use crate::config::Freshness;
use crate::digest::ObjectId;
use crate::exit::Exit;
use crate::format::Root;
use crate::store::records::{RepositoryRecord, StateRecord};
use crate::time::utc;

/// How far a root's date may be ahead of the clock, as apt has it (`Acquire::Max-FutureTime`).
const CLOCK_SKEW_SECS: i64 = 10;
/// The servers behind one name are rarely further apart.
const LAG_SECS: i64 = 48 * 3600;

/// Whether this run may go back to an older state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rollback {
    Refused,
    Allowed,
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum FreshnessError {
    #[error("the root expired on {} (Valid-Until)", utc(*until))]
    Expired { until: i64 },
    #[error("the root's Valid-Until is not a date: {text:?}")]
    InvalidValidUntil { text: String },
    #[error("the root's date {} is in the future (the current time is {})", utc(*date), utc(*now))]
    Future { date: i64, now: i64 },
    #[error("the root has no valid date, but the last synced one with a date is from {}", utc(*known))]
    Undated { known: i64 },
    #[error("the upstream lags behind: its root is from {found}, the last synced one from {known}")]
    Lagging { found: Age, known: Age },
    #[error("the upstream went back: its root is from {found}, the last synced one from {known}")]
    RolledBack { found: Age, known: Age },
}

impl FreshnessError {
    pub fn exit(&self) -> Exit {
        match self {
            Self::Lagging { .. } => Exit::Unreachable,
            Self::Expired { .. }
            | Self::InvalidValidUntil { .. }
            | Self::Undated { .. }
            | Self::Future { .. }
            | Self::RolledBack { .. } => Exit::Refused,
        }
    }
}

/// What a root says of its age. Of two roots the one with the later date is newer, at the same date the one with the higher
/// revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Age {
    /// Seconds since the epoch.
    pub date: i64,
    pub revision: Option<u64>,
}

impl Age {
    fn is_older_than(self, other: Self) -> bool {
        match (self.revision, other.revision) {
            (Some(own), Some(others)) if self.date == other.date => own < others,
            _ => self.date < other.date,
        }
    }
}

impl fmt::Display for Age {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", utc(self.date))?;
        match self.revision {
            Some(revision) => write!(f, " (revision {revision})"),
            None => Ok(()),
        }
    }
}

/// Judges a root that is about to become the state. `previous` is what it must not be older than.
///
/// A root that a state was derived from before is [`FreshnessError::RolledBack`] here too; to the caller, who knows the history,
/// that is [`FreshnessError::Lagging`].
pub fn check(
    root: &Root,
    object: ObjectId,
    previous: Option<&RepositoryRecord>,
    checks: Freshness,
    now: i64,
) -> Result<(), FreshnessError> {
    check_dates(checks, root.date, root.valid_until, now)?;
    if let Some(text) = &root.unread_valid_until
        && checks.check_valid_until
    {
        let text = text.clone();
        return Err(FreshnessError::InvalidValidUntil { text });
    }
    let Some(record) = previous.filter(|record| !record.state.has_root(object)) else {
        return Ok(());
    };
    let Some((found, known)) = ages(root, record) else {
        return match newest_date(record) {
            // An old root that was signed before the upstream wrote dates would undo what came since.
            Some(known) if root.date.is_none() && checks.check_date => {
                Err(FreshnessError::Undated { known })
            }
            _ => Ok(()),
        };
    };
    if !found.is_older_than(known) {
        return Ok(());
    }
    // Both dates are whatever an upstream wrote.
    if known.date.saturating_sub(found.date) < LAG_SECS {
        Err(FreshnessError::Lagging { found, known })
    } else {
        Err(FreshnessError::RolledBack { found, known })
    }
}

/// Judges the root of the last successful sync again, which the upstream still has: time has passed.
pub fn check_unchanged(
    state: &StateRecord,
    checks: Freshness,
    now: i64,
) -> Result<(), FreshnessError> {
    let checks = Freshness {
        // It was not from the future then, and is less so now.
        check_date: false,
        ..checks
    };
    check_dates(checks, None, state.valid_until(), now)
}

fn check_dates(
    checks: Freshness,
    date: Option<i64>,
    valid_until: Option<i64>,
    now: i64,
) -> Result<(), FreshnessError> {
    match valid_until {
        Some(until) if checks.check_valid_until && until < now => {
            return Err(FreshnessError::Expired { until });
        }
        _ => {}
    }
    match date {
        Some(date) if checks.check_date && date > now.saturating_add(CLOCK_SKEW_SECS) => {
            Err(FreshnessError::Future { date, now })
        }
        _ => Ok(()),
    }
}

/// `None` when one of them is undated.
fn ages(root: &Root, state: &RepositoryRecord) -> Option<(Age, Age)> {
    let found = Age {
        date: root.date?,
        revision: root.revision,
    };
    let known = Age {
        date: newest_date(state)?,
        // Of an undated root it belongs to no date.
        revision: state.state.dated_revision(),
    };
    Some((found, known))
}

/// The date of the newest root that was taken.
pub fn newest_date(record: &RepositoryRecord) -> Option<i64> {
    record.state.date().or(record.newest_root_date)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_date_counts_before_the_revision() {
        let age = |date, revision| Age { date, revision };
        for (a, b, older) in [
            (age(1, None), age(2, None), true),
            (age(2, None), age(1, None), false),
            (age(1, None), age(1, None), false),
            (age(1, Some(9)), age(2, Some(3)), true),
            (age(2, Some(3)), age(1, Some(9)), false),
            (age(1, Some(3)), age(1, Some(9)), true),
            (age(1, Some(3)), age(1, None), false),
        ] {
            assert_eq!(a.is_older_than(b), older, "{a} {b}");
        }
    }

    #[test]
    fn dates_are_judged_as_they_are_asked_for() {
        let all = Freshness {
            check_valid_until: true,
            check_date: true,
        };
        let none = Freshness {
            check_valid_until: false,
            check_date: false,
        };
        assert_eq!(check_dates(all, Some(110), Some(100), 100), Ok(()));
        assert_eq!(
            check_dates(all, Some(111), None, 100),
            Err(FreshnessError::Future {
                date: 111,
                now: 100
            })
        );
        assert_eq!(
            check_dates(all, Some(0), Some(99), 100),
            Err(FreshnessError::Expired { until: 99 })
        );
        assert_eq!(check_dates(none, Some(i64::MAX), Some(0), 100), Ok(()));
    }
}
