//! The format of the store: tables, keys, values, and the schema version. Only this file,
//! [`super::seal`] and the steps of [`super::migrations`] encode or decode.
//!
//! Records of small tables are JSON, so that fields can be added with a default; those of large
//! tables (objects, digests) have a fixed binary format. Both are preceded by the checksum of the
//! row.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::ops::{Range, RangeInclusive};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use redb::{Key, ReadTransaction, ReadableTable, TableDefinition, Value, WriteTransaction};

use crate::digest::{Algorithm, Digest, ObjectId};
use crate::names::{RepoId, SnapshotName};
use crate::threads::lock;

use super::error::{Transaction, TransactionError};
use super::records::{GeneratedRootKey, Identity, ObjectRecord, RootValidity};
use super::seal::{DisplayKey, LENGTH, RowFormat, damaged, seal, unseal};

/// The version that this program writes. A store with a higher version is refused, one with a lower
/// version is migrated by [`super::migrations`].
///
/// Changelog:
/// - 1: the first version. Tables were added to it (packages, snapshots): a missing table is
///   treated as empty.
/// - 2: all tables always exist. Manifests may have entries with roles that version 1 did not have
///   (codes above 4), which older versions of chantal would report as damage.
/// - 3: every row has a checksum ([`super::seal`]), and the version has one in a separate row.
///   Objects and aliases are in new tables because the length of their values changed. The store
///   has an id and a generation.
/// - 4: a state is a separate record, in repositories and snapshots, with its roots, evidence and
///   keyring. Validators belong to one origin. Manifests may have version 2, whose chunks are
///   compressed.
/// - 5: the record of a published tree names manifests of which some files may be in it, and
///   staging may replace only a directory of a tree. An older version would take that directory for
///   the whole tree.
/// - 6: generated roots are recorded, so that every place of a state has the same one, and transfers
///   on offline media. An older version would remove what only these records need.
pub const SCHEMA_VERSION: u32 = 6;

/// The first version with [`super::records::StateRecord`].
pub const STATES_SINCE: u32 = 4;

/// The first version with generated roots and transfers.
pub const VERSION_6: u32 = 6;

/// The first version whose rows have checksums.
const SEALED_SINCE: u32 = 3;

/// The oldest version that can be read without a migration.
pub const OLDEST_READABLE: u32 = 1;

/// How many syncs of a repository are kept.
pub const HISTORY_LIMIT: u64 = 1000;

/// - `schema`: the version (u32, little endian), readable by every version of chantal;
///   `schema-check`: its checksum.
/// - `pool`: the id of the pool; `store`: the id of the store.
/// - `generation` (u64, little endian): see [`Identity::generation`].
/// - `adopting` (i64, seconds since the epoch): when the store took over a pool with unknown
///   objects. Missing: never, or these objects were given up.
pub const META: TableDefinition<&str, &[u8]> = TableDefinition::new("meta");
const SCHEMA: &str = "schema";
const SCHEMA_CHECK: &str = "schema-check";
pub const POOL: &str = "pool";
const STORE: &str = "store";
const GENERATION: &str = "generation";
const ADOPTING: &str = "adopting";
/// A generation (u64, little endian); see [`Identity::restored`].
const RESTORED: &str = "restored";

const UNREADABLE: &str = "cannot be decoded";
const NOT_A_KEY: &str = "invalid key";

pub const REPOSITORY_TO_RECORD: TableDefinition<&str, &[u8]> =
    TableDefinition::new("repository_to_record");
pub const MANIFEST_TO_CHUNKS: TableDefinition<&[u8; 32], &[u8]> =
    TableDefinition::new("manifest_to_chunks");
pub const CHUNK_TO_ENTRIES: TableDefinition<&[u8; 32], &[u8]> =
    TableDefinition::new("chunk_to_entries");
/// Size in bytes (u64) and when the digest was last computed (i64, seconds since the epoch), little
/// endian.
pub const OBJECT_TO_RECORD: TableDefinition<&[u8; 32], [u8; LENGTH + 16]> =
    TableDefinition::new("object_to_checked_record");
