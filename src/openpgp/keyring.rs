//! The trusted keys of a repository: read from armored or binary files, merged, restricted to
//! fingerprints, written as one file.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use pgp::packet::Signature;

use crate::digest::ObjectId;
use crate::threads::lock;

use super::armor::{self, ArmorError};
use super::certificate::{
    Certificate, Key, KeySummary, KeyValidity, ParsedKeys, UnusableKey, list_unusable,
};
use super::packets::FramingError;
use super::problem::{KeyProblem, Problem, listed};

/// The largest key file. The keyring of all keys that Debian ever used for archives is below 100
/// KB.
const MAX_KEYRING_BYTES: usize = 8 << 20;

/// Trusted keys. Every key in it may sign, so it is never shared between repositories.
#[derive(Clone, Debug, Default)]
pub struct Keyring {
    /// By the primary key's fingerprint in uppercase hexadecimal.
    certificates: BTreeMap<String, Certificate>,
    /// Unusable keys of the same files, only for messages.
    unusable: BTreeSet<UnusableKey>,
    unusable_subkeys: BTreeSet<UnusableKey>,
    policy: Policy,
    validity_cache: ValidityCache,
}

/// Results of [`Keyring::validity`], by time and fingerprint: each costs several verifications, and
/// thousands of packages have the same signer.
#[derive(Clone, Debug, Default)]
struct ValidityCache(Arc<Mutex<BTreeMap<(i64, String), CachedValidity>>>);

/// The validity of a key, and the user id of its certificate.
type CachedValidity = (Result<KeyValidity, KeyProblem>, String);

/// Exceptions that the configuration allows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Digests such as MD5 and SHA-1, RSA and DSA keys below 2048 bits: such signatures can be
    /// forged.
    pub allow_weak_signatures: bool,
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum KeyringError {
    #[error("{what} is too large: {size} bytes, limit {limit} bytes")]
    TooLarge {
        what: String,
        size: usize,
        limit: usize,
    },
    #[error(
        "{what} is a GnuPG keybox, which is not supported: export its keys with `gpg --export`"
    )]
    Keybox { what: String },
    #[error("{what} is not an OpenPGP key file: it contains neither armor nor binary packets")]
    NotKeys { what: String },
    #[error("{what} has invalid armor: {why}")]
    Armor { what: String, why: ArmorError },
    #[error("{what} contains invalid OpenPGP data: {why}")]
    Framing { what: String, why: FramingError },
    #[error("{what} contains no usable public key{}", listed(skipped))]
    NoKey {
        what: String,
        /// The skipped keys.
        skipped: Vec<UnusableKey>,
    },
    #[error("{text:?} is not a valid fingerprint (expected 40 or 64 hexadecimal digits)")]
    NotFingerprint { text: String },
    #[error(
        "no key has the fingerprint {}, available: {}{}",
        missing.join(", "),
        available.join(", "),
        list_unusable(unusable)
    )]
    NotAmongKeys {
        missing: Vec<String>,
        available: Vec<String>,
        unusable: Vec<UnusableKey>,
    },
    #[error("{fingerprint} is a subkey: specify its primary key {primary}")]
    Subkey {
        fingerprint: String,
        primary: String,
    },
}

