//! Whether a verified root is of now. A good signature does not say that: whoever can answer for the upstream can serve
//! an old root again, and with it the packages whose holes are known.
//!
//! Judged at sync, and nowhere else: what was mirrored in time stays good.

use std::fmt;

use crate::config::Freshness;
use crate::digest::ObjectId;
use crate::exit::Exit;
use crate::format::Root;
use crate::store::records::{RepositoryRecord, StateRecord};
use crate::time::utc;

use super::root::Pinned;
use super::{Session, SyncError};

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
    #[error("the root's Valid-Until is {text:?}, which is not a date")]
    UnreadValidUntil { text: String },
    #[error("the root is from the future: it is of {}, and now is {}", utc(*date), utc(*now))]
    Future { date: i64, now: i64 },
    #[error("the root says no date that can be read, and the last dated one that was synced is of {}", utc(*known))]
    Undated { known: i64 },
    #[error(
        "the upstream lags behind: its root is of {found}, the last one that was synced of {known}"
    )]
    Lagging { found: Age, known: Age },
    #[error(
        "the upstream went back: its root is of {found}, the last one that was synced of {known}"
    )]
    RolledBack { found: Age, known: Age },
}

impl FreshnessError {
    pub fn exit(&self) -> Exit {
        match self {
            Self::Lagging { .. } => Exit::Unreachable,
            Self::Expired { .. }
            | Self::UnreadValidUntil { .. }
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

impl Session<'_> {
    /// Judges a root that is about to become the state.
    pub(super) fn judge_freshness(&self, pinned: &Pinned, root: &Root) -> Result<(), SyncError> {
        let asked = self.repository.freshness;
        judge_dates(asked, root.date, root.valid_until, self.started)?;
        if let Some(text) = root
            .unread_valid_until
            .clone()
            .filter(|_| asked.check_valid_until)
        {
            return Err(FreshnessError::UnreadValidUntil { text }.into());
        }
        let Some(state) = self.previous.as_ref().filter(|state| {
            state.origin == self.origin && self.context.rollback == Rollback::Refused
        }) else {
            return Ok(());
        };
        let Some((found, known)) = ages(root, state) else {
            let known = self.newest_known_date().filter(|_| asked.check_date);
            return match known {
                // An old root that was signed before the upstream wrote dates would undo what came since.
                Some(known) if root.date.is_none() && !state.state.has_root(pinned.object) => {
                    Err(FreshnessError::Undated { known }.into())
                }
                _ => Ok(()),
            };
        };
        if state.state.has_root(pinned.object) || !found.is_older_than(known) {
            return Ok(());
        }
        Err(match self.was_synced(pinned.object)? {
            true => FreshnessError::Lagging { found, known },
            // Both dates are whatever an upstream wrote.
            false if known.date.saturating_sub(found.date) < LAG_SECS => {
                FreshnessError::Lagging { found, known }
            }
            false => FreshnessError::RolledBack { found, known },
        }
        .into())
    }

    /// The newest date of the roots that were taken of this upstream, by a run that does not go back.
    pub(super) fn newest_known_date(&self) -> Option<i64> {
        let state = self.previous.as_ref()?;
        let counts = state.origin == self.origin && self.context.rollback == Rollback::Refused;
        newest_date(state).filter(|_| counts)
    }

    /// Judges the root of the last good state again, which the upstream still has: time has passed.
    pub(super) fn judge_unchanged(&self, state: &StateRecord) -> Result<(), SyncError> {
        let asked = Freshness {
            // It was not from the future then, and is less so now.
            check_date: false,
            ..self.repository.freshness
        };
        let valid_until = state.valid_until();
        Ok(judge_dates(asked, None, valid_until, self.started)?)
    }

    /// Whether a state was derived from this root before.
    fn was_synced(&self, root: ObjectId) -> Result<bool, SyncError> {
        let history = self
            .context
            .storage
            .read(|reader| reader.history(self.id(), usize::MAX))?;
        Ok(history.iter().any(|sync| sync.root == Some(root)))
    }
}

fn judge_dates(
    asked: Freshness,
    date: Option<i64>,
    valid_until: Option<i64>,
    now: i64,
) -> Result<(), FreshnessError> {
    match valid_until {
        Some(until) if asked.check_valid_until && until < now => {
            return Err(FreshnessError::Expired { until });
        }
        _ => {}
    }
    match date {
        Some(date) if asked.check_date && date > now.saturating_add(CLOCK_SKEW_SECS) => {
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
fn newest_date(record: &RepositoryRecord) -> Option<i64> {
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
        assert_eq!(judge_dates(all, Some(110), Some(100), 100), Ok(()));
        assert_eq!(
            judge_dates(all, Some(111), None, 100),
            Err(FreshnessError::Future {
                date: 111,
                now: 100
            })
        );
        assert_eq!(
            judge_dates(all, Some(0), Some(99), 100),
            Err(FreshnessError::Expired { until: 99 })
        );
        assert_eq!(judge_dates(none, Some(i64::MAX), Some(0), 100), Ok(()));
    }
}
