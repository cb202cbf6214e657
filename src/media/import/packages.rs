//! Verifies the signatures inside the packages of a state, where the importer demands them.

use std::collections::BTreeMap;
use std::sync::Mutex;

use rayon::prelude::*;

use super::refusal::{NotImported, Refusal};
use crate::digest::ObjectId;
use crate::format::{Format, PackageError};
use crate::manifest::Entry;
use crate::media::error::MediaError;
use crate::openpgp::Keyring;
use crate::storage::Storage;
use crate::store::records::PackageRecord;
use crate::threads::lock;

/// This many refused packages are named.
const SHOWN: usize = 10;

/// Verifies all packages of a manifest, as of a time in seconds since the epoch. Returns the number
/// of packages by key.
pub fn verify_packages(
    storage: &Storage,
    format: &'static dyn Format,
    manifest: ObjectId,
    keyring: &Keyring,
    at: i64,
) -> Result<BTreeMap<String, u64>, NotImported> {
    let keyring_id = keyring.id();
    let refused: Mutex<Vec<String>> = Mutex::default();
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    let chunks = storage.read(|reader| reader.manifest(manifest))?.chunks;
    // A chunk at a time is enough work for all threads, and small in memory.
    for part in chunks.chunks(64) {
        storage.interrupt.check()?;
        let mut packages: Vec<Entry> = Vec::new();
        for chunk in part {
            let entries = storage.read(|reader| reader.chunk(chunk.id))?;
            packages.extend(entries.into_iter().filter(|entry| entry.package.is_some()));
        }
        let verified: Vec<Result<Option<PackageRecord>, MediaError>> = packages
            .par_iter()
            .map(|entry| {
                let known = storage.read(|reader| reader.package(entry.object, keyring_id))?;
                let record = match known {
                    Some(record) => Ok(record),
                    None => verify(storage, format, entry, keyring, at)?,
                };
                match record.and_then(|record| is_listed(entry, record)) {
                    Ok(record) => Ok(Some(record)),
                    Err(why) => {
                        lock(&refused).push(format!("{}: {why}", entry.path));
                        Ok(None)
                    }
                }
            })
            .collect();
        let verified: Vec<Option<PackageRecord>> =
            verified.into_iter().collect::<Result<_, _>>()?;
        storage.remember(|writer| {
            for (entry, record) in packages.iter().zip(&verified) {
                if let Some(record) = record {
                    writer.put_package(entry.object, keyring_id, record)?;
                }
            }
            Ok(())
        })?;
        for key in verified
            .iter()
            .flatten()
            .flat_map(|record| &record.signed_by)
        {
            *counts.entry(key.clone()).or_default() += 1;
        }
    }
    let mut refused = refused
        .into_inner()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    if refused.is_empty() {
        return Ok(counts);
    }
    let count = refused.len();
    refused.sort();
    refused.truncate(SHOWN);
    Err(Refusal::Packages { count, refused }.into())
}

/// The inner error is why the package is refused.
fn verify(
    storage: &Storage,
    format: &'static dyn Format,
    entry: &Entry,
    keyring: &Keyring,
    at: i64,
) -> Result<Result<PackageRecord, String>, MediaError> {
    let mut file = storage.pool.open_object(entry.object)?;
    let inside = match format.read_package_header(&mut file) {
        Ok(inside) => inside,
        Err(PackageError::Io(error)) => return Err(error.into()),
        Err(error) => return Ok(Err(error.to_string())),
    };
    let signers = match keyring.verify_hashed(&inside.signatures, entry.path.file_name(), at) {
        Ok(signers) => signers,
        Err(error) => return Ok(Err(error.to_string())),
    };
    let mut signed_by: Vec<String> = Vec::new();
    for signer in signers {
        if !signed_by.contains(&signer.fingerprint) {
            signed_by.push(signer.fingerprint);
        }
    }
    Ok(Ok(PackageRecord {
        signed_by,
        name: inside.identity.name,
        version: inside.identity.version,
        architectures: inside.identity.architectures,
    }))
}

/// A good signature is not enough: an old package could stand for a new one.
fn is_listed(entry: &Entry, record: PackageRecord) -> Result<PackageRecord, String> {
    let identity = crate::format::Identity {
        name: record.name.clone(),
        version: record.version.clone(),
        architectures: record.architectures.clone(),
    };
    match &entry.package {
        Some(package) if identity.is(package) => Ok(record),
        _ => Err(format!("the package file contains {identity}")),
    }
}
