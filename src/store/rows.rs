//! Reads every row, for a check: a damaged row is reported, and the other ones are still read.

use std::collections::BTreeMap;
use std::path::PathBuf;

use redb::ReadableTable as _;

use super::error::{StoreError, Transaction, TransactionError};
use super::reader::{EachRow, Reader};
use super::records::{
    GeneratedRootKey, GeneratedRootRecord, PackageRecord, RepositoryRecord, SnapshotRecord,
    TreeRecord, ValidatorRecord,
};
use super::seal::check_digest;
use super::tables;
use crate::digest::ObjectId;
use crate::manifest::{self, Manifest};
use crate::names::{RepoId, SnapshotName};

/// A row that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RowDamage {
    /// `None` if pages of the file are damaged.
    pub table: Option<String>,
    pub key: Option<String>,
    pub why: String,
}

/// The tables of the store in its current schema version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Table {
    Identity,
    Repositories,
    Snapshots,
    Trees,
    Manifests,
    Chunks,
    Objects,
    Aliases,
    Validators,
    Packages,
    Syncs,
    GeneratedRoots,
    SentTransfers,
    ImportedTransfers,
}

impl Table {
    pub const ALL: [Self; 14] = [
        Self::Identity,
        Self::Repositories,
        Self::Snapshots,
        Self::Trees,
        Self::Manifests,
        Self::Chunks,
        Self::Objects,
        Self::Aliases,
        Self::Validators,
        Self::Packages,
        Self::Syncs,
        Self::GeneratedRoots,
        Self::SentTransfers,
        Self::ImportedTransfers,
    ];
}

impl RowDamage {
    /// The damage that an error reports; another error is returned.
    pub fn of(error: StoreError) -> Result<Self, StoreError> {
        match error {
            StoreError::Record {
                table, key, why, ..
            } => Ok(Self {
                table: Some(table),
                key: Some(key),
                why,
            }),
            StoreError::Damaged { what, .. } => Ok(Self {
                table: None,
                key: None,
                why: what,
            }),
            error => Err(error),
        }
    }

    fn of_row(error: TransactionError) -> Result<Self, TransactionError> {
        match error {
            TransactionError::Record { table, key, why } => Ok(Self {
                table: Some(table),
                key: Some(key),
                why,
            }),
            error => Err(error),
        }
    }
}

/// The damaged rows that were found so far.
#[derive(Default)]
struct Damaged(Vec<RowDamage>);

impl Damaged {
    /// Keeps the damage of one row; errors that are not about one row end the reading.
    fn note<T>(&mut self, row: Transaction<T>) -> Transaction<Option<T>> {
        match row {
            Ok(row) => Ok(Some(row)),
            Err(error) => {
                self.0.push(RowDamage::of_row(error)?);
                Ok(None)
            }
        }
    }

    /// The rows of a table that are not damaged.
    fn intact<K: Ord, V>(
        &mut self,
        read: impl FnOnce(&mut EachRow<'_, K, V>) -> Transaction<()>,
    ) -> Transaction<BTreeMap<K, V>> {
        let mut intact = BTreeMap::new();
        read(&mut |row| {
            intact.extend(self.note(row)?);
            Ok(())
        })?;
        Ok(intact)
    }
}

impl Reader {
    /// The damaged rows of a table.
    pub fn damaged_rows(&self, table: Table) -> Transaction<Vec<RowDamage>> {
        let mut damaged = Damaged::default();
        match table {
            Table::Identity => _ = damaged.note(self.identity())?,
            Table::Repositories => _ = damaged.intact(|each| self.each_repository(each))?,
            Table::Snapshots => _ = damaged.intact(|each| self.each_snapshot(each))?,
            Table::Trees => _ = damaged.intact(|each| self.each_tree(each))?,
            Table::Manifests => self.check_manifests(&mut damaged)?,
            Table::Chunks => self.check_chunks(&mut damaged)?,
            Table::Objects => self.check_objects(&mut damaged)?,
            Table::Aliases => self.check_aliases(&mut damaged)?,
            Table::Validators => self.check_validators(&mut damaged)?,
            Table::Packages => self.check_packages(&mut damaged)?,
            Table::Syncs => self.check_syncs(&mut damaged)?,
            Table::GeneratedRoots => {
                _ = damaged.intact(|each| self.each_generated_root(each))?;
            }
            Table::SentTransfers => _ = damaged.intact(|each| self.each_sent(each))?,
            Table::ImportedTransfers => _ = damaged.intact(|each| self.each_imported(each))?,
        }
        Ok(damaged.0)
    }