/// See [`alias_key`].
pub const DIGEST_TO_OBJECT: TableDefinition<&[u8], [u8; LENGTH + 32]> =
    TableDefinition::new("digest_to_checked_object");
/// The format before version 3.
pub const OBJECT_TO_PLAIN_RECORD: TableDefinition<&[u8; 32], [u8; 16]> =
    TableDefinition::new("object_to_record");
pub const DIGEST_TO_PLAIN_OBJECT: TableDefinition<&[u8], [u8; 32]> =
    TableDefinition::new("digest_to_object");
/// Keys are (repository, digest of the URL, path below that URL).
pub const ORIGIN_TO_VALIDATOR: TableDefinition<(&str, &[u8; 32], &str), &[u8]> =
    TableDefinition::new("origin_to_validator");
/// The format before version 4. Keys are (repository, path).
pub const PATH_TO_VALIDATOR: TableDefinition<(&str, &str), &[u8]> =
    TableDefinition::new("path_to_validator");
/// Keys are the bytes of the published tree's absolute path.
pub const TREE_TO_RECORD: TableDefinition<&[u8], &[u8]> = TableDefinition::new("tree_to_record");
/// Keys are (repository, number of the sync, from 1).
pub const SYNC_TO_RECORD: TableDefinition<(&str, u64), &[u8]> =
    TableDefinition::new("sync_to_record");

/// See [`package_key`].
pub const PACKAGE_TO_RECORD: TableDefinition<[u8; 64], &[u8]> =
    TableDefinition::new("package_to_record");

/// Keys are (repository, name).
pub const SNAPSHOT_TO_RECORD: TableDefinition<(&str, &str), &[u8]> =
    TableDefinition::new("snapshot_to_record");

/// Keys are (destination, number of the transfer).
pub const TRANSFER_TO_SENT: TableDefinition<(&str, u64), &[u8]> =
    TableDefinition::new("transfer_to_sent");
/// Keys are (id of the exporter's store, number of the transfer).
pub const TRANSFER_TO_IMPORTED: TableDefinition<(&str, u64), &[u8]> =
    TableDefinition::new("transfer_to_imported");
/// See [`generated_root_key`].
pub const SOURCE_TO_GENERATED_ROOT: TableDefinition<(&[u8; 32], &str, &str), &[u8]> =
    TableDefinition::new("source_to_generated_root");

/// Creates all tables, so that a reader never finds one missing.
pub fn create_all(transaction: &WriteTransaction, identity: &Identity) -> Transaction<()> {
    set_schema_version(transaction, SCHEMA_VERSION)?;
    put_identity(transaction, identity)?;
    transaction.open_table(REPOSITORY_TO_RECORD)?;
    transaction.open_table(MANIFEST_TO_CHUNKS)?;
    transaction.open_table(CHUNK_TO_ENTRIES)?;
    transaction.open_table(OBJECT_TO_RECORD)?;
    transaction.open_table(DIGEST_TO_OBJECT)?;
    transaction.open_table(ORIGIN_TO_VALIDATOR)?;
    transaction.open_table(TREE_TO_RECORD)?;
    transaction.open_table(SYNC_TO_RECORD)?;
    transaction.open_table(PACKAGE_TO_RECORD)?;
    transaction.open_table(SNAPSHOT_TO_RECORD)?;
    create_tables_of_version_6(transaction)
}

/// The tables that version 6 added.
pub fn create_tables_of_version_6(transaction: &WriteTransaction) -> Transaction<()> {
    transaction.open_table(SOURCE_TO_GENERATED_ROOT)?;
    transaction.open_table(TRANSFER_TO_SENT)?;
    transaction.open_table(TRANSFER_TO_IMPORTED)?;
    Ok(())
}

