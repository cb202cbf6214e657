//! One published tree while a run works on it: its place, its lock and its record.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::directory::staging_path;
use super::error::PublishError;
use crate::lock::Guard;
use crate::storage::Storage;
use crate::store::StoreError;
use crate::store::records::TreeRecord;

/// How long a sync waits for another run that is publishing at the same place: that takes seconds,
/// and the sync may have taken hours.
const EXTENDED_WAIT: Duration = Duration::from_mins(1);

/// How long another run is waited for that works on the same tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockWait {
    /// As long as the command line says.
    Configured,
    /// That long, but at least the seconds that a publishing takes.
    Extended,
}

/// The place of a published tree. Its lock is held until this is dropped.
pub struct LockedTree<'a> {
    pub storage: &'a Storage,
    pub path: &'a Path,
    /// Beside it, where the next generation is staged.
    pub staging: PathBuf,
    /// In seconds since the epoch; all times of one piece of work are the same.
    pub now: i64,
    _lock: Guard<'a>,
}

impl<'a> LockedTree<'a> {
    pub fn lock(
        storage: &'a Storage,
        path: &'a Path,
        wait: LockWait,
    ) -> Result<Self, PublishError> {
        Self::lock_at(storage, path, wait, crate::time::now())
    }

    pub fn lock_at(
        storage: &'a Storage,
        path: &'a Path,
        wait: LockWait,
        now: i64,
    ) -> Result<Self, PublishError> {
        let lock = match wait {
            LockWait::Configured => storage.locks.tree(path)?,
            LockWait::Extended => storage.locks.tree_with_wait(path, EXTENDED_WAIT)?,
        };
        Ok(Self {
            storage,
            path,
            staging: staging_path(path)?,
            now,
            _lock: lock,
        })
    }

    /// What the store knows of it.
    pub fn record(&self) -> Result<Option<TreeRecord>, StoreError> {
        self.storage.read(|reader| reader.tree(self.path))
    }

    pub fn put_record(&self, record: &TreeRecord) -> Result<(), StoreError> {
        self.storage
            .write(|writer| writer.put_tree(self.path, record))
    }

    pub fn remove_record(&self) -> Result<(), StoreError> {
        self.storage.write(|writer| writer.remove_tree(self.path))
    }

    /// A run that lost the lock exchanges and removes nothing: another one may be at work there.
    pub fn check_lock(&self) -> Result<(), StoreError> {
        Ok(self.storage.locks.check()?)
    }
}
