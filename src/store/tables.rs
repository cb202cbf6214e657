//! How the store looks on disk: tables, keys, values, and the schema version. Nothing outside this file encodes or decodes.
//!
//! Records that are few are JSON, so that a field can be added with a default; records that are many (objects,
//! digests) have a fixed binary form.

use std::ffi::OsStr;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use redb::{AccessGuard, ReadTransaction, TableDefinition, WriteTransaction};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::digest::{Algorithm, Digest, ObjectId};

use super::records::ObjectRecord;
use super::{Transaction, TransactionError};

/// The version that this program writes. A store with a higher one is refused, one with a lower one is brought here by
/// [`super::migrations`].
///
/// Changelog:
/// - 1: the first. Tables were added to it (packages, snapshots): one that is absent is empty.
/// - 2: all tables are there, always. Manifests may have entries of roles that version 1 did not know (codes above 4), which a
///   chantal that only knows version 1 would call damage.
pub const SCHEMA_VERSION: u32 = 2;

/// Readers understand stores from this version on as they are. An older one has to be migrated first.
pub const OLDEST_READABLE: u32 = 1;

/// How many syncs of a repository are remembered.
pub const HISTORY_LIMIT: u64 = 1000;

/// `schema` (u32, little endian), `pool` (the pool's id).
const META: TableDefinition<&str, &[u8]> = TableDefinition::new("meta");

pub const REPOSITORY_TO_RECORD: TableDefinition<&str, &[u8]> =
    TableDefinition::new("repository_to_record");
pub const MANIFEST_TO_CHUNKS: TableDefinition<&[u8; 32], &[u8]> =
    TableDefinition::new("manifest_to_chunks");
pub const CHUNK_TO_ENTRIES: TableDefinition<&[u8; 32], &[u8]> =
    TableDefinition::new("chunk_to_entries");
/// Size in bytes (u64) and when the digest was last computed (i64, seconds since the epoch), little endian.
pub const OBJECT_TO_RECORD: TableDefinition<&[u8; 32], [u8; 16]> =
    TableDefinition::new("object_to_record");
/// See [`alias_key`].
pub const DIGEST_TO_OBJECT: TableDefinition<&[u8], [u8; 32]> =
    TableDefinition::new("digest_to_object");
/// Keys are (repository, path below the upstream's URL).
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

/// Makes the tables, so that a reader never meets a missing one.
pub fn create_all(transaction: &WriteTransaction, pool_id: &str) -> Transaction<()> {
    set_schema_version(transaction, SCHEMA_VERSION)?;
    let mut meta = transaction.open_table(META)?;
    meta.insert("pool", pool_id.as_bytes())?;
    transaction.open_table(REPOSITORY_TO_RECORD)?;
    transaction.open_table(MANIFEST_TO_CHUNKS)?;
    transaction.open_table(CHUNK_TO_ENTRIES)?;
    transaction.open_table(OBJECT_TO_RECORD)?;
    transaction.open_table(DIGEST_TO_OBJECT)?;
    transaction.open_table(PATH_TO_VALIDATOR)?;
    transaction.open_table(TREE_TO_RECORD)?;
    transaction.open_table(SYNC_TO_RECORD)?;
    transaction.open_table(PACKAGE_TO_RECORD)?;
    transaction.open_table(SNAPSHOT_TO_RECORD)?;
    Ok(())
}

pub fn schema_version(transaction: &ReadTransaction) -> Transaction<u32> {
    let table = transaction.open_table(META)?;
    let version = table.get("schema")?;
    version
        .and_then(|version| version.value().try_into().ok())
        .map(u32::from_le_bytes)
        .ok_or_else(|| TransactionError::Damaged("it has no schema version".to_owned()))
}

pub fn set_schema_version(transaction: &WriteTransaction, version: u32) -> Transaction<()> {
    let mut meta = transaction.open_table(META)?;
    meta.insert("schema", version.to_le_bytes().as_slice())?;
    Ok(())
}

pub fn pool_id(transaction: &ReadTransaction) -> Transaction<String> {
    let table = transaction.open_table(META)?;
    let id = table.get("pool")?;
    id.and_then(|id| String::from_utf8(id.value().to_vec()).ok())
        .ok_or_else(|| TransactionError::Damaged("it names no pool".to_owned()))
}

/// One byte for the algorithm, for SHA-1 the repository and a NUL, then the digest.
pub fn alias_key(digest: &Digest, repository: &str) -> Vec<u8> {
    let code = match digest.algorithm() {
        // As in `sha1_aliases_of`.
        Algorithm::Sha1 => 1,
        Algorithm::Sha256 => 2,
        Algorithm::Sha384 => 3,
        Algorithm::Sha512 => 4,
    };
    let mut key = vec![code];
    if !digest.algorithm().is_collision_resistant() {
        key.extend_from_slice(repository.as_bytes());
        key.push(0);
    }
    key.extend_from_slice(digest.bytes());
    key
}

/// From the first key of the SHA-1 aliases of a repository up to, and without, what comes behind the last one.
pub fn sha1_aliases_of(repository: &str) -> Range<Vec<u8>> {
    let key = |end: u8| [&[1], repository.as_bytes(), &[end]].concat();
    key(0)..key(1)
}

/// The package's object and the id of the keyring that it was verified by: a verdict holds for both together.
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

pub fn encode_object(record: ObjectRecord) -> [u8; 16] {
    let mut value = [0; 16];
    value[..8].copy_from_slice(&record.size.to_le_bytes());
    value[8..].copy_from_slice(&record.verified_at.to_le_bytes());
    value
}

pub fn decode_object(value: [u8; 16]) -> ObjectRecord {
    let (size, verified_at) = value.split_at(8);
    ObjectRecord {
        size: u64::from_le_bytes(size.try_into().expect("the first half has 8 bytes")),
        verified_at: i64::from_le_bytes(verified_at.try_into().expect("so has the second")),
    }
}

pub fn tree_key(path: &Path) -> Vec<u8> {
    path.as_os_str().as_bytes().to_vec()
}

pub fn tree_path(key: &[u8]) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(key))
}

pub fn to_json<T: Serialize>(record: &T) -> Vec<u8> {
    serde_json::to_vec(record).expect("records have only string keys and finite numbers")
}

pub fn from_json<T: DeserializeOwned>(value: &[u8]) -> Transaction<T> {
    serde_json::from_slice(value)
        .map_err(|error| TransactionError::Damaged(format!("a record cannot be read: {error}")))
}

pub fn record<T: DeserializeOwned>(
    value: Option<AccessGuard<'_, &'static [u8]>>,
) -> Transaction<Option<T>> {
    value.map(|value| from_json(value.value())).transpose()
}
