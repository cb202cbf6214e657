//! The transfers that this storage has exported.

use super::error::MediaError;
use crate::digest::ObjectId;
use crate::names::{DestinationName, ExporterId};
use crate::storage::Storage;
use crate::store::records::SentRecord;
use crate::store::{Reader, SentTransfers, StoreError};

/// The id of this storage on media: that of its store, or a digest of one of another form.
pub fn exporter(storage: &Storage) -> Result<ExporterId, StoreError> {
    let store = storage.read(Reader::identity)?.store;
    let digest = ObjectId::of(store.as_bytes()).hex();
    let id = ExporterId::parse(&store).or_else(|| ExporterId::parse(&digest[..32]));
    Ok(id.expect("a digest is hexadecimal"))
}

/// All transfers to a destination, also forgotten ones.
pub fn sent_to(
    storage: &Storage,
    destination: &DestinationName,
) -> Result<SentTransfers, StoreError> {
    let mut all = storage.read(Reader::sent)?;
    Ok(all.remove(destination).unwrap_or_default())
}

/// One transfer to a destination.
pub fn sent_transfer(
    storage: &Storage,
    destination: &DestinationName,
    number: u64,
) -> Result<SentRecord, MediaError> {
    let sent = sent_to(storage, destination)?.remove(&number);
    sent.ok_or_else(|| MediaError::UnknownTransfer {
        destination: destination.clone(),
        number,
    })
}
