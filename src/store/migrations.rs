//! From an older schema version to the one that this program writes, step by step.
//!
//! - Before the first step a copy of the store is made ([`super::backup`]).
//! - Each step is one transaction together with its version: killed anywhere, the store has the version before it or the one
//!   after it, and the next run goes on there.
//! - A new version adds a step below, a line to the changelog above [`tables::SCHEMA_VERSION`] and a fixture
//!   (`fixtures/store-v1/make.sh` says how). Steps stay as they were released.

use std::path::PathBuf;

use redb::WriteTransaction;

use super::{Store, StoreError, Transaction, WriterLock, backup, tables};

/// Makes a store of the version after it out of one of its own version.
type Step = fn(&WriteTransaction) -> Transaction<()>;

/// From version 1, from version 2, and so on.
const STEPS: [Step; tables::SCHEMA_VERSION as usize - 1] = [make_all_tables];

/// What was done to an older store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Migrated {
    pub from: u32,
    pub to: u32,
    /// The store as it was.
    pub backup: PathBuf,
}

impl Store {
    /// Brings an older store to the schema version that this program writes. `None`: it has it.
    pub fn migrate(&self, lock: &WriterLock) -> Result<Option<Migrated>, StoreError> {
        let from = self.schema_version()?;
        if from == tables::SCHEMA_VERSION {
            return Ok(None);
        }
        let steps = (from as usize)
            .checked_sub(1)
            .and_then(|done| STEPS.get(done..))
            .ok_or_else(|| StoreError::Damaged {
                path: self.path.clone(),
                what: format!("there never was a schema version {from}"),
            })?;
        let backup = backup::make(self, lock, from)?;
        let migrated = steps
            .iter()
            .zip(from + 1..)
            .try_for_each(|(step, version)| {
                self.write(lock, |writer| {
                    step(&writer.0)?;
                    tables::set_schema_version(&writer.0, version)
                })
            });
        if let Err(error) = migrated {
            // The store is what it was, but not byte for byte: a run that fails every hour must not leave a copy every hour.
            if self.schema_version().is_ok_and(|version| version == from) {
                backup.take_back();
            }
            return Err(error);
        }
        Ok(Some(Migrated {
            from,
            to: tables::SCHEMA_VERSION,
            backup: backup.path,
        }))
    }
}

/// From 1 to 2.
fn make_all_tables(transaction: &WriteTransaction) -> Transaction<()> {
    transaction.open_table(tables::PACKAGE_TO_RECORD)?;
    transaction.open_table(tables::SNAPSHOT_TO_RECORD)?;
    Ok(())
}
