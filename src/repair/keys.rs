//! Keyrings and key files for clients: made again from the keys that are known here, if that gives
//! the same bytes.

use std::collections::{HashMap, HashSet};

use super::context::RepairContext;
use super::error::RepairError;
use super::outcome::RepairSource;
use crate::config::{self, Config};
use crate::digest::ObjectId;
use crate::names::RepoId;
use crate::openpgp::{Keyring, SigningKey};
use crate::rel_path::RelPath;
use crate::repo_format::RepoFormat;
use crate::storage::Storage;
use crate::store::Reader;
use crate::trust;

/// Restores those of the wanted objects that consist of known keys.
pub fn restore(
    context: RepairContext<'_>,
    wanted: &HashSet<ObjectId>,
) -> Result<HashMap<ObjectId, RepairSource>, RepairError> {
    let RepairContext {
        config, storage, ..
    } = context;
    let mut restored = HashMap::new();
    let names = key_names(storage, config)?;
    let own = signing_key(context);
    let of_own = own.iter().flat_map(files_with_own_key);
    let mut candidates: Vec<Vec<u8>> = of_own.collect();
    for keyring in known_keyrings(storage, config)? {
        candidates.push(keyring.to_binary());
        for (format, name) in &names {
            let files = format.rules().key_files(name, &keyring).into_iter();
            candidates.extend(files.map(|file| file.bytes));
        }
        if let Some(mut both) = own.clone() {
            both.extend(keyring);
            candidates.extend(files_with_own_key(&both));
        }
        for bytes in candidates.drain(..) {
            let object = ObjectId::of(&bytes);
            if wanted.contains(&object) && !restored.contains_key(&object) {
                storage.pool.add(&storage.locks, &bytes)?;
                restored.insert(object, RepairSource::Keys);
            }
        }
    }
    Ok(restored)
}

/// The forms in which the key that signs generated roots is published: alone, or with the keys of
/// the upstream.
fn files_with_own_key(keyring: &Keyring) -> [Vec<u8>; 2] {
    [keyring.to_binary(), keyring.to_armored().into_bytes()]
}

fn signing_key(context: RepairContext<'_>) -> Option<Keyring> {
    match context.key.read() {
        Ok(key) => key.map(SigningKey::public),
        Err(error) => {
            log::debug!("{error}");
            None
        }
    }
}

/// The configured keys, and the keyrings of stored states that are intact.
fn known_keyrings(storage: &Storage, config: &Config) -> Result<Vec<Keyring>, RepairError> {
    let mut keyrings = Vec::new();
    for repository in &config.repositories {
        match trust::cached_keyring(config, repository) {
            Ok(keyring) => keyrings.extend(keyring),
            Err(error) => log::debug!("{}: {error}", repository.id),
        }
    }
    for object in storage.read(Reader::keyrings)? {
        let bytes = storage.pool.read_small(object)?;
        let parsed = bytes.map(|bytes| Keyring::parse(&bytes, "keyring"));
        keyrings.extend(parsed.and_then(Result::ok));
    }
    Ok(keyrings)
}

/// The names of key files: as configured, and the default ones of other repositories.
fn key_names(
    storage: &Storage,
    config: &Config,
) -> Result<Vec<(RepoFormat, RelPath)>, RepairError> {
    let configured = config.repositories.iter();
    let mut names: Vec<(RepoFormat, RelPath)> = configured
        .map(|repository| {
            let name = repository.publish.key_name.clone();
            (repository.format.kind(), name)
        })
        .collect();
    let (repositories, snapshots) =
        storage.read(|reader| Ok((reader.repositories()?, reader.snapshots()?)))?;
    let states = repositories
        .into_iter()
        .map(|(repository, record)| (repository, record.state.format));
    let snapshots = snapshots
        .into_iter()
        .map(|((repository, _), record)| (repository, record.state.format));
    let stored: HashMap<RepoId, RepoFormat> = states.chain(snapshots).collect();
    let unknown = stored.into_iter();
    let unknown = unknown.filter(|(repository, _)| config.repository(repository).is_none());
    names.extend(unknown.map(|(repository, format)| {
        let name = config::default_key_name(format, &repository);
        (format, name)
    }));
    Ok(names)
}
