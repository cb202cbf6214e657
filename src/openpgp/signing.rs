//! Signs the metadata that chantal generates: reads an exported secret key, selects the signing key
//! like gpg, and makes the two kinds of signatures that clients support.
//!
//! The signatures are accepted by gpgv, apt, dnf and by [`Keyring`]: version 4 with SHA-512 and
//! algorithms of gpg 2.2. Every new signature is verified, so that no bad one is published because
//! of a hardware error or a mismatch of secret and public key.

use std::fmt;
use std::io::{Cursor, Read, Seek};

use pgp::armor::BlockType;
use pgp::crypto::hash::HashAlgorithm;
use pgp::packet::{Signature, SignatureConfig, SignatureType, Subpacket, SubpacketData};
use pgp::ser::Serialize;
use pgp::types::{KeyDetails, KeyVersion, Password, PublicParams, Tag, Timestamp};

use super::armor;
use super::certificate::{Certificate, Key, KeySummary};
use super::cleartext;
use super::keyring::Keyring;
use super::packets;
use super::problem::{KeyProblem, SigningKeyError, Unfit, UnfitKey};
use super::secret::{SecretFile, SecretPart, UnlockedKey};

/// Supported by all clients, and strong enough for all key sizes.
const HASH: HashAlgorithm = HashAlgorithm::Sha512;
/// gpg truncates longer lines and then reports a bad signature.
const MAX_LINE_BYTES: usize = 19_000;

/// A secret key, unlocked, and its certificate.
pub struct SigningKey {
    certificate: Certificate,
    /// The primary key or a subkey.
    secret: UnlockedKey,
    /// In seconds since the epoch.
    expires: Option<i64>,
}

/// Why signing failed.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SigningError {
    #[error("the signing key expired on {}", crate::time::utc(*at))]
    Expired { at: i64 },
    #[error("{} is not a valid time for a signature", crate::time::utc(*now))]
    Time { now: i64 },
    /// Signatures do not cover trailing whitespace.
    #[error("line {line} of the text ends with whitespace or contains a carriage return")]
    Blank { line: usize },
    #[error("line {line} of the text is longer than {MAX_LINE_BYTES} bytes, the limit of gpg")]
    LongLine { line: usize },
    #[error("the text does not end with a newline")]
    Unfinished,
    #[error("verification of the new signature failed")]
    Failed,
}

impl SigningKey {
    /// Reads the output of `gpg --export-secret-keys` or `--export-secret-subkeys`, armored or
    /// binary, and decrypts the signing key at `now` (seconds since the epoch): the newest signing
    /// subkey, otherwise the primary key.
    pub fn read(
        bytes: &[u8],
        passphrase: Option<&[u8]>,
        now: i64,
    ) -> Result<Self, SigningKeyError> {
        let file = SecretFile::read(bytes)?;
        let (part, expires) = chosen(&file, now)?;
        let secret = part.unlock(passphrase)?;
        let key = Self {
            secret,
            expires,
            certificate: file.certificate,
        };
        // The public and secret part of an Ed25519 key are not compared when it is read.
        if key
            .signature(SignatureType::Binary, &mut Cursor::new(b""), now)
            .is_err()
        {
            return Err(SigningKeyError::Damaged {
                fingerprint: key.signing_fingerprint(),
            });
        }
        Ok(key)
    }

    /// Of the primary key, in uppercase hexadecimal.
    pub fn fingerprint(&self) -> String {
        self.certificate.fingerprint()
    }

    /// Of the key or subkey that signs.
    pub fn signing_fingerprint(&self) -> String {
        format!("{:X}", self.secret.fingerprint())
    }

    /// When the key or subkey that signs expires, in seconds since the epoch.
    pub fn expires(&self) -> Option<i64> {
        self.expires
    }

    /// Whether the key is bound only by SHA-1 or weaker. Keyrings here accept that, like gpgv;
    /// newer clients do not.
    pub fn is_bound_weakly(&self, now: i64) -> bool {
        let strong = self.certificate.without_weak_signatures();
        let signing = self.signing_fingerprint();
        !strong.validities(now).any(|(key, validity)| {
            strong.key_fingerprint(key) == signing
                && validity.is_ok_and(|validity| validity.check(now).is_ok())
        })
    }

    /// A summary of the certificate at a time in seconds since the epoch.
    pub fn summary(&self, now: i64) -> KeySummary {
        self.certificate.summary(now)
    }

    /// The public keys, for clients.
    pub fn public(&self) -> Keyring {
        Keyring::of(self.certificate.clone())
    }

    /// Clear-signs a text (`InRelease`). apt reads exactly `text` from it; a text for which it
    /// would not is an error.
    pub fn sign_inline(&self, text: &[u8], now: i64) -> Result<Vec<u8>, SigningError> {
        check_text(text)?;
        let hashed = cleartext::canonical(text);
        let signature = self.signature(SignatureType::Text, &mut Cursor::new(&hashed), now)?;
        let mut file = cleartext::write_text("SHA512", text);
        file.extend(armored(&signature));
        Ok(file)
    }

    /// Makes an armored detached signature: `Release.gpg`, `repomd.xml.asc`.
    pub fn sign_detached(&self, bytes: &[u8], now: i64) -> Result<Vec<u8>, SigningError> {
        self.sign_detached_stream(&mut Cursor::new(bytes), now)
    }

