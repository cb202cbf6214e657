//! Migrates a store from an older schema version to the current one, step by step.
//!
//! - Before the first step a backup of the store is made ([`super::backup`]).
//! - Each step is one transaction that includes the version: after a kill the store has the version
//!   before or after the step, and the next run continues there.
//! - A new version adds a step below, a line to the changelog above [`tables::SCHEMA_VERSION`] and
//!   a fixture (`fixtures/store-v1/make.sh` says how). Released steps never change.

use std::borrow::Borrow;
use std::path::PathBuf;

use redb::{Key, ReadableTable as _, TableDefinition, WriteTransaction};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::database::Store;
use super::error::{StoreError, Transaction};
use super::records::{
    HistoryRecord, Identity, PackageRecord, RepositoryRecord, RepositoryRecord3, SnapshotRecord,
    SnapshotRecord3, TreeRecord, ValidatorRecord,
};
use super::seal::{DisplayKey, RowFormat, check_digest, damaged, seal, seal_json, unseal_json};
use super::{backup, tables};
use crate::digest::ObjectId;
use crate::lock::Locks;

/// Converts a store to the next version.
type Step = fn(&WriteTransaction) -> Transaction<()>;

/// From version 1, from version 2, and so on.
const STEPS: [Step; tables::SCHEMA_VERSION as usize - 1] = [
    create_all_tables,
    seal_all_rows,
    convert_states,
    keep_all_rows,
    add_tables_of_version_6,
];

/// The result of a migration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Migrated {
    pub from: u32,
    pub to: u32,
    /// The backup of the old store.
    pub backup: PathBuf,
}

impl Store {
    /// Whether it must be migrated before it can be written.
    pub fn is_older(&self) -> Result<bool, StoreError> {
        Ok(self.schema_version()? < tables::SCHEMA_VERSION)
    }

