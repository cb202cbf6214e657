//! A run that takes locks, and how long it waits for them.

use std::time::Duration;

use crate::interrupt::Interrupt;

use super::error::Holder;

/// How long to wait for a lock that another run holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wait {
    /// Fail immediately.
    #[default]
    No,
    UpTo(Duration),
    /// Until it is interrupted.
    Always,
}

/// A run that takes locks.
#[derive(Clone, Debug)]
pub struct Requester {
    /// Its command, such as `repo sync`.
    pub command: &'static str,
    pub wait: Wait,
    pub interrupt: Interrupt,
}

impl Requester {
    #[cfg(test)]
    pub fn test() -> Self {
        Self {
            command: "test",
            // Other tests start processes, which have copies of open lock files for a moment.
            wait: Wait::UpTo(Duration::from_secs(10)),
            interrupt: Interrupt::default(),
        }
    }

    /// The same run, waiting otherwise.
    pub fn with_wait(&self, wait: Wait) -> Self {
        Self {
            wait,
            ..self.clone()
        }
    }

    pub fn holder(&self) -> Holder {
        Holder {
            pid: std::process::id(),
            command: self.command.to_owned(),
            since: crate::time::now(),
        }
    }
}

impl Wait {
    /// What is left of it.
    pub fn after(self, waited: Duration) -> Self {
        match self {
            Self::UpTo(limit) => Self::UpTo(limit.saturating_sub(waited)),
            Self::No | Self::Always => self,
        }
    }

    pub fn is_over(self, waited: Duration) -> bool {
        match self {
            Self::No => true,
            Self::UpTo(limit) => waited >= limit,
            Self::Always => false,
        }
    }
}
