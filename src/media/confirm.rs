//! What the exporter learns of its transfers: arrived, lost, or never needed again.

use std::collections::BTreeMap;

use super::error::MediaError;
use super::sent::{exporter, sent_to};
use crate::names::{DestinationName, ExporterId};
use crate::storage::Storage;
use crate::store::records::{Fate, ImportedRecord, SentRecord};
use crate::store::{Reader, SentTransfers, StoreError};
use crate::time::now;
use crate::transfer::code::ConfirmationCode;
use crate::transfer::receipt::{Arrival, Missing, Receipt};

/// What a destination has confirmed.
#[derive(Debug, Default)]
pub struct Confirmed {
    /// The complete transfers; of a confirmation those that were not confirmed before.
    pub numbers: Vec<u64>,
    /// Transfers that arrived incompletely, and what is missing.
    pub incomplete: BTreeMap<u64, Missing>,
}

/// Confirms the transfer of a typed code, and what it builds on.
pub fn confirm_code(
    storage: &Storage,
    destination: &DestinationName,
    text: &str,
) -> Result<Confirmed, MediaError> {
    let code = ConfirmationCode::parse(text)?;
    let _lock = storage.locks.destination(destination)?;
    let sent = sent_to(storage, destination)?;
    let exporter = exporter(storage)?;
    let number = code.number();
    // What is needed to build on a lost one is not kept.
    let known = sent.get(&number).filter(|record| !record.is_lost());
    let is_known = known.is_some_and(|record| {
        ConfirmationCode::of(exporter.as_str(), destination, number, &record.digest) == code
    });
    if !is_known {
        return Err(MediaError::WrongCode {
            destination: destination.clone(),
            pending: pending(&sent),
        });
    }
    confirm(storage, destination, sent, vec![number])
}

/// Confirms the complete transfers of a receipt, and what they build on.
pub fn confirm_receipt(storage: &Storage, receipt: &Receipt) -> Result<Confirmed, MediaError> {
    let destination = &receipt.destination;
    let _lock = storage.locks.destination(destination)?;
    let checked = check_receipt(storage, receipt)?;
    let sent = sent_to(storage, destination)?;
    let confirmed = confirm(storage, destination, sent, checked.numbers)?;
    Ok(Confirmed {
        incomplete: checked.incomplete,
        ..confirmed
    })
}

/// What a receipt says of transfers that are known here: the complete and the incomplete ones.
pub fn check_receipt(storage: &Storage, receipt: &Receipt) -> Result<Confirmed, MediaError> {
    let destination = &receipt.destination;
    if receipt.exporter != exporter(storage)?.as_str() {
        return Err(MediaError::ReceiptOfOther {
            exporter: receipt.exporter.clone(),
        });
    }
    let sent = sent_to(storage, destination)?;
    let mut complete = Vec::new();
    let mut incomplete = BTreeMap::new();
    for entry in &receipt.transfers {
        match sent.get(&entry.number) {
            Some(known) if known.digest != entry.manifest => {
                return Err(MediaError::OtherTransfer {
                    destination: destination.clone(),
                    number: entry.number,
                });
            }
            Some(known) if !known.is_lost() => {}
            // An importer lists all that it has, also from before the destination was forgotten.
            Some(_) | None => {
                log::warn!(
                    "transfer {} was lost or forgotten: not confirmed",
                    entry.number
                );
                continue;
            }
        }
        match &entry.arrival {
            Arrival::Complete => complete.push(entry.number),
            Arrival::Missing(missing) => {
                incomplete.insert(entry.number, missing.clone());
            }
        }
    }
    Ok(Confirmed {
        numbers: complete,
        incomplete,
    })
}

fn confirm(
    storage: &Storage,
    destination: &DestinationName,
    mut sent: SentTransfers,
    mut numbers: Vec<u64>,
) -> Result<Confirmed, MediaError> {
    let mut changed: BTreeMap<u64, SentRecord> = BTreeMap::new();
    while let Some(number) = numbers.pop() {
        // Records have the transfers that they build on, which are earlier ones.
        let Some(record) = sent.remove(&number) else {
            continue;
        };
        if record.fate == Fate::Forgotten {
            continue;
        }
        numbers.extend(record.builds_on);
        if !record.is_confirmed() {
            let fate = Fate::Confirmed(now());
            changed.insert(number, SentRecord { fate, ..record });
        }
    }
    put(storage, destination, &changed)?;
    Ok(Confirmed {
        numbers: changed.into_keys().collect(),
        incomplete: BTreeMap::new(),
    })
}

