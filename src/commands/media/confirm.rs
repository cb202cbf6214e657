//! `chantal media confirm`, `receipt`, `lost` and `forget`.

use std::path::{Path, PathBuf};

use crate::cli::{MediaConfirm, MediaForget, MediaLost, MediaReceipt, WaitOptions};
use crate::commands::{Context, requester};
use crate::error::Error;
use crate::media::{self, MediaError, receipt};
use crate::names::ExporterId;
use crate::report::{ConfirmedTransfers, ForgottenDestination, LostTransfer, WrittenReceipt};
use crate::storage::Storage;
use crate::store::Reader;

pub fn receipt(context: &Context<'_>, arguments: &MediaReceipt) -> Result<(), Error> {
    let requester = requester("media receipt", &WaitOptions { wait: None })?;
    let storage = Storage::open(&context.config.storage, &requester)?;
    let exporter = exporter(&storage, arguments.exporter.as_deref())?;
    let receipt = receipt::receipt_of_imports(&storage, &exporter)?;
    let receipt = receipt.ok_or(MediaError::NothingImported { known: Vec::new() })?;
    let path = if arguments.to.is_dir() {
        arguments.to.join(receipt::file_name(&receipt))
    } else {
        arguments.to.clone()
    };
    let key = context.key.read()?;
    let path = receipt::write(&receipt, &path, key)?;
    let written = WrittenReceipt::new(path, &receipt, key.is_some());
    Ok(context.output.result(&written, |written| {
        format!("receipt written to {}", written.path.display())
    })?)
}

/// The exporter that is meant: the only one, if none is named.
fn exporter(storage: &Storage, named: Option<&str>) -> Result<ExporterId, Error> {
    let mut known: Vec<ExporterId> = Vec::new();
    for (exporter, _) in storage
        .read(Reader::imported)
        .map_err(MediaError::from)?
        .into_keys()
    {
        if !known.contains(&exporter) {
            known.push(exporter);
        }
    }
    let meant = match named {
        Some(named) => known.iter().find(|known| known.as_str() == named),
        None if known.len() == 1 => known.first(),
        None => None,
    };
    match meant {
        Some(exporter) => Ok(exporter.clone()),
        None if named.is_none() && known.len() > 1 => {
            let known: Vec<String> = known.iter().map(ToString::to_string).collect();
            let known = known.join(", ");
            Err(Error::Usage(format!(
                "transfers of several exporters were imported: use --exporter ({known})"
            )))
        }
        None => Err(MediaError::NothingImported { known }.into()),
    }
}

pub fn confirm(context: &Context<'_>, arguments: &MediaConfirm) -> Result<(), Error> {
    let requester = requester("media confirm", &arguments.waiting)?;
    let storage = Storage::open(&context.config.storage, &requester)?;
    let path = Path::new(&arguments.proof);
    let destination = &arguments.destination;
    // Codes have no such characters.
    let is_path = path.exists() || arguments.proof.contains(['/', '.']);
    let confirmed = if is_path {
        let receipt = receipt::read(context.config, Some(destination), path)?;
        if receipt.destination != *destination {
            return Err(MediaError::ReceiptOfOtherDestination {
                expected: destination.clone(),
                found: receipt.destination,
            }
            .into());
        }
        media::confirm_receipt(&storage, &receipt)?
    } else {
        media::confirm_code(&storage, destination, &arguments.proof)?
    };
    let result = ConfirmedTransfers::new(destination.clone(), &confirmed);
    Ok(context.output.result(&result, describe)?)
}

fn describe(result: &ConfirmedTransfers) -> String {
    let destination = &result.destination;
    let mut text = String::new();
    if result.confirmed.is_empty() && result.incomplete.is_empty() {
        text += &format!("nothing to do: {destination} had confirmed this before\n");
    }
    for number in &result.confirmed {
        text += &format!("transfer {number} confirmed by {destination}\n");
    }
    for incomplete in &result.incomplete {
        text += &format!(
            "transfer {} is incomplete at {destination}: {}; `media export --repair` writes what \
             is missing\n",
            incomplete.transfer, incomplete.missing
        );
    }
    text
}

pub fn lost(context: &Context<'_>, arguments: &MediaLost) -> Result<(), Error> {
    let requester = requester("media lost", &arguments.waiting)?;
    let storage = Storage::open(&context.config.storage, &requester)?;
    let destination = media::lose(&storage, arguments.destination.as_ref(), arguments.transfer)?;
    let result = LostTransfer {
        destination,
        transfer: arguments.transfer,
    };
    Ok(context.output.result(&result, |result| {
        format!(
            "transfer {} for {} is lost: the next export builds on the last confirmed one",
            result.transfer, result.destination
        )
    })?)
}

pub fn forget(context: &Context<'_>, arguments: &MediaForget) -> Result<(), Error> {
    let requester = requester("media forget", &arguments.waiting)?;
    let storage = Storage::open(&context.config.storage, &requester)?;
    let transfers = media::forget(&storage, &arguments.destination)?;
    let result = ForgottenDestination {
        destination: arguments.destination.clone(),
        transfers,
    };
    Ok(context.output.result(&result, |result| {
        format!(
            "forgot {} with {} transfers; the next export for it is a full one",
            result.destination, result.transfers
        )
    })?)
}

/// Writes the receipt of an import next to the folder of the transfer.
pub fn write_beside(
    context: &Context<'_>,
    folder: &Path,
    imported: &media::ImportedTransfer,
) -> Result<PathBuf, Error> {
    let receipt = receipt::receipt_of_import(imported);
    let directory = folder.parent().unwrap_or(folder);
    let path = directory.join(receipt::file_name(&receipt));
    Ok(receipt::write(&receipt, &path, context.key.read()?)?)
}
