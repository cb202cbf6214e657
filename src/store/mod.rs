//! The store: one redb file with the objects of the pool and the states of all repositories.
//!
//! - Writers hold [`Locks`]. The file is open for writing only during a transaction
//!   ([`Store::write`]), so that readers work while a sync runs, and several runs take turns: a run
//!   waits for the transaction of another one. A transaction reads the rows that it changes itself:
//!   another run may have changed them before.
//! - A transaction is atomic; the objects that it refers to were flushed to disk before
//!   ([`crate::pool::Pool::flush`]).
//! - After a crash the first process that opens the file repairs it: a reader opens it for writing
//!   once if necessary.
//! - [`Reader`] has the queries, [`Writer`] the changes; [`tables`] alone defines the encoding of
//!   keys and values, and the schema version.
//! - Every row that is read is checked ([`seal`]): damage is an error with table and key, never a
//!   wrong result.
//! - A newer store is refused. An older one is read as it is if possible; before anything is
//!   written it is [migrated](migrations), and a backup of the old one is kept next to it
//!   ([`backup`]).

mod backup;
mod migrations;
mod needed;
mod reader;
pub mod records;
mod seal;
mod tables;
mod writer;

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};
use std::time::{Duration, Instant};

use crate::exit::Exit;
use crate::lock::{LockError, Locks};
use crate::pool::exit_of_io;
use records::Identity;
use redb::{Database, ReadTransaction, ReadableDatabase, WriteTransaction};

pub use migrations::Migrated;
pub use needed::Needed;
pub use reader::Name;

/// The default of redb is 1 GiB.
const CACHE_BYTES: usize = 16 * 1024 * 1024;

/// How long to wait for the transaction of another run: the longest ones take seconds, on slow
/// disks a minute.
const TURN_MAX: Duration = Duration::from_mins(2);
const TURN_PAUSE: Duration = Duration::from_millis(10);
/// How long a compaction waits for readers to finish.
const READERS_MAX: Duration = Duration::from_secs(10);