/// Marks a transfer as lost: no later one builds on it. Without a destination the number must be
/// that of only one unconfirmed transfer.
pub fn lose(
    storage: &Storage,
    destination: Option<&DestinationName>,
    number: u64,
) -> Result<DestinationName, MediaError> {
    let all = storage.read(Reader::sent)?;
    let with = |is_meant: &dyn Fn(&SentRecord) -> bool| -> Vec<&DestinationName> {
        all.iter()
            .filter(|(name, _)| destination.is_none_or(|wanted| wanted == *name))
            .filter(|(_, sent)| sent.get(&number).is_some_and(is_meant))
            .map(|(name, _)| name)
            .collect()
    };
    // A confirmed one cannot be meant, if there is another.
    let mut candidates = with(&SentRecord::is_pending);
    if candidates.is_empty() {
        candidates = with(&|sent| sent.fate != Fate::Forgotten);
    }
    let name = match candidates[..] {
        [name] => name.clone(),
        [] => return Err(MediaError::NoSuchTransfer { number }),
        _ => {
            return Err(MediaError::AmbiguousTransfer {
                number,
                destinations: candidates.into_iter().cloned().collect(),
            });
        }
    };
    let _lock = storage.locks.destination(&name)?;
    let mut sent = sent_to(storage, &name)?;
    let record = sent
        .remove(&number)
        .ok_or(MediaError::NoSuchTransfer { number })?;
    if record.is_confirmed() {
        return Err(MediaError::AlreadyConfirmed {
            destination: name,
            number,
        });
    }
    let fate = Fate::Lost(now());
    let changed = BTreeMap::from([(number, SentRecord { fate, ..record })]);
    put(storage, &name, &changed)?;
    Ok(name)
}

/// Forgets a destination with all its transfers; returns their number.
pub fn forget(storage: &Storage, destination: &DestinationName) -> Result<usize, MediaError> {
    let _lock = storage.locks.destination(destination)?;
    let sent = sent_to(storage, destination)?;
    let transfers = sent
        .values()
        .filter(|sent| sent.fate != Fate::Forgotten)
        .count();
    let last = sent.into_iter().next_back();
    let Some((number, last)) = last.filter(|_| transfers > 0) else {
        let all = storage.read(Reader::sent)?.into_iter();
        let known = all.filter(|(_, sent)| sent.values().any(|sent| sent.fate != Fate::Forgotten));
        return Err(MediaError::UnknownDestination {
            destination: destination.clone(),
            known: known.map(|(name, _)| name).collect(),
        });
    };
    let forgotten = SentRecord {
        fate: Fate::Forgotten,
        builds_on: None,
        compared_with: None,
        names: Vec::new(),
        manifests: Vec::new(),
        kept: BTreeMap::new(),
        ..last
    };
    storage.write(|writer| {
        writer.remove_sent_before(destination, number)?;
        writer.put_sent(destination, number, &forgotten)
    })?;
    Ok(transfers)
}

/// All transfers that were sent, and those that were imported.
pub fn history(storage: &Storage) -> Result<History, StoreError> {
    storage.read(|reader| {
        let mut sent = reader.sent()?;
        for transfers in sent.values_mut() {
            transfers.retain(|_, sent| sent.fate != Fate::Forgotten);
        }
        let mut imported = BTreeMap::new();
        for (name, record) in reader.imported()? {
            let is_base = reader.is_base(&record)?;
            imported.insert(name, (record, is_base));
        }
        Ok((sent, imported))
    })
}

/// Of the imported ones, whether later transfers can build on them: only these are confirmed.
pub type History = (
    BTreeMap<DestinationName, SentTransfers>,
    BTreeMap<(ExporterId, u64), (ImportedRecord, bool)>,
);

fn put(
    storage: &Storage,
    destination: &DestinationName,
    changed: &BTreeMap<u64, SentRecord>,
) -> Result<(), MediaError> {
    if changed.is_empty() {
        return Ok(());
    }
    Ok(storage.write(|writer| {
        for (number, record) in changed {
            writer.put_sent(destination, *number, record)?;
        }
        Ok(())
    })?)
}

fn pending(sent: &SentTransfers) -> Vec<u64> {
    let pending = sent.iter().filter(|(_, record)| record.is_pending());
    pending.map(|(number, _)| *number).collect()
}
