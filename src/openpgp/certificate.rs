//! A certificate: a primary key, its user ids, its subkeys, and the signatures of the primary key
//! over them.
//!
//! Only signatures by the primary key are kept: third-party certifications do not matter here, and
//! some published keys have thousands of them.

use std::collections::BTreeMap;
use std::fmt;

use pgp::crypto::public_key::PublicKeyAlgorithm;
use pgp::packet::{PublicKey, PublicSubkey, Signature, SignatureType};
use pgp::types::{
    EcdsaPublicParams, EddsaLegacyPublicParams, KeyDetails, KeyVersion, PublicParams, Tag,
};

use super::composite::{Verifier, is_composite};
use super::hasher::is_collision_resistant;
use super::packets::{self, FramingError, Packets, RawPacket};
use super::problem::{KeyProblem, Revocation};
use super::streaming::UnverifiedSignature;

/// The validity of one key according to the signatures of its certificate.
#[derive(Clone, Debug)]
pub(super) struct KeyValidity {
    pub(super) created: i64,
    pub(super) expires: Option<i64>,
    pub(super) revoked: Option<Revocation>,
    pub(super) signing: SigningCapability,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SigningCapability {
    Allowed,
    NotAllowed,
    NoBackSignature,
}

/// How many unusable keys a message lists.
const UNUSABLE_SHOWN: usize = 5;
/// The largest user id, as in gpg. Each of its signatures costs a pass over it.
pub(super) const MAX_USER_ID_BYTES: usize = 2048;

/// Signatures by packet body, so that merging two copies of a certificate removes duplicates.
pub(super) type Signatures = BTreeMap<Vec<u8>, Signature>;

/// A certificate whose signatures are not verified yet; `Certificate::validity` does that.
#[derive(Clone, Debug)]
pub(super) struct Certificate {
    pub(super) primary: PublicKey,
    primary_body: Vec<u8>,
    /// Direct-key signatures and revocations of the whole certificate.
    pub(super) direct: Signatures,
    pub(super) user_ids: BTreeMap<Vec<u8>, Signatures>,
    subkeys: BTreeMap<Vec<u8>, Subkey>,
}

#[derive(Clone, Debug)]
pub(super) struct Subkey {
    pub(super) key: PublicSubkey,
    pub(super) signatures: Signatures,
}

/// One key of a certificate.
#[derive(Clone, Copy, Debug)]
pub(super) enum Key<'a> {
    Primary,
    Subkey(&'a Subkey),
}

/// A summary of a key for users. Times are in seconds since the epoch, fingerprints in uppercase
/// hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySummary {
    pub fingerprint: String,
    /// Untrusted text: escape it before it reaches a terminal. `None` for subkeys and keys without
    /// a user id.
    pub user_id: Option<String>,
    pub created: i64,
    pub expires: Option<i64>,
    pub revoked: Option<Revocation>,
    /// Why new signatures of this key are not accepted.
    pub problem: Option<KeyProblem>,
    /// The subkeys whose algorithm can sign.
    pub subkeys: Vec<KeySummary>,
}

impl KeySummary {
    /// Why new signatures of this key and its subkeys are not accepted.
    pub fn signing_problem(&self) -> Option<&KeyProblem> {
        let own = self.problem.as_ref()?;
        if self.subkeys.iter().any(|subkey| subkey.problem.is_none()) {
            return None;
        }
        // If the primary key is not a signing key, the problem of a subkey is more useful.
        let mut problems = std::iter::once(own).chain(
            self.subkeys
                .iter()
                .filter_map(|subkey| subkey.problem.as_ref()),
        );
        let is_about_purpose = |problem: &&KeyProblem| **problem == KeyProblem::NotForSigning;
        Some(
            problems
                .find(|problem| !is_about_purpose(problem))
                .unwrap_or(own),
        )
    }
}

/// The keys in the packets of a file.
#[derive(Debug, Default)]
pub(super) struct ParsedKeys {
    pub certificates: Vec<Certificate>,
    /// Primary keys that were skipped.
    pub skipped: Vec<UnusableKey>,
    /// Skipped subkeys that may be signing keys, of any primary key.
    pub skipped_subkeys: Vec<UnusableKey>,
}

/// A key of a key file that cannot verify signatures.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct UnusableKey {
    /// In uppercase hexadecimal; `None` if it cannot be computed.
    pub fingerprint: Option<String>,
    pub reason: String,
}

impl UnusableKey {
    fn unnamed(reason: impl Into<String>) -> Self {
        Self {
            fingerprint: None,
            reason: reason.into(),
        }
    }