    /// As [`Self::repositories`], without those whose rows are damaged.
    pub fn intact_repositories(&self) -> Transaction<BTreeMap<RepoId, RepositoryRecord>> {
        Damaged::default().intact(|each| self.each_repository(each))
    }

    /// As [`Self::snapshots`], without those whose rows are damaged.
    pub fn intact_snapshots(
        &self,
    ) -> Transaction<BTreeMap<(RepoId, SnapshotName), SnapshotRecord>> {
        Damaged::default().intact(|each| self.each_snapshot(each))
    }

    /// As [`Self::trees`], without those whose rows are damaged.
    pub fn intact_trees(&self) -> Transaction<BTreeMap<PathBuf, TreeRecord>> {
        Damaged::default().intact(|each| self.each_tree(each))
    }

    /// As [`Self::generated_roots`], without those whose rows are damaged.
    pub fn intact_generated_roots(
        &self,
    ) -> Transaction<BTreeMap<GeneratedRootKey, GeneratedRootRecord>> {
        Damaged::default().intact(|each| self.each_generated_root(each))
    }

    fn check_manifests(&self, damaged: &mut Damaged) -> Transaction<()> {
        let table = &tables::MANIFEST_TO_CHUNKS;
        for row in self.transaction.open_table(*table)?.iter()? {
            let (key, value) = row?;
            let id = ObjectId(*key.value());
            let manifest = check_digest(table, id, value.value()).and_then(|bytes| {
                Manifest::decode(bytes)
                    .map_err(|error| super::seal::damaged(table, &&id.0, &error.to_string()))
            });
            damaged.note(manifest)?;
        }
        Ok(())
    }

    fn check_chunks(&self, damaged: &mut Damaged) -> Transaction<()> {
        let table = &tables::CHUNK_TO_ENTRIES;
        let decompressor = tables::ChunkDecompressor::default();
        for row in self.transaction.open_table(*table)?.iter()? {
            let (key, value) = row?;
            let id = ObjectId(*key.value());
            let chunk = decompressor
                .decompress(id, value.value())
                .and_then(|bytes| {
                    manifest::decode_chunk(check_digest(table, id, &bytes)?)
                        .map_err(|error| super::seal::damaged(table, &&id.0, &error.to_string()))
                });
            damaged.note(chunk)?;
        }
        Ok(())
    }

    fn check_objects(&self, damaged: &mut Damaged) -> Transaction<()> {
        for row in self
            .transaction
            .open_table(tables::OBJECT_TO_RECORD)?
            .iter()?
        {
            let (key, value) = row?;
            damaged.note(tables::decode_object(
                ObjectId(*key.value()),
                &value.value(),
            ))?;
        }
        Ok(())
    }

    fn check_aliases(&self, damaged: &mut Damaged) -> Transaction<()> {
        for row in self
            .transaction
            .open_table(tables::DIGEST_TO_OBJECT)?
            .iter()?
        {
            let (key, value) = row?;
            damaged.note(tables::decode_alias(key.value(), &value.value()))?;
        }
        Ok(())
    }

    fn check_validators(&self, damaged: &mut Damaged) -> Transaction<()> {
        let table = &tables::ORIGIN_TO_VALIDATOR;
        for row in self.transaction.open_table(*table)?.iter()? {
            let (key, value) = row?;
            damaged.note(self.json::<_, _, ValidatorRecord>(table, &key.value(), value.value()))?;
        }
        Ok(())
    }

    fn check_packages(&self, damaged: &mut Damaged) -> Transaction<()> {
        let table = &tables::PACKAGE_TO_RECORD;
        for row in self.transaction.open_table(*table)?.iter()? {
            let (key, value) = row?;
            damaged.note(self.json::<_, _, PackageRecord>(table, &key.value(), value.value()))?;
        }
        Ok(())
    }

    fn check_syncs(&self, damaged: &mut Damaged) -> Transaction<()> {
        for row in self
            .transaction
            .open_table(tables::SYNC_TO_RECORD)?
            .iter()?
        {
            let (key, value) = row?;
            damaged.note(self.syncer(key.value(), value.value()))?;
        }
        Ok(())
    }
}
