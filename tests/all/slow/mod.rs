//! What `.ci/slow` runs: many kills beside real clients, and disks that come and go. `cargo test`
//! leaves it out; a small one of each is in [`crate::kills`], [`crate::publishing`] and
//! [`crate::storage`].
//!
//! What cannot be tried here (no root, a file system that is missing) is a failure: a slow run that
//! skipped it would look green.

mod disks;
mod kills;
mod line;
mod side_by_side;
