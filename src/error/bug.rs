//! The hint for an error that only a bug in chantal can cause.

pub const BUG: &str = "this is a bug in chantal: report it with the output above; the state of the \
                   last successful sync is unchanged";
