//! Operations on whole repositories: sync with publishing and snapshots, and removal of a
//! repository with everything that belongs to it.

mod remove;
mod sync;

pub use remove::{
    PublishedSnapshots, RemovalOutcome, RemovalPlan, RemoveError, RepositoryRemoval, SnapshotPolicy,
};
pub use sync::{
    Forecast, RepositorySync, RepositorySyncError, RepositorySyncOutcome, SnapshotNaming,
};
