//! A storage as a dry run sees it: nothing in it is locked or changed.
//!
//! What a dry run downloads, indexes that tell what would be downloaded, goes to `{cache_path}/dry-run`: a pool of its own, in which
//! also the objects of the real one are found. The sync after it takes them from there. It may be deleted at any time; `db cleanup`
//! does. Dry runs share it by a lock of its own.
//!
//! Where a storage is not made yet and the first sync would make it, it is an empty one in a temporary directory.

use std::io;
use std::path::{Path, PathBuf};

use super::make;
use super::{Purpose, Storage, StorageError, is_made, open_unchanged};
use crate::config::{Config, StorageConfig};
use crate::lock::{LockError, Locks, Mode, Requester};
use crate::pool::{Marker, Pool};
use crate::store::Store;
use crate::store::records::random_id;

/// Below the cache's directory.
const SCRATCH: &str = "dry-run";
/// Of its pool, which belongs to no store.
const POOL_ID: &str = "dry-run";

/// Opens the storage of a sync that only says what it would do.
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

/// Makes the directory and locks it. A cleanup may be removing it right now.
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

/// The pool of the dry runs before this run, for what it needs of it.
pub fn pool_of(places: &StorageConfig) -> Option<PathBuf> {
    let pool = places.cache_path.join(SCRATCH).join("pool");
    pool.is_dir().then_some(pool)
}

/// As if it had just been made.
fn open_new(config: &Config, requester: &Requester) -> Result<Storage, StorageError> {
    make::refuse_to_sync(config)?;
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
    // Another dry run may be about to make it too.
    let making = locks.pool_marker()?;
    let own = match Marker::read(&own)? {
        Some(_) => Pool::open(&own, POOL_ID)?,
        None => Pool::create(&own, POOL_ID)?,
    };
    drop(making);
    Ok(Storage {
        store,
        pool: own.over(pool),
        locks,
        interrupt: requester.interrupt.clone(),
        purpose: Purpose::DryRun {
            _directory: directory,
        },
        scratch: None,
    })
}

/// Removes what dry runs left, unless one is under way. The caller holds the storage alone.
pub fn clear(places: &StorageConfig, requester: &Requester) -> Result<(), StorageError> {
    let scratch = places.cache_path.join(SCRATCH);
    if !scratch.try_exists()? {
        return Ok(());
    }
    let at_once = Requester {
        wait: crate::lock::Wait::No,
        ..requester.clone()
    };
    if let Ok(_locks) = Locks::acquire(&scratch, Mode::Exclusive, &at_once) {
        fs_err::remove_dir_all(&scratch)?;
    }
    Ok(())
}
