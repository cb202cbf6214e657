//! `chantal media status`, `verify` and `list`: without configuration and storage.

use std::path::PathBuf;

use crate::cli::{MediaStatus, MediaVerify};
use crate::error::Error;
use crate::interrupt::Interrupt;
use crate::openpgp::Keyring;
use crate::output::{Output, bytes, count, table};
use crate::progress::Progress;
use crate::regular_file;
use crate::report::{DamagedCarriedObject, InspectedMedium, InspectedTransfer, ListedFile};
use crate::terminal::escape;
use crate::transfer::{Contents, Folder, OpenManifest, PackedManifest};

use crate::commands::conclude;

/// How many damaged objects the text lists; JSON has all of them.
const DAMAGED_SHOWN: usize = 20;

pub fn status(output: Output, arguments: &MediaStatus) -> Result<(), Error> {
    let interrupt = Interrupt::listen()?;
    inspect(output, &arguments.directory, |folder| {
        let packed = PackedManifest::read(folder)?;
        let opened = packed.unverified();
        let contents = Contents::read(&opened, &mut |_, _| {})?;
        let claimed = packed.claimed_keys();
        let mut result = inspected(&opened, &contents, claimed);
        result.damaged = DamagedCarriedObject::all(&contents.absent(folder, &interrupt)?);
        Ok(result)
    })
}

pub fn verify(output: Output, progress: &Progress, arguments: &MediaVerify) -> Result<(), Error> {
    let interrupt = Interrupt::listen()?;
    let keyring = read_keys(&arguments.keys)?;
    let result = inspect(output, &arguments.directory, |folder| {
        let packed = PackedManifest::read(folder)?;
        let opened = packed.verified(&keyring)?;
        let contents = Contents::read(&opened, &mut |_, _| {})?;
        folder.reject_undeclared(&contents.sizes(), &arguments.allowed)?;
        let signers = opened.signers.iter();
        let signers = signers.map(|signer| signer.fingerprint.clone()).collect();
        let mut result = inspected(&opened, &contents, signers);
        let count = contents.carried.len() as u64;
        let shown = progress.downloads("verifying", count, contents.bytes());
        let damaged = contents.damaged(folder, &interrupt, &|read| shown.add(read));
        shown.finish();
        result.damaged = DamagedCarriedObject::all(&damaged?);
        Ok(result)
    });
    progress.clear();
    result
}

pub fn list(output: Output, arguments: &MediaStatus) -> Result<(), Error> {
    let mut files = Vec::new();
    for folder in Folder::find(&arguments.directory)? {
        let packed = PackedManifest::read(&folder)?;
        Contents::read(&packed.unverified(), &mut |repository, entry| {
            let package = entry.package.as_ref();
            files.push(ListedFile {
                object: entry.object,
                size: entry.size,
                repository: repository.clone(),
                path: entry.path.to_string(),
                package: package.map(|package| package.name.clone()),
                version: package.map(|package| package.version.clone()),
                architecture: package.map(|package| package.architecture.clone()),
            });
        })?;
    }
    Ok(output.result(&files, |files| {
        let text = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
        let rows = files.iter().map(|file| {
            vec![
                file.object.to_string(),
                file.size.to_string(),
                text(&file.package),
                text(&file.version),
                format!("{}/{}", file.repository, file.path),
            ]
        });
        let rows: Vec<Vec<String>> = rows.collect();
        table(&["SHA256", "SIZE", "PACKAGE", "VERSION", "PATH"], &rows)
    })?)
}

/// Inspects every transfer of a medium and prints the results; errors of one do not hide the
/// others.
fn inspect(
    output: Output,
    directory: &std::path::Path,
    look: impl Fn(&Folder) -> Result<InspectedTransfer, Error>,
) -> Result<(), Error> {
    let (mut results, mut errors) = (Vec::new(), Vec::new());
    for folder in Folder::find(directory)? {
        match look(&folder) {
            Ok(result) => {
                if !result.damaged.is_empty() {
                    errors.push(Error::DamagedMedium {
                        folder: result.folder.clone(),
                        objects: result.damaged.len() as u64,
                    });
                }
                results.push(result);
            }
            Err(error) => errors.push(error),
        }
    }
    let result = InspectedMedium {
        transfers: results,
        errors: errors.iter().map(ToString::to_string).collect(),
    };
    output.result(&result, |result| {
        result.transfers.iter().map(describe).collect()
    })?;
    conclude(errors)
}

fn inspected(
    opened: &OpenManifest<'_, '_>,
    contents: &Contents,
    signed_by: Vec<String>,
) -> InspectedTransfer {
    let folder = opened.folder().path().to_owned();
    let verified = !opened.signers.is_empty();
    InspectedTransfer::new(folder, opened.digest(), contents, signed_by, verified)
}

/// The keys of all files.
pub fn read_keys(files: &[PathBuf]) -> Result<Keyring, Error> {
    let mut keyring = Keyring::default();
    for file in files {
        let bytes =
            regular_file::read_named(file).map_err(|error| Error::Usage(error.to_string()))?;
        let keys = Keyring::parse(&bytes, &file.display().to_string())
            .map_err(|error| Error::Usage(error.to_string()))?;
        keyring.extend(keys);
    }
    Ok(keyring)
}

fn describe(result: &InspectedTransfer) -> String {
    let mut text = format!(
        "transfer {} for {}, made {} by {} (exporter {})\n",
        result.transfer,
        result.destination,
        result.made_at,
        escape(&result.made_with),
        result.exporter
    );
    text += &match (result.signed_by.as_slice(), result.verified) {
        ([], _) => "  not signed\n".to_owned(),
        (keys, true) => format!("  signed by {}\n", keys.join(", ")),
        (keys, false) => format!("  signed by {} (not verified)\n", keys.join(", ")),
    };
    text += &match result.builds_on {
        Some(base) => format!("  builds on transfer {base}\n"),
        None => "  full transfer\n".to_owned(),
    };
    for repository in &result.repositories {
        text += &format!(
            "  {} ({}): {}, {}\n",
            repository.repository,
            repository.states.join(", "),
            count(repository.packages, "package"),
            bytes(repository.bytes)
        );
    }
    let files = format!("{}, {}", count(result.objects, "file"), bytes(result.bytes));
    text += &match (result.damaged.len(), result.verified) {
        (0, true) => format!("  {files}: all verified\n"),
        (0, false) => format!("  {files}: complete\n"),
        (damaged, _) => format!("  {files}: {damaged} missing or damaged\n"),
    };
    for damaged in result.damaged.iter().take(DAMAGED_SHOWN) {
        text += &format!("  {}\n", damaged.what);
    }
    if let more @ 1.. = result.damaged.len().saturating_sub(DAMAGED_SHOWN) {
        text += &format!("  and {more} more\n");
    }
    text
}
