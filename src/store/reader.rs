//! Queries of the store, in one consistent view.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use redb::{ReadTransaction, ReadableTable, ReadableTableMetadata, TableDefinition};
use serde::de::DeserializeOwned;

use super::error::Transaction;
use super::records::{
    HistoryRecord, Identity, ObjectRecord, PackageRecord, RepositoryRecord, RepositoryRecord3,
    SnapshotRecord, SnapshotRecord3, TransferOwner, TreeRecord, ValidatorRecord,
};
use super::seal::{DisplayKey, RowFormat, check_digest, damaged, unseal, unseal_json};
use super::tables::{self, ChunkDecompressor};
use crate::digest::{Digest, ObjectId};
use crate::manifest::{self, Entry, Manifest};
use crate::names::{RepoId, SnapshotName};

type Snapshots = redb::ReadOnlyTable<(&'static str, &'static str), &'static [u8]>;

/// A reference that keeps a manifest and its objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Name {
    State {
        repository: RepoId,
    },
    Snapshot {
        repository: RepoId,
        name: SnapshotName,
    },
    /// A published tree that shows the manifest now or did so recently.
    Tree {
        path: PathBuf,
        repository: RepoId,
        /// The snapshot that it shows; `None` for the repository's state.
        snapshot: Option<SnapshotName>,
    },
    /// A transfer on offline media.
    Transfer(TransferOwner),
}

const MISSING: &str = "missing";

/// Takes the rows of a table, which may be damaged.
pub(super) type EachRow<'a, K, V> = dyn FnMut(Transaction<(K, V)>) -> Transaction<()> + 'a;

/// A consistent view of the store.
pub struct Reader {
    pub(super) transaction: ReadTransaction,
    /// The schema version of the store.
    pub(super) version: u32,
    /// The format of its rows.
    pub(super) form: RowFormat,
    chunks: OnceLock<Chunks>,
}

/// The table of chunks, opened once for many of them.
struct Chunks {
    table: redb::ReadOnlyTable<&'static [u8; 32], &'static [u8]>,
    decompressor: ChunkDecompressor,
}

impl Reader {
    pub(super) fn new(transaction: ReadTransaction) -> Transaction<Self> {
        let version = tables::schema_version(&transaction)?;
        Ok(Self {
            form: tables::form(version),
            transaction,
            version,
            chunks: OnceLock::new(),
        })
    }

    fn chunks(&self) -> Transaction<&Chunks> {
        if let Some(chunks) = self.chunks.get() {
            return Ok(chunks);
        }
        let chunks = Chunks {
            table: self.transaction.open_table(tables::CHUNK_TO_ENTRIES)?,
            decompressor: ChunkDecompressor::default(),
        };
        Ok(self.chunks.get_or_init(|| chunks))
    }