    fn unsupported(key: &impl KeyDetails) -> Self {
        let (version, algorithm) = (u8::from(key.version()), key.algorithm());
        Self {
            fingerprint: Some(format!("{:X}", key.fingerprint())),
            reason: format!(
                "version {version} keys with algorithm {algorithm:?} are not supported"
            ),
        }
    }

    /// Whether a signature names this key as its issuer: `named` is a fingerprint or a key id.
    pub fn is_named(&self, named: &str) -> bool {
        let fingerprint = self.fingerprint.as_ref();
        fingerprint.is_some_and(|fingerprint| match fingerprint.len() {
            // The key id is the end of a version 4 fingerprint, and the beginning of a newer one.
            40 => fingerprint.ends_with(named),
            _ => fingerprint.starts_with(named),
        })
    }
}

impl fmt::Display for UnusableKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.fingerprint {
            Some(fingerprint) => write!(f, "{fingerprint}: {}", self.reason),
            None => f.write_str(&self.reason),
        }
    }
}

/// Lists the unusable keys in a message about an unknown key, which may be one of them.
pub fn list_unusable(keys: &[UnusableKey]) -> String {
    if keys.is_empty() {
        return String::new();
    }
    let mut text = "\n  unusable keys in the key files:".to_owned();
    for key in keys.iter().take(UNUSABLE_SHOWN) {
        text += &format!("\n    {key}");
    }
    if let Some(more @ 1..) = keys.len().checked_sub(UNUSABLE_SHOWN) {
        text += &format!("\n    and {more} more");
    }
    text
}