pub fn schema_version(transaction: &ReadTransaction) -> Transaction<u32> {
    let table = transaction.open_table(META)?;
    let stored = table.get(SCHEMA)?;
    let version = stored
        .as_ref()
        .and_then(|version| version.value().try_into().ok())
        .map(u32::from_le_bytes)
        .ok_or_else(|| damaged(&META, &SCHEMA, "missing"))?;
    let check = table.get(SCHEMA_CHECK)?;
    let is_good = match check {
        Some(check) => check.value() == seal(&META, &SCHEMA, &version.to_le_bytes()),
        None => version < SEALED_SINCE,
    };
    if is_good {
        Ok(version)
    } else {
        Err(damaged(&META, &SCHEMA, "checksum mismatch"))
    }
}

/// The row format of a version.
pub fn form(version: u32) -> RowFormat {
    if version < SEALED_SINCE {
        RowFormat::Plain
    } else {
        RowFormat::Sealed
    }
}

pub fn set_schema_version(transaction: &WriteTransaction, version: u32) -> Transaction<()> {
    let mut meta = transaction.open_table(META)?;
    let bytes = version.to_le_bytes();
    meta.insert(SCHEMA, bytes.as_slice())?;
    if form(version) == RowFormat::Sealed {
        meta.insert(SCHEMA_CHECK, seal(&META, &SCHEMA, &bytes).as_slice())?;
    }
    Ok(())
}

pub fn put_identity(transaction: &WriteTransaction, identity: &Identity) -> Transaction<()> {
    let mut table = transaction.open_table(META)?;
    let mut put = |key: &'static str, value: &[u8]| {
        table.insert(key, seal(&META, &key, value).as_slice())?;
        Ok::<_, TransactionError>(())
    };
    put(POOL, identity.pool.as_bytes())?;
    put(STORE, identity.store.as_bytes())?;
    put(GENERATION, &identity.generation.to_le_bytes())?;
    let adopting = identity.adopting.map(i64::to_le_bytes);
    let restored = identity.restored.map(u64::to_le_bytes);
    for (key, value) in [(ADOPTING, adopting), (RESTORED, restored)] {
        if let Some(value) = value {
            table.insert(key, seal(&META, &key, &value).as_slice())?;
        } else {
            table.remove(key)?;
        }
    }
    Ok(())
}

pub fn identity(table: &impl ReadableTable<&'static str, &'static [u8]>) -> Transaction<Identity> {
    let form = RowFormat::Sealed;
    let number = |key: &'static str| {
        meta(table, form, key)?
            .map(|bytes| {
                bytes
                    .try_into()
                    .map_err(|_| damaged(&META, &key, UNREADABLE))
            })
            .transpose()
    };
    Ok(Identity {
        pool: text(table, form, POOL)?,
        store: text(table, form, STORE)?,
        generation: number(GENERATION)?
            .map(u64::from_le_bytes)
            .ok_or_else(|| damaged(&META, &GENERATION, "missing"))?,
        adopting: number(ADOPTING)?.map(i64::from_le_bytes),
        restored: number(RESTORED)?.map(u64::from_le_bytes),
    })
}

pub fn pool_id(transaction: &ReadTransaction, form: RowFormat) -> Transaction<String> {
    text(&transaction.open_table(META)?, form, POOL)
}

fn text(
    table: &impl ReadableTable<&'static str, &'static [u8]>,
    form: RowFormat,
    key: &'static str,
) -> Transaction<String> {
    let bytes = meta(table, form, key)?.ok_or_else(|| damaged(&META, &key, "missing"))?;
    String::from_utf8(bytes).map_err(|_| damaged(&META, &key, UNREADABLE))
}

fn meta(
    table: &impl ReadableTable<&'static str, &'static [u8]>,
    form: RowFormat,
    key: &str,
) -> Transaction<Option<Vec<u8>>> {
    table
        .get(key)?
        .map(|value| Ok(unseal(form, &META, &key, value.value())?.to_vec()))
        .transpose()
}

