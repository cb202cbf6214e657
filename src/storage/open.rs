//! Opens a storage for commands that change it: locked, created or migrated if necessary, and with
//! its pool taken over.

use std::io;

use crate::config::{Config, StorageConfig};
use crate::lock::{Locks, Mode, Requester};
use crate::pool::{Marker, Pool, PoolError};
use crate::store::{Migrated, Reader, Store};

use super::dry_run;
use super::error::StorageError;
use super::make::{self, CreatePolicy, exists};
use super::opened::{Purpose, Storage};
use super::ownership::{self, PoolAccess, TakeOver};
use super::unchanged::{is_missing_or_empty, reject_lost_store};

impl Storage {
    /// Opens the storage for a command that shares it with others.
    pub fn open(places: &StorageConfig, requester: &Requester) -> Result<Self, StorageError> {
        Self::open_and_warn(places, requester, Mode::Shared, CreatePolicy::Never)
    }

    /// Opens the storage for a command that needs it exclusively.
    pub fn open_alone(places: &StorageConfig, requester: &Requester) -> Result<Self, StorageError> {
        Self::open_and_warn(places, requester, Mode::Exclusive, CreatePolicy::Never)
    }

    /// Opens the storage for a sync, and creates it if `storage.create` allows that.
    pub fn open_to_sync(config: &Config, requester: &Requester) -> Result<Self, StorageError> {
        let policy = CreatePolicy::of_sync(config);
        Self::open_and_warn(&config.storage, requester, Mode::Shared, policy)
    }

    /// Opens the storage for an import, which needs it exclusively, and creates it if
    /// `storage.create` allows that.
    pub fn open_to_import(config: &Config, requester: &Requester) -> Result<Self, StorageError> {
        let policy = CreatePolicy::of_sync(config);
        Self::open_and_warn(&config.storage, requester, Mode::Exclusive, policy)
    }

    /// Creates missing parts of the storage, and opens it.
    pub fn init(places: &StorageConfig, requester: &Requester) -> Result<Self, StorageError> {
        Self::open_and_warn(places, requester, Mode::Exclusive, CreatePolicy::Init)
    }

    /// Opens a storage for `db migrate`, and returns what was migrated.
    pub fn migrate(
        places: &StorageConfig,
        requester: &Requester,
    ) -> Result<(Self, Option<Migrated>), StorageError> {
        Self::open_as(places, requester, Mode::Exclusive, CreatePolicy::Never)
    }

    /// Opens the storage, or creates a new one, and makes its store the owner of the pool, which
    /// belongs to the store `from`. `tell` is called with both before anything is changed.
    pub fn take_over(
        places: &StorageConfig,
        from: &str,
        requester: &Requester,
        tell: &mut dyn FnMut(&TakeOver) -> io::Result<()>,
    ) -> Result<(Self, TakeOver), StorageError> {
        let root = &places.pool_path;
        let marker = Marker::read(root)?.ok_or_else(|| PoolError::Absent { path: root.clone() })?;
        if marker.id() != from {
            return Err(StorageError::WrongOwner {
                pool: root.clone(),
                from: from.to_owned(),
                store: marker.id().to_owned(),
            });
        }
        while !exists(&places.database_path)? {
            if let Some(storage) = make::make(places, requester, CreatePolicy::TakeOver)? {
                let taken = ownership::compare(&storage.store, &marker)?;
                tell(&taken)?;
                return Ok(storage.taken_over(taken));
            }
        }
        let locks = Locks::acquire(&places.base_path, Mode::Exclusive, requester)?;
        let store = Store::open_older(&places.database_path)?;
        warn_of_migration(&store, store.migrate(&locks)?.as_ref());
        let taken = ownership::compare(&store, &marker)?;
        tell(&taken)?;
        let pool = ownership::take_over(&store, &locks, root, &marker)?;
        let storage = Self {
            store,
            pool,
            locks,
            interrupt: requester.interrupt.clone(),
            purpose: Purpose::Change(PoolAccess::Owner),
            scratch: None,
        };
        Ok(storage.taken_over(taken))
    }

    /// A copy has another id by now.
    fn taken_over(self, mut taken: TakeOver) -> (Self, TakeOver) {
        if let Some(owner) = self.pool.owner() {
            taken.to.store = owner.store;
        }
        (self, taken)
    }

    fn open_and_warn(
        places: &StorageConfig,
        requester: &Requester,
        mode: Mode,
        policy: CreatePolicy<'_>,
    ) -> Result<Self, StorageError> {
        let (storage, migrated) = Self::open_as(places, requester, mode, policy)?;
        warn_of_migration(&storage.store, migrated.as_ref());
        if let Purpose::Change(access) = &storage.purpose {
            access.warn_if_not_owner();
        }
        Ok(storage)
    }

