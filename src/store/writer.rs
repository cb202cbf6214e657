//! Changes to the store, within one transaction.

use std::collections::BTreeMap;
use std::path::Path;

use redb::{ReadableTable, WriteTransaction};

use super::error::{Transaction, TransactionError};
use super::needed::Needed;
use super::records::{
    HistoryRecord, Identity, ObjectRecord, PackageRecord, RepositoryRecord, SnapshotRecord,
    TreeRecord, ValidatorRecord,
};
use super::seal::{RowFormat, seal_json, unseal};
use super::tables::{self, SYNC_TO_RECORD};
use crate::digest::{Digest, ObjectId, ObjectRef};
use crate::manifest::{self, Built, Role};
use crate::names::{RepoId, SnapshotName};

/// Changes that become visible together or not at all.
pub struct Writer(pub(super) WriteTransaction);

/// Stores chunks within one transaction.
pub struct ChunkWriter<'t> {
    chunks: redb::Table<'t, &'static [u8; 32], &'static [u8]>,
    compressor: tables::ChunkCompressor,
}

impl ChunkWriter<'_> {
    pub fn put(&mut self, id: ObjectId, encoded: &[u8]) -> Transaction<()> {
        let row = self.compressor.compress(encoded)?;
        // An existing one may be damaged.
        let is_there = self
            .chunks
            .get(&id.0)?
            .is_some_and(|chunk| chunk.value() == row.as_slice());
        if !is_there {
            self.chunks.insert(&id.0, row.as_slice())?;
        }
        Ok(())
    }
}

impl Writer {
    pub fn identity(&self) -> Transaction<Identity> {
        tables::identity(&self.0.open_table(tables::META)?)
    }

    pub fn put_identity(&self, identity: &Identity) -> Transaction<()> {
        tables::put_identity(&self.0, identity)
    }

    pub fn put_repository(
        &self,
        repository: &RepoId,
        record: &RepositoryRecord,
    ) -> Transaction<()> {
        let mut table = self.0.open_table(tables::REPOSITORY_TO_RECORD)?;
        let key = repository.as_str();
        let row = seal_json(&tables::REPOSITORY_TO_RECORD, &key, record);
        table.insert(key, row.as_slice())?;
        Ok(())
    }

    /// The store changes: it must be distinguishable from one that is restored from a backup.
    fn raise_generation(&self) -> Transaction<()> {
        let mut identity = self.identity()?;
        identity.generation = identity.generation.saturating_add(1);
        self.put_identity(&identity)
    }

    pub fn put_manifest(&self, built: &Built) -> Transaction<()> {
        let mut chunks = self.chunk_writer()?;
        for (id, encoded) in &built.chunks {
            chunks.put(*id, encoded)?;
        }
        drop(chunks);
        let mut manifests = self.0.open_table(tables::MANIFEST_TO_CHUNKS)?;
        let is_new = manifests.get(&built.id.0)?.is_none();
        manifests.insert(&built.id.0, built.manifest.encode().as_slice())?;
        if is_new {
            self.raise_generation()?;
        }
        Ok(())
    }