    /// Migrates an older store to the current schema version. `None` if it already has it. The
    /// caller holds the storage lock exclusively.
    pub fn migrate(&self, locks: &Locks) -> Result<Option<Migrated>, StoreError> {
        let from = self.schema_version()?;
        if from == tables::SCHEMA_VERSION {
            return Ok(None);
        }
        let steps = (from as usize)
            .checked_sub(1)
            .and_then(|done| STEPS.get(done..))
            .ok_or_else(|| StoreError::Damaged {
                path: self.path.clone(),
                what: format!("unknown schema version {from}"),
            })?;
        let backup = backup::make(self, locks, from)?;
        let migrated = steps
            .iter()
            .zip(from + 1..)
            .try_for_each(|(step, version)| {
                self.write(locks, |writer| {
                    step(&writer.0)?;
                    tables::set_schema_version(&writer.0, version)
                })
            });
        if let Err(error) = migrated {
            // The store is unchanged, though not byte for byte: a run that fails every hour must
            // not leave a new backup every hour.
            if self.schema_version().is_ok_and(|version| version == from) {
                backup.discard();
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
fn create_all_tables(transaction: &WriteTransaction) -> Transaction<()> {
    transaction.open_table(tables::PACKAGE_TO_RECORD)?;
    transaction.open_table(tables::SNAPSHOT_TO_RECORD)?;
    Ok(())
}

/// From 2 to 3. Damage that can be detected is not sealed as valid.
fn seal_all_rows(transaction: &WriteTransaction) -> Transaction<()> {
    for table in [tables::MANIFEST_TO_CHUNKS, tables::CHUNK_TO_ENTRIES] {
        for row in transaction.open_table(table)?.iter()? {
            let (id, bytes) = row?;
            check_digest(&table, ObjectId(*id.value()), bytes.value())?;
        }
    }
    check_names(transaction)?;
    seal_rows::<_, RepositoryRecord3>(transaction, tables::REPOSITORY_TO_RECORD)?;
    seal_rows::<_, SnapshotRecord3>(transaction, tables::SNAPSHOT_TO_RECORD)?;
    seal_rows::<_, TreeRecord>(transaction, tables::TREE_TO_RECORD)?;
    seal_rows::<_, HistoryRecord>(transaction, tables::SYNC_TO_RECORD)?;
    seal_rows::<_, ValidatorRecord>(transaction, tables::PATH_TO_VALIDATOR)?;
    seal_rows::<_, PackageRecord>(transaction, tables::PACKAGE_TO_RECORD)?;
    seal_objects_and_aliases(transaction)?;
    let pool = transaction
        .open_table(tables::META)?
        .get(tables::POOL)?
        .and_then(|id| String::from_utf8(id.value().to_vec()).ok())
        .ok_or_else(|| damaged(&tables::META, &tables::POOL, "missing"))?;
    tables::put_identity(transaction, &Identity::of_version_2(pool))
}

/// A key that cannot be a name was damaged.
fn check_names(transaction: &WriteTransaction) -> Transaction<()> {
    let table = tables::REPOSITORY_TO_RECORD;
    for row in transaction.open_table(table)?.iter()? {
        let (key, _) = row?;
        tables::repository_of(&table, &key.value(), key.value())?;
    }
    let table = tables::SYNC_TO_RECORD;
    for row in transaction.open_table(table)?.iter()? {
        let (key, _) = row?;
        tables::repository_of(&table, &key.value(), key.value().0)?;
    }
    for row in transaction.open_table(tables::SNAPSHOT_TO_RECORD)?.iter()? {
        tables::snapshot_of(row?.0.value())?;
    }
    Ok(())
}

/// From 3 to 4.
fn convert_states(transaction: &WriteTransaction) -> Transaction<()> {
    replace_rows::<_, RepositoryRecord3, RepositoryRecord>(
        transaction,
        tables::REPOSITORY_TO_RECORD,
    )?;
    replace_rows::<_, SnapshotRecord3, SnapshotRecord>(transaction, tables::SNAPSHOT_TO_RECORD)?;
    // They are only a cache.
    transaction.delete_table(tables::PATH_TO_VALIDATOR)?;
    transaction.open_table(tables::ORIGIN_TO_VALIDATOR)?;
    Ok(())
}

/// From 4 to 5. The new fields have defaults that describe older trees.
#[expect(clippy::unnecessary_wraps, reason = "it is a step like the others")]
fn keep_all_rows(_transaction: &WriteTransaction) -> Transaction<()> {
    Ok(())
}

/// From 5 to 6. Roots that were generated before belong only to their trees: of two trees of a state
/// each has its own.
fn add_tables_of_version_6(transaction: &WriteTransaction) -> Transaction<()> {
    tables::create_tables_of_version_6(transaction)
}

/// Converts the records of a table.
fn replace_rows<K, Old, New>(
    transaction: &WriteTransaction,
    table: TableDefinition<'static, K, &'static [u8]>,
) -> Transaction<()>
where
    K: Key + 'static,
    for<'k> K::SelfType<'k>: DisplayKey + Borrow<K::SelfType<'k>>,
    Old: DeserializeOwned + Into<New>,
    New: Serialize,
{
    rewrite_rows(transaction, table, |key, value| {
        let record: Old = unseal_json(RowFormat::Sealed, &table, key, value)?;
        Ok(seal_json(&table, key, &record.into()))
    })
}

/// Adds a checksum to each record of a table.
fn seal_rows<K, T>(
    transaction: &WriteTransaction,
    table: TableDefinition<'static, K, &'static [u8]>,
) -> Transaction<()>
where
    K: Key + 'static,
    for<'k> K::SelfType<'k>: DisplayKey + Borrow<K::SelfType<'k>>,
    T: DeserializeOwned,
{
    rewrite_rows(transaction, table, |key, value| {
        let _: T = unseal_json(RowFormat::Plain, &table, key, value)?;
        Ok(seal(&table, key, value))
    })
}

/// Rewrites a table row by row: there may be more rows than fit into memory. The checksums are
/// computed with the name of the final table.
fn rewrite_rows<K>(
    transaction: &WriteTransaction,
    table: TableDefinition<'static, K, &'static [u8]>,
    rewrite: impl for<'k> Fn(&K::SelfType<'k>, &[u8]) -> Transaction<Vec<u8>>,
) -> Transaction<()>
where
    K: Key + 'static,
    for<'k> K::SelfType<'k>: Borrow<K::SelfType<'k>>,
{
    let rewritten: TableDefinition<'static, K, &'static [u8]> = TableDefinition::new("rewritten");
    {
        let old = transaction.open_table(table)?;
        let mut rows = transaction.open_table(rewritten)?;
        for row in old.iter()? {
            let (key, value) = row?;
            let key = key.value();
            let row = rewrite(&key, value.value())?;
            rows.insert(key, row.as_slice())?;
        }
    }
    transaction.delete_table(table)?;
    transaction.rename_table(rewritten, table)?;
    Ok(())
}

fn seal_objects_and_aliases(transaction: &WriteTransaction) -> Transaction<()> {
    {
        let plain = transaction.open_table(tables::OBJECT_TO_PLAIN_RECORD)?;
        let mut rows = transaction.open_table(tables::OBJECT_TO_RECORD)?;
        for row in plain.iter()? {
            let (key, value) = row?;
            let record = tables::decode_plain_object(value.value());
            let row = tables::encode_object(ObjectId(*key.value()), record);
            rows.insert(key.value(), row)?;
        }
        let plain = transaction.open_table(tables::DIGEST_TO_PLAIN_OBJECT)?;
        let mut rows = transaction.open_table(tables::DIGEST_TO_OBJECT)?;
        for row in plain.iter()? {
            let (key, value) = row?;
            let row = tables::encode_alias(key.value(), ObjectId(value.value()));
            rows.insert(key.value(), row)?;
        }
    }
    transaction.delete_table(tables::OBJECT_TO_PLAIN_RECORD)?;
    transaction.delete_table(tables::DIGEST_TO_PLAIN_OBJECT)?;
    Ok(())
}
