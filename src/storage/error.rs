//! Why a storage cannot be opened, created or used.

use std::io;
use std::path::PathBuf;

use crate::exit::Exit;
use crate::lock::LockError;
use crate::pool::{Owner, PoolError, exit_of_io};
use crate::store::StoreError;
use crate::time;

#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    #[error("no storage in {}{}", base_path.display(), because(obstacle.as_ref()))]
    Absent {
        base_path: PathBuf,
        /// Why `storage.create` does not create one, if it is set.
        obstacle: Option<Obstacle>,
    },
    #[error("{} is missing or empty, but its database {} exists", base_path.display(), store.display())]
    BaseMissing { base_path: PathBuf, store: PathBuf },
    #[error("pool {} contains objects, but its database {} does not exist", pool.display(), store.display())]
    StoreMissing { pool: PathBuf, store: PathBuf },
    #[error(
        "pool {} belongs to another database: {}, {} on {}, last used {}; this one is {own}",
        pool.display(), owner.store, owner.at.display(), owner.host, time::rfc3339(owner.last_used)
    )]
    OtherStore {
        pool: PathBuf,
        own: String,
        owner: Owner,
    },
    /// `init` found a pool whose store exists.
    #[error(
        "pool {} belongs to an existing database: {}, {} on {}, last used {}",
        pool.display(), owner.store, owner.at.display(), owner.host, time::rfc3339(owner.last_used)
    )]
    Owned { pool: PathBuf, owner: Owner },
    #[error("pool {} belongs to database {store}, not to {from}", pool.display())]
    WrongOwner {
        pool: PathBuf,
        from: String,
        store: String,
    },
    /// A copy of a store must not delete objects.
    #[error("{why}")]
    NotOwner { why: OwnershipIssue, store: String },
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Pool(#[from] PoolError),
    #[error(transparent)]
    Lock(#[from] LockError),
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl StorageError {
    pub fn exit(&self) -> Exit {
        match self {
            Self::WrongOwner { .. } => Exit::Usage,
            Self::Absent { .. }
            | Self::OtherStore { .. }
            | Self::Owned { .. }
            | Self::NotOwner { .. }
            | Self::BaseMissing { .. }
            | Self::StoreMissing { .. } => Exit::Damaged,
            Self::Store(error) => error.exit(),
            Self::Pool(error) => error.exit(),
            Self::Lock(error) => error.exit(),
            Self::Io(error) => exit_of_io(error),
        }
    }
}

fn because(obstacle: Option<&Obstacle>) -> String {
    obstacle.map_or_else(String::new, |obstacle| {
        format!("; not created by storage.create: {obstacle}")
    })
}

/// Why `storage.create` does not create a storage.
#[derive(Debug, thiserror::Error)]
pub enum Obstacle {
    #[error("{} already exists", .0.display())]
    Exists(PathBuf),
    #[error("pool {} already exists", .0.display())]
    PoolExists(PathBuf),
    #[error("{} is empty, like the mount point of an unmounted disk", .0.display())]
    EmptyParent(PathBuf),
    #[error("/etc/fstab lists a file system for {}, but it is not mounted", .0.display())]
    Unmounted(PathBuf),
}

/// Why a store may not be the owner of its pool, although it has the right id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OwnershipIssue {
    #[error(
        "database {} is older than its pool (generation {generation}, pool generation {noted}): it was restored from a backup",
        store.display()
    )]
    RestoredFromBackup {
        store: PathBuf,
        generation: u64,
        noted: u64,
    },
    #[error(
        "database {} on {host} was moved or copied: its pool was last used by {} on {noted_host}",
        store.display(),
        noted.display()
    )]
    MovedOrCopied {
        store: PathBuf,
        host: String,
        noted: PathBuf,
        noted_host: String,
    },
}