    /// Stores chunks that were decoded, so that manifests can list them.
    pub fn chunk_writer(&self) -> Transaction<ChunkWriter<'_>> {
        Ok(ChunkWriter {
            chunks: self.0.open_table(tables::CHUNK_TO_ENTRIES)?,
            compressor: tables::ChunkCompressor::new()?,
        })
    }

    /// Stores a manifest whose chunks are stored.
    pub fn put_encoded_manifest(&self, id: ObjectId, encoded: &[u8]) -> Transaction<()> {
        let mut manifests = self.0.open_table(tables::MANIFEST_TO_CHUNKS)?;
        manifests.insert(&id.0, encoded)?;
        drop(manifests);
        self.raise_generation()
    }

    /// Adds a manifest with new roots and keys, and their objects.
    pub fn put_made(&self, built: &Built, verified_at: i64) -> Transaction<()> {
        self.put_manifest(built)?;
        for (_, encoded) in &built.chunks {
            let entries = manifest::decode_chunk(encoded)
                .map_err(|error| TransactionError::Damaged(error.to_string()))?;
            let made = entries.iter();
            for entry in made.filter(|entry| matches!(entry.role, Role::Root | Role::Key)) {
                let size = entry.size;
                self.put_object(entry.object, ObjectRecord { size, verified_at })?;
            }
        }
        Ok(())
    }

    /// Records objects that were just verified.
    pub fn put_objects(&self, objects: &[ObjectRef], verified_at: i64) -> Transaction<()> {
        for ObjectRef { object, size } in objects.iter().copied() {
            self.put_object(object, ObjectRecord { size, verified_at })?;
        }
        Ok(())
    }

    pub fn put_object(&self, object: ObjectId, record: ObjectRecord) -> Transaction<()> {
        let mut table = self.0.open_table(tables::OBJECT_TO_RECORD)?;
        table.insert(&object.0, tables::encode_object(object, record))?;
        Ok(())
    }

    /// Stores the object of a declared digest. Not needed for SHA-256, which is the name of the
    /// object.
    pub fn put_alias(
        &self,
        digest: &Digest,
        repository: &RepoId,
        object: ObjectId,
    ) -> Transaction<()> {
        if digest.object_id().is_some() {
            return Ok(());
        }
        let mut table = self.0.open_table(tables::DIGEST_TO_OBJECT)?;
        let key = tables::alias_key(digest, repository);
        table.insert(key.as_slice(), tables::encode_alias(&key, object))?;
        Ok(())
    }

    pub fn put_package(
        &self,
        package: ObjectId,
        keyring: ObjectId,
        record: &PackageRecord,
    ) -> Transaction<()> {
        let mut table = self.0.open_table(tables::PACKAGE_TO_RECORD)?;
        let key = tables::package_key(package, keyring);
        let row = seal_json(&tables::PACKAGE_TO_RECORD, &key, record);
        table.insert(key, row.as_slice())?;
        Ok(())
    }

    /// Replaces the validators of a repository by those of one origin.
    pub fn put_validators(
        &self,
        repository: &RepoId,
        origin: ObjectId,
        validators: &BTreeMap<String, ValidatorRecord>,
    ) -> Transaction<()> {
        self.remove_validators(repository)?;
        let mut table = self.0.open_table(tables::ORIGIN_TO_VALIDATOR)?;
        for (path, record) in validators {
            let key = (repository.as_str(), &origin.0, path.as_str());
            let row = seal_json(&tables::ORIGIN_TO_VALIDATOR, &key, record);
            table.insert(key, row.as_slice())?;
        }
        Ok(())
    }

    fn remove_validators(&self, repository: &RepoId) -> Transaction<()> {
        let mut table = self.0.open_table(tables::ORIGIN_TO_VALIDATOR)?;
        table.retain(|(owner, _, _), _| owner != repository.as_str())?;
        Ok(())
    }

    pub fn put_tree(&self, path: &Path, record: &TreeRecord) -> Transaction<()> {
        let mut table = self.0.open_table(tables::TREE_TO_RECORD)?;
        let key = tables::tree_key(path);
        let row = seal_json(&tables::TREE_TO_RECORD, &key.as_slice(), record);
        table.insert(key.as_slice(), row.as_slice())?;
        Ok(())
    }

    pub fn add_history(&self, repository: &RepoId, record: &HistoryRecord) -> Transaction<()> {
        let mut table = self.0.open_table(SYNC_TO_RECORD)?;
        let last = table
            .range(tables::syncs_of(repository))?
            .next_back()
            .transpose()?
            .map(|(key, value)| {
                // Only its number is needed.
                unseal(
                    RowFormat::Sealed,
                    &SYNC_TO_RECORD,
                    &key.value(),
                    value.value(),
                )?;
                Ok::<_, TransactionError>(key.value().1)
            })
            .transpose()?;
        let next = last.map_or(1, |last| last.saturating_add(1));
        let key = (repository.as_str(), next);
        let row = seal_json(&SYNC_TO_RECORD, &key, record);
        table.insert(key, row.as_slice())?;
        // Limits the size of the history.
        if let Some(oldest) = next.checked_sub(tables::HISTORY_LIMIT) {
            let name = repository.as_str();
            table.retain_in((name, 0)..=(name, oldest), |_, _| false)?;
        }
        Ok(())
    }

    /// Removes the state, history, validators and SHA-1 aliases of a repository. Its snapshots and
    /// trees are kept.
    pub fn remove_repository(&self, repository: &RepoId) -> Transaction<()> {
        let mut table = self.0.open_table(tables::REPOSITORY_TO_RECORD)?;
        table.remove(repository.as_str())?;
        let mut table = self.0.open_table(tables::SYNC_TO_RECORD)?;
        table.retain_in(tables::syncs_of(repository), |_, _| false)?;
        let mut table = self.0.open_table(tables::DIGEST_TO_OBJECT)?;
        let aliases = tables::sha1_aliases_of(repository);
        table.retain_in(aliases.start.as_slice()..aliases.end.as_slice(), |_, _| {
            false
        })?;
        self.remove_validators(repository)
    }

    pub fn has_snapshot(&self, repository: &RepoId, name: &SnapshotName) -> Transaction<bool> {
        let table = self.0.open_table(tables::SNAPSHOT_TO_RECORD)?;
        let row = table.get((repository.as_str(), name.as_str()))?;
        Ok(row.is_some())
    }

    pub fn put_snapshot(
        &self,
        repository: &RepoId,
        name: &SnapshotName,
        record: &SnapshotRecord,
    ) -> Transaction<()> {
        self.raise_generation()?;
        let mut table = self.0.open_table(tables::SNAPSHOT_TO_RECORD)?;
        let key = (repository.as_str(), name.as_str());
        let row = seal_json(&tables::SNAPSHOT_TO_RECORD, &key, record);
        table.insert(key, row.as_slice())?;
        Ok(())
    }

    pub fn remove_snapshot(&self, repository: &RepoId, name: &SnapshotName) -> Transaction<()> {
        let mut table = self.0.open_table(tables::SNAPSHOT_TO_RECORD)?;
        table.remove((repository.as_str(), name.as_str()))?;
        Ok(())
    }

    pub fn remove_tree(&self, path: &Path) -> Transaction<()> {
        let mut table = self.0.open_table(tables::TREE_TO_RECORD)?;
        table.remove(tables::tree_key(path).as_slice())?;
        Ok(())
    }

    /// Removes unreferenced manifests, chunks and objects, the records of those objects, and the
    /// generated roots of those manifests.
    pub fn retain(&self, needed: &Needed) -> Transaction<()> {
        let Needed {
            manifests,
            chunks,
            objects,
        } = needed;
        let mut table = self.0.open_table(tables::MANIFEST_TO_CHUNKS)?;
        table.retain(|id, _| manifests.contains(&ObjectId(*id)))?;
        let mut table = self.0.open_table(tables::CHUNK_TO_ENTRIES)?;
        table.retain(|id, _| chunks.contains(&ObjectId(*id)))?;
        // The remaining rows are checked, like all rows that are read.
        let mut damage = None;
        let mut keep = |kept: Transaction<bool>| {
            kept.unwrap_or_else(|error| {
                damage.get_or_insert(error);
                true
            })
        };
        let mut table = self.0.open_table(tables::OBJECT_TO_RECORD)?;
        table.retain(|id, value| {
            let id = ObjectId(*id);
            objects.contains_key(&id) && keep(tables::decode_object(id, &value).map(|_| true))
        })?;
        let mut table = self.0.open_table(tables::DIGEST_TO_OBJECT)?;
        table.retain(|key, value| {
            keep(tables::decode_alias(key, &value).map(|object| objects.contains_key(&object)))
        })?;
        let mut table = self.0.open_table(tables::PACKAGE_TO_RECORD)?;
        table.retain(|key, value| {
            objects.contains_key(&tables::package_of(&key))
                && keep(
                    unseal(RowFormat::Sealed, &tables::PACKAGE_TO_RECORD, &key, value)
                        .map(|_| true),
                )
        })?;
        let mut table = self.0.open_table(tables::SOURCE_TO_GENERATED_ROOT)?;
        table.retain(|key, value| {
            let row = unseal(
                RowFormat::Sealed,
                &tables::SOURCE_TO_GENERATED_ROOT,
                &key,
                value,
            );
            manifests.contains(&ObjectId(*key.0)) && keep(row.map(|_| true))
        })?;
        match damage {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }
}
