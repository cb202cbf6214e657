//! Errors that abort a repair. What cannot be had for a single object is part of its outcome.

use std::io;

use crate::interrupt::Interrupted;
use crate::lock::LockError;
use crate::pool::PoolError;
use crate::storage::StorageError;
use crate::store::StoreError;
use crate::sync::SyncError;

#[derive(Debug, thiserror::Error)]
pub enum RepairError {
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error(transparent)]
    Pool(#[from] PoolError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Lock(#[from] LockError),
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl RepairError {
    /// The error of a download that concerns this machine; the inner `Err` concerns the upstream.
    pub fn of_download(error: SyncError) -> Result<Self, SyncError> {
        Ok(match error {
            SyncError::Store(error) => Self::Store(error),
            SyncError::Lock(error) => Self::Lock(error),
            SyncError::Interrupted(error) => Self::Interrupted(error),
            SyncError::Io(error) => Self::Io(error),
            error => return Err(error),
        })
    }
}