    /// The record of a row. If a row of a small table is missing, the whole table is checked,
    /// because a row with a damaged key cannot be found.
    pub(super) fn json<'k, K, V, T>(
        &self,
        table: &TableDefinition<'_, K, V>,
        key: &K::SelfType<'k>,
        value: &[u8],
    ) -> Transaction<T>
    where
        K: redb::Key + 'static,
        V: redb::Value + 'static,
        K::SelfType<'k>: DisplayKey,
        T: DeserializeOwned,
    {
        unseal_json(self.form, table, key, value)
    }

    /// The identity of the store.
    pub fn identity(&self) -> Transaction<Identity> {
        if self.form == RowFormat::Plain {
            return Ok(Identity::of_version_2(self.pool_id()?));
        }
        tables::identity(&self.transaction.open_table(tables::META)?)
    }

    /// When a sync or a publication last finished, with or without changes.
    pub fn last_used(&self) -> Transaction<Option<i64>> {
        let mut last = self
            .repositories()?
            .into_values()
            .map(|record| record.checked_at)
            .max();
        last = last.max(
            self.trees()?
                .into_values()
                .map(|tree| tree.published_at)
                .max(),
        );
        Ok(last)
    }

    /// The id in the marker of the pool that this store belongs to.
    pub fn pool_id(&self) -> Transaction<String> {
        tables::pool_id(&self.transaction, self.form)
    }

    pub fn repository(&self, repository: &RepoId) -> Transaction<Option<RepositoryRecord>> {
        let table = self.transaction.open_table(tables::REPOSITORY_TO_RECORD)?;
        let row = table.get(repository.as_str())?;
        if row.is_none() {
            self.repositories()?;
        }
        row.map(|row| self.repository_in(repository.as_str(), row.value()))
            .transpose()
    }

    pub fn repositories(&self) -> Transaction<BTreeMap<RepoId, RepositoryRecord>> {
        all_rows(|each| self.each_repository(each))
    }

    /// Passes every row to `each`, also damaged ones.
    pub(super) fn each_repository(
        &self,
        each: &mut EachRow<'_, RepoId, RepositoryRecord>,
    ) -> Transaction<()> {
        let table = &tables::REPOSITORY_TO_RECORD;
        for row in self.transaction.open_table(*table)?.iter()? {
            let (key, value) = row?;
            let key = key.value();
            let record = self
                .repository_in(key, value.value())
                .and_then(|record| Ok((tables::repository_of(table, &key, key)?, record)));
            each(record)?;
        }
        Ok(())
    }

    fn repository_in(&self, key: &str, value: &[u8]) -> Transaction<RepositoryRecord> {
        let table = &tables::REPOSITORY_TO_RECORD;
        if self.version < tables::STATES_SINCE {
            let old: RepositoryRecord3 = self.json(table, &key, value)?;
            return Ok(old.into());
        }
        self.json(table, &key, value)
    }

    pub fn manifest(&self, id: ObjectId) -> Transaction<Manifest> {
        let table = self.transaction.open_table(tables::MANIFEST_TO_CHUNKS)?;
        let Some(row) = table.get(&id.0)? else {
            return Err(damaged(&tables::MANIFEST_TO_CHUNKS, &&id.0, MISSING));
        };
        let bytes = check_digest(&tables::MANIFEST_TO_CHUNKS, id, row.value())?;
        Manifest::decode(bytes)
            .map_err(|error| damaged(&tables::MANIFEST_TO_CHUNKS, &&id.0, &error.to_string()))
    }

    pub fn has_manifest(&self, id: ObjectId) -> Transaction<bool> {
        let table = self.transaction.open_table(tables::MANIFEST_TO_CHUNKS)?;
        Ok(table.get(&id.0)?.is_some())
    }

    pub fn has_manifests<'i>(
        &self,
        ids: impl IntoIterator<Item = &'i ObjectId>,
    ) -> Transaction<bool> {
        for id in ids {
            if !self.has_manifest(*id)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    pub fn has_chunk(&self, id: ObjectId) -> Transaction<bool> {
        Ok(self.chunks()?.table.get(&id.0)?.is_some())
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

    /// All entries at once.
    pub fn entries(&self, id: ObjectId) -> Transaction<Vec<Entry>> {
        let mut entries = Vec::new();
        self.each_entry(id, &mut |entry| {
            entries.push(entry);
            Ok(())
        })?;
        Ok(entries)
    }

    pub fn chunk(&self, id: ObjectId) -> Transaction<Vec<Entry>> {
        Ok(self.encoded_chunk(id)?.1)
    }

    /// A chunk as [`crate::manifest`] encodes it, and its entries.
    pub fn encoded_chunk(&self, id: ObjectId) -> Transaction<(Vec<u8>, Vec<Entry>)> {
        let Chunks {
            table,
            decompressor,
        } = self.chunks()?;
        let Some(row) = table.get(&id.0)? else {
            return Err(damaged(&tables::CHUNK_TO_ENTRIES, &&id.0, MISSING));
        };
        let bytes = decompressor.decompress(id, row.value())?;
        let entries = manifest::decode_chunk(check_digest(&tables::CHUNK_TO_ENTRIES, id, &bytes)?)
            .map_err(|error| damaged(&tables::CHUNK_TO_ENTRIES, &&id.0, &error.to_string()))?;
        Ok((bytes.into_owned(), entries))
    }

    pub fn object(&self, object: ObjectId) -> Transaction<Option<ObjectRecord>> {
        if self.form == RowFormat::Plain {
            let table = self
                .transaction
                .open_table(tables::OBJECT_TO_PLAIN_RECORD)?;
            let row = table.get(&object.0)?;
            return Ok(row.map(|row| tables::decode_plain_object(row.value())));
        }
        let table = self.transaction.open_table(tables::OBJECT_TO_RECORD)?;
        table
            .get(&object.0)?
            .map(|row| tables::decode_object(object, &row.value()))
            .transpose()
    }

    /// The object with a declared digest. A SHA-1 digest is valid only within `repository`.
    pub fn object_with(
        &self,
        digest: &Digest,
        repository: &RepoId,
    ) -> Transaction<Option<ObjectId>> {
        if let Some(object) = digest.object_id() {
            return Ok(Some(object));
        }
        let key = tables::alias_key(digest, repository);
        if self.form == RowFormat::Plain {
            let table = self
                .transaction
                .open_table(tables::DIGEST_TO_PLAIN_OBJECT)?;
            let row = table.get(key.as_slice())?;
            return Ok(row.map(|row| ObjectId(row.value())));
        }
        let table = self.transaction.open_table(tables::DIGEST_TO_OBJECT)?;
        table
            .get(key.as_slice())?
            .map(|row| tables::decode_alias(&key, &row.value()))
            .transpose()
    }

    /// The result of verifying a package with a keyring; `None` if it has not been verified yet.
    pub fn package(
        &self,
        package: ObjectId,
        keyring: ObjectId,
    ) -> Transaction<Option<PackageRecord>> {
        let table = match self.transaction.open_table(tables::PACKAGE_TO_RECORD) {
            // In a store of schema version 1 it may be missing.
            Err(redb::TableError::TableDoesNotExist(_)) => return Ok(None),
            table => table?,
        };
        let key = tables::package_key(package, keyring);
        table
            .get(key)?
            .map(|row| self.json(&tables::PACKAGE_TO_RECORD, &key, row.value()))
            .transpose()
    }

    /// The number of known objects, and their bytes.
    pub fn objects(&self) -> Transaction<(u64, u64)> {
        let (mut count, mut bytes) = (0, 0_u64);
        let mut add = |record: ObjectRecord| {
            count += 1;
            bytes = bytes.saturating_add(record.size);
        };
        if self.form == RowFormat::Plain {
            let table = self
                .transaction
                .open_table(tables::OBJECT_TO_PLAIN_RECORD)?;
            for row in table.iter()? {
                add(tables::decode_plain_object(row?.1.value()));
            }
        } else {
            let table = self.transaction.open_table(tables::OBJECT_TO_RECORD)?;
            for row in table.iter()? {
                let (key, value) = row?;
                add(tables::decode_object(
                    ObjectId(*key.value()),
                    &value.value(),
                )?);
            }
        }
        Ok((count, bytes))
    }

    /// The number of manifests and chunks.
    pub fn manifests_and_chunks(&self) -> Transaction<(u64, u64)> {
        let manifests = self.transaction.open_table(tables::MANIFEST_TO_CHUNKS)?;
        let chunks = self.transaction.open_table(tables::CHUNK_TO_ENTRIES)?;
        Ok((manifests.len()?, chunks.len()?))
    }

    /// The validators from the server at `origin` for a path below it.
    pub fn validator(
        &self,
        repository: &RepoId,
        origin: ObjectId,
        path: &str,
    ) -> Transaction<Option<ValidatorRecord>> {
        if self.version < tables::STATES_SINCE {
            // They only save a download.
            return Ok(None);
        }
        let table = self.transaction.open_table(tables::ORIGIN_TO_VALIDATOR)?;
        let key = (repository.as_str(), &origin.0, path);
        table
            .get(key)?
            .map(|row| self.json(&tables::ORIGIN_TO_VALIDATOR, &key, row.value()))
            .transpose()
    }

    pub fn tree(&self, path: &Path) -> Transaction<Option<TreeRecord>> {
        let table = self.transaction.open_table(tables::TREE_TO_RECORD)?;
        let key = tables::tree_key(path);
        let row = table.get(key.as_slice())?;
        if row.is_none() {
            self.trees()?;
        }
        row.map(|row| self.json(&tables::TREE_TO_RECORD, &key.as_slice(), row.value()))
            .transpose()
    }

    pub fn trees(&self) -> Transaction<BTreeMap<PathBuf, TreeRecord>> {
        all_rows(|each| self.each_tree(each))
    }

    /// Passes every row to `each`, also damaged ones.
    pub(super) fn each_tree(&self, each: &mut EachRow<'_, PathBuf, TreeRecord>) -> Transaction<()> {
        let table = &tables::TREE_TO_RECORD;
        for row in self.transaction.open_table(*table)?.iter()? {
            let (key, value) = row?;
            let key = key.value();
            let record = self.json(table, &key, value.value());
            each(record.map(|record| (tables::tree_path(key), record)))?;
        }
        Ok(())
    }

    /// The latest syncs of a repository, newest first.
    pub fn history(&self, repository: &RepoId, limit: usize) -> Transaction<Vec<HistoryRecord>> {
        let table = self.transaction.open_table(tables::SYNC_TO_RECORD)?;
        // A row with a damaged key seems to belong to another repository.
        for row in table.iter()? {
            let (key, value) = row?;
            self.syncer(key.value(), value.value())?;
        }
        table
            .range(tables::syncs_of(repository))?
            .rev()
            .take(limit)
            .map(|row| {
                let (key, value) = row?;
                self.json(&tables::SYNC_TO_RECORD, &key.value(), value.value())
            })
            .collect()
    }

    /// The repository that a sync in the history is of.
    pub(super) fn syncer(&self, key: (&str, u64), value: &[u8]) -> Transaction<RepoId> {
        unseal(self.form, &tables::SYNC_TO_RECORD, &key, value)?;
        tables::repository_of(&tables::SYNC_TO_RECORD, &key, key.0)
    }

    /// The names of all repositories with a state, syncs, snapshots or published trees.
    pub fn known_repositories(&self) -> Transaction<BTreeSet<RepoId>> {
        let mut known: BTreeSet<RepoId> = self.repositories()?.into_keys().collect();
        known.extend(self.snapshots()?.into_keys().map(|(owner, _)| owner));
        known.extend(self.trees()?.into_values().map(|tree| tree.repository));
        let syncs = self.transaction.open_table(tables::SYNC_TO_RECORD)?;
        // A repository has up to a thousand rows: skip to the next name.
        let mut next = syncs.first()?;
        while let Some((key, value)) = next {
            let name = self.syncer(key.value(), value.value())?;
            let behind = (Bound::Excluded((name.as_str(), u64::MAX)), Bound::Unbounded);
            next = syncs.range::<(&str, u64)>(behind)?.next().transpose()?;
            known.insert(name);
        }
        Ok(known)
    }

    pub fn snapshot(
        &self,
        repository: &RepoId,
        name: &SnapshotName,
    ) -> Transaction<Option<SnapshotRecord>> {
        let Some(table) = self.snapshots_table()? else {
            return Ok(None);
        };
        let key = (repository.as_str(), name.as_str());
        let row = table.get(key)?;
        if row.is_none() {
            self.snapshots()?;
        }
        row.map(|row| self.snapshot_in(key, row.value()))
            .transpose()
    }

    /// All snapshots, by repository and name.
    pub fn snapshots(&self) -> Transaction<BTreeMap<(RepoId, SnapshotName), SnapshotRecord>> {
        all_rows(|each| self.each_snapshot(each))
    }

    /// Passes every row to `each`, also damaged ones.
    pub(super) fn each_snapshot(
        &self,
        each: &mut EachRow<'_, (RepoId, SnapshotName), SnapshotRecord>,
    ) -> Transaction<()> {
        let Some(table) = self.snapshots_table()? else {
            return Ok(());
        };
        for row in table.iter()? {
            let (key, value) = row?;
            let key = key.value();
            let record = self
                .snapshot_in(key, value.value())
                .and_then(|record| Ok((tables::snapshot_of(key)?, record)));
            each(record)?;
        }
        Ok(())
    }

    fn snapshot_in(&self, key: (&str, &str), value: &[u8]) -> Transaction<SnapshotRecord> {
        let table = &tables::SNAPSHOT_TO_RECORD;
        if self.version < tables::STATES_SINCE {
            let old: SnapshotRecord3 = self.json(table, &key, value)?;
            return Ok(old.into());
        }
        self.json(table, &key, value)
    }

    fn snapshots_table(&self) -> Transaction<Option<Snapshots>> {
        match self.transaction.open_table(tables::SNAPSHOT_TO_RECORD) {
            // In a store of schema version 1 it may be missing.
            Err(redb::TableError::TableDoesNotExist(_)) => Ok(None),
            table => Ok(Some(table?)),
        }
    }

    /// The keyrings with which states were verified.
    pub fn keyrings(&self) -> Transaction<BTreeSet<ObjectId>> {
        let repositories = self.repositories()?.into_values();
        let snapshots = self.snapshots()?.into_values();
        let states = repositories.map(|record| record.state);
        let states = states.chain(snapshots.map(|record| record.state));
        Ok(states.filter_map(|state| state.keyring).collect())
    }

    /// Every referenced manifest, once for each reference: states and snapshots with their
    /// evidence, published trees with their earlier generations and what a root was generated for.
    pub fn names(&self) -> Transaction<Vec<(Name, ObjectId)>> {
        let mut names = Vec::new();
        for (repository, record) in self.repositories()? {
            let name = Name::State { repository };
            names.extend(record.state.manifests().map(|id| (name.clone(), id)));
        }
        for ((repository, name), record) in self.snapshots()? {
            let name = Name::Snapshot { repository, name };
            names.extend(record.state.manifests().map(|id| (name.clone(), id)));
        }
        for (path, tree) in self.trees()? {
            let name = || Name::Tree {
                path: path.clone(),
                repository: tree.repository.clone(),
                snapshot: tree.snapshot.clone(),
            };
            let all = tree.manifests().chain(tree.staged()).chain(tree.sources());
            names.extend(all.map(|manifest| (name(), manifest)));
        }
        let transfers = self.manifests_of_transfers()?.into_iter();
        names.extend(transfers.map(|(transfer, manifest)| (Name::Transfer(transfer), manifest)));
        Ok(names)
    }
}

/// All rows of a table. The first damaged one is an error.
pub(super) fn all_rows<K: Ord, V>(
    read: impl FnOnce(&mut EachRow<'_, K, V>) -> Transaction<()>,
) -> Transaction<BTreeMap<K, V>> {
    let mut rows = BTreeMap::new();
    read(&mut |row| {
        rows.extend([row?]);
        Ok(())
    })?;
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::database::Store;
    use super::super::seal::seal_json;
    use super::super::writer::Writer;
    use super::*;
    use crate::exit::Exit;
    use crate::lock::{Locks, Mode, Requester};

    fn put<K: redb::Key + 'static>(
        writer: &Writer,
        table: TableDefinition<'static, K, &'static [u8]>,
        key: &K::SelfType<'_>,
        record: &Value,
    ) -> Transaction<()> {
        let row = seal_json(&table, key, record);
        writer.0.open_table(table)?.insert(key, row.as_slice())?;
        Ok(())
    }

    /// The error of `ask` after `write` has put a row there whose check is right.
    fn error_of<T: std::fmt::Debug>(
        write: impl Fn(&Writer) -> Transaction<()>,
        ask: impl Fn(&Reader) -> Transaction<T>,
    ) -> String {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("chantal.redb");
        let store = Store::create(&path, "pool-1").unwrap();
        let locks = Locks::acquire(dir.path(), Mode::Exclusive, &Requester::test()).unwrap();
        store.write(&locks, write).unwrap();
        let error = store.read(ask).unwrap_err();
        assert_eq!(error.exit(), Exit::Damaged);
        let start = format!("database {} is damaged: ", path.display());
        error.to_string().strip_prefix(&start).unwrap().to_owned()
    }

    #[test]
    fn what_cannot_be_a_name_is_damage() {
        let id = ObjectId::of(b"x");
        let state = json!({"format": "rpm", "manifest": id, "roots": [], "packages": 0, "bytes": 0, "synced_at": 0});
        let repository = json!({"state": &state, "origin": id, "selection": id, "checked_at": 0, "was_signed": false});
        let snapshot = json!({"state": &state, "created_at": 0});
        let sync = json!(HistoryRecord::default());

        let put_repository =
            |writer: &Writer| put(writer, tables::REPOSITORY_TO_RECORD, &".r", &repository);
        let expected =
            "table repository_to_record, key .r: invalid key: repository \".r\" starts with `.`";
        assert_eq!(error_of(put_repository, Reader::repositories), expected);
        let other = RepoId::test("other");
        let one = |reader: &Reader| reader.repository(&other);
        assert_eq!(error_of(put_repository, one), expected);

        for (key, why) in [
            (("", "s"), "repository is empty"),
            (
                ("r", "latest"),
                "snapshot `latest` is reserved for the latest state of a repository",
            ),
            (
                ("r", "a/b"),
                "snapshot \"a/b\" contains '/'; only letters, digits, `.`, `_` and `-` are allowed",
            ),
        ] {
            let put_snapshot =
                |writer: &Writer| put(writer, tables::SNAPSHOT_TO_RECORD, &key, &snapshot);
            assert_eq!(
                error_of(put_snapshot, Reader::snapshots),
                format!(
                    "table snapshot_to_record, key {}/{}: invalid key: {why}",
                    key.0, key.1
                )
            );
        }

        let put_sync = |writer: &Writer| put(writer, tables::SYNC_TO_RECORD, &("-r", 1), &sync);
        let expected =
            "table sync_to_record, key -r/1: invalid key: repository \"-r\" starts with `-`";
        assert_eq!(error_of(put_sync, Reader::known_repositories), expected);
        let history = |reader: &Reader| reader.history(&other, 1);
        assert_eq!(error_of(put_sync, history), expected);
    }

    #[test]
    fn a_tree_of_what_cannot_be_a_name_is_damage() {
        let tree = |repository: &str, snapshot: Option<&str>| {
            json!({"repository": repository, "snapshot": snapshot, "manifest": null, "published_at": 0,
                "earlier": [], "staging": null})
        };
        for (record, why) in [
            (tree(".r", None), "\".r\" starts with `.`"),
            (tree("r", Some("")), "is empty"),
        ] {
            let put_tree = |writer: &Writer| {
                put(
                    writer,
                    tables::TREE_TO_RECORD,
                    &b"/srv/r".as_slice(),
                    &record,
                )
            };
            let error = error_of(put_tree, Reader::trees);
            let expected =
                format!("table tree_to_record, key /srv/r: cannot be decoded: {why} at ");
            assert!(error.starts_with(&expected), "{error}");
        }
    }
}
