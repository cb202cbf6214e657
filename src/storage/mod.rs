//! A storage is a store and its pool, which are opened, created or refused together.
//!
//! - A missing path is not treated as empty: its disk may not be mounted. Only `init` creates a
//!   storage, or a sync with `storage.create` ([`make`]); every other command that needs one fails
//!   if there is none, and creates nothing.
//! - A pool belongs to one store ([`ownership`]).
//! - Store and pool contain the same pool id. A store without its pool is damaged; no new pool is
//!   created for it.
//! - A command that changes the storage gets the store in the current schema version: an older one
//!   is migrated first, by a run that holds the storage lock exclusively. A command that only reads
//!   uses it as it is.

pub mod dry_run;
mod make;
mod ownership;

use std::io;
use std::path::{Path, PathBuf};

use crate::config::{Config, StorageConfig};
use crate::digest::{ObjectId, ObjectRef};
use crate::exit::Exit;
use crate::interrupt::Interrupt;
use crate::lock::{LockError, Locks, Mode, Requester};
use crate::mounts;
use crate::pool::exit_of_io;
use crate::pool::{Marker, Owner, Pool, PoolError};
use crate::store::{Migrated, Reader, Store, StoreError, Transaction, Writer};
use crate::time;

use make::{CreatePolicy, exists};

pub use make::{Obstacle, half_made};
pub use ownership::{OwnershipIssue, PoolAccess, TakeOver, adopting};

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

/// An open storage, which this run may change as far as its locks allow ([`crate::lock`]).
pub struct Storage {
    pub store: Store,
    pub pool: Pool,
    pub locks: Locks,
    pub interrupt: Interrupt,
    purpose: Purpose,
    /// The pool of dry runs, if there is one.
    scratch: Option<PathBuf>,
}

/// What the storage was opened for.
enum Purpose {
    Change(PoolAccess),
    /// The store is read-only, and the pool is a scratch pool on top of the real one ([`dry_run`]).
    DryRun {
        /// Removed when it is dropped.
        _directory: Option<tempfile::TempDir>,
    },
}

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

    /// A consistent view of the store.
    pub fn read<T>(&self, work: impl FnOnce(&Reader) -> Transaction<T>) -> Result<T, StoreError> {
        self.store.read(work)
    }

    /// Changes the store in one transaction.
    pub fn write<T>(&self, work: impl FnOnce(&Writer) -> Transaction<T>) -> Result<T, StoreError> {
        assert!(!self.is_dry_run(), "a dry run changes nothing");
        self.store.write(&self.locks, work)
    }

    /// Stores data that only saves work in the next run. A dry run stores nothing.
    pub fn remember(
        &self,
        work: impl FnOnce(&Writer) -> Transaction<()>,
    ) -> Result<(), StoreError> {
        if self.is_dry_run() {
            return Ok(());
        }
        self.store.write(&self.locks, work)
    }

    /// Copies an object that a dry run has downloaded into the pool.
    pub fn take_from_dry_run(&self, object: ObjectId) -> io::Result<Option<ObjectRef>> {
        let Some(scratch) = &self.scratch else {
            return Ok(None);
        };
        self.pool.add_copy(&self.locks, scratch, object)
    }

    pub fn is_dry_run(&self) -> bool {
        matches!(self.purpose, Purpose::DryRun { .. })
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

    /// Fails if the pool does not belong to this store, so that objects must not be deleted.
    pub fn may_delete(&self) -> Result<(), StorageError> {
        match &self.purpose {
            Purpose::Change(access) => may_delete(access),
            Purpose::DryRun { .. } => Ok(()),
        }
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
            warn_if_not_owner(access);
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

impl Drop for Storage {
    /// Updates the marker. If a run is killed before that, the next one does it.
    fn drop(&mut self) {
        if let Err(error) = ownership::update_marker(self) {
            log::debug!("cannot update the pool marker: {error}");
        }
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

fn warn_if_not_owner(access: &PoolAccess) {
    if let PoolAccess::AddOnly { why, store } = access {
        log::warn!(
            "{why}; `db cleanup` is refused until `chantal pool take-over --from {store}` has been run"
        );
    }
}

fn may_delete(access: &PoolAccess) -> Result<(), StorageError> {
    match access {
        PoolAccess::Owner => Ok(()),
        PoolAccess::AddOnly { why, store } => Err(StorageError::NotOwner {
            why: why.clone(),
            store: store.clone(),
        }),
    }
}

/// Opens store and pool without changes, for a dry run. Fails if a real run would.
fn open_unchanged(places: &StorageConfig) -> Result<(Store, Pool, PoolAccess), StorageError> {
    let store = Store::open(&places.database_path)?;
    let id = store.read(Reader::pool_id)?;
    let pool = Pool::open(&places.pool_path, &id)?;
    let access = ownership::check(&store, &pool)?;
    warn_if_not_owner(&access);
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
    may_delete(&access)?;
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
fn reject_lost_store(places: &StorageConfig) -> Result<(), StorageError> {
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
fn is_missing_or_empty(directory: &Path) -> io::Result<bool> {
    Ok(!exists(directory)? || mounts::is_empty(directory, &[])?)
}

#[cfg(test)]
impl Storage {
    /// A new, empty one.
    pub fn test(directory: &Path) -> Self {
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
