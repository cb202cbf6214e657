//! A storage is a store and its pool, found, made or refused together.
//!
//! - Where nothing is, the first writer makes a storage. A base path that exists but holds none may be an unmounted disk:
//!   only `init` makes one there.
//! - Store and pool name the same id. A store without its pool is damaged; nothing is made up in its place.
//! - Whoever may change the storage gets its store in this program's schema version: an older one is migrated first. Who only reads
//!   takes it as it is.

use std::io;
use std::path::{Path, PathBuf};

use fs_err as fs;

use crate::config::Storage as Places;
use crate::digest;
use crate::pool::{Pool, PoolError};
use crate::store::{LockError, Migrated, Store, StoreError, WriterLock};

#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    #[error("{} exists, but holds no storage", base_path.display())]
    NeedsInit { base_path: PathBuf },
    #[error("the pool {} holds objects, but its store {} is gone", pool.display(), store.display())]
    StoreGone { pool: PathBuf, store: PathBuf },
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Pool(#[from] PoolError),
    #[error(transparent)]
    Lock(#[from] LockError),
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// A storage that this process alone may change.
pub struct Storage {
    pub lock: WriterLock,
    pub store: Store,
    pub pool: Pool,
}

/// Who asks for a storage where none is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Maker {
    /// A command that needs one: it makes it only where nothing is.
    FirstUse,
    Init,
}

impl Storage {
    /// Opens the storage for a command that changes it, and makes it where nothing is yet.
    pub fn open(places: &Places, command: &str) -> Result<Self, StorageError> {
        let (storage, migrated) = Self::open_as(places, command, Maker::FirstUse)?;
        tell(&storage, migrated.as_ref());
        Ok(storage)
    }

    /// Makes what is missing of the storage, and opens it.
    pub fn init(places: &Places) -> Result<Self, StorageError> {
        let (storage, migrated) = Self::open_as(places, "init", Maker::Init)?;
        tell(&storage, migrated.as_ref());
        Ok(storage)
    }

    /// Opens a storage for the command that only migrates its store, and says what was done. The storage must be there.
    pub fn migrate(places: &Places) -> Result<(Self, Option<Migrated>), StorageError> {
        Self::open_as(places, "db migrate", Maker::FirstUse)
    }

    fn open_as(
        places: &Places,
        command: &str,
        maker: Maker,
    ) -> Result<(Self, Option<Migrated>), StorageError> {
        let base_path = &places.base_path;
        let fresh = !base_path.try_exists()?;
        let marked = Pool::id_at(&places.pool_path)?;
        let stored = places.database_path.try_exists()?;
        if maker == Maker::FirstUse && !fresh && !stored && marked.is_none() {
            return Err(StorageError::NeedsInit {
                base_path: base_path.clone(),
            });
        }
        fs::create_dir_all(base_path)?;
        let lock = WriterLock::acquire(base_path, command)?;
        if stored {
            let store = Store::open_older(&places.database_path)?;
            let id = store.read(crate::store::Reader::pool_id)?;
            let pool = Pool::open(&places.pool_path, &id)?;
            let migrated = store.migrate(&lock)?;
            return Ok((Self { lock, store, pool }, migrated));
        }
        let pool = match marked {
            Some(id) => Pool::open(&places.pool_path, &id)?,
            None => Pool::create(&places.pool_path, &random_id()?)?,
        };
        if maker == Maker::FirstUse && !pool.is_empty()? {
            return Err(StorageError::StoreGone {
                pool: places.pool_path.clone(),
                store: places.database_path.clone(),
            });
        }
        if let Some(parent) = places.database_path.parent() {
            fs::create_dir_all(parent)?;
        }
        let store = Store::create(&places.database_path, pool.id())?;
        Ok((Self { lock, store, pool }, None))
    }
}

/// A migration that nobody asked for by name: from now on an older chantal refuses the store.
fn tell(storage: &Storage, migrated: Option<&Migrated>) {
    if let Some(Migrated { from, to, backup }) = migrated {
        log::warn!(
            "the store {} was migrated from schema version {from} to {to}; what it was is kept in {}",
            storage.store.path().display(),
            backup.display()
        );
    }
}

/// Opens the store for a command that only reads. `None`: nothing was stored yet.
pub fn open_to_read(places: &Places) -> Result<Option<Store>, StorageError> {
    if !is_made(places)? {
        return Ok(None);
    }
    Ok(Some(Store::open(&places.database_path)?))
}

/// Whether something was stored yet.
pub fn is_made(places: &Places) -> Result<bool, StorageError> {
    if places.database_path.try_exists()? {
        return Ok(true);
    }
    match Pool::id_at(&places.pool_path)? {
        Some(_) if holds_objects(&places.pool_path)? => Err(StorageError::StoreGone {
            pool: places.pool_path.clone(),
            store: places.database_path.clone(),
        }),
        _ => Ok(false),
    }
}

fn holds_objects(pool: &Path) -> io::Result<bool> {
    Ok(fs::read_dir(pool.join("sha256"))?.next().is_some())
}

fn random_id() -> io::Result<String> {
    let mut bytes = [0_u8; 16];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())?;
    Ok(digest::hex(&bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(base: &Path) -> Places {
        Places {
            base_path: base.to_owned(),
            pool_path: base.join("pool"),
            cache_path: base.join("cache"),
            database_path: base.join("chantal.redb"),
        }
    }

    #[test]
    fn the_first_use_makes_a_storage_where_nothing_is() {
        let dir = tempfile::tempdir().unwrap();
        let places = places(&dir.path().join("new"));
        assert!(open_to_read(&places).unwrap().is_none());
        drop(Storage::open(&places, "test").unwrap());
        drop(Storage::open(&places, "test").unwrap());
        assert!(open_to_read(&places).unwrap().is_some());
    }

    #[test]
    fn an_existing_directory_needs_init() {
        let dir = tempfile::tempdir().unwrap();
        let places = places(dir.path());
        assert!(matches!(
            Storage::open(&places, "test"),
            Err(StorageError::NeedsInit { .. })
        ));
        drop(Storage::init(&places).unwrap());
        drop(Storage::open(&places, "test").unwrap());
    }

    #[test]
    fn half_a_storage_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let places = places(&dir.path().join("s"));
        let storage = Storage::open(&places, "test").unwrap();
        storage.pool.add(b"object").unwrap();
        drop(storage);

        let aside = dir.path().join("aside");
        fs::rename(&places.pool_path, &aside).unwrap();
        assert!(matches!(
            Storage::open(&places, "test"),
            Err(StorageError::Pool(PoolError::Absent { .. }))
        ));
        fs::rename(&aside, &places.pool_path).unwrap();

        fs::remove_file(&places.database_path).unwrap();
        assert!(matches!(
            Storage::open(&places, "test"),
            Err(StorageError::StoreGone { .. })
        ));
        // `init` begins a new store over the old objects.
        let storage = Storage::init(&places).unwrap();
        assert!(!storage.pool.is_empty().unwrap());
    }
}
