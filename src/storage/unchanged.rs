//! Opens a storage without changing it, for commands that only read and for dry runs, and tells
//! whether there is one.

use std::io;
use std::path::Path;

use crate::config::StorageConfig;
use crate::lock::{LockError, Locks};
use crate::mounts;
use crate::pool::{Marker, Pool};
use crate::store::{Reader, Store};

use super::error::StorageError;
use super::make::exists;
use super::ownership::{self, PoolAccess};

/// Opens store and pool without changes, for a dry run. Fails if a real run would.
pub fn open_unchanged(places: &StorageConfig) -> Result<(Store, Pool, PoolAccess), StorageError> {
    let store = Store::open(&places.database_path)?;
    let id = store.read(Reader::pool_id)?;
    let pool = Pool::open(&places.pool_path, &id)?;
    let access = ownership::check(&store, &pool)?;
    access.warn_if_not_owner();
    Ok((store, pool, access))
}

/// Opens store and pool for the dry run of a cleanup.
pub fn open_to_plan_cleanup(places: &StorageConfig) -> Result<(Store, Pool), StorageError> {
    if !is_made(places)? {
        return Err(StorageError::Absent {
            base_path: places.base_path.clone(),
            obstacle: None,
        });
    }
    let (store, pool, access) = open_unchanged(places)?;
    access.may_delete()?;
    warn_of_runs(places);
    Ok((store, pool))
}

/// Opens store and pool for a command that only counts what they hold. `None`: there is no storage,
/// and a warning was logged.
pub fn open_to_count(places: &StorageConfig) -> Result<Option<(Store, Pool)>, StorageError> {
    if !is_made_or_warn(places)? {
        return Ok(None);
    }
    let (store, pool, _) = open_unchanged(places)?;
    warn_of_runs(places);
    Ok(Some((store, pool)))
}

fn warn_of_runs(places: &StorageConfig) {
    if let Err(error @ LockError::Busy { .. }) = Locks::probe(&places.base_path, &places.base_path)
    {
        log::warn!("{error}; objects that it has not committed yet are counted as unused");
    }
}

/// Opens the store for a command that only reads. `None`: there is no storage, and a warning was
/// logged.
pub fn open_to_read(places: &StorageConfig) -> Result<Option<Store>, StorageError> {
    if !is_made_or_warn(places)? {
        return Ok(None);
    }
    Ok(Some(Store::open(&places.database_path)?))
}

/// Whether there is a storage; logs a warning if not.
pub fn is_made_or_warn(places: &StorageConfig) -> Result<bool, StorageError> {
    let is_made = is_made(places)?;
    if !is_made {
        log::warn!(
            "no storage in {}: is the file system mounted? `chantal init` creates a new storage",
            places.base_path.display()
        );
    }
    Ok(is_made)
}

/// Whether there is a storage.
pub fn is_made(places: &StorageConfig) -> Result<bool, StorageError> {
    if exists(&places.database_path)? {
        return Ok(true);
    }
    reject_lost_store(places)?;
    Ok(false)
}

/// Fails if the pool contains objects but the store is missing. If the whole directory of the store
/// is missing, its disk may not be mounted, and this is no error.
pub fn reject_lost_store(places: &StorageConfig) -> Result<(), StorageError> {
    let directory = places.database_path.parent().unwrap_or(Path::new("/"));
    if !is_missing_or_empty(directory)?
        && Marker::read(&places.pool_path)?.is_some()
        && Pool::holds_objects(&places.pool_path)?
    {
        return Err(StorageError::StoreMissing {
            pool: places.pool_path.clone(),
            store: places.database_path.clone(),
        });
    }
    Ok(())
}

/// Whether a directory of the storage is missing or an empty mount point.
pub fn is_missing_or_empty(directory: &Path) -> io::Result<bool> {
    Ok(!exists(directory)? || mounts::is_empty(directory, &[])?)
}
