//! The storage of a dry run: nothing in the real one is locked or changed.
//!
//! A dry run downloads indexes, to find out what else would be downloaded, into
//! `{cache_path}/dry-run`: a separate pool, in which the objects of the real one are visible too.
//! The next sync copies them from there. It can be deleted at any time; `db cleanup` does that. Dry
//! runs share it with a separate lock.
//!
//! If the storage does not exist yet and the first sync would create it, an empty one in a
//! temporary directory is used.

use std::io;
use std::path::{Path, PathBuf};

use crate::config::{Config, StorageConfig};
use crate::lock::{LockError, Locks, Mode, Requester, Wait};
use crate::pool::{Marker, Pool};
use crate::store::Store;
use crate::store::records::random_id;

use super::error::StorageError;
use super::make;
use super::opened::{Purpose, Storage};
use super::unchanged::{is_made, open_unchanged};

/// Below the cache directory.
const SCRATCH: &str = "dry-run";
/// The id of its pool, which belongs to no store.
const POOL_ID: &str = "dry-run";

/// Opens the storage for the dry run of a sync.
pub fn open(config: &Config, requester: &Requester) -> Result<Storage, StorageError> {
    let places = &config.storage;
    if !is_made(places)? {
        return open_new(config, requester);
    }
    let (store, pool, _) = open_unchanged(places)?;
    let scratch = places.cache_path.join(SCRATCH);
    let locks = lock(&scratch, requester)?;
    over(&scratch, locks, store, pool, requester, None)
}

/// Creates the directory and locks it. A cleanup may be removing it at the same time.
fn lock(scratch: &Path, requester: &Requester) -> Result<Locks, StorageError> {
    const ATTEMPTS: usize = 10;
    let mut attempts = 0..ATTEMPTS;
    loop {
        fs_err::create_dir_all(scratch)?;
        match Locks::acquire(scratch, Mode::Shared, requester) {
            Err(LockError::Io { source, .. })
                if source.kind() == io::ErrorKind::NotFound && attempts.next().is_some() => {}
            locks => return Ok(locks?),
        }
    }
}

/// The pool of earlier dry runs, if there is one.
pub fn pool_of(places: &StorageConfig) -> Option<PathBuf> {
    let pool = places.cache_path.join(SCRATCH).join("pool");
    pool.is_dir().then_some(pool)
}

/// Opens an empty storage, as if it had just been created.
fn open_new(config: &Config, requester: &Requester) -> Result<Storage, StorageError> {
    make::reject_sync(config)?;
    let directory = tempfile::tempdir()?;
    let id = random_id()?;
    let store = Store::create(&directory.path().join("chantal.redb"), &id)?;
    let pool = Pool::create(&directory.path().join("pool"), &id)?;
    let scratch = directory.path().join(SCRATCH);
    let locks = lock(&scratch, requester)?;
    over(&scratch, locks, store, pool, requester, Some(directory))
}

fn over(
    scratch: &Path,
    locks: Locks,
    store: Store,
    pool: Pool,
    requester: &Requester,
    directory: Option<tempfile::TempDir>,
) -> Result<Storage, StorageError> {
    let own = scratch.join("pool");
    // Another dry run may be creating it at the same time.
    let making = locks.pool_marker()?;
    let own = match Marker::read(&own)? {
        Some(_) => Pool::open(&own, POOL_ID)?,
        None => Pool::create(&own, POOL_ID)?,
    };
    drop(making);
    Ok(Storage {
        store,
        pool: own.overlaid_on(pool),
        locks,
        interrupt: requester.interrupt.clone(),
        purpose: Purpose::DryRun {
            _directory: directory,
        },
        scratch: None,
    })
}

/// Removes the files of dry runs, unless one is running. The caller holds the storage lock
/// exclusively.
pub fn clear(places: &StorageConfig, requester: &Requester) -> Result<(), StorageError> {
    let scratch = places.cache_path.join(SCRATCH);
    if !scratch.try_exists()? {
        return Ok(());
    }
    let at_once = requester.with_wait(Wait::No);
    if let Ok(_locks) = Locks::acquire(&scratch, Mode::Exclusive, &at_once) {
        fs_err::remove_dir_all(&scratch)?;
    }
    Ok(())
}