    /// The same for a file that is read from its start, and again to verify the signature.
    pub fn sign_detached_stream(
        &self,
        data: &mut (impl Read + Seek),
        now: i64,
    ) -> Result<Vec<u8>, SigningError> {
        Ok(armored(&self.signature(
            SignatureType::Binary,
            data,
            now,
        )?))
    }

    fn signature(
        &self,
        kind: SignatureType,
        data: &mut (impl Read + Seek),
        now: i64,
    ) -> Result<Signature, SigningError> {
        if let Some(at) = self.expires.filter(|expiry| *expiry <= now) {
            return Err(SigningError::Expired { at });
        }
        let made = u32::try_from(now).map_err(|_| SigningError::Time { now })?;
        let config = config(&self.secret, kind, Timestamp::from_secs(made), Vec::new());
        data.rewind().map_err(|_| SigningError::Failed)?;
        let signature = config
            .and_then(|config| config.sign(&self.secret, &Password::empty(), &mut *data))
            .map_err(|_| SigningError::Failed)?;
        data.rewind().map_err(|_| SigningError::Failed)?;
        signature
            .verify(self.secret.public(), data)
            .map_err(|_| SigningError::Failed)?;
        Ok(signature)
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.fingerprint())
    }
}

/// The attributes of a signature: time, issuer and others.
pub(super) fn config(
    key: &impl KeyDetails,
    kind: SignatureType,
    made: Timestamp,
    says: Vec<SubpacketData>,
) -> pgp::errors::Result<SignatureConfig> {
    let mut config = SignatureConfig::v4(kind, key.algorithm(), HASH);
    config.hashed_subpackets = [
        SubpacketData::IssuerFingerprint(key.fingerprint()),
        SubpacketData::SignatureCreationTime(made),
    ]
    .into_iter()
    .chain(says)
    .map(Subpacket::regular)
    .collect::<pgp::errors::Result<_>>()?;
    // gpgv 2.1 and older require it.
    let id = SubpacketData::IssuerKeyId(key.legacy_key_id());
    config.unhashed_subpackets = vec![Subpacket::regular(id)?];
    Ok(config)
}

/// The secret part of the signing key, and when that key expires.
fn chosen(file: &SecretFile, now: i64) -> Result<(&SecretPart, Option<i64>), SigningKeyError> {
    let certificate = &file.certificate;
    let mut best = None;
    let mut unfit = Vec::new();
    for (key, validity) in certificate.validities(now) {
        let fingerprint = certificate.key_fingerprint(key);
        let verdict = validity
            .and_then(|validity| validity.check(now).map(|()| validity))
            .and_then(|validity| match certificate.weakness(key) {
                Some(weakness) => Err(weakness),
                None => Ok(validity),
            })
            .map_err(Unfit::Key)
            .and_then(|validity| Ok((validity, usable(file, &fingerprint)?)));
        match verdict {
            // As in gpg: a signing subkey is preferred to the primary key.
            Ok((validity, part)) => {
                let rank = (matches!(key, Key::Subkey(_)), validity.created());
                if best.as_ref().is_none_or(|(other, _, _)| *other <= rank) {
                    best = Some((rank, part, validity.expires()));
                }
            }
            Err(why) => unfit.push(UnfitKey { fingerprint, why }),
        }
    }
    match best {
        Some((_, part, expires)) => Ok((part, expires)),
        None => Err(SigningKeyError::NothingMaySign {
            unfit: actionable(unfit),
        }),
    }
}

/// The secret part of a key that may sign according to its certificate.
fn usable<'a>(file: &'a SecretFile, fingerprint: &str) -> Result<&'a SecretPart, Unfit> {
    let part = file.secrets.get(fingerprint).ok_or(Unfit::Absent)?;
    if part.is_absent() {
        return Err(Unfit::Absent);
    }
    let public = part.public();
    let is_known = public.version() == KeyVersion::V4
        && matches!(
            public.public_params(),
            PublicParams::RSA(_) | PublicParams::ECDSA(_) | PublicParams::EdDSALegacy(_)
        );
    if is_known {
        return Ok(part);
    }
    let version = u8::from(public.version());
    Err(Unfit::Algorithm {
        algorithm: format!("{:?} in a key of version {version}", public.algorithm()),
    })
}

/// The reasons that are useful to users: omits encryption keys.
fn actionable(unfit: Vec<UnfitKey>) -> Vec<UnfitKey> {
    let (purpose, other): (Vec<_>, Vec<_>) = unfit
        .into_iter()
        .partition(|key| key.why == Unfit::Key(KeyProblem::NotForSigning));
    if other.is_empty() { purpose } else { other }
}

fn check_text(text: &[u8]) -> Result<(), SigningError> {
    if !text.ends_with(b"\n") {
        return Err(SigningError::Unfinished);
    }
    for (line, text) in (1..).zip(armor::lines(text)) {
        if armor::trim_end(text).len() < text.len() || text.contains(&b'\r') {
            return Err(SigningError::Blank { line });
        }
        if text.len() > MAX_LINE_BYTES {
            return Err(SigningError::LongLine { line });
        }
    }
    Ok(())
}

fn armored(signature: &Signature) -> Vec<u8> {
    let mut packets = Vec::new();
    let body = signature
        .to_bytes()
        .expect("writing to memory does not fail");
    packets::write(&mut packets, Tag::Signature, &body);
    armor::write(BlockType::Signature, &packets).into_bytes()
}

#[cfg(test)]
mod gnupg;
#[cfg(test)]
mod tests;
