//! Snapshots: immutable names for states.
//!
//! A snapshot is only an entry in the database: no file is copied, and nothing is downloaded. Its
//! objects are kept in the pool until the snapshot is deleted and `db cleanup` has run.

mod create;
mod delete;
pub mod diff;
mod error;
pub mod merge;
mod named;
mod reference;
mod states;
mod usage;

pub use create::{NewSnapshot, SnapshotRequest, create, reject_existing};
pub use delete::{Deletion, OtherPaths, delete};
pub use error::{SnapshotError, join_paths};
pub use named::{Snapshot, find, list};
pub use reference::{SnapshotReference, StateReference};
pub use states::{State, find_state};
pub use usage::{NameUsage, Usage, exclusive_usage};
