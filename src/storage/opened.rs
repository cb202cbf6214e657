//! An open storage: what a run reads and changes in it, and the marker that it updates at the end.

use std::io;
use std::path::PathBuf;

use crate::digest::{ObjectId, ObjectRef};
use crate::interrupt::Interrupt;
use crate::lock::Locks;
use crate::pool::Pool;
use crate::store::{Reader, Store, StoreError, Transaction, Writer};

use super::error::StorageError;
use super::ownership::PoolAccess;

/// An open storage, which this run may change as far as its locks allow ([`crate::lock`]).
pub struct Storage {
    pub store: Store,
    pub pool: Pool,
    pub locks: Locks,
    pub interrupt: Interrupt,
    pub(super) purpose: Purpose,
    /// The pool of dry runs, if there is one.
    pub(super) scratch: Option<PathBuf>,
}

/// What the storage was opened for.
pub(super) enum Purpose {
    Change(PoolAccess),
    /// The store is read-only, and the pool is a scratch pool on top of the real one
    /// ([`super::dry_run`]).
    DryRun {
        /// Removed when it is dropped.
        _directory: Option<tempfile::TempDir>,
    },
}

impl Storage {
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

    /// Fails if the pool does not belong to this store, so that objects must not be deleted.
    pub fn may_delete(&self) -> Result<(), StorageError> {
        match &self.purpose {
            Purpose::Change(access) => access.may_delete(),
            Purpose::DryRun { .. } => Ok(()),
        }
    }
}

impl Drop for Storage {
    /// Updates the marker. If a run is killed before that, the next one does it.
    fn drop(&mut self) {
        if let Err(error) = update_marker(self) {
            log::debug!("cannot update the pool marker: {error}");
        }
    }
}

/// Updates the generation in the marker, if this store owns the pool.
fn update_marker(storage: &Storage) -> Result<(), StorageError> {
    let Purpose::Change(PoolAccess::Owner) = storage.purpose else {
        return Ok(());
    };
    let generation = storage.store.read(Reader::identity)?.generation;
    if storage
        .pool
        .owner()
        .is_some_and(|noted| noted.generation < generation)
    {
        let Storage { pool, locks, .. } = storage;
        pool.raise_generation(locks, generation)?;
    }
    Ok(())
}
