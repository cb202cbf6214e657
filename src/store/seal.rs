//! Every row has a checksum, which is verified with every read: redb does not validate its pages,
//! and a flipped bit could publish a package under another name.
//!
//! - The value of a row begins with the first eight bytes of the SHA-256 of the table name, the key
//!   and the rest of the value. So a row that was moved to another key or table is detected as
//!   well. Eight bytes miss one accidental error in 2^64, and cost little in tables with millions
//!   of rows. They do not protect against deliberate changes.
//! - Manifests and chunks are named by their digest, which serves as their checksum.
//! - Before version 3 rows had no checksum.

use redb::{Key, TableDefinition, TableHandle as _, Value};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::error::{Transaction, TransactionError};
use crate::digest::{self, Algorithm, Hasher, ObjectId};

/// Length of a checksum in bytes.
pub const LENGTH: usize = 8;

/// Whether the rows of a store have checksums.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowFormat {
    /// Versions 1 and 2.
    Plain,
    Sealed,
}

/// A key as text for messages.
pub trait DisplayKey {
    fn shown(&self) -> String;
}

impl DisplayKey for &str {
    fn shown(&self) -> String {
        (*self).to_owned()
    }
}

impl DisplayKey for (&str, &str) {
    fn shown(&self) -> String {
        format!("{}/{}", self.0, self.1)
    }
}

impl DisplayKey for (&str, &[u8; 32], &str) {
    fn shown(&self) -> String {
        format!("{}/{}/{}", self.0, digest::hex(self.1), self.2)
    }
}

impl DisplayKey for (&[u8; 32], &str, &str) {
    fn shown(&self) -> String {
        format!("{}/{}/{}", digest::hex(self.0), self.1, self.2)
    }
}

impl DisplayKey for (&str, u64) {
    fn shown(&self) -> String {
        format!("{}/{}", self.0, self.1)
    }
}

impl DisplayKey for &[u8] {
    fn shown(&self) -> String {
        match std::str::from_utf8(self) {
            // The path of a tree.
            Ok(path) if path.starts_with('/') => path.to_owned(),
            _ => digest::hex(self),
        }
    }
}

impl DisplayKey for &[u8; 32] {
    fn shown(&self) -> String {
        digest::hex(*self)
    }
}

impl DisplayKey for [u8; 64] {
    fn shown(&self) -> String {
        digest::hex(self)
    }
}

/// A row as it is stored: its checksum, then `payload`.
pub fn seal<K, V>(
    table: &TableDefinition<'_, K, V>,
    key: &K::SelfType<'_>,
    payload: &[u8],
) -> Vec<u8>
where
    K: Key + 'static,
    V: Value + 'static,
{
    let mut value = check(table.name(), K::as_bytes(key).as_ref(), payload).to_vec();
    value.extend_from_slice(payload);
    value
}

/// The payload of a row, after its checksum was verified.
pub fn unseal<'k, 'v, K, V>(
    form: RowFormat,
    table: &TableDefinition<'_, K, V>,
    key: &K::SelfType<'k>,
    value: &'v [u8],
) -> Transaction<&'v [u8]>
where
    K: Key + 'static,
    V: Value + 'static,
    K::SelfType<'k>: DisplayKey,
{
    if form == RowFormat::Plain {
        return Ok(value);
    }
    match value.split_at_checked(LENGTH) {
        Some((found, payload))
            if found == check(table.name(), K::as_bytes(key).as_ref(), payload) =>
        {
            Ok(payload)
        }
        _ => Err(damaged(table, key, "checksum mismatch")),
    }
}

pub fn seal_json<K, V>(
    table: &TableDefinition<'_, K, V>,
    key: &K::SelfType<'_>,
    record: &impl Serialize,
) -> Vec<u8>
where
    K: Key + 'static,
    V: Value + 'static,
{
    let json =
        serde_json::to_vec(record).expect("records have only string keys and finite numbers");
    seal(table, key, &json)
}

pub fn unseal_json<'k, K, V, T>(
    form: RowFormat,
    table: &TableDefinition<'_, K, V>,
    key: &K::SelfType<'k>,
    value: &[u8],
) -> Transaction<T>
where
    K: Key + 'static,
    V: Value + 'static,
    K::SelfType<'k>: DisplayKey,
    T: DeserializeOwned,
{
    let json = unseal(form, table, key, value)?;
    serde_json::from_slice(json)
        .map_err(|error| damaged(table, key, &format!("cannot be decoded: {error}")))
}

/// Verifies and returns the value of a row that is named by its digest.
pub fn check_digest<'v, V: Value + 'static>(
    table: &TableDefinition<'_, &'static [u8; 32], V>,
    id: ObjectId,
    value: &'v [u8],
) -> Transaction<&'v [u8]> {
    let found = ObjectId::of(value);
    if found == id {
        Ok(value)
    } else {
        let why = format!("SHA-256 mismatch: got {found}");
        Err(damaged(table, &&id.0, &why))
    }
}

pub fn damaged<'k, K, V>(
    table: &TableDefinition<'_, K, V>,
    key: &K::SelfType<'k>,
    why: &str,
) -> TransactionError
where
    K: Key + 'static,
    V: Value + 'static,
    K::SelfType<'k>: DisplayKey,
{
    TransactionError::Record {
        table: table.name().to_owned(),
        key: key.shown(),
        why: why.to_owned(),
    }
}

/// Each part except the last one is prefixed with its length, so that the boundaries are
/// unambiguous.
fn check(table: &str, key: &[u8], payload: &[u8]) -> [u8; LENGTH] {
    let mut hasher = Hasher::new(Algorithm::Sha256);
    for part in [table.as_bytes(), key] {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    hasher.update(payload);
    let (object, _) = hasher.finish();
    let mut check = [0; LENGTH];
    check.copy_from_slice(&object.0[..LENGTH]);
    check
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: TableDefinition<(&str, &str), &[u8]> = TableDefinition::new("t");
    const OTHER: TableDefinition<(&str, &str), &[u8]> = TableDefinition::new("u");

    #[test]
    fn a_row_is_noticed_when_any_bit_of_it_differs() {
        let key = ("a", "b");
        let good = seal(&TABLE, &key, b"payload");
        let read = |table, key: (&str, &str), value: &[u8]| {
            unseal(RowFormat::Sealed, table, &key, value).map(<[u8]>::to_vec)
        };
        assert_eq!(read(&TABLE, key, &good).unwrap(), b"payload");
        for place in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[place / 8] ^= 1 << (place % 8);
            read(&TABLE, key, &bad).unwrap_err();
        }
        for key in [("a", "c"), ("ab", ""), ("", "ab")] {
            read(&TABLE, key, &good).unwrap_err();
        }
        read(&OTHER, key, &good).unwrap_err();
        for end in 0..good.len() {
            read(&TABLE, key, &good[..end]).unwrap_err();
        }
        assert_eq!(
            unseal(RowFormat::Plain, &TABLE, &key, b"payload").unwrap(),
            b"payload"
        );
    }
}