impl Keyring {
    /// Reads a key file, armored or binary, with any number of keys. Keys of unknown types are
    /// skipped; it is an error if there are no others. `what` names the file in errors.
    pub fn parse(bytes: &[u8], what: &str) -> Result<Self, KeyringError> {
        let what = || what.to_owned();
        if bytes.len() > MAX_KEYRING_BYTES {
            return Err(KeyringError::TooLarge {
                what: what(),
                size: bytes.len(),
                limit: MAX_KEYRING_BYTES,
            });
        }
        let mut found = ParsedKeys::default();
        let mut read = |packets: &[u8]| {
            found
                .read(packets)
                .map_err(|why| KeyringError::Framing { what: what(), why })
        };
        if armor::is_armored(bytes) {
            let armored =
                armor::read(bytes, 1).map_err(|why| KeyringError::Armor { what: what(), why })?;
            for block in armored.blocks {
                read(&block.packets)?;
            }
        } else if bytes.get(8..12) == Some(b"KBXf") {
            return Err(KeyringError::Keybox { what: what() });
        } else if bytes.first().is_some_and(|first| first & 0x80 != 0) {
            read(bytes)?;
        } else {
            return Err(KeyringError::NotKeys { what: what() });
        }

        let ParsedKeys {
            certificates,
            mut skipped,
            skipped_subkeys,
        } = found;
        for key in skipped.iter().chain(&skipped_subkeys) {
            log::debug!("{}: key skipped: {key}", what());
        }
        if certificates.is_empty() {
            skipped.sort();
            skipped.dedup();
            return Err(KeyringError::NoKey {
                what: what(),
                skipped,
            });
        }
        let mut keyring = Self {
            unusable: skipped.into_iter().collect(),
            unusable_subkeys: skipped_subkeys.into_iter().collect(),
            ..Self::default()
        };
        for certificate in certificates {
            keyring.insert(certificate);
        }
        Ok(keyring)
    }

    /// A keyring of one key.
    pub(super) fn of(certificate: Certificate) -> Self {
        let mut keyring = Self::default();
        keyring.insert(certificate);
        keyring
    }

    fn insert(&mut self, certificate: Certificate) {
        use std::collections::btree_map::Entry;
        self.validity_cache = ValidityCache::default();
        match self.certificates.entry(certificate.fingerprint()) {
            Entry::Vacant(entry) => {
                entry.insert(certificate);
            }
            Entry::Occupied(mut entry) => entry.get_mut().merge(certificate),
        }
    }

    /// Adds the keys of another keyring. Copies of the same key are merged, including new expiry
    /// dates and revocations.
    pub fn extend(&mut self, other: Self) {
        for certificate in other.certificates.into_values() {
            self.insert(certificate);
        }
        self.unusable.extend(other.unusable);
        self.unusable_subkeys.extend(other.unusable_subkeys);
    }

    /// Adds the revocations that other copies of these keys have, and nothing else of them.
    pub fn add_revocations(&mut self, other: &Self) {
        self.validity_cache = ValidityCache::default();
        for (fingerprint, certificate) in &mut self.certificates {
            if let Some(copy) = other.certificates.get(fingerprint) {
                certificate.add_revocations(copy);
            }
        }
    }

    /// The unusable primary keys of its files.
    pub(super) fn unusable(&self) -> Vec<UnusableKey> {
        self.unusable.iter().cloned().collect()
    }

    /// The unusable key that a signature names as its issuer, by fingerprint or key id.
    pub(super) fn unusable_named(&self, named: &str) -> Option<&UnusableKey> {
        let mut keys = self.unusable.iter().chain(&self.unusable_subkeys);
        keys.find(|key| key.is_named(named))
    }