/// The repository that is called `name` in the key of a row.
pub fn repository_of<'k, K, V>(
    table: &TableDefinition<'_, K, V>,
    key: &K::SelfType<'k>,
    name: &str,
) -> Transaction<RepoId>
where
    K: Key + 'static,
    V: Value + 'static,
    K::SelfType<'k>: DisplayKey,
{
    RepoId::parse(name)
        .map_err(|error| damaged(table, key, &format!("{NOT_A_KEY}: repository {error}")))
}

/// Decodes the key of a snapshot.
pub fn snapshot_of(key: (&str, &str)) -> Transaction<(RepoId, SnapshotName)> {
    let table = &SNAPSHOT_TO_RECORD;
    let repository = repository_of(table, &key, key.0)?;
    let name = SnapshotName::parse(key.1)
        .map_err(|error| damaged(table, &key, &format!("{NOT_A_KEY}: snapshot {error}")))?;
    Ok((repository, name))
}

const UNSIGNED: &str = "";
const VALIDITY_KEPT: &str = "validity-kept";
const VALIDITY_DROPPED: &str = "validity-dropped";

/// The manifest that a root was generated for, the fingerprint of the key that signed it (empty if
/// it is not signed), and whether it has the expiry date of the upstream.
pub fn generated_root_key(key: &GeneratedRootKey) -> (&[u8; 32], &str, &str) {
    let validity = match key.validity {
        RootValidity::Kept => VALIDITY_KEPT,
        RootValidity::Dropped => VALIDITY_DROPPED,
    };
    let signed_by = key.signed_by.as_deref().unwrap_or(UNSIGNED);
    (&key.source.0, signed_by, validity)
}

/// Decodes such a key.
pub fn generated_root_of(key: (&[u8; 32], &str, &str)) -> Transaction<GeneratedRootKey> {
    let (source, signed_by, validity) = key;
    let validity = match validity {
        VALIDITY_KEPT => RootValidity::Kept,
        VALIDITY_DROPPED => RootValidity::Dropped,
        _ => return Err(damaged(&SOURCE_TO_GENERATED_ROOT, &key, NOT_A_KEY)),
    };
    Ok(GeneratedRootKey {
        source: ObjectId(*source),
        signed_by: (signed_by != UNSIGNED).then(|| signed_by.to_owned()),
        validity,
    })
}

/// The keys of a repository's syncs.
pub fn syncs_of(repository: &RepoId) -> RangeInclusive<(&str, u64)> {
    (repository.as_str(), 0)..=(repository.as_str(), u64::MAX)
}

/// Chunks of manifests are stored as zstd frames; before schema version 4 they were not compressed.
/// In both cases their id is the SHA-256 of the uncompressed chunk.
pub struct ChunkCompressor(zstd::bulk::Compressor<'static>);

/// The default level: half of a chunk are digests, which cannot be compressed.
const CHUNK_LEVEL: i32 = 3;
/// Larger than any chunk: 4,096 entries with paths of 3,000 bytes.
const CHUNK_BYTES_MAX: usize = 32 << 20;
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

impl ChunkCompressor {
    pub fn new() -> Transaction<Self> {
        let compressor = zstd::bulk::Compressor::new(CHUNK_LEVEL).map_err(redb::Error::Io)?;
        Ok(Self(compressor))
    }

    pub fn compress(&mut self, chunk: &[u8]) -> Transaction<Vec<u8>> {
        Ok(self.0.compress(chunk).map_err(redb::Error::Io)?)
    }
}

/// Reads stored chunks, in several threads. The state of a decompressor is large, so it is used for
/// many chunks.
#[derive(Default)]
pub struct ChunkDecompressor {
    unused: Mutex<Vec<zstd::bulk::Decompressor<'static>>>,
}

impl ChunkDecompressor {
    pub fn decompress<'r>(&self, id: ObjectId, row: &'r [u8]) -> Transaction<Cow<'r, [u8]>> {
        if !row.starts_with(&ZSTD_MAGIC) {
            return Ok(Cow::Borrowed(row));
        }
        let unused = lock(&self.unused).pop();
        let mut decompressor = match unused {
            Some(decompressor) => decompressor,
            None => zstd::bulk::Decompressor::new().map_err(redb::Error::Io)?,
        };
        let chunk = decompressor.decompress(row, CHUNK_BYTES_MAX);
        lock(&self.unused).push(decompressor);
        let chunk = chunk.map_err(|error| {
            damaged(&CHUNK_TO_ENTRIES, &&id.0, &format!("{UNREADABLE}: {error}"))
        })?;
        Ok(Cow::Owned(chunk))
    }
}

