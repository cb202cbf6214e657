//! Results of `init`, `db migrate` and `pool take-over`.

use std::path::PathBuf;

use serde::Serialize;

use super::encode::{Timestamp, optional_path, path};
use crate::pool::Owner;
use crate::storage::{Storage, TakeOver};
use crate::store::{Migrated, StoreError};

/// The result of `init`.
#[derive(Clone, Debug, Serialize)]
pub struct InitializedStorage {
    /// Files of the example configuration that were created.
    pub written: Vec<String>,
    #[serde(serialize_with = "path")]
    pub storage: PathBuf,
    #[serde(serialize_with = "path")]
    pub pool: PathBuf,
    /// False if the storage already existed.
    pub created: bool,
}

/// The result of a migration.
#[derive(Clone, Debug, Serialize)]
pub struct Migration {
    #[serde(serialize_with = "path")]
    pub store: PathBuf,
    pub from: u32,
    pub to: u32,
    /// The backup of the database, if it was migrated.
    #[serde(serialize_with = "optional_path")]
    pub backup: Option<PathBuf>,
}

impl Migration {
    pub fn of(storage: &Storage, migrated: Option<Migrated>) -> Result<Self, StoreError> {
        let to = storage.store.schema_version()?;
        Ok(Self {
            store: storage.store.path().to_owned(),
            from: migrated.as_ref().map_or(to, |migrated| migrated.from),
            to,
            backup: migrated.map(|migrated| migrated.backup),
        })
    }
}

/// The result of taking over a pool.
#[derive(Clone, Debug, Serialize)]
pub struct TakeOverResult {
    #[serde(serialize_with = "path")]
    pub pool: PathBuf,
    /// The previous owner; `None` if the pool marker does not name it.
    pub from: Option<PoolOwner>,
    pub to: PoolOwner,
}

/// A database that owns, or owned, the pool.
#[derive(Clone, Debug, Serialize)]
pub struct PoolOwner {
    pub store: String,
    #[serde(serialize_with = "path")]
    pub at: PathBuf,
    pub host: String,
    /// `None` if never.
    pub last_used: Option<Timestamp>,
}

impl TakeOverResult {
    pub fn new(pool: PathBuf, taken: &TakeOver) -> Self {
        Self {
            pool,
            from: taken
                .from
                .as_ref()
                .map(|owner| PoolOwner::of(owner, Some(owner.last_used))),
            to: PoolOwner::of(&taken.to, taken.last_used),
        }
    }
}

impl PoolOwner {
    fn of(owner: &Owner, last_used: Option<i64>) -> Self {
        Self {
            store: owner.store.clone(),
            at: owner.at.clone(),
            host: owner.host.clone(),
            last_used: last_used.map(Timestamp),
        }
    }
}