    #[must_use]
    pub fn with_policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }

    pub(super) fn policy(&self) -> Policy {
        self.policy
    }

    /// The primary keys' fingerprints, in order.
    pub fn fingerprints(&self) -> Vec<String> {
        self.certificates.keys().cloned().collect()
    }

    /// All keys by fingerprint, with their validity at a time in seconds since the epoch.
    pub fn keys(&self, now: i64) -> Vec<KeySummary> {
        self.certificates
            .values()
            .map(|certificate| certificate.summary(now))
            .collect()
    }

    /// Keeps only the keys with these primary fingerprints, in uppercase or lowercase, with or
    /// without spaces. A fingerprint without a key is an error, because that key is expected; on an
    /// error nothing changes.
    pub fn retain_fingerprints(&mut self, wanted: &[String]) -> Result<(), KeyringError> {
        let wanted: Vec<String> = wanted
            .iter()
            .map(|text| normalized(text))
            .collect::<Result<_, _>>()?;
        let mut missing = Vec::new();
        for fingerprint in &wanted {
            if self.certificates.contains_key(fingerprint) {
                continue;
            }
            if let Some(primary) = self.primary_of(fingerprint) {
                return Err(KeyringError::Subkey {
                    fingerprint: fingerprint.clone(),
                    primary,
                });
            }
            missing.push(fingerprint.clone());
        }
        if !missing.is_empty() {
            return Err(KeyringError::NotAmongKeys {
                missing,
                available: self.certificates.keys().cloned().collect(),
                unusable: self.unusable(),
            });
        }
        self.certificates
            .retain(|fingerprint, _| wanted.contains(fingerprint));
        Ok(())
    }

    /// Keeps only some keys, by their primary fingerprints.
    pub fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        self.certificates.retain(|fingerprint, _| keep(fingerprint));
    }

    fn primary_of(&self, subkey: &str) -> Option<String> {
        self.certificates
            .iter()
            .find(|(_, certificate)| {
                certificate
                    .keys()
                    .any(|key| certificate.key_fingerprint(key) == subkey)
            })
            .map(|(primary, _)| primary.clone())
    }

    /// All keys in binary form, for gpgv and apt: equal keyrings give equal bytes. Third-party
    /// certifications, photo ids and keys that cannot sign are not included.
    pub fn to_binary(&self) -> Vec<u8> {
        let mut packets = Vec::new();
        for certificate in self.certificates.values() {
            certificate.write(&mut packets);
        }
        packets
    }

    /// All keys in one armored block: older versions of apt read only the first one.
    pub fn to_armored(&self) -> String {
        armor::write_public_keys(&self.to_binary())
    }

    /// All keys with an armored block for each, as distributions ship them for rpm and dnf.
    pub fn to_armored_each(&self) -> String {
        let armored = |certificate: &Certificate| {
            let mut packets = Vec::new();
            certificate.write(&mut packets);
            armor::write_public_keys(&packets)
        };
        self.certificates.values().map(armored).collect()
    }

    /// An id that changes when the keys or the policy change.
    pub fn id(&self) -> ObjectId {
        let mut facts = format!("{:?}\n", self.policy).into_bytes();
        for certificate in self.certificates.values() {
            certificate.write(&mut facts);
        }
        ObjectId::of(&facts)
    }

    /// The validity of a key according to signatures made by `now`, and the user id of its
    /// certificate.
    pub(super) fn validity(
        &self,
        certificate: &Certificate,
        key: Key,
        now: i64,
    ) -> Result<(KeyValidity, String), Problem> {
        let mut cache = lock(&self.validity_cache.0);
        let at = (now, certificate.key_fingerprint(key));
        let (validity, user_id) = cache.entry(at).or_insert_with(|| {
            let user_id = certificate.user_id(now).unwrap_or_default();
            (certificate.validity(key, now), user_id)
        });
        let validity = validity.clone().map_err(Problem::Key)?;
        Ok((validity, user_id.clone()))
    }

    /// The keys and subkeys that may have made a signature.
    pub(super) fn keys_named_by<'a>(
        &'a self,
        signature: &'a Signature,
    ) -> impl Iterator<Item = (&'a Certificate, Key<'a>)> {
        self.certificates.values().flat_map(move |certificate| {
            certificate
                .keys()
                .filter(move |key| certificate.is_named_by(*key, signature))
                .map(move |key| (certificate, key))
        })
    }
}

/// A fingerprint in normalized form: uppercase, without spaces.
fn normalized(text: &str) -> Result<String, KeyringError> {
    let fingerprint: String = text
        .chars()
        .filter(|character| !character.is_whitespace())
        .map(|character| character.to_ascii_uppercase())
        .collect();
    let is_hex = fingerprint.bytes().all(|digit| digit.is_ascii_hexdigit());
    if is_hex && matches!(fingerprint.len(), 40 | 64) {
        Ok(fingerprint)
    } else {
        Err(KeyringError::NotFingerprint {
            text: text.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests;
