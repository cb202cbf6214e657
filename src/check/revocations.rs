//! All revocations that are known now: in the keyrings of states, in configured key files, and in
//! the stored keys of key URLs.

use std::collections::BTreeSet;
use std::path::Path;

use crate::config::{Config, KeySource};
use crate::digest::ObjectId;
use crate::openpgp::Keyring;
use crate::regular_file;
use crate::storage::Storage;

/// Keyrings that may have revocations. A file that cannot be read is noted: a revocation in it would
/// be missed.
pub fn known_keyrings(
    storage: &Storage,
    config: &Config,
    keyrings: &BTreeSet<ObjectId>,
    notes: &mut Vec<String>,
) -> Vec<Keyring> {
    let mut files = BTreeSet::new();
    for repository in &config.repositories {
        for source in &repository.trust.keys {
            if let KeySource::File(path) = source {
                files.insert(path.clone());
            }
        }
    }
    let directory = std::fs::read_dir(config.storage.keyrings_path());
    let stored = directory.into_iter().flatten().flatten();
    let stored = stored.map(|file| file.path());
    files.extend(stored.filter(|path| path.extension().is_some_and(|end| end == "asc")));
    let mut found = Vec::new();
    for path in files {
        match read(&path) {
            Ok(keyring) => found.push(keyring),
            Err(why) => notes.push(format!("revocations are not known from {why}")),
        }
    }
    for keyring in keyrings {
        found.extend(read_object(storage, *keyring));
    }
    found
}

/// The error names the file.
fn read(path: &Path) -> Result<Keyring, String> {
    let name = path.display().to_string();
    let bytes = regular_file::read(path).map_err(|error| format!("{name}: {error}"))?;
    Keyring::parse(&bytes, &name).map_err(|error| error.to_string())
}

fn read_object(storage: &Storage, object: ObjectId) -> Option<Keyring> {
    let bytes = storage.pool.read_small(object).ok()??;
    Keyring::parse(&bytes, "the keyring").ok()
}
