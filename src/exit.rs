//! Exit codes.

/// The result of a run. README.md and `--help` document the same list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    Other,
    Usage,
    Unreachable,
    Refused,
    Damaged,
    Busy,
    Interrupted,
}

impl Exit {
    pub const fn code(self) -> i32 {
        match self {
            Self::Other => 1,
            Self::Usage => 2,
            Self::Unreachable => 3,
            Self::Refused => 4,
            Self::Damaged => 5,
            Self::Busy => 6,
            // What shells expect after Ctrl-C.
            Self::Interrupted => 130,
        }
    }

    /// If several repositories fail, the exit code is that of the most severe failure.
    pub const fn severity(self) -> u8 {
        match self {
            Self::Interrupted => 6,
            Self::Damaged => 5,
            Self::Refused => 4,
            Self::Usage => 3,
            Self::Other => 2,
            Self::Unreachable => 1,
            Self::Busy => 0,
        }
    }
}
