//! Operations on whole repositories: sync with publishing and snapshots, a check of what would
//! prevent a sync, and removal of a repository with everything that belongs to it.

mod check;
mod remove;
mod sync;

pub use check::{CheckFailure, check};
pub use remove::{
    PublishedSnapshots, RemovalOutcome, RemovalPlan, RemoveError, RepositoryRemoval, SnapshotPolicy,
};
pub use sync::{
    Forecast, RepositorySync, RepositorySyncError, RepositorySyncOutcome, SnapshotNaming,
};
