//! The trusted keys of a repository: read from armored or binary files, merged, restricted to
//! fingerprints, written as one file.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use pgp::packet::Signature;

use crate::digest::ObjectId;

use super::armor::{self, ArmorError};
use super::certificate::{Certificate, Key, KeySummary, KeyValidity, ParsedKeys, UnusableKey};
use super::packets::FramingError;
use super::problem::{KeyProblem, Problem};

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
    #[error("{what} contains no usable public key{}", super::listed(skipped))]
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
        super::unusable(unusable)
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
        let mut cache = self
            .validity_cache
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
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
mod tests {
    use pgp::packet::SignatureType;

    use super::*;
    use crate::openpgp::testing::{
        MADE, NOW, TestKey, TestSubkey, USER_ID, key_expires_after, may_only_certify, may_sign,
    };

    fn parse(bytes: &[u8]) -> Keyring {
        Keyring::parse(bytes, "keys").unwrap()
    }

    fn fingerprints(keyring: &Keyring) -> Vec<String> {
        let keys = keyring.keys(NOW).into_iter();
        keys.map(|key| key.fingerprint).collect()
    }

    fn sorted(mut fingerprints: Vec<String>) -> Vec<String> {
        fingerprints.sort();
        fingerprints
    }

    #[test]
    fn keys_are_found_in_files_of_all_forms() {
        let (one, two) = (TestKey::new(1), TestKey::new(2));
        let both = sorted(vec![one.fingerprint(), two.fingerprint()]);
        let binary = [one.certificate(), two.certificate()].concat();
        let armored = |key: &TestKey| armor::write_public_keys(&key.certificate());
        let cases = [
            ("binary", binary.clone()),
            (
                "one armored block",
                armor::write_public_keys(&binary).into_bytes(),
            ),
            (
                "two armored blocks with text",
                format!(
                    "pub  ed25519\n\n{}\n\nuid two\n{}\n",
                    armored(&one),
                    armored(&two)
                )
                .into_bytes(),
            ),
        ];
        for (name, file) in cases {
            assert_eq!(fingerprints(&parse(&file)), both, "{name}");
        }
    }

    #[test]
    fn keys_of_unknown_kinds_are_left_out() {
        /// The fingerprint of the key of the unknown algorithm.
        const UNKNOWN: &str = "7E430314D8B6313D1F5D99B1A9CC3A596573409D";
        let key = TestKey::new(1);
        let version_3 = b"\xc6\x06\x03abcde";
        let unknown_algorithm = b"\xc6\x08\x04abcd\x63xy";
        let unknown_packet = b"\xfc\x02xy";
        let file = [
            &version_3[..],
            &key.certify("of the key before", MADE, vec![]),
            &key.certificate(),
            unknown_packet,
            unknown_algorithm,
        ]
        .concat();
        let keyring = parse(&file);
        let keys = keyring.keys(NOW);
        assert_eq!(keys.len(), 1);
        assert_eq!(keys[0].fingerprint, key.fingerprint());
        assert_eq!(keys[0].user_id.as_deref(), Some(USER_ID));
        let unusable: Vec<String> = keyring.unusable().iter().map(ToString::to_string).collect();
        assert_eq!(
            unusable,
            [
                "keys of version 3 are not supported".to_owned(),
                format!("{UNKNOWN}: version 4 keys with algorithm Unknown(99) are not supported"),
            ]
        );
        assert_eq!(
            keyring
                .unusable_named(&UNKNOWN[24..])
                .unwrap()
                .fingerprint
                .as_deref(),
            Some(UNKNOWN)
        );
        assert!(keyring.unusable_named(&key.fingerprint()).is_none());

        let error = Keyring::parse(version_3, "old.gpg").unwrap_err();
        assert_eq!(
            error.to_string(),
            "old.gpg contains no usable public key\n  keys of version 3 are not supported"
        );
    }

    #[test]
    fn files_that_are_no_keys_say_what_they_are() {
        let key = TestKey::new(1);
        let armored = armor::write_public_keys(&key.certificate());
        let secret = b"\xc5\x06\x04abcde";
        let mut keybox = vec![0, 0, 0, 32, 1, 1, 0, 2];
        keybox.extend(b"KBXf    ");
        let large = vec![0; MAX_KEYRING_BYTES + 1];
        let cases: [(&[u8], &str); 8] = [
            (
                b"",
                "k is not an OpenPGP key file: it contains neither armor nor binary packets",
            ),
            (
                b"<html>",
                "k is not an OpenPGP key file: it contains neither armor nor binary packets",
            ),
            (
                secret,
                "k contains no usable public key\n  this is a secret key: export the public key instead",
            ),
            (&key.sign(b"x"), "k contains no usable public key"),
            (
                &armored.as_bytes()[..100],
                "k has invalid armor: the armor that begins on line 1 has no end line",
            ),
            (
                &key.certificate()[..20],
                "k contains invalid OpenPGP data: the OpenPGP packet at byte 0 is truncated",
            ),
            (
                &keybox,
                "k is a GnuPG keybox, which is not supported: export its keys with `gpg --export`",
            ),
            (&large, "k is too large: 8388609 bytes, limit 8388608 bytes"),
        ];
        for (file, message) in cases {
            let error = Keyring::parse(file, "k").unwrap_err();
            assert_eq!(error.to_string(), message);
        }
    }

