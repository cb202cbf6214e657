//! Receipts: what an importer tells the exporter, written and read. The text is that of
//! [`crate::transfer::receipt`], clear-signed if the importer has a key.

use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::confirm::history;
use super::error::MediaError;
use super::import::ImportedTransfer;
use crate::config::Config;
use crate::names::{DestinationName, ExporterId};
use crate::openpgp::{Keyring, SigningKey, Trusted};
use crate::regular_file;
use crate::storage::Storage;
use crate::time::now;
use crate::transfer::receipt::{Arrival, Receipt, ReceiptEntry, TRANSFERS_THAT_FIT};

/// With a signature, in bytes.
const FILE_MAX: usize = 16 << 10;
const SIGNED: &[u8] = b"-----BEGIN PGP SIGNED MESSAGE-----";

/// A receipt of the last imported transfers of an exporter; `None` if there are none.
pub fn receipt_of_imports(
    storage: &Storage,
    exporter: &ExporterId,
) -> Result<Option<Receipt>, MediaError> {
    let (_, imported) = history(storage)?;
    let mut newest = imported
        .into_iter()
        .rev()
        .filter(|((other, _), (_, is_base))| other == exporter && *is_base);
    let mut destination = None;
    let mut transfers = Vec::new();
    for ((_, number), (record, _)) in newest.by_ref().take(TRANSFERS_THAT_FIT) {
        let named = destination.get_or_insert_with(|| record.destination.clone());
        // This host had another name before.
        if *named != record.destination {
            continue;
        }
        transfers.push(ReceiptEntry {
            number,
            manifest: record.digest,
            arrival: Arrival::Complete,
        });
    }
    transfers.reverse();
    Ok(destination.map(|destination| Receipt {
        exporter: exporter.to_string(),
        destination,
        made_at: now(),
        transfers,
        log: None,
    }))
}

/// A receipt of one transfer, with what was missing.
pub fn receipt_of_import(imported: &ImportedTransfer) -> Receipt {
    let missing = imported.copied.damaged.keys().copied();
    Receipt {
        exporter: imported.exporter.to_string(),
        destination: imported.destination.clone(),
        made_at: now(),
        transfers: vec![ReceiptEntry {
            number: imported.number,
            manifest: imported.digest,
            arrival: Arrival::of_missing(missing),
        }],
        log: None,
    }
}

/// The file name of a receipt beside the folders of transfers.
pub fn file_name(receipt: &Receipt) -> String {
    let last = receipt.transfers.last().map_or(0, |entry| entry.number);
    format!("receipt-{}-{last}.txt", receipt.destination)
}

/// Writes a receipt. What exists at the path is replaced, never written to: on a medium it can be a
/// link or a pipe.
pub fn write(
    receipt: &Receipt,
    path: &Path,
    key: Option<&SigningKey>,
) -> Result<PathBuf, MediaError> {
    let text = receipt.encode()?;
    let bytes = match key {
        Some(key) => key.sign_inline(text.as_bytes(), receipt.made_at)?,
        None => text.into_bytes(),
    };
    let named = regular_file::named(path);
    let directory = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    let directory = directory.unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new()
        .permissions(PermissionsExt::from_mode(0o644))
        .tempfile_in(directory)
        .map_err(&named)?;
    file.write_all(&bytes).map_err(&named)?;
    file.as_file().sync_all().map_err(&named)?;
    file.persist(path).map_err(|error| named(error.error))?;
    Ok(path.to_owned())
}

/// Reads a receipt, and verifies its signature. A destination with configured keys must sign; for
/// others a signature counts if it is there and by one of `media.trusted_keys`.
pub fn read(
    config: &Config,
    expected: Option<&DestinationName>,
    path: &Path,
) -> Result<Receipt, MediaError> {
    let mut bytes = Vec::new();
    let limit = FILE_MAX as u64 + 1;
    regular_file::open_named(path)?
        .take(limit)
        .read_to_end(&mut bytes)?;
    if bytes.len() > FILE_MAX {
        let path = path.to_owned();
        return Err(MediaError::ReceiptTooLarge { path });
    }
    let invalid = |source| MediaError::Receipt {
        path: path.to_owned(),
        source,
    };
    let name = path.display().to_string();
    let refused = |source| MediaError::ReceiptSignature { source };
    if !bytes.starts_with(SIGNED) {
        let receipt = Receipt::parse(&bytes).map_err(invalid)?;
        let destination = expected.unwrap_or(&receipt.destination);
        if config.media.destinations.contains_key(destination) {
            return Err(MediaError::ReceiptUnsigned {
                path: path.to_owned(),
                destination: destination.clone(),
            });
        }
        return Ok(receipt);
    }
    // The text says whose keys verify it, so it is read before that, and again after.
    let claimed = Trusted::unsigned_inline(&bytes, &name).map_err(refused)?;
    let claimed = Receipt::parse(claimed.bytes()).map_err(invalid)?;
    let destination = expected.unwrap_or(&claimed.destination);
    let files = match config.media.destinations.get(destination) {
        Some(files) => files,
        None => &config.media.trusted_keys,
    };
    let mut keyring = Keyring::default();
    for file in files {
        let keys = regular_file::read_named(file)?;
        let keys = Keyring::parse(&keys, &file.display().to_string())
            .map_err(|error| MediaError::TrustedKeys(error.to_string()))?;
        keyring.extend(keys);
    }
    if keyring.fingerprints().is_empty() {
        // Without keys it is worth as much as one that is not signed.
        log::warn!(
            "{name}: its signature is not verified: media.destinations.{destination}.key_file is not set"
        );
        return Ok(claimed);
    }
    // A clock that is behind inside is no reason to refuse it.
    let at = now().max(claimed.made_at);
    let trusted = keyring
        .verify_inline_when_signed(&bytes, &name, at)
        .map_err(refused)?;
    Receipt::parse(trusted.bytes()).map_err(invalid)
}
