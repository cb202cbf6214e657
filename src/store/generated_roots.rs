//! Generated roots: one for each state, key and validity. The trees that show an earlier one keep it
//! by their own records.
//!
//! A row keeps its root as long as something else needs the manifest that the root was generated
//! for; cleanup removes it after that.

use std::collections::BTreeMap;

use redb::ReadableTable as _;

use super::error::Transaction;
use super::reader::{EachRow, Reader, all_rows};
use super::records::{GeneratedRootKey, GeneratedRootRecord, RootValidity};
use super::seal::seal_json;
use super::tables::{self, SOURCE_TO_GENERATED_ROOT};
use super::writer::Writer;
use crate::digest::ObjectId;

impl Reader {
    pub fn generated_root(
        &self,
        key: &GeneratedRootKey,
    ) -> Transaction<Option<GeneratedRootRecord>> {
        if self.version < tables::VERSION_6 {
            return Ok(None);
        }
        let table = self.transaction.open_table(SOURCE_TO_GENERATED_ROOT)?;
        let key = tables::generated_root_key(key);
        table
            .get(key)?
            .map(|row| self.json(&SOURCE_TO_GENERATED_ROOT, &key, row.value()))
            .transpose()
    }

    /// The newest root of a state that came on a medium.
    pub fn imported_root(
        &self,
        source: ObjectId,
        validity: RootValidity,
    ) -> Transaction<Option<(GeneratedRootKey, GeneratedRootRecord)>> {
        let all = self.generated_roots()?.into_iter();
        let imported = all.filter(|(key, root)| {
            root.imported && key.source == source && key.validity == validity
        });
        Ok(imported.max_by_key(|(_, root)| root.date))
    }

    pub fn generated_roots(&self) -> Transaction<BTreeMap<GeneratedRootKey, GeneratedRootRecord>> {
        all_rows(|each| self.each_generated_root(each))
    }

    /// Passes every row to `each`, also damaged ones.
    pub(super) fn each_generated_root(
        &self,
        each: &mut EachRow<'_, GeneratedRootKey, GeneratedRootRecord>,
    ) -> Transaction<()> {
        if self.version < tables::VERSION_6 {
            return Ok(());
        }
        let table = self.transaction.open_table(SOURCE_TO_GENERATED_ROOT)?;
        for row in table.iter()? {
            let (key, value) = row?;
            let key = key.value();
            let record = self
                .json(&SOURCE_TO_GENERATED_ROOT, &key, value.value())
                .and_then(|record| Ok((tables::generated_root_of(key)?, record)));
            each(record)?;
        }
        Ok(())
    }
}

impl Writer {
    /// Records the newest root of its kind, in place of an earlier one.
    pub fn put_generated_root(
        &self,
        key: &GeneratedRootKey,
        record: &GeneratedRootRecord,
    ) -> Transaction<()> {
        let mut table = self.0.open_table(SOURCE_TO_GENERATED_ROOT)?;
        let key = tables::generated_root_key(key);
        let row = seal_json(&SOURCE_TO_GENERATED_ROOT, &key, record);
        table.insert(key, row.as_slice())?;
        Ok(())
    }

    pub fn remove_generated_root(&self, key: &GeneratedRootKey) -> Transaction<()> {
        let mut table = self.0.open_table(SOURCE_TO_GENERATED_ROOT)?;
        table.remove(tables::generated_root_key(key))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lock::{Locks, Mode, Requester};
    use crate::store::Store;

    #[test]
    fn the_newest_root_of_each_kind_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::create(&dir.path().join("chantal.redb"), "pool-1").unwrap();
        let locks = Locks::acquire(dir.path(), Mode::Exclusive, &Requester::test()).unwrap();
        let keys = [
            (b"1", None, RootValidity::Kept),
            (b"1", None, RootValidity::Dropped),
            (b"1", Some("F00D"), RootValidity::Kept),
            (b"2", None, RootValidity::Kept),
        ];
        let keys = keys.map(|(source, signed_by, validity)| GeneratedRootKey {
            source: ObjectId::of(source),
            signed_by: signed_by.map(ToOwned::to_owned),
            validity,
        });
        let root = |date| GeneratedRootRecord {
            manifest: ObjectId::of(b"root"),
            date,
            made_at: date,
            imported: false,
        };
        store
            .write(&locks, |writer| {
                for (key, date) in keys.iter().zip(1..) {
                    writer.put_generated_root(key, &root(date))?;
                }
                writer.put_generated_root(&keys[1], &root(9))?;
                writer.remove_generated_root(&keys[3])
            })
            .unwrap();
        store
            .read(|reader| {
                let found = keys.iter().map(|key| reader.generated_root(key));
                let found: Vec<_> = found.collect::<Transaction<_>>()?;
                assert_eq!(found, [Some(root(1)), Some(root(9)), Some(root(3)), None]);
                let all = reader.generated_roots()?;
                assert_eq!(all.len(), 3);
                assert!(keys[..3].iter().all(|key| all.contains_key(key)));
                Ok(())
            })
            .unwrap();
    }
}