    #[test]
    fn copies_of_a_key_are_merged() {
        let (key, subkey) = (TestKey::new(1), TestSubkey::new(3));
        let expiring = key.certify(USER_ID, MADE, vec![may_sign(), key_expires_after(10)]);
        let old = [key.packet(), expiring].concat();
        let binding = key.bind(
            &subkey,
            SignatureType::SubkeyBinding,
            MADE,
            vec![may_sign(), subkey.back(&key)],
        );
        let extended = key.certify(USER_ID, MADE + 5, vec![may_only_certify()]);
        let new = [key.packet(), extended, subkey.packet(), binding].concat();

        let in_one_file = parse(&[old.clone(), new.clone()].concat());
        let mut in_two_files = parse(&new);
        in_two_files.extend(parse(&old));
        for keyring in [in_one_file, in_two_files] {
            let keys = keyring.keys(NOW);
            assert_eq!(keys.len(), 1);
            assert_eq!(keys[0].expires, None);
            assert_eq!(keys[0].subkeys[0].fingerprint, subkey.fingerprint());
            assert_eq!(keys[0].subkeys[0].problem, None);
        }
    }

    #[test]
    fn a_keyring_survives_its_file_and_strangers_do_not() {
        let (key, stranger) = (TestKey::new(1), TestKey::new(2));
        let file = [
            key.certificate(),
            stranger.certify("a stranger's certification", MADE, vec![]),
        ]
        .concat();
        let keyring = parse(&file);
        let text = keyring.to_armored();
        assert_eq!(text, armor::write_public_keys(&key.certificate()));
        let again = parse(text.as_bytes());
        assert_eq!(again.keys(NOW), keyring.keys(NOW));
        assert_eq!(again.to_armored(), text);
    }

    #[test]
    fn user_ids_are_at_most_as_long_as_in_gpg() {
        let key = TestKey::new(1);
        let length_of_newest = |length| {
            let newer = key.certify(&"u".repeat(length), MADE + 1, vec![]);
            let keyring = parse(&[key.certificate(), newer].concat());
            keyring.keys(NOW)[0].user_id.as_ref().unwrap().len()
        };
        assert_eq!(length_of_newest(2048), 2048);
        assert_eq!(length_of_newest(2049), USER_ID.len());
    }

    #[test]
    fn every_form_holds_every_key() {
        let (one, two) = (TestKey::new(1), TestKey::new(2));
        let keyring = parse(&[one.certificate(), two.certificate()].concat());
        let binary = keyring.to_binary();
        let blocks = |text: &str| armor::read(text.as_bytes(), 1).unwrap().blocks.len();
        let (block, each) = (keyring.to_armored(), keyring.to_armored_each());
        assert_eq!((blocks(&block), blocks(&each)), (1, 2));
        for form in [&binary[..], block.as_bytes(), each.as_bytes()] {
            assert_eq!(parse(form).to_binary(), binary);
        }
        assert_eq!(parse(&binary).keys(NOW), keyring.keys(NOW));
    }

    #[test]
    fn only_configured_fingerprints_are_kept() {
        let (one, two, subkey) = (TestKey::new(1), TestKey::new(2), TestSubkey::new(3));
        let binding = one.bind(&subkey, SignatureType::SubkeyBinding, MADE, vec![]);
        let file = [
            one.certificate(),
            subkey.packet(),
            binding,
            two.certificate(),
        ]
        .concat();
        let keyring = parse(&file);

        let mut spaced = one.fingerprint().to_lowercase();
        spaced.insert(20, ' ');
        spaced.insert(4, ' ');
        let mut kept = keyring.clone();
        kept.retain_fingerprints(&[spaced]).unwrap();
        assert_eq!(fingerprints(&kept), [one.fingerprint()]);

        let absent = "A".repeat(40);
        let cases = [
            (
                "0x1234",
                KeyringError::NotFingerprint {
                    text: "0x1234".to_owned(),
                },
            ),
            (
                &absent,
                KeyringError::NotAmongKeys {
                    missing: vec![absent.clone()],
                    available: sorted(vec![one.fingerprint(), two.fingerprint()]),
                    unusable: Vec::new(),
                },
            ),
            (
                &subkey.fingerprint(),
                KeyringError::Subkey {
                    fingerprint: subkey.fingerprint(),
                    primary: one.fingerprint(),
                },
            ),
        ];
        for (wanted, error) in cases {
            let mut keyring = keyring.clone();
            let wanted = [one.fingerprint(), wanted.to_owned()];
            assert_eq!(keyring.retain_fingerprints(&wanted), Err(error));
            assert_eq!(keyring.keys(NOW).len(), 2);
        }
    }
}
