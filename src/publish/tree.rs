//! One published tree while a run changes it: its path, lock and record.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::directory::staging_path;
use super::error::PublishError;
use crate::lock::Guard;
use crate::storage::Storage;
use crate::store::StoreError;
use crate::store::records::{DirectoryId, Staging, TreeRecord};

/// The minimum wait of a sync: another publishing takes seconds, but the sync may have taken hours.
const EXTENDED_WAIT: Duration = Duration::from_mins(1);

/// How long to wait for another run that holds the lock of the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockWait {
    /// As set on the command line.
    Configured,
    /// As set on the command line, but at least as long as another publishing takes.
    Extended,
}

/// A published tree with its lock, which is held until this is dropped.
pub struct LockedTree<'a> {
    pub storage: &'a Storage,
    pub path: &'a Path,
    /// The directory next to it where the next generation is staged.
    pub staging: PathBuf,
    /// In seconds since the epoch; the same for all times of an operation.
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

    /// Called before an exchange or removal: if the lock was lost, another run may be changing the
    /// tree.
    pub fn check_lock(&self) -> Result<(), StoreError> {
        Ok(self.storage.locks.check()?)
    }
}

/// The record while `next` is being staged in `directory`; `before` is the record before that.
pub fn pending(
    before: Option<&TreeRecord>,
    next: &TreeRecord,
    directory: Option<DirectoryId>,
) -> TreeRecord {
    let nothing = || TreeRecord {
        source: None,
        root_key: None,
        manifest: None,
        earlier: Vec::new(),
        ..next.clone()
    };
    let staging = directory.zip(next.manifest);
    TreeRecord {
        repository: next.repository.clone(),
        // Clients may see that root from the exchange on, and a killed run cannot record it any
        // more.
        newest_root_date: next.newest_root_date,
        staging: staging.map(|(directory, manifest)| Staging {
            manifest,
            source: next.source,
            root_key: next.root_key.clone(),
            snapshot: next.snapshot.clone(),
            earlier: Some(next.earlier.clone()),
            part: None,
            directory,
        }),
        ..before.cloned().unwrap_or_else(nothing)
    }
}
