//! Queries and changes of the transfers on offline media.

use std::collections::BTreeMap;

use redb::ReadableTable;

use super::error::Transaction;
use super::reader::{EachRow, Reader, all_rows};
use super::records::{ImportedRecord, SentRecord, TransferOwner};
use super::seal::{damaged, seal_json};
use super::tables::{TRANSFER_TO_IMPORTED, TRANSFER_TO_SENT, VERSION_6};
use super::writer::Writer;
use crate::digest::ObjectId;
use crate::names::{DestinationName, ExporterId};
use crate::time::now;

/// All transfers to one destination, by number.
pub type SentTransfers = BTreeMap<u64, SentRecord>;

impl Reader {
    pub fn sent(&self) -> Transaction<BTreeMap<DestinationName, SentTransfers>> {
        let mut sent: BTreeMap<DestinationName, SentTransfers> = BTreeMap::new();
        self.each_sent(&mut |row| {
            let ((destination, number), record) = row?;
            sent.entry(destination).or_default().insert(number, record);
            Ok(())
        })?;
        Ok(sent)
    }

    /// Passes every row to `each`, also damaged ones.
    pub(super) fn each_sent(
        &self,
        each: &mut EachRow<'_, (DestinationName, u64), SentRecord>,
    ) -> Transaction<()> {
        if self.version < VERSION_6 {
            return Ok(());
        }
        for row in self.transaction.open_table(TRANSFER_TO_SENT)?.iter()? {
            let (key, value) = row?;
            let key = key.value();
            let record = self.json(&TRANSFER_TO_SENT, &key, value.value());
            each(record.and_then(|record| {
                let destination = DestinationName::parse(key.0).map_err(|error| {
                    damaged(&TRANSFER_TO_SENT, &key, &format!("destination {error}"))
                })?;
                Ok(((destination, key.1), record))
            }))?;
        }
        Ok(())
    }

    pub fn imported(&self) -> Transaction<BTreeMap<(ExporterId, u64), ImportedRecord>> {
        all_rows(|each| self.each_imported(each))
    }

    /// Passes every row to `each`, also damaged ones.
    pub(super) fn each_imported(
        &self,
        each: &mut EachRow<'_, (ExporterId, u64), ImportedRecord>,
    ) -> Transaction<()> {
        if self.version < VERSION_6 {
            return Ok(());
        }
        for row in self.transaction.open_table(TRANSFER_TO_IMPORTED)?.iter()? {
            let (key, value) = row?;
            let key = key.value();
            let record = self.json(&TRANSFER_TO_IMPORTED, &key, value.value());
            each(record.and_then(|record| {
                let exporter = ExporterId::parse(key.0)
                    .ok_or_else(|| damaged(&TRANSFER_TO_IMPORTED, &key, "not the id of a store"))?;
                Ok(((exporter, key.1), record))
            }))?;
        }
        Ok(())
    }

    /// The manifests whose objects are kept for media: of unconfirmed exports, until their time has
    /// passed, and of imports that later transfers can build on.
    pub(super) fn manifests_of_transfers(&self) -> Transaction<Vec<(TransferOwner, ObjectId)>> {
        let mut all = Vec::new();
        let now = now();
        for (destination, transfers) in self.sent()? {
            let held = transfers
                .into_iter()
                .filter(|(_, sent)| sent.is_pending() && sent.held_until > now);
            for (number, sent) in held {
                let owner = TransferOwner::Sent(destination.clone(), number);
                all.extend(sent.manifests.into_iter().map(|id| (owner.clone(), id)));
            }
        }
        let imported = self.imported()?;
        let mut last: BTreeMap<&ExporterId, (u64, u64)> = BTreeMap::new();
        for ((exporter, number), record) in &imported {
            // In the order of their numbers.
            last.insert(exporter, (record.builds_on.unwrap_or(*number), *number));
        }
        for ((exporter, number), record) in &imported {
            if last.get(exporter).is_some_and(|(base, _)| number >= base) {
                let owner = TransferOwner::Imported(exporter.clone(), *number);
                for id in &record.kept {
                    // It may be of a transfer that was never imported.
                    if self.has_manifest(*id)? {
                        all.push((owner.clone(), *id));
                    }
                }
            }
        }
        Ok(all)
    }

    /// Whether later transfers can build on an imported one: everything that it keeps is here, also
    /// of the transfers before it.
    pub fn is_base(&self, imported: &ImportedRecord) -> Transaction<bool> {
        self.has_manifests(&imported.kept)
    }

    /// The manifests that later exports are compared with: their objects may be missing.
    pub(super) fn manifests_of_bases(&self) -> Transaction<Vec<ObjectId>> {
        let mut all = Vec::new();
        for transfers in self.sent()?.into_values() {
            let last = transfers.iter().rev().find(|(_, sent)| sent.is_confirmed());
            let last = last.map(|(number, _)| *number);
            let needed = transfers
                .into_iter()
                .filter(|(number, sent)| Some(*number) == last || sent.is_pending());
            all.extend(needed.flat_map(|(_, sent)| sent.kept.into_values().flatten()));
        }
        Ok(all)
    }
}

impl Writer {
    pub fn put_sent(
        &self,
        destination: &DestinationName,
        number: u64,
        record: &SentRecord,
    ) -> Transaction<()> {
        let mut table = self.0.open_table(TRANSFER_TO_SENT)?;
        let key = (destination.as_str(), number);
        let row = seal_json(&TRANSFER_TO_SENT, &key, record);
        table.insert(key, row.as_slice())?;
        Ok(())
    }

    /// Removes all transfers to a destination before this number.
    pub fn remove_sent_before(
        &self,
        destination: &DestinationName,
        number: u64,
    ) -> Transaction<()> {
        let mut table = self.0.open_table(TRANSFER_TO_SENT)?;
        let name = destination.as_str();
        table.retain_in((name, 0)..(name, number), |_, _| false)?;
        Ok(())
    }

    pub fn put_imported(
        &self,
        exporter: &ExporterId,
        number: u64,
        record: &ImportedRecord,
    ) -> Transaction<()> {
        let mut table = self.0.open_table(TRANSFER_TO_IMPORTED)?;
        let key = (exporter.as_str(), number);
        let row = seal_json(&TRANSFER_TO_IMPORTED, &key, record);
        table.insert(key, row.as_slice())?;
        Ok(())
    }
}
