//! What is done to whole repositories, beyond their states: they are synced with all that follows
//! from it, and removed with everything that is known and published of them.

mod remove;
mod sync;

pub use remove::{
    PublishedSnapshots, RemovalPlan, RemoveError, Removed, RepositoryRemoval, SnapshotFate,
};
pub use sync::{Forecast, RepositorySync, RepositorySyncError, SnapshotNaming, Synced};
