//! The results of commands and the status of the storage as data: commands print it, and any other
//! output for people or programs uses the same types.
//!
//! Times are numbers and paths are paths; both become text only in JSON ([`encode`]). Nothing here
//! prints or changes the storage.

mod affected;
mod check;
mod cleanup;
mod configuration;
mod diff;
mod encode;
mod failure;
mod media;
mod published;
mod removed;
mod repair;
mod repository;
mod snapshot;
mod status;
mod storage;
mod sync;
mod trust;
mod usage;

pub use affected::AffectedFile;
pub use check::{
    CheckResult, CheckedState, DamagedObjectResult, DamagedRowResult, TreeDamageResult,
};
pub use cleanup::CleanupResult;
pub use configuration::{
    CheckError, CheckedConfiguration, CheckedKey, CheckedRepository, GeneratedSigningKey,
};
pub use diff::{DiffDetail, DiffTotals, PackageChange, StateComparison};
pub use failure::Failure;
pub use media::{
    ConfirmedTransfers, DamagedCarriedObject, ExportedRepository, ExportedTransfer,
    ForgottenDestination, ImportDetails, ImportResult, ImportedMedium, ImportedRepositoryResult,
    InspectedMedium, InspectedTransfer, ListedFile, LostTransfer, TransferHistory, WrittenReceipt,
};
pub use published::{OwnRootKind, Publication, PublishedTree, UnpublishedTree};
pub use removed::RemovedRepository;
pub use repair::{ObjectFate, ObjectSource, RepairResult, UnrepairedObject};
pub use repository::{HistoryEntry, ListedRepository, RepositoryDetails, StateDetails, TrustedKey};
pub use snapshot::{CreatedSnapshot, DeletedSnapshot, ListedSnapshot, SnapshotDetails};
pub use status::{RepositoryStatus, RootSignature};
pub use storage::{InitializedStorage, Migration, PoolOwner, TakeOverResult};
pub use sync::{PlanOutcome, PlannedSync, SyncResult, SyncSummary, SyncedRepository};
pub use trust::AcceptedKeys;
pub use usage::StorageUsage;
