//! Errors of the store, with its path, and of transactions, before the path is added.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::exit::Exit;
use crate::lock::LockError;
use crate::pool::exit_of_io;

/// How long to wait for the transaction of another run: the longest ones take seconds, on slow
/// disks a minute.
pub const TURN_MAX: Duration = Duration::from_mins(2);

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
