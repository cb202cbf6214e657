//! All integration tests in one crate, so that they are linked once. `kit` is what they are written
//! with.
#![allow(
    clippy::unwrap_used,
    reason = "in a test a panic with its line is the report"
)]

mod air_gap;
mod bad_input;
mod bench;
mod broken_files;
mod check;
mod clients;
mod compressions;
mod corpus;
mod dependencies;
mod diff;
mod evidence;
mod filters;
mod format;
mod freshness;
mod kills;
mod kit;
mod kit_selftest;
mod layers;
mod left_out;
mod man;
mod media;
mod merges;
mod odd_roots;
mod old_stores;
mod operations;
mod publishing;
mod quickstart;
mod removing;
mod signing_keys;
mod slow;
mod snapshots;
mod storage;
mod sync;
mod variants;
mod versions;
