//! What is done to whole repositories, beyond their states: they are synced with all that follows
//! from it, and removed with everything that is known and published of them.

mod remove;
mod sync;

pub use remove::{
    PublishedSnapshots, RemovalOutcome, RemovalPlan, RemoveError, RepositoryRemoval, SnapshotPolicy,
};
pub use sync::{
    Forecast, RepositorySync, RepositorySyncError, RepositorySyncOutcome, SnapshotNaming,
};
