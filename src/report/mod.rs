//! What a run did and what is there, as data: commands print it, and whatever else tells people or
//! programs about repositories reads the same types.
//!
//! Times are numbers and paths are paths; both become text only when they are written as JSON
//! ([`encode`]). Nothing here prints, and nothing changes the storage.

mod cleanup;
mod encode;
mod failure;
mod published;
mod removed;
mod snapshot;
mod status;
mod storage;
mod sync;
mod trust;
mod usage;

pub use cleanup::CleanupResult;
pub use failure::Failure;
pub use published::{OwnRootKind, Publication, PublishedTree, UnpublishedTree};
pub use removed::RemovedRepository;
pub use snapshot::{CreatedSnapshot, DeletedSnapshot};
pub use status::{RepositoryStatus, RootSignature, TreeContent, TreeStatus};
pub use storage::{InitializedStorage, Migration, PoolOwner, TakeOverResult};
pub use sync::{PlanOutcome, PlannedSync, SyncResult, SyncSummary, SyncedRepository};
pub use trust::AcceptedKeys;
pub use usage::StorageUsage;