/// What a signature packet applies to: the packet before it.
enum Section<'a> {
    Direct,
    UserId(&'a [u8]),
    Subkey(&'a [u8], Box<PublicSubkey>),
    Ignored,
}

impl ParsedKeys {
    /// Reads certificates from packets; unknown ones are skipped.
    pub fn read(&mut self, bytes: &[u8]) -> Result<(), FramingError> {
        let mut current = None;
        // Why the current primary key cannot be used.
        let mut above: Option<String> = None;
        let mut section = Section::Ignored;
        for packet in Packets::new(bytes) {
            let packet = packet?;
            match packet.tag() {
                Tag::PublicKey => {
                    self.certificates.extend(current.take());
                    above = None;
                    match Certificate::new(&packet) {
                        Ok(certificate) => current = Some(certificate),
                        Err(key) => {
                            above = Some(key.reason.clone());
                            self.skipped.push(key);
                        }
                    }
                    section = Section::Direct;
                }
                Tag::SecretKey => {
                    self.certificates.extend(current.take());
                    above = None;
                    self.skipped.push(UnusableKey::unnamed(
                        "this is a secret key: export the public key instead",
                    ));
                }
                Tag::UserId if packet.body.len() <= MAX_USER_ID_BYTES => {
                    section = Section::UserId(packet.body);
                }
                Tag::PublicSubkey => {
                    section = Section::Ignored;
                    match (packet.public_subkey(), &above) {
                        (Some(key), None) if is_supported(&key) => {
                            section = Section::Subkey(packet.body, Box::new(key));
                        }
                        (Some(key), _) if is_for_encryption(&key) => {}
                        (Some(key), above) => {
                            let mut subkey = UnusableKey::unsupported(&key);
                            if let Some(reason) = above {
                                subkey.reason = format!("primary key: {reason}");
                            }
                            self.skipped_subkeys.push(subkey);
                        }
                        (None, _) => {}
                    }
                }
                Tag::Signature => {
                    if let Some(certificate) = &mut current {
                        certificate.add_signature(&section, &packet);
                    }
                }
                Tag::Marker | Tag::Trust | Tag::Padding => {}
                _ => section = Section::Ignored,
            }
        }
        self.certificates.extend(current);
        Ok(())
    }
}

impl Certificate {
    fn new(packet: &RawPacket) -> Result<Self, UnusableKey> {
        let primary = packet
            .public_key()
            .ok_or_else(|| match packet.body.first() {
                Some(version @ (2 | 3 | 5)) => {
                    UnusableKey::unnamed(format!("keys of version {version} are not supported"))
                }
                _ => UnusableKey::unnamed("the key packet is damaged or of an unknown type"),
            })?;
        if !is_supported(&primary) {
            return Err(UnusableKey::unsupported(&primary));
        }
        Ok(Self {
            primary,
            primary_body: packet.body.to_vec(),
            direct: Signatures::new(),
            user_ids: BTreeMap::new(),
            subkeys: BTreeMap::new(),
        })
    }

    fn add_signature(&mut self, section: &Section, packet: &RawPacket) {
        use SignatureType as Type;
        let Some(signature) = packet.signature() else {
            return;
        };
        if !self.looks_like_self_signature(&signature) {
            return;
        }
        let signatures = match (section, signature.typ()) {
            (Section::Direct, Some(Type::Key | Type::KeyRevocation)) => &mut self.direct,
            (
                Section::UserId(user_id),
                Some(
                    Type::CertGeneric
                    | Type::CertPersona
                    | Type::CertCasual
                    | Type::CertPositive
                    | Type::CertRevocation,
                ),
            ) => self.user_ids.entry(user_id.to_vec()).or_default(),
            (Section::Subkey(body, key), Some(Type::SubkeyBinding | Type::SubkeyRevocation)) => {
                let subkey = self.subkeys.entry(body.to_vec());
                &mut subkey
                    .or_insert_with(|| Subkey {
                        key: key.as_ref().clone(),
                        signatures: Signatures::new(),
                    })
                    .signatures
            }
            _ => return,
        };
        signatures.insert(packet.body.to_vec(), signature);
    }

    fn looks_like_self_signature(&self, signature: &Signature) -> bool {
        let fingerprints = signature.issuer_fingerprint();
        if fingerprints.is_empty() {
            let id = self.primary.legacy_key_id();
            signature.issuer_key_id().contains(&&id)
        } else {
            fingerprints.contains(&&self.primary.fingerprint())
        }
    }

    /// Merges another copy of the same certificate.
    pub fn merge(&mut self, other: Self) {
        self.direct.extend(other.direct);
        for (user_id, signatures) in other.user_ids {
            self.user_ids.entry(user_id).or_default().extend(signatures);
        }
        for (body, subkey) in other.subkeys {
            match self.subkeys.entry(body) {
                std::collections::btree_map::Entry::Vacant(entry) => {
                    entry.insert(subkey);
                }
                std::collections::btree_map::Entry::Occupied(mut entry) => {
                    entry.get_mut().signatures.extend(subkey.signatures);
                }
            }
        }
    }

    /// Copies the revocations of the key and its subkeys from another copy of the certificate.
    pub fn add_revocations(&mut self, other: &Self) {
        fn copy(kind: SignatureType, from: &Signatures, to: &mut Signatures) {
            let revokes = |(_, signature): &(&Vec<u8>, &Signature)| signature.typ() == Some(kind);
            let revocations = from.iter().filter(revokes);
            to.extend(revocations.map(|(body, signature)| (body.clone(), signature.clone())));
        }
        let kind = SignatureType::KeyRevocation;
        copy(kind, &other.direct, &mut self.direct);
        for (body, subkey) in &mut self.subkeys {
            if let Some(other) = other.subkeys.get(body) {
                let kind = SignatureType::SubkeyRevocation;
                copy(kind, &other.signatures, &mut subkey.signatures);
            }
        }
    }

    /// A copy without self-signatures by SHA-1 or weaker; revocations are kept.
    pub fn without_weak_signatures(&self) -> Self {
        let is_strong = |_: &Vec<u8>, signature: &mut Signature| {
            let revokes = matches!(
                signature.typ(),
                Some(
                    SignatureType::KeyRevocation
                        | SignatureType::SubkeyRevocation
                        | SignatureType::CertRevocation
                )
            );
            revokes || signature.hash_alg().is_some_and(is_collision_resistant)
        };
        let mut strong = self.clone();
        strong.direct.retain(is_strong);
        for signatures in strong.user_ids.values_mut() {
            signatures.retain(is_strong);
        }
        for subkey in strong.subkeys.values_mut() {
            subkey.signatures.retain(is_strong);
        }
        strong
    }

    /// Appends all packets in order.
    pub fn write(&self, out: &mut Vec<u8>) {
        fn write_signatures(out: &mut Vec<u8>, signatures: &Signatures) {
            for body in signatures.keys() {
                packets::write(out, Tag::Signature, body);
            }
        }
        packets::write(out, Tag::PublicKey, &self.primary_body);
        write_signatures(out, &self.direct);
        for (user_id, signatures) in &self.user_ids {
            packets::write(out, Tag::UserId, user_id);
            write_signatures(out, signatures);
        }
        for (body, subkey) in &self.subkeys {
            packets::write(out, Tag::PublicSubkey, body);
            write_signatures(out, &subkey.signatures);
        }
    }

    /// Of the primary key, in uppercase hexadecimal.
    pub fn fingerprint(&self) -> String {
        self.key_fingerprint(Key::Primary)
    }

    pub fn keys(&self) -> impl Iterator<Item = Key<'_>> {
        std::iter::once(Key::Primary).chain(self.subkeys.values().map(Key::Subkey))
    }

    pub fn key_fingerprint(&self, key: Key) -> String {
        match key {
            Key::Primary => format!("{:X}", self.primary.fingerprint()),
            Key::Subkey(subkey) => format!("{:X}", subkey.key.fingerprint()),
        }
    }

    /// Whether the signature names this key as its issuer: by fingerprint, or by key id if it has
    /// no fingerprint.
    pub fn is_named_by(&self, key: Key, signature: &Signature) -> bool {
        let (fingerprint, id) = match key {
            Key::Primary => (self.primary.fingerprint(), self.primary.legacy_key_id()),
            Key::Subkey(subkey) => (subkey.key.fingerprint(), subkey.key.legacy_key_id()),
        };
        let fingerprints = signature.issuer_fingerprint();
        if fingerprints.is_empty() {
            signature.issuer_key_id().contains(&&id)
        } else {
            fingerprints.contains(&&fingerprint)
        }
    }

    /// Whether this key made a signature; only the cryptography is checked.
    pub fn made(&self, key: Key, claim: &UnverifiedSignature) -> bool {
        match key {
            Key::Primary => claim.is_by(&Verifier(&self.primary)),
            Key::Subkey(subkey) => claim.is_by(&Verifier(&subkey.key)),
        }
    }

    /// Whether a key is too weak for data signatures. A weak primary key of a strong subkey is
    /// fine: its signatures are part of the keyring, which is trusted as a whole.
    pub fn weakness(&self, key: Key) -> Option<KeyProblem> {
        let params = match key {
            Key::Primary => self.primary.public_params(),
            Key::Subkey(subkey) => subkey.key.public_params(),
        };
        let algorithm = match params {
            PublicParams::RSA(_) => "RSA",
            PublicParams::DSA(_) => "DSA",
            _ => return None,
        };
        let bits = first_number_bits(params);
        (bits < 2048).then_some(KeyProblem::Weak { algorithm, bits })
    }

    pub fn summary(&self, now: i64) -> KeySummary {
        let mut keys = self
            .validities(now)
            .map(|(key, validity)| self.key_summary(key, &validity, now));
        let mut summary = keys.next().expect("the primary key is one");
        summary.subkeys = keys.collect();
        summary.user_id = self.user_id(now);
        summary
    }

    fn key_summary(
        &self,
        key: Key,
        validity: &Result<KeyValidity, KeyProblem>,
        now: i64,
    ) -> KeySummary {
        let created = match key {
            Key::Primary => self.primary.created_at(),
            Key::Subkey(subkey) => subkey.key.created_at(),
        };
        let (expires, revoked) = match validity {
            Ok(validity) => (validity.expires(), validity.revoked()),
            Err(_) => (None, None),
        };
        KeySummary {
            fingerprint: self.key_fingerprint(key),
            user_id: None,
            created: i64::from(created.as_secs()),
            expires,
            revoked,
            problem: match validity {
                Ok(validity) => validity.check(now).err(),
                Err(problem) => Some(problem.clone()),
            },
            subkeys: Vec::new(),
        }
    }
}

