//! What the store can be asked, in one consistent view.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::path::{Path, PathBuf};

use redb::{ReadableTable, ReadableTableMetadata};

use super::records::{
    HistoryRecord, ObjectRecord, PackageRecord, RepositoryRecord, SnapshotRecord, TreeRecord,
    ValidatorRecord,
};
use super::{Reader, Transaction, TransactionError, tables};
use crate::digest::{Digest, ObjectId};
use crate::manifest::{self, Entry, Manifest, ManifestError};

type Snapshots = redb::ReadOnlyTable<(&'static str, &'static str), &'static [u8]>;

/// What keeps a manifest and its objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Name {
    State {
        repository: String,
    },
    Snapshot {
        repository: String,
        name: String,
    },
    /// It shows the manifest, or did so a while ago.
    Tree {
        path: PathBuf,
        repository: String,
        /// What it shows; `None` for the repository's state.
        snapshot: Option<String>,
    },
}

impl Reader {
    /// The id in the marker of the pool that this store belongs to.
    pub fn pool_id(&self) -> Transaction<String> {
        tables::pool_id(&self.0)
    }

    pub fn repository(&self, repository: &str) -> Transaction<Option<RepositoryRecord>> {
        let table = self.0.open_table(tables::REPOSITORY_TO_RECORD)?;
        tables::record(table.get(repository)?)
    }

    pub fn repositories(&self) -> Transaction<BTreeMap<String, RepositoryRecord>> {
        let table = self.0.open_table(tables::REPOSITORY_TO_RECORD)?;
        table
            .iter()?
            .map(|row| {
                let (key, value) = row?;
                Ok((key.value().to_owned(), tables::from_json(value.value())?))
            })
            .collect()
    }

    pub fn manifest(&self, id: ObjectId) -> Transaction<Manifest> {
        let table = self.0.open_table(tables::MANIFEST_TO_CHUNKS)?;
        let Some(bytes) = table.get(&id.0)? else {
            return Err(TransactionError::Damaged(format!(
                "manifest {id} is missing"
            )));
        };
        Manifest::decode(bytes.value()).map_err(|error| damaged_manifest(id, &error))
    }

    /// The entries of a manifest in path order, one chunk in memory at a time.
    pub fn each_entry(
        &self,
        id: ObjectId,
        each: &mut dyn FnMut(Entry) -> Transaction<()>,
    ) -> Transaction<()> {
        for chunk in self.manifest(id)?.chunks {
            for entry in self.chunk(chunk.id)? {
                each(entry)?;
            }
        }
        Ok(())
    }

    pub fn chunk(&self, id: ObjectId) -> Transaction<Vec<Entry>> {
        let table = self.0.open_table(tables::CHUNK_TO_ENTRIES)?;
        let Some(bytes) = table.get(&id.0)? else {
            return Err(TransactionError::Damaged(format!(
                "chunk {id} of a manifest is missing"
            )));
        };
        manifest::decode_chunk(bytes.value()).map_err(|error| damaged_manifest(id, &error))
    }

    pub fn object(&self, object: ObjectId) -> Transaction<Option<ObjectRecord>> {
        let table = self.0.open_table(tables::OBJECT_TO_RECORD)?;
        Ok(table
            .get(&object.0)?
            .map(|value| tables::decode_object(value.value())))
    }

    /// The object that is known to have a declared digest. What SHA-1 says counts only within `repository`.
    pub fn object_with(&self, digest: &Digest, repository: &str) -> Transaction<Option<ObjectId>> {
        if let Some(object) = digest.object_id() {
            return Ok(Some(object));
        }
        let table = self.0.open_table(tables::DIGEST_TO_OBJECT)?;
        let key = tables::alias_key(digest, repository);
        Ok(table
            .get(key.as_slice())?
            .map(|value| ObjectId(value.value())))
    }

    /// What was found in a package by the keys of a keyring; `None` when it was not verified yet.
    pub fn package(
        &self,
        package: ObjectId,
        keyring: ObjectId,
    ) -> Transaction<Option<PackageRecord>> {
        let table = match self.0.open_table(tables::PACKAGE_TO_RECORD) {
            // In a store of schema version 1 it may be missing.
            Err(redb::TableError::TableDoesNotExist(_)) => return Ok(None),
            table => table?,
        };
        tables::record(table.get(tables::package_key(package, keyring))?)
    }

    /// How many objects the store knows, and their bytes.
    pub fn objects(&self) -> Transaction<(u64, u64)> {
        let table = self.0.open_table(tables::OBJECT_TO_RECORD)?;
        let (mut count, mut bytes) = (0, 0_u64);
        for row in table.iter()? {
            count += 1;
            bytes = bytes.saturating_add(tables::decode_object(row?.1.value()).size);
        }
        Ok((count, bytes))
    }

