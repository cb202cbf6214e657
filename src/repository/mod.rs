//! What is done to whole repositories, beyond their states: everything that is known of one, and what
//! is published of it.

mod remove;

pub use remove::{
    PublishedSnapshots, RemovalPlan, RemoveError, Removed, RepositoryRemoval, SnapshotFate,
};