/// One byte for the algorithm, for SHA-1 the repository and a NUL, then the digest.
pub fn alias_key(digest: &Digest, repository: &RepoId) -> Vec<u8> {
    let code = match digest.algorithm() {
        // As in `sha1_aliases_of`.
        Algorithm::Sha1 => 1,
        Algorithm::Sha256 => 2,
        Algorithm::Sha384 => 3,
        Algorithm::Sha512 => 4,
    };
    let mut key = vec![code];
    if !digest.algorithm().is_collision_resistant() {
        key.extend_from_slice(repository.as_str().as_bytes());
        key.push(0);
    }
    key.extend_from_slice(digest.bytes());
    key
}

/// The key range of the SHA-1 aliases of a repository.
pub fn sha1_aliases_of(repository: &RepoId) -> Range<Vec<u8>> {
    let key = |end: u8| [&[1], repository.as_str().as_bytes(), &[end]].concat();
    key(0)..key(1)
}

/// The object of the package and the id of the keyring: a result is valid only for both together.
pub fn package_key(object: ObjectId, keyring: ObjectId) -> [u8; 64] {
    let mut key = [0; 64];
    key[..32].copy_from_slice(&object.0);
    key[32..].copy_from_slice(&keyring.0);
    key
}

/// The package in such a key.
pub fn package_of(key: &[u8; 64]) -> ObjectId {
    let mut object = [0; 32];
    object.copy_from_slice(&key[..32]);
    ObjectId(object)
}

pub fn encode_object(object: ObjectId, record: ObjectRecord) -> [u8; LENGTH + 16] {
    let mut payload = [0; 16];
    payload[..8].copy_from_slice(&record.size.to_le_bytes());
    payload[8..].copy_from_slice(&record.verified_at.to_le_bytes());
    seal(&OBJECT_TO_RECORD, &&object.0, &payload)
        .try_into()
        .expect("a check and 16 bytes")
}

pub fn decode_object(object: ObjectId, value: &[u8]) -> Transaction<ObjectRecord> {
    let payload = unseal(RowFormat::Sealed, &OBJECT_TO_RECORD, &&object.0, value)?;
    Ok(decode_plain_object(
        payload.try_into().expect("a row without its check"),
    ))
}

pub fn decode_plain_object(value: [u8; 16]) -> ObjectRecord {
    let (size, verified_at) = value.split_at(8);
    ObjectRecord {
        size: u64::from_le_bytes(size.try_into().expect("the first half has 8 bytes")),
        verified_at: i64::from_le_bytes(verified_at.try_into().expect("so has the second")),
    }
}

/// The object with a declared digest.
pub fn encode_alias(key: &[u8], object: ObjectId) -> [u8; LENGTH + 32] {
    seal(&DIGEST_TO_OBJECT, &key, &object.0)
        .try_into()
        .expect("a check and 32 bytes")
}

pub fn decode_alias(key: &[u8], value: &[u8]) -> Transaction<ObjectId> {
    let payload = unseal(RowFormat::Sealed, &DIGEST_TO_OBJECT, &key, value)?;
    Ok(ObjectId(
        payload.try_into().expect("a row without its check"),
    ))
}

pub fn tree_key(path: &Path) -> Vec<u8> {
    path.as_os_str().as_bytes().to_vec()
}

pub fn tree_path(key: &[u8]) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(key))
}
