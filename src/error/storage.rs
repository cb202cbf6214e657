//! What is wrong with the storage: exit codes and hints.

use std::io;

use crate::lock::LockError;
use crate::pool::PoolError;
use crate::storage::StorageError;
use crate::store::StoreError;

pub fn storage_hint(error: &StorageError) -> Option<String> {
    Some(match error {
        StorageError::Absent { .. } => {
            "is the file system mounted? `chantal init` makes a new storage".to_owned()
        }
        StorageError::BaseAway { .. } => {
            "is the file system of storage.base_path mounted? `chantal init` makes the directory again".to_owned()
        }
        StorageError::OtherStore { owner, .. } => format!(
            "two stores on one pool would delete each other's objects: give each its own storage.pool_path; if the other one is \
             not used any more, `chantal pool take-over --from {}`",
            owner.store
        ),
        StorageError::Owned { owner, .. } => format!(
            "name another directory as storage.pool_path; if that store is not used any more, `chantal pool take-over --from {}`",
            owner.store
        ),
        StorageError::NotTheOwner { .. } => "the error of a refused command names the right one".to_owned(),
        StorageError::Guest { store, .. } => format!(
            "if no other store uses the pool, `chantal pool take-over --from {store}` makes it this one's"
        ),
        StorageError::StoreGone { .. } => {
            "is its file system mounted? else restore the store from a backup; `chantal init` begins a new one over these objects, which forgets every state"
                .to_owned()
        }
        StorageError::Pool(PoolError::Absent { .. }) => {
            "the store names a pool at storage.pool_path: mount it or correct the path".to_owned()
        }
        StorageError::Pool(PoolError::Foreign { owner, .. }) => format!(
            "if no other store uses it, `chantal pool take-over --from {owner}` makes it this one's"
        ),
        StorageError::Pool(PoolError::Occupied { .. }) => {
            "name an empty or new directory as storage.pool_path".to_owned()
        }
        StorageError::Lock(error) => lock_hint(error)?,
        StorageError::Pool(PoolError::NoMarker { lines, .. }) => format!(
            "if it is the right directory, a file CHANTAL-POOL with the two lines {:?} and {:?} brings the pool back",
            lines[0], lines[1]
        ),
        StorageError::Store(error) => store_hint(error)?,
        _ => return None,
    })
}

pub fn lock_hint(error: &LockError) -> Option<String> {
    match error {
        LockError::Busy { .. } => Some("wait for it to end, or let the command wait: --wait".to_owned()),
        LockError::Lost { .. } => Some(
            "run the command again; never remove the lock file: it is free as soon as its holder ends, however it ends"
                .to_owned(),
        ),
        LockError::Io { source, .. } => io_hint(source),
        LockError::NotAFile { .. } | LockError::Interrupted(_) => None,
    }
}

pub fn store_hint(error: &StoreError) -> Option<String> {
    Some(match error {
        StoreError::Newer { .. } => "use the chantal that wrote it, or a newer one".to_owned(),
        StoreError::Older { .. } => "run `chantal db migrate`".to_owned(),
        StoreError::Damaged { .. } | StoreError::Record { .. } => {
            "restore it from a backup".to_owned()
        }
        StoreError::Full { .. } | StoreError::NoRoom { .. } => MAKE_ROOM.to_owned(),
        StoreError::Unrepaired { .. } => {
            "it needs to be writable, with room on its file system; nothing is lost".to_owned()
        }
        StoreError::Busy { .. } => "wait for it to end".to_owned(),
        StoreError::Lock(error) => lock_hint(error)?,
        StoreError::Io(error) => io_hint(error)?,
        StoreError::Absent { .. } | StoreError::Database { .. } => return None,
    })
}

const MAKE_ROOM: &str = "make room; what was there before is untouched";

pub fn io_hint(error: &io::Error) -> Option<String> {
    match error.kind() {
        io::ErrorKind::StorageFull => Some(MAKE_ROOM.to_owned()),
        io::ErrorKind::PermissionDenied => {
            Some("run chantal as the user who owns the storage and the published trees".to_owned())
        }
        _ => None,
    }
}