/// Versions and algorithms whose signatures can be verified.
fn is_supported(key: &impl KeyDetails) -> bool {
    matches!(key.version(), KeyVersion::V4 | KeyVersion::V6)
        && match key.public_params() {
            PublicParams::RSA(_)
            | PublicParams::DSA(_)
            | PublicParams::Ed25519(_)
            | PublicParams::Ed448(_) => true,
            PublicParams::Unknown { .. } => is_composite(key),
            PublicParams::ECDSA(params) => !matches!(params, EcdsaPublicParams::Unsupported { .. }),
            PublicParams::EdDSALegacy(params) => {
                !matches!(params, EddsaLegacyPublicParams::Unsupported { .. })
            }
            _ => false,
        }
}

/// Whether keys of this algorithm only encrypt.
fn is_for_encryption(key: &impl KeyDetails) -> bool {
    matches!(
        key.algorithm(),
        PublicKeyAlgorithm::RSAEncrypt
            | PublicKeyAlgorithm::ElgamalEncrypt
            | PublicKeyAlgorithm::Elgamal
            | PublicKeyAlgorithm::ECDH
            | PublicKeyAlgorithm::X25519
            | PublicKeyAlgorithm::X448
            // ML-KEM beside X25519 and X448
            | PublicKeyAlgorithm::Unknown(35 | 36)
    )
}

/// Bits of an RSA modulus or a DSA prime: the first number of the key, which starts with its length
/// in bits.
fn first_number_bits(params: &PublicParams) -> u16 {
    use pgp::ser::Serialize;
    match params.to_bytes().as_deref() {
        Ok([high, low, ..]) => u16::from_be_bytes([*high, *low]),
        _ => 0,
    }
}