    fn open_as(
        places: &StorageConfig,
        requester: &Requester,
        mode: Mode,
        policy: CreatePolicy<'_>,
    ) -> Result<(Self, Option<Migrated>), StorageError> {
        let mut migrated = None;
        loop {
            if exists(&places.database_path)? {
                let (storage, now) = Self::open_made(places, requester, mode, policy)?;
                if let Some(storage) = storage {
                    return Ok((storage, migrated.or(now)));
                }
                // Exclusively from the start: a shared lock is never upgraded.
                migrated = Self::open_made(places, requester, Mode::Exclusive, policy)?.1;
                continue;
            }
            if policy != CreatePolicy::Init {
                reject_lost_store(places)?;
            }
            match make::make(places, requester, policy)? {
                Some(storage) if mode == Mode::Exclusive => return Ok((storage, None)),
                // Open it again with a shared lock.
                Some(_) | None => {}
            }
        }
    }

    /// `None`: the store must be migrated first.
    fn open_made(
        places: &StorageConfig,
        requester: &Requester,
        mode: Mode,
        policy: CreatePolicy<'_>,
    ) -> Result<(Option<Self>, Option<Migrated>), StorageError> {
        let base_path = &places.base_path;
        // If the store is outside of the base path, creating the lock file would write to the mount
        // point.
        if is_missing_or_empty(base_path)? {
            if policy != CreatePolicy::Init {
                return Err(StorageError::BaseMissing {
                    base_path: base_path.clone(),
                    store: places.database_path.clone(),
                });
            }
            fs_err::create_dir_all(base_path)?;
        }
        let locks = Locks::acquire(base_path, mode, requester)?;
        let store = Store::open_older(&places.database_path)?;
        let id = store.read(Reader::pool_id)?;
        let pool = Pool::open(&places.pool_path, &id)?;
        let migrated = match mode {
            Mode::Exclusive => store.migrate(&locks)?,
            Mode::Shared if store.is_older()? => return Ok((None, None)),
            Mode::Shared => None,
        };
        make::finish(base_path, &store, &pool, &locks)?;
        let access = ownership::record(&store, &pool, &locks)?;
        let storage = Self {
            store,
            pool,
            locks,
            interrupt: requester.interrupt.clone(),
            purpose: Purpose::Change(access),
            scratch: dry_run::pool_of(places),
        };
        Ok((Some(storage), migrated))
    }
}

/// Warns of an automatic migration: older versions of chantal refuse the store from now on.
fn warn_of_migration(store: &Store, migrated: Option<&Migrated>) {
    if let Some(Migrated { from, to, backup }) = migrated {
        log::warn!(
            "database {} was migrated from schema version {from} to {to}; backup: {}",
            store.path().display(),
            backup.display()
        );
    }
}

#[cfg(test)]
impl Storage {
    /// A new, empty one.
    pub fn test(directory: &std::path::Path) -> Self {
        let places = StorageConfig {
            base_path: directory.to_owned(),
            pool_path: directory.join("pool"),
            cache_path: directory.join("cache"),
            database_path: directory.join("chantal.redb"),
            create: false,
        };
        Self::init(&places, &Requester::test()).unwrap()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::unchanged::open_to_read;
    use super::*;

    fn places(base: &Path) -> StorageConfig {
        StorageConfig {
            base_path: base.to_owned(),
            pool_path: base.join("pool"),
            cache_path: base.join("cache"),
            database_path: base.join("chantal.redb"),
            create: false,
        }
    }

    #[test]
    fn only_init_makes_a_storage() {
        let dir = tempfile::tempdir().unwrap();
        let places = places(&dir.path().join("deep/new"));
        assert!(open_to_read(&places).unwrap().is_none());
        assert!(matches!(
            Storage::open(&places, &Requester::test()),
            Err(StorageError::Absent { .. })
        ));
        assert!(!dir.path().join("deep").exists());
        drop(Storage::init(&places, &Requester::test()).unwrap());
        drop(Storage::init(&places, &Requester::test()).unwrap());
        drop(Storage::open(&places, &Requester::test()).unwrap());
        assert!(open_to_read(&places).unwrap().is_some());
    }

    #[test]
    fn an_existing_directory_needs_init() {
        let dir = tempfile::tempdir().unwrap();
        let places = places(dir.path());
        assert!(matches!(
            Storage::open(&places, &Requester::test()),
            Err(StorageError::Absent { .. })
        ));
        assert_eq!(fs_err::read_dir(dir.path()).unwrap().count(), 0);
        drop(Storage::init(&places, &Requester::test()).unwrap());
        drop(Storage::open(&places, &Requester::test()).unwrap());
    }

    #[test]
    fn half_a_storage_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let places = places(&dir.path().join("s"));
        let storage = Storage::init(&places, &Requester::test()).unwrap();
        storage.pool.add(&storage.locks, b"object").unwrap();
        drop(storage);

        let aside = dir.path().join("aside");
        fs_err::rename(&places.pool_path, &aside).unwrap();
        assert!(matches!(
            Storage::open(&places, &Requester::test()),
            Err(StorageError::Pool(PoolError::Absent { .. }))
        ));
        fs_err::rename(&aside, &places.pool_path).unwrap();

        fs_err::remove_file(&places.database_path).unwrap();
        assert!(matches!(
            Storage::open(&places, &Requester::test()),
            Err(StorageError::StoreMissing { .. })
        ));
        // `init` begins a new store over the old objects.
        let storage = Storage::init(&places, &Requester::test()).unwrap();
        assert!(Pool::holds_objects(storage.pool.root()).unwrap());
    }
}