pub struct Store {
    path: PathBuf,
    /// redb locks its file between processes; this is the lock between threads.
    access: RwLock<()>,
}

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("database {path} does not exist")]
    Absent { path: PathBuf },
    #[error(
        "database {path} has schema version {found}, but this version of chantal supports only versions up to {known}"
    )]
    Newer {
        path: PathBuf,
        found: u32,
        known: u32,
    },
    #[error(
        "database {path} has schema version {found} and must be migrated to version {known} first"
    )]
    Older {
        path: PathBuf,
        found: u32,
        known: u32,
    },
    #[error(
        "not enough disk space to back up database {path} before the migration: {needed} bytes needed, {free} free"
    )]
    NoRoom {
        path: PathBuf,
        needed: u64,
        free: u64,
    },
    #[error("database {path} is damaged: {what}")]
    Damaged { path: PathBuf, what: String },
    #[error("database {path} is damaged: table {table}, key {key}: {why}")]
    Record {
        path: PathBuf,
        table: String,
        key: String,
        why: String,
    },
    #[error("cannot write to database {path}: the file system is full")]
    Full { path: PathBuf },
    /// A writer was killed, and the repair needs write access.
    #[error("cannot repair database {path} after a crash: {why}")]
    Unrepaired { path: PathBuf, why: String },
    #[error("database {path} is busy: another process has been writing to it for {} seconds", TURN_MAX.as_secs())]
    Busy { path: PathBuf },
    #[error("database {path}: {source}")]
    Database {
        path: PathBuf,
        source: Box<redb::Error>,
    },
    /// Nothing was written.
    #[error(transparent)]
    Lock(#[from] LockError),
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl StoreError {
    pub fn exit(&self) -> Exit {
        match self {
            Self::Absent { .. }
            | Self::Newer { .. }
            | Self::Older { .. }
            | Self::Damaged { .. }
            | Self::Record { .. }
            | Self::Database { .. } => Exit::Damaged,
            // No data is lost: it works again once the file is writable.
            Self::Full { .. } | Self::NoRoom { .. } | Self::Unrepaired { .. } => Exit::Other,
            Self::Busy { .. } => Exit::Busy,
            Self::Lock(error) => error.exit(),
            Self::Io(error) => exit_of_io(error),
        }
    }
}

/// An error inside a transaction, before the path of the store is added.
#[derive(Debug)]
pub enum TransactionError {
    Database(Box<redb::Error>),
    Unrepaired(String),
    Lock(LockError),
    Damaged(String),
    /// A row that is damaged, or missing although it is required.
    Record {
        table: String,
        key: String,
        why: String,
    },
}

impl<E: Into<redb::Error>> From<E> for TransactionError {
    fn from(error: E) -> Self {
        Self::Database(Box::new(error.into()))
    }
}

impl From<LockError> for TransactionError {
    fn from(error: LockError) -> Self {
        Self::Lock(error)
    }
}

pub type Transaction<T> = Result<T, TransactionError>;

/// A consistent view of the store.
pub struct Reader {
    transaction: ReadTransaction,
    /// The schema version of the store.
    version: u32,
    /// The format of its rows.
    form: seal::RowFormat,
}

/// Changes that become visible together or not at all.
pub struct Writer(WriteTransaction);

impl Store {
    /// Creates an empty store for the pool with this id.
    pub fn create(path: &Path, pool_id: &str) -> Result<Self, StoreError> {
        Self::create_with(path, &Identity::new(pool_id)?)
    }

    /// Creates an empty store.
    pub fn create_with(path: &Path, identity: &Identity) -> Result<Self, StoreError> {
        let store = Self {
            path: path.to_owned(),
            access: RwLock::new(()),
        };
        // It is created under a temporary name, so that an existing store always has a schema
        // version.
        let mut fresh = path.as_os_str().to_owned();
        fresh.push(".new");
        let fresh = PathBuf::from(fresh);
        match fs_err::remove_file(&fresh) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        store.explained((|| {
            let database = builder().create(&fresh)?;
            let transaction = database.begin_write()?;
            tables::create_all(&transaction, identity)?;
            transaction.commit()?;
            Ok(())
        })())?;
        fs_err::rename(&fresh, path)?;
        if let Some(parent) = path.parent() {
            fs_err::File::open(parent)?.sync_all()?;
        }
        Ok(store)
    }

    /// Opens a store for reading, and checks that its version is supported.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let store = Self::open_older(path)?;
        let found = store.schema_version()?;
        if found < tables::OLDEST_READABLE {
            return Err(StoreError::Older {
                path: path.to_owned(),
                found,
                known: tables::SCHEMA_VERSION,
            });
        }
        Ok(store)
    }

    /// Opens a store for writing, of any older version: [`Self::migrate`] must be called before
    /// anything else is written.
    pub fn open_older(path: &Path) -> Result<Self, StoreError> {
        if !path.try_exists()? {
            return Err(StoreError::Absent {
                path: path.to_owned(),
            });
        }
        // redb would block on a pipe.
        if !fs_err::metadata(path)?.is_file() {
            return Err(StoreError::Damaged {
                path: path.to_owned(),
                what: "not a regular file".to_owned(),
            });
        }
        let store = Self {
            path: path.to_owned(),
            access: RwLock::new(()),
        };
        let found = store.schema_version()?;
        if found > tables::SCHEMA_VERSION {
            return Err(StoreError::Newer {
                path: path.to_owned(),
                found,
                known: tables::SCHEMA_VERSION,
            });
        }
        Ok(store)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn schema_version(&self) -> Result<u32, StoreError> {
        self.read(|reader| tables::schema_version(&reader.transaction))
    }

    /// Reads a consistent view, even while another process writes.
    pub fn read<T>(&self, work: impl FnOnce(&Reader) -> Transaction<T>) -> Result<T, StoreError> {
        let _access = self.access.read().unwrap_or_else(PoisonError::into_inner);
        self.explained(catch_panic(|| {
            let database = match builder().open_read_only(&self.path) {
                // A writer was killed. Opening the file for writing repairs it.
                Err(redb::DatabaseError::RepairAborted) => {
                    drop(open_in_turn(&self.path).map_err(unrepaired)?);
                    builder().open_read_only(&self.path).map_err(unrepaired)?
                }
                opened => opened?,
            };
            let transaction = database.begin_read()?;
            let version = tables::schema_version(&transaction)?;
            let form = tables::form(version);
            work(&Reader {
                transaction,
                version,
                form,
            })
        }))
    }

    /// Changes the store in one transaction. After an error, or if a lock was lost, nothing is
    /// changed.
    pub fn write<T>(
        &self,
        locks: &Locks,
        work: impl FnOnce(&Writer) -> Transaction<T>,
    ) -> Result<T, StoreError> {
        let _access = self.access.write().unwrap_or_else(PoisonError::into_inner);
        self.explained(catch_panic(|| {
            locks.check()?;
            let database = open_in_turn(&self.path)?;
            let writer = Writer(database.begin_write()?);
            let result = work(&writer)?;
            locks.check()?;
            writer.0.commit()?;
            Ok(result)
        }))
    }

    /// Returns unused space to the file system. If there are always readers, the next cleanup does
    /// it.
    pub fn compact(&self, locks: &Locks) -> Result<(), StoreError> {
        let _access = self.access.write().unwrap_or_else(PoisonError::into_inner);
        self.explained(catch_panic(|| {
            locks.check()?;
            let started = Instant::now();
            loop {
                let mut database = open_in_turn(&self.path)?;
                match database.compact() {
                    Err(redb::CompactionError::TransactionInProgress)
                        if started.elapsed() < READERS_MAX =>
                    {
                        drop(database);
                        std::thread::sleep(TURN_PAUSE);
                    }
                    Err(redb::CompactionError::TransactionInProgress) => {
                        log::debug!(
                            "{} is in use by a reader: not compacted",
                            self.path.display()
                        );
                        return Ok(());
                    }
                    compacted => return Ok(compacted.map(drop)?),
                }
            }
        }))
    }

    /// Size of the file in bytes.
    pub fn size(&self) -> io::Result<u64> {
        Ok(fs_err::metadata(&self.path)?.len())
    }

    fn explained<T>(&self, result: Transaction<T>) -> Result<T, StoreError> {
        result.map_err(|error| match error {
            TransactionError::Database(source) => match *source {
                redb::Error::DatabaseAlreadyOpen => StoreError::Busy {
                    path: self.path.clone(),
                },
                redb::Error::Corrupted(what) => StoreError::Damaged {
                    path: self.path.clone(),
                    what,
                },
                redb::Error::Io(source) if source.kind() == io::ErrorKind::InvalidData => {
                    StoreError::Damaged {
                        path: self.path.clone(),
                        what: "not a redb file".to_owned(),
                    }
                }
                redb::Error::Io(source) if source.kind() == io::ErrorKind::StorageFull => {
                    StoreError::Full {
                        path: self.path.clone(),
                    }
                }
                redb::Error::Io(source) if source.kind() == io::ErrorKind::UnexpectedEof => {
                    StoreError::Damaged {
                        path: self.path.clone(),
                        what: "the file is truncated".to_owned(),
                    }
                }
                source => StoreError::Database {
                    path: self.path.clone(),
                    source: Box::new(source),
                },
            },
            TransactionError::Unrepaired(why) => StoreError::Unrepaired {
                path: self.path.clone(),
                why,
            },
            TransactionError::Lock(error) => StoreError::Lock(error),
            TransactionError::Damaged(what) => StoreError::Damaged {
                path: self.path.clone(),
                what,
            },
            TransactionError::Record { table, key, why } => StoreError::Record {
                path: self.path.clone(),
                table,
                key,
                why,
            },
        })
    }
}

/// Opens the file for writing, and waits for the transaction of another run.
fn open_in_turn(path: &Path) -> Result<Database, redb::DatabaseError> {
    let started = Instant::now();
    loop {
        match builder().open(path) {
            Err(redb::DatabaseError::DatabaseAlreadyOpen) if started.elapsed() < TURN_MAX => {
                std::thread::sleep(TURN_PAUSE);
            }
            opened => return opened,
        }
    }
}

/// Why a repair failed: the file cannot be written, or there is more wrong with it than a killed
/// writer leaves.
fn unrepaired(error: redb::DatabaseError) -> TransactionError {
    match error {
        redb::DatabaseError::Storage(redb::StorageError::Io(source))
            if !is_of_the_content(&source) =>
        {
            TransactionError::Unrepaired(source.to_string())
        }
        redb::DatabaseError::RepairAborted => {
            TransactionError::Damaged("a repair does not help".to_owned())
        }
        error => error.into(),
    }
}

/// Whether redb reports so what the file contains: it is another file, or it is truncated.
fn is_of_the_content(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidData, UnexpectedEof};
    matches!(error.kind(), InvalidData | UnexpectedEof)
}

/// redb does not validate its pages: if they are damaged it may panic instead of returning an
/// error. The panic message has already been printed; the returned error explains it.
fn catch_panic<T>(work: impl FnOnce() -> Transaction<T>) -> Transaction<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        let what = "inconsistent pages (see above)";
        Err(TransactionError::Damaged(what.to_owned()))
    })
}

fn builder() -> redb::Builder {
    let mut builder = redb::Builder::new();
    builder.set_cache_size(CACHE_BYTES);
    builder.set_concurrency_mode(redb::ConcurrencyMode::SingleWriter);
    builder
}

#[cfg(test)]
mod tests;
