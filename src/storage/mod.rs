//! A storage is a store and its pool, found, made or refused together.
//!
//! - A place that is not there is not empty: its disk may not be mounted. Only `init` makes a storage, or a sync that `storage.create`
//!   allows to ([`make`]); every other command that needs one fails where none is, and leaves nothing there.
//! - A pool belongs to one store ([`ownership`]).
//! - Store and pool name the same id. A store without its pool is damaged; nothing is made up in its place.
//! - A command that changes the storage gets its store in this program's schema version: an older one is migrated first, by a run
//!   that holds the storage alone. One that only reads takes it as it is.

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

use make::{Maker, exists};

pub use make::{Obstacle, half_made};
pub use ownership::{Doubt, Standing, TakeOver, adopting};

#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    #[error("{} holds no storage{}", base_path.display(), because(obstacle.as_ref()))]
    Absent {
        base_path: PathBuf,
        /// Why `storage.create` does not make one, where it is set.
        obstacle: Option<Obstacle>,
    },
    #[error("{} is missing or empty, but its store {} is there", base_path.display(), store.display())]
    BaseAway { base_path: PathBuf, store: PathBuf },
    #[error("the pool {} holds objects, but its store {} is not there", pool.display(), store.display())]
    StoreGone { pool: PathBuf, store: PathBuf },
    #[error(
        "the pool {} belongs to another store: {}, {} on {}, last used {}; this one is {own}",
        pool.display(), owner.store, owner.at.display(), owner.host, time::rfc3339(owner.last_used)
    )]
    OtherStore {
        pool: PathBuf,
        own: String,
        owner: Owner,
    },
    /// `init` found a pool whose store is there.
    #[error(
        "the pool {} belongs to a store: {}, {} on {}, last used {}",
        pool.display(), owner.store, owner.at.display(), owner.host, time::rfc3339(owner.last_used)
    )]
    Owned { pool: PathBuf, owner: Owner },
    #[error("the pool {} does not belong to {from}, but to {store}", pool.display())]
    NotTheOwner {
        pool: PathBuf,
        from: String,
        store: String,
    },
    /// A copy must not delete.
    #[error("{why}")]
    Guest { why: Doubt, store: String },
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
            Self::NotTheOwner { .. } => Exit::Usage,
            Self::Absent { .. }
            | Self::OtherStore { .. }
            | Self::Owned { .. }
            | Self::Guest { .. }
            | Self::BaseAway { .. }
            | Self::StoreGone { .. } => Exit::Damaged,
            Self::Store(error) => error.exit(),
            Self::Pool(error) => error.exit(),
            Self::Lock(error) => error.exit(),
            Self::Io(error) => exit_of_io(error),
        }
    }
}

fn because(obstacle: Option<&Obstacle>) -> String {
    obstacle.map_or_else(String::new, |obstacle| {
        format!(", and storage.create makes none there: {obstacle}")
    })
}

/// An open storage, which this run may change as far as its locks reach ([`crate::lock`]).
pub struct Storage {
    pub store: Store,
    pub pool: Pool,
    pub locks: Locks,
    pub interrupt: Interrupt,
    purpose: Purpose,
    /// The pool of dry runs, where there were some.
    scratch: Option<PathBuf>,
}

/// What it was opened for.
enum Purpose {
    Change(Standing),
    /// The store is read only, and the pool is a scratch one over the real one ([`dry_run`]).
    DryRun {
        /// Removed at the end.
        _directory: Option<tempfile::TempDir>,
    },
}

impl Storage {
    /// Opens the storage for a command that shares it with others.
    pub fn open(places: &StorageConfig, requester: &Requester) -> Result<Self, StorageError> {
        Self::open_and_tell(places, requester, Mode::Shared, Maker::Nobody)
    }

    /// Opens the storage for a command that needs it alone.
    pub fn open_alone(places: &StorageConfig, requester: &Requester) -> Result<Self, StorageError> {
        Self::open_and_tell(places, requester, Mode::Exclusive, Maker::Nobody)
    }

    /// Opens the storage for a sync, and makes it where `storage.create` allows that.
    pub fn open_to_sync(config: &Config, requester: &Requester) -> Result<Self, StorageError> {
        let maker = Maker::of_sync(config);
        Self::open_and_tell(&config.storage, requester, Mode::Shared, maker)
    }

    /// Makes what is missing of the storage, and opens it.
    pub fn init(places: &StorageConfig, requester: &Requester) -> Result<Self, StorageError> {
        Self::open_and_tell(places, requester, Mode::Exclusive, Maker::Init)
    }

