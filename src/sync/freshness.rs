//! Checks that a verified root is current. A valid signature does not prove this: an attacker who
//! can impersonate the upstream can serve an old root, and packages with known vulnerabilities.
//!
//! This is checked during a sync only: a state that was current when it was synced stays valid.

use std::fmt;

use crate::config::Freshness;
use crate::digest::ObjectId;
use crate::exit::Exit;
use crate::format::Root;
use crate::store::records::{RepositoryRecord, StateRecord};
use crate::time::utc;

/// How far the date of a root may be in the future, as in apt (`Acquire::Max-FutureTime`).
const CLOCK_SKEW_SECS: i64 = 10;
/// The servers behind one name rarely differ by more.
const LAG_SECS: i64 = 48 * 3600;

/// Whether this run accepts a root that is older than the last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rollback {
    Refused,
    Allowed,
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum FreshnessError {
    #[error("the metadata expired on {} (Valid-Until)", utc(*until))]
    Expired { until: i64 },
    #[error("the metadata has an invalid Valid-Until: {text:?}")]
    InvalidValidUntil { text: String },
    #[error("the metadata is dated in the future: {} (the current time is {})", utc(*date), utc(*now))]
    Future { date: i64, now: i64 },
    #[error("the metadata has no valid date, but the last synced one with a date is from {}", utc(*known))]
    Undated { known: i64 },
    #[error(
        "the upstream lags behind: its metadata is from {found}, the last synced one from {known}"
    )]
    Lagging { found: Age, known: Age },
    #[error(
        "upstream metadata is older than the last sync: from {found}, the last synced one from {known}"
    )]
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

/// The age of a root. Of two roots, the one with the later date is newer; with equal dates, the one
/// with the higher revision.
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

/// Checks a root before it becomes the state. It must not be older than `previous`.
///
/// A root of an earlier state is [`FreshnessError::RolledBack`] here, too; the caller knows the
/// history and changes it to [`FreshnessError::Lagging`].
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
            // An old root from a time when the upstream did not write dates would be a rollback.
            Some(known) if root.date.is_none() && checks.check_date => {
                Err(FreshnessError::Undated { known })
            }
            _ => Ok(()),
        };
    };
    if !found.is_older_than(known) {
        return Ok(());
    }
    // The dates come from the upstream and can have any value.
    if known.date.saturating_sub(found.date) < LAG_SECS {
        Err(FreshnessError::Lagging { found, known })
    } else {
        Err(FreshnessError::RolledBack { found, known })
    }
}

/// Checks the unchanged root of the last successful sync again: it may have expired since.
pub fn check_unchanged(
    state: &StateRecord,
    checks: Freshness,
    now: i64,
) -> Result<(), FreshnessError> {
    let checks = Freshness {
        // Its date was not in the future then, so it is not now.
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

/// `None` if one of them has no date.
fn ages(root: &Root, state: &RepositoryRecord) -> Option<(Age, Age)> {
    let found = Age {
        date: root.date?,
        revision: root.revision,
    };
    let known = Age {
        date: newest_date(state)?,
        // The revision of a root without a date cannot be compared.
        revision: state.state.dated_revision(),
    };
    Some((found, known))
}

/// The date of the newest root that was accepted.
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
