//! Errors that abort a cleanup. An error at a single published tree does not.

use std::io;

use crate::interrupt::Interrupted;
use crate::pool::PoolError;
use crate::storage::StorageError;
use crate::store::StoreError;

#[derive(Debug, thiserror::Error)]
pub enum CleanupError {
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Pool(#[from] PoolError),
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
    #[error(transparent)]
    Io(#[from] io::Error),
}