    /// Opens a storage for the command that only migrates its store, and says what was done.
    pub fn migrate(
        places: &StorageConfig,
        requester: &Requester,
    ) -> Result<(Self, Option<Migrated>), StorageError> {
        Self::open_as(places, requester, Mode::Exclusive, Maker::Nobody)
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

    /// Notes what only saves the next run work. A dry run notes nothing.
    pub fn remember(
        &self,
        work: impl FnOnce(&Writer) -> Transaction<()>,
    ) -> Result<(), StoreError> {
        if self.is_dry_run() {
            return Ok(());
        }
        self.store.write(&self.locks, work)
    }

    /// An object that a dry run has downloaded. It is in the pool then.
    pub fn take_from_dry_run(&self, object: ObjectId) -> io::Result<Option<ObjectRef>> {
        let Some(scratch) = &self.scratch else {
            return Ok(None);
        };
        self.pool.add_copy(&self.locks, scratch, object)
    }

    pub fn is_dry_run(&self) -> bool {
        matches!(self.purpose, Purpose::DryRun { .. })
    }

    /// Opens the storage, or makes a new one, and makes its store the owner of the pool, which belongs to the store `from`. `tell` gets to
    /// know both before anything is changed.
    pub fn take_over(
        places: &StorageConfig,
        from: &str,
        requester: &Requester,
        tell: &mut dyn FnMut(&TakeOver) -> io::Result<()>,
    ) -> Result<(Self, TakeOver), StorageError> {
        let root = &places.pool_path;
        let marker = Marker::read(root)?.ok_or_else(|| PoolError::Absent { path: root.clone() })?;
        if marker.id() != from {
            return Err(StorageError::NotTheOwner {
                pool: root.clone(),
                from: from.to_owned(),
                store: marker.id().to_owned(),
            });
        }
        while !exists(&places.database_path)? {
            if let Some(storage) = make::make(places, requester, Maker::TakeOver)? {
                let taken = ownership::compare(&storage.store, &marker)?;
                tell(&taken)?;
                return Ok(storage.taken_over(taken));
            }
        }
        let locks = Locks::acquire(&places.base_path, Mode::Exclusive, requester)?;
        let store = Store::open_older(&places.database_path)?;
        announce(&store, store.migrate(&locks)?.as_ref());
        let taken = ownership::compare(&store, &marker)?;
        tell(&taken)?;
        let pool = ownership::take_over(&store, &locks, root, &marker)?;
        let storage = Self {
            store,
            pool,
            locks,
            interrupt: requester.interrupt.clone(),
            purpose: Purpose::Change(Standing::Owner),
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

    /// Before objects are deleted: whether the pool is this store's.
    pub fn may_delete(&self) -> Result<(), StorageError> {
        match &self.purpose {
            Purpose::Change(standing) => may_delete(standing),
            Purpose::DryRun { .. } => Ok(()),
        }
    }

    fn open_and_tell(
        places: &StorageConfig,
        requester: &Requester,
        mode: Mode,
        maker: Maker<'_>,
    ) -> Result<Self, StorageError> {
        let (storage, migrated) = Self::open_as(places, requester, mode, maker)?;
        announce(&storage.store, migrated.as_ref());
        if let Purpose::Change(standing) = &storage.purpose {
            warn_of_doubt(standing);
        }
        Ok(storage)
    }

    fn open_as(
        places: &StorageConfig,
        requester: &Requester,
        mode: Mode,
        maker: Maker<'_>,
    ) -> Result<(Self, Option<Migrated>), StorageError> {
        let mut migrated = None;
        loop {
            if exists(&places.database_path)? {
                let (storage, now) = Self::open_made(places, requester, mode, maker)?;
                if let Some(storage) = storage {
                    return Ok((storage, migrated.or(now)));
                }
                // Alone, and from the start: a lock that is shared is not upgraded.
                migrated = Self::open_made(places, requester, Mode::Exclusive, maker)?.1;
                continue;
            }
            if maker != Maker::Init {
                refuse_a_lost_store(places)?;
            }
            match make::make(places, requester, maker)? {
                Some(storage) if mode == Mode::Exclusive => return Ok((storage, None)),
                // Others may have it too from now on.
                Some(_) | None => {}
            }
        }
    }

    /// `None`: the store must be migrated first.
    fn open_made(
        places: &StorageConfig,
        requester: &Requester,
        mode: Mode,
        maker: Maker<'_>,
    ) -> Result<(Option<Self>, Option<Migrated>), StorageError> {
        let base_path = &places.base_path;
        // Where the store lies elsewhere: writing the lock would write on the mount point.
        if is_away(base_path)? {
            if maker != Maker::Init {
                return Err(StorageError::BaseAway {
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
        let standing = ownership::stand(&store, &pool, &locks)?;
        let storage = Self {
            store,
            pool,
            locks,
            interrupt: requester.interrupt.clone(),
            purpose: Purpose::Change(standing),
            scratch: dry_run::pool_of(places),
        };
        Ok((Some(storage), migrated))
    }
}

impl Drop for Storage {
    /// The marker follows the store. Where a run is killed before that, the next one does it.
    fn drop(&mut self) {
        if let Err(error) = ownership::follow(self) {
            log::debug!("the pool's marker was not brought up to date: {error}");
        }
    }
}

/// A migration that no command asked for by name: from now on an older chantal refuses the store.
fn announce(store: &Store, migrated: Option<&Migrated>) {
    if let Some(Migrated { from, to, backup }) = migrated {
        log::warn!(
            "the store {} was migrated from schema version {from} to {to}; what it was is kept in {}",
            store.path().display(),
            backup.display()
        );
    }
}

fn warn_of_doubt(standing: &Standing) {
    if let Standing::Guest { why, store } = standing {
        log::warn!("{why}; `db cleanup` refuses until `chantal pool take-over --from {store}`");
    }
}

fn may_delete(standing: &Standing) -> Result<(), StorageError> {
    match standing {
        Standing::Owner => Ok(()),
        Standing::Guest { why, store } => Err(StorageError::Guest {
            why: why.clone(),
            store: store.clone(),
        }),
    }
}

/// Opens store and pool as they are, for a run that only says what it would do. What it would be refused over is an error.
fn open_unchanged(places: &StorageConfig) -> Result<(Store, Pool, Standing), StorageError> {
    let store = Store::open(&places.database_path)?;
    let id = store.read(Reader::pool_id)?;
    let pool = Pool::open(&places.pool_path, &id)?;
    let standing = ownership::judge(&store, &pool)?;
    warn_of_doubt(&standing);
    Ok((store, pool, standing))
}

/// Opens store and pool for a cleanup that only says what it would remove.
pub fn open_to_plan_cleanup(places: &StorageConfig) -> Result<(Store, Pool), StorageError> {
    if !is_made(places)? {
        return Err(StorageError::Absent {
            base_path: places.base_path.clone(),
            obstacle: None,
        });
    }
    let (store, pool, standing) = open_unchanged(places)?;
    may_delete(&standing)?;
    warn_of_runs(places);
    Ok((store, pool))
}

/// Opens store and pool for a command that only counts what they hold. `None`: there is no storage, and that was said.
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
        log::warn!("{error}; what it has not named yet counts as not needed here");
    }
}

/// Opens the store for a command that only reads. `None`: there is no storage, and that was said.
pub fn open_to_read(places: &StorageConfig) -> Result<Option<Store>, StorageError> {
    if !is_made_or_warn(places)? {
        return Ok(None);
    }
    Ok(Some(Store::open(&places.database_path)?))
}

/// Whether there is a storage; says so where there is none.
pub fn is_made_or_warn(places: &StorageConfig) -> Result<bool, StorageError> {
    let is_made = is_made(places)?;
    if !is_made {
        log::warn!(
            "{} holds no storage: is the file system mounted? `chantal init` creates a new storage",
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
    refuse_a_lost_store(places)?;
    Ok(false)
}

/// A pool with objects whose store is not there. Where the store's whole directory is not there, its disk may not be mounted: no loss.
fn refuse_a_lost_store(places: &StorageConfig) -> Result<(), StorageError> {
    let directory = places.database_path.parent().unwrap_or(Path::new("/"));
    if !is_away(directory)?
        && Marker::read(&places.pool_path)?.is_some()
        && Pool::holds_objects(&places.pool_path)?
    {
        return Err(StorageError::StoreGone {
            pool: places.pool_path.clone(),
            store: places.database_path.clone(),
        });
    }
    Ok(())
}

/// Whether a directory of the storage is not there, or is a bare mount point.
fn is_away(directory: &Path) -> io::Result<bool> {
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
            Err(StorageError::StoreGone { .. })
        ));
        // `init` begins a new store over the old objects.
        let storage = Storage::init(&places, &Requester::test()).unwrap();
        assert!(Pool::holds_objects(storage.pool.root()).unwrap());
    }
}
