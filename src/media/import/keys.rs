//! The keys that an imported repository is proved with: those that the importer configured, or the
//! medium's, after a person accepted them once.

use super::refusal::{NotImported, Refusal};
use super::request::MediumKeys;
use crate::config::{Config, PackageCheck, Repository, RootCheck};
use crate::digest::ObjectId;
use crate::media::error::MediaError;
use crate::names::RepoId;
use crate::openpgp::Keyring;
use crate::store::records::StateRecord;
use crate::{openpgp, trust};

/// What a repository's signatures are verified with.
pub struct Believed {
    /// `None` if there is none, and none is needed.
    pub keyring: Option<Keyring>,
    pub root: RootCheck,
    pub packages: PackageCheck,
    /// The keys are the medium's, and were not accepted before.
    pub is_new: bool,
}

/// The keys of a defined repository.
pub fn of_definition(config: &Config, definition: &Repository) -> Result<Believed, Refusal> {
    let trust = &definition.trust;
    let keyring = match trust::cached_keyring(config, definition) {
        Ok(Some(keyring)) => keyring,
        Ok(None) => return Err(Refusal::KeysNotStored),
        Err(error) => return Err(Refusal::Keys { error }),
    };
    let has_keys = !keyring.fingerprints().is_empty();
    Ok(Believed {
        keyring: has_keys.then_some(keyring),
        root: trust.root,
        packages: definition.package_check().unwrap_or(PackageCheck::Off),
        is_new: false,
    })
}

/// The keys of a repository without a definition: those that were accepted before, otherwise the
/// medium's, if a person accepts them. `read` returns the bytes of a keyring.
pub fn of_medium(
    config: &Config,
    id: &RepoId,
    states: &[&StateRecord],
    new: MediumKeys,
    read: &dyn Fn(ObjectId) -> Result<Option<Vec<u8>>, MediaError>,
) -> Result<Believed, NotImported> {
    let believed = |keyring, is_new| Believed {
        keyring: Some(keyring),
        root: RootCheck::Required,
        // What cannot be verified with known keys is not demanded.
        packages: PackageCheck::Off,
        is_new,
    };
    let pinned = match trust::pinned_keyring(&config.storage, id) {
        Ok(pinned) => pinned,
        Err(error) => return Err(Refusal::Keys { error }.into()),
    };
    if let Some(pinned) = pinned {
        return Ok(believed(pinned, false));
    }
    if states.is_empty() {
        // Merges: their proof is the exporter's signature.
        return Ok(Believed {
            keyring: None,
            root: RootCheck::Required,
            packages: PackageCheck::Off,
            is_new: false,
        });
    }
    let mut carried: Option<Keyring> = None;
    for state in states {
        let Some(object) = state.keyring else {
            return Err(Refusal::Unsigned.into());
        };
        let Some(bytes) = read(object)? else {
            return Err(Refusal::KeyringDamaged { object }.into());
        };
        match Keyring::parse(&bytes, "the keyring on the medium") {
            Ok(keyring) => match &mut carried {
                Some(carried) => carried.extend(keyring),
                None => carried = Some(keyring),
            },
            Err(error) => return Err(Refusal::Keyring { error }.into()),
        }
    }
    let Some(carried) = carried else {
        return Err(Refusal::Unsigned.into());
    };
    if states.iter().any(|state| state.signed_by().is_empty()) {
        return Err(Refusal::Unsigned.into());
    }
    if new == MediumKeys::Refuse {
        let keys: Vec<openpgp::KeySummary> = carried.keys(crate::time::now());
        let keys = keys.iter().map(|key| match &key.user_id {
            Some(user_id) => format!("{} ({user_id})", key.fingerprint),
            None => key.fingerprint.clone(),
        });
        return Err(Refusal::KeysNotAccepted {
            keys: keys.collect(),
        }
        .into());
    }
    Ok(believed(carried, true))
}
