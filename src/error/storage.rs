//! Hints for errors of the storage.

use std::io;

use crate::lock::LockError;
use crate::pool::PoolError;
use crate::storage::StorageError;
use crate::store::StoreError;

pub fn storage_hint(error: &StorageError) -> Option<String> {
    Some(match error {
        StorageError::Absent { .. } => {
            "is the file system mounted? `chantal init` creates a new storage".to_owned()
        }
        StorageError::BaseMissing { .. } => {
            "is the file system of storage.base_path mounted? `chantal init` creates the \
             directory again"
                .to_owned()
        }
        StorageError::OtherStore { owner, .. } => format!(
            "two databases with the same pool would delete each other's objects: set a different \
             storage.pool_path for each of them; if the other one is no longer used, run `chantal \
             pool take-over --from {}`",
            owner.store
        ),
        StorageError::Owned { owner, .. } => format!(
            "set storage.pool_path to another directory; if that database is no longer used, run \
             `chantal pool take-over --from {}`",
            owner.store
        ),
        StorageError::WrongOwner { .. } => {
            "use the ID from the error message of the command that failed".to_owned()
        }
        StorageError::NotOwner { store, .. } => format!(
            "if no other database uses this pool, take it over with `chantal pool take-over \
             --from {store}`"
        ),
        StorageError::StoreMissing { .. } => {
            "is its file system mounted? if the database is lost, restore it from a backup; \
             `chantal init` creates an empty database for this pool, without any states or \
             snapshots"
                .to_owned()
        }
        StorageError::Pool(PoolError::Absent { .. }) => {
            "mount the file system of storage.pool_path, or correct the path".to_owned()
        }
        StorageError::Pool(PoolError::Foreign { owner, .. }) => format!(
            "if no other database uses this pool, take it over with `chantal pool take-over \
             --from {owner}`"
        ),
        StorageError::Pool(PoolError::Occupied { .. }) => {
            "set storage.pool_path to an empty or new directory".to_owned()
        }
        StorageError::Lock(error) => lock_hint(error)?,
        StorageError::Pool(PoolError::NoMarker { lines, .. }) => format!(
            "if this is the right directory, create the file CHANTAL-POOL in it with these two \
             lines: {:?} and {:?}",
            lines[0], lines[1]
        ),
        StorageError::Store(error) => store_hint(error)?,
        _ => return None,
    })
}

pub fn lock_hint(error: &LockError) -> Option<String> {
    match error {
        LockError::Busy { .. } => Some("wait until it has finished, or use --wait".to_owned()),
        LockError::Lost { .. } => Some(
            "run the command again; never remove a lock file: the lock is released automatically \
             when its process ends"
                .to_owned(),
        ),
        LockError::Io { source, .. } => io_hint(source),
        LockError::NotAFile { .. } | LockError::NotADirectory { .. } => {
            Some("move it away: chantal creates its lock files itself".to_owned())
        }
        LockError::Interrupted(_) => None,
    }
}

pub fn store_hint(error: &StoreError) -> Option<String> {
    Some(match error {
        StoreError::Newer { .. } => {
            "use the version of chantal that wrote it, or a later one".to_owned()
        }
        StoreError::Older { .. } => "run `chantal db migrate`".to_owned(),
        StoreError::Damaged { .. } | StoreError::Record { .. } => {
            "restore it from a backup".to_owned()
        }
        StoreError::Full { .. } | StoreError::NoRoom { .. } => MAKE_ROOM.to_owned(),
        StoreError::Unrepaired { .. } => {
            "the database must be writable, with free space on its file system; no data is lost"
                .to_owned()
        }
        StoreError::Busy { .. } => "wait until it has finished".to_owned(),
        StoreError::Lock(error) => lock_hint(error)?,
        StoreError::Io(error) => io_hint(error)?,
        StoreError::Absent { .. } | StoreError::Database { .. } => return None,
    })
}

/// For damaged and missing objects.
pub const REPAIR: &str =
    "`chantal db check --repair` finds all damaged files, and gets them again where it can";

const MAKE_ROOM: &str = "free up disk space; existing data is unchanged";

pub fn io_hint(error: &io::Error) -> Option<String> {
    match error.kind() {
        io::ErrorKind::StorageFull => Some(MAKE_ROOM.to_owned()),
        io::ErrorKind::ReadOnlyFilesystem => {
            Some("mount its file system with write access".to_owned())
        }
        io::ErrorKind::PermissionDenied => {
            Some("run chantal as the owner of the storage and the published trees".to_owned())
        }
        _ => None,
    }
}
