//! Why a check could not be completed. What it finds is no error.

use std::io;

use crate::interrupt::Interrupted;
use crate::store::StoreError;

use super::proof::ProofError;

#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl From<ProofError> for CheckError {
    fn from(error: ProofError) -> Self {
        match error {
            ProofError::Store(error) => Self::Store(error),
            ProofError::Interrupted(error) => Self::Interrupted(error),
        }
    }
}