    /// How many manifests and chunks there are.
    pub fn manifests_and_chunks(&self) -> Transaction<(u64, u64)> {
        let manifests = self.0.open_table(tables::MANIFEST_TO_CHUNKS)?;
        let chunks = self.0.open_table(tables::CHUNK_TO_ENTRIES)?;
        Ok((manifests.len()?, chunks.len()?))
    }

    pub fn validator(&self, repository: &str, path: &str) -> Transaction<Option<ValidatorRecord>> {
        let table = self.0.open_table(tables::PATH_TO_VALIDATOR)?;
        tables::record(table.get((repository, path))?)
    }

    pub fn tree(&self, path: &Path) -> Transaction<Option<TreeRecord>> {
        let table = self.0.open_table(tables::TREE_TO_RECORD)?;
        tables::record(table.get(tables::tree_key(path).as_slice())?)
    }

    pub fn trees(&self) -> Transaction<BTreeMap<PathBuf, TreeRecord>> {
        let table = self.0.open_table(tables::TREE_TO_RECORD)?;
        table
            .iter()?
            .map(|row| {
                let (key, value) = row?;
                Ok((
                    tables::tree_path(key.value()),
                    tables::from_json(value.value())?,
                ))
            })
            .collect()
    }

    /// The last syncs of a repository, newest first.
    pub fn history(&self, repository: &str, limit: usize) -> Transaction<Vec<HistoryRecord>> {
        let table = self.0.open_table(tables::SYNC_TO_RECORD)?;
        table
            .range((repository, 0)..=(repository, u64::MAX))?
            .rev()
            .take(limit)
            .map(|row| tables::from_json(row?.1.value()))
            .collect()
    }

    /// The names of all repositories that something is known of: a state, syncs, snapshots, published trees.
    pub fn known_repositories(&self) -> Transaction<BTreeSet<String>> {
        let mut known: BTreeSet<String> = self.repositories()?.into_keys().collect();
        known.extend(self.snapshots()?.into_keys().map(|(owner, _)| owner));
        known.extend(self.trees()?.into_values().map(|tree| tree.repository));
        let syncs = self.0.open_table(tables::SYNC_TO_RECORD)?;
        // A repository has up to a thousand: from one name to the next.
        let mut next = syncs.first()?;
        while let Some((key, _)) = next {
            let name = key.value().0.to_owned();
            let behind = (Bound::Excluded((name.as_str(), u64::MAX)), Bound::Unbounded);
            next = syncs.range::<(&str, u64)>(behind)?.next().transpose()?;
            known.insert(name);
        }
        Ok(known)
    }

    pub fn snapshot(&self, repository: &str, name: &str) -> Transaction<Option<SnapshotRecord>> {
        let Some(table) = self.snapshots_table()? else {
            return Ok(None);
        };
        tables::record(table.get((repository, name))?)
    }

    /// All snapshots, by repository and name.
    pub fn snapshots(&self) -> Transaction<BTreeMap<(String, String), SnapshotRecord>> {
        let Some(table) = self.snapshots_table()? else {
            return Ok(BTreeMap::new());
        };
        table
            .iter()?
            .map(|row| {
                let (key, value) = row?;
                let (repository, name) = key.value();
                let key = (repository.to_owned(), name.to_owned());
                Ok((key, tables::from_json(value.value())?))
            })
            .collect()
    }

    fn snapshots_table(&self) -> Transaction<Option<Snapshots>> {
        match self.0.open_table(tables::SNAPSHOT_TO_RECORD) {
            // In a store of schema version 1 it may be missing.
            Err(redb::TableError::TableDoesNotExist(_)) => Ok(None),
            table => Ok(Some(table?)),
        }
    }

    /// Every manifest that something names, once for each name: states, snapshots, published trees with their earlier
    /// generations.
    pub fn names(&self) -> Transaction<Vec<(Name, ObjectId)>> {
        let mut names = Vec::new();
        for (repository, record) in self.repositories()? {
            names.push((Name::State { repository }, record.manifest));
        }
        for ((repository, name), record) in self.snapshots()? {
            names.push((Name::Snapshot { repository, name }, record.state.manifest));
        }
        for (path, tree) in self.trees()? {
            let name = || Name::Tree {
                path: path.clone(),
                repository: tree.repository.clone(),
                snapshot: tree.snapshot.clone(),
            };
            let earlier = tree.earlier.iter().map(|generation| generation.manifest);
            let staged = tree.staging.as_ref().map(|staging| staging.manifest);
            for manifest in tree.manifest.into_iter().chain(earlier).chain(staged) {
                names.push((name(), manifest));
            }
        }
        Ok(names)
    }
}

fn damaged_manifest(id: ObjectId, error: &ManifestError) -> TransactionError {
    TransactionError::Damaged(format!("manifest part {id}: {error}"))
}
