//! What `.ci/slow` runs: many kills, beside real clients and of transfers, disks that come and go,
//! and media of many file systems. `cargo test` leaves it out; a small one of each is in
//! [`crate::kills`], [`crate::publishing`], [`crate::storage`] and [`crate::air_gap`].
//!
//! What cannot be tried here (no root, a file system that is missing) is a failure: a slow run that
//! skipped it would look green.

mod disks;
mod kills;
mod line;
mod media;
mod media_kills;
mod side_by_side;
