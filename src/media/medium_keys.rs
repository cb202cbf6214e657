//! The keys of a repository that a medium carries, for `repo trust --from-medium`.

use std::path::Path;

use super::error::MediaError;
use super::import::trusted_keys;
use crate::config::Config;
use crate::digest::ObjectRef;
use crate::names::RepoId;
use crate::openpgp::Keyring;
use crate::storage::Storage;
use crate::transfer::{Contents, Folder, PackedManifest};

/// The keys that a repository was synced with, according to the newest transfer of the medium that
/// has it. The transfer must be signed and for this host.
pub fn keys_of_medium(
    storage: &Storage,
    config: &Config,
    medium: &Path,
    repository: &RepoId,
) -> Result<Keyring, MediaError> {
    let here = config.media.destination.as_ref();
    let here = here.ok_or(MediaError::NoDestination)?;
    let trusted = trusted_keys(config)?;
    let mut newest: Option<(i64, Keyring)> = None;
    let mut failed = None;
    for folder in Folder::find(medium)? {
        // Another transfer may be broken.
        let open = || {
            let packed = PackedManifest::read(&folder)?;
            Contents::read(&packed.verified(&trusted)?, &mut |_, _| {})
        };
        let contents = match open() {
            Ok(contents) => contents,
            Err(error) => {
                failed = Some(error);
                continue;
            }
        };
        let header = &contents.header;
        let Some(carried) = header.repositories.get(repository) else {
            continue;
        };
        if header.destination != *here
            || newest.as_ref().is_some_and(|(at, _)| *at > header.made_at)
        {
            continue;
        }
        let sizes = contents.sizes();
        let mut keyring = Keyring::default();
        for object in carried.states().filter_map(|state| state.keyring) {
            let bytes = match sizes.get(&object) {
                Some(size) => folder.read_small(ObjectRef {
                    object,
                    size: *size,
                }),
                None => storage.pool.read_small(object)?,
            };
            let bytes = bytes.ok_or(MediaError::KeyringMissing { object })?;
            let keys = Keyring::parse(&bytes, "the keyring on the medium")
                .map_err(|error| MediaError::MediumKeyring(error.to_string()))?;
            keyring.extend(keys);
        }
        newest = Some((header.made_at, keyring));
    }
    let keyring = newest.map(|(_, keyring)| keyring).unwrap_or_default();
    if keyring.fingerprints().is_empty() {
        if let Some(error) = failed {
            return Err(error.into());
        }
        return Err(MediaError::NoKeysOnMedium {
            repository: repository.clone(),
        });
    }
    Ok(keyring)
}
