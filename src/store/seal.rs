//! Every row carries a check of itself, and every read looks at it: redb believes what its pages hold, and a flipped bit in one
//! would publish a package under another name.
//!
//! - The value of a row begins with the first eight bytes of the SHA-256 of its table's name, its key and the rest. So a row that was
//!   moved to another key or table is noticed too. Eight bytes miss one accident in 2^64, and cost little in tables of millions;
//!   whoever means to forge a store can compute them, as they could any digest beside its data.
//! - Manifests and chunks are named by their digest: that is their check.
//! - Before version 3 rows had none.

use redb::{Key, TableDefinition, TableHandle as _, Value};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Transaction, TransactionError};
use crate::digest::{self, Algorithm, Hasher, ObjectId};

/// Bytes of a row's check.
pub const LENGTH: usize = 8;

/// Whether the rows of a store carry checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowFormat {
    /// Versions 1 and 2.
    Plain,
    Sealed,
}

/// How a key is shown in messages.
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

impl DisplayKey for (&str, u64) {
    fn shown(&self) -> String {
        format!("{}/{}", self.0, self.1)
    }
}

impl DisplayKey for &[u8] {
    fn shown(&self) -> String {
        match std::str::from_utf8(self) {
            // A tree's path.
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

/// A row as it is stored: its check, then `payload`.
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

/// What a row says, after its check was looked at.
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

/// The value of a row that is named by its digest.
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

/// Each part but the last with its length before it, so that none can lend its end to the next.
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
