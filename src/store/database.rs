//! The file of the store: created, opened, repaired, and changed in transactions, in which runs and
//! threads take turns.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};
use std::time::{Duration, Instant};

use redb::{Database, ReadableDatabase};

use crate::kill_points;
use crate::lock::Locks;
use crate::panics;

use super::error::{StoreError, TURN_MAX, Transaction, TransactionError};
use super::reader::Reader;
use super::records::Identity;
use super::tables;
use super::writer::Writer;

/// The default of redb is 1 GiB.
const CACHE_BYTES: usize = 16 * 1024 * 1024;

const TURN_PAUSE: Duration = Duration::from_millis(10);
/// How long a compaction waits for readers to finish.
const READERS_MAX: Duration = Duration::from_secs(10);

pub struct Store {
    pub(super) path: PathBuf,
    /// redb locks its file between processes; this is the lock between threads.
    access: RwLock<()>,
}

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
            work(&Reader::new(transaction)?)
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
            kill_points::reach("commit to the database");
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
/// error.
fn catch_panic<T>(work: impl FnOnce() -> Transaction<T>) -> Transaction<T> {
    panics::catch_expected(work).unwrap_or_else(|_| {
        let what = "inconsistent pages";
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
