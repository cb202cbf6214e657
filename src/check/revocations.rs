//! All revocations that are known now: in the keyrings of states, in configured key files, and in
//! the stored keys of key URLs.

use std::collections::BTreeSet;
use std::path::Path;

use crate::config::{Config, KeySource};
use crate::digest::ObjectId;
use crate::openpgp::Keyring;
use crate::regular_file;
use crate::storage::Storage;

/// Keyrings that may have revocations. One that cannot be read is left out: what needs it reports
/// that.
pub fn known_keyrings(
    storage: &Storage,
    config: &Config,
    keyrings: &BTreeSet<ObjectId>,
) -> Vec<Keyring> {
    let mut found = Vec::new();
    for repository in &config.repositories {
        for source in &repository.trust.keys {
            if let KeySource::File(path) = source {
                found.extend(read(path));
            }
        }
    }
    let directory = std::fs::read_dir(config.storage.keyrings_path());
    for file in directory.into_iter().flatten().flatten() {
        if file.path().extension().is_some_and(|end| end == "asc") {
            found.extend(read(&file.path()));
        }
    }
    for keyring in keyrings {
        found.extend(read_object(storage, *keyring));
    }
    found
}

fn read(path: &Path) -> Option<Keyring> {
    let bytes = regular_file::read(path);
    let keyring = bytes.map(|bytes| Keyring::parse(&bytes, &path.display().to_string()));
    match keyring {
        Ok(Ok(keyring)) => return Some(keyring),
        Ok(Err(error)) => log::debug!("no revocations from {}: {error}", path.display()),
        Err(error) => log::debug!("no revocations from {}: {error}", path.display()),
    }
    None
}

fn read_object(storage: &Storage, object: ObjectId) -> Option<Keyring> {
    let bytes = storage.pool.read_small(object).ok()??;
    Keyring::parse(&bytes, "the keyring").ok()
}
