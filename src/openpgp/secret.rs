//! Parses exported secret keys: the public certificate, and the secret part of each key as far as
//! the file contains it.
//!
//! Secret parts never appear in errors or `Debug` output. They are read without the packet parser
//! of the `pgp` crate, which would log them.

use std::collections::BTreeMap;
use std::{fmt, io};

use pgp::crypto::Signer;
use pgp::crypto::eddsa_legacy;
use pgp::crypto::hash::HashAlgorithm;
use pgp::crypto::public_key::PublicKeyAlgorithm;
use pgp::packet::{PacketHeader, PublicKey};
use pgp::types::{
    EncryptedSecretParams, Fingerprint, KeyDetails, KeyId, KeyVersion, Password, PlainSecretParams,
    PublicParams, SecretParams, SignatureBytes, Tag, Timestamp,
};

use super::armor;
use super::certificate::{Certificate, ParsedKeys};
use super::packets::{self, Packets, RawPacket};
use super::problem::SigningKeyError;

/// The largest file; even old keys have only a few kilobytes.
const MAX_BYTES: usize = 1 << 20;

/// RFC 9580, section 3.7.2.1: how a secret part is protected.
const UNPROTECTED: u8 = 0;
const CFB_SHA1: u8 = 254;
const CFB_SUM: u8 = 255;

/// The secret key of a file, which must contain exactly one.
pub(super) struct SecretFile {
    pub certificate: Certificate,
    /// By the fingerprint of the key or subkey, in uppercase hexadecimal.
    pub secrets: BTreeMap<String, SecretPart>,
}

/// The parts of one key in a file.
pub(super) struct SecretPart {
    /// Also used for subkeys: their packets differ only in the tag.
    public: PublicKey,
    secret: Vec<u8>,
}

impl SecretFile {
    pub fn read(bytes: &[u8]) -> Result<Self, SigningKeyError> {
        if bytes.len() > MAX_BYTES {
            return Err(SigningKeyError::TooLarge {
                size: bytes.len(),
                limit: MAX_BYTES,
            });
        }
        let packets = if armor::is_armored(bytes) {
            let armored = armor::read(bytes, 1).map_err(SigningKeyError::Armor)?;
            let blocks = armored.blocks.into_iter();
            blocks.flat_map(|block| block.packets).collect()
        } else if bytes.first().is_some_and(|first| first & 0x80 != 0) {
            bytes.to_vec()
        } else {
            return Err(SigningKeyError::NotAKey);
        };
        Self::read_packets(&packets)
    }

    fn read_packets(bytes: &[u8]) -> Result<Self, SigningKeyError> {
        let mut public = Vec::new();
        let mut secrets = BTreeMap::new();
        let (mut secret_keys, mut public_keys) = (0, 0);
        for packet in Packets::new(bytes) {
            let packet = packet.map_err(SigningKeyError::Framing)?;
            let tag = match packet.tag() {
                Tag::SecretKey => {
                    secret_keys += 1;
                    Tag::PublicKey
                }
                Tag::SecretSubkey => Tag::PublicSubkey,
                Tag::PublicKey => {
                    public_keys += 1;
                    packets::write(&mut public, Tag::PublicKey, packet.body);
                    continue;
                }
                other => {
                    packets::write(&mut public, other, packet.body);
                    continue;
                }
            };
            let body = match packet.split_secret() {
                Some((body, secret)) => {
                    let part = SecretPart::new(body, secret);
                    secrets.extend(part.map(|part| (part.fingerprint(), part)));
                    body
                }
                // The version is enough to explain why it is not supported.
                None => packet.body.get(..1).unwrap_or_default(),
            };
            packets::write(&mut public, tag, body);
        }
        if secret_keys == 0 {
            return Err(match public_keys {
                0 => SigningKeyError::NotAKey,
                _ => SigningKeyError::Public,
            });
        }
        Ok(Self {
            certificate: single_secret_key(&public, &secrets)?,
            secrets,
        })
    }
}

/// The certificate of the secret key in the file. Copies count as one.
fn single_secret_key(
    public: &[u8],
    secrets: &BTreeMap<String, SecretPart>,
) -> Result<Certificate, SigningKeyError> {
    let mut found = ParsedKeys::default();
    found.read(public).map_err(SigningKeyError::Framing)?;
    let mut certificates: BTreeMap<String, Certificate> = BTreeMap::new();
    for certificate in found.certificates {
        match certificates.get_mut(&certificate.fingerprint()) {
            Some(copy) => copy.merge(certificate),
            None => {
                certificates.insert(certificate.fingerprint(), certificate);
            }
        }
    }
    certificates.retain(|fingerprint, _| secrets.contains_key(fingerprint));
    if certificates.len() > 1 {
        return Err(SigningKeyError::Several {
            fingerprints: certificates.into_keys().collect(),
        });
    }
    certificates
        .into_values()
        .next()
        .ok_or(SigningKeyError::Unsupported {
            skipped: found.skipped.iter().map(ToString::to_string).collect(),
        })
}

impl SecretPart {
    fn new(body: &[u8], secret: &[u8]) -> Option<Self> {
        let length = u32::try_from(body.len()).ok()?;
        let packet = RawPacket {
            header: PacketHeader::new_fixed(Tag::PublicKey, length),
            body,
        };
        Some(Self {
            public: packet.public_key()?,
            secret: secret.to_vec(),
        })
    }

    fn fingerprint(&self) -> String {
        format!("{:X}", self.public.fingerprint())
    }

    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// Whether the secret part is missing: the primary key is omitted by `gpg
    /// --export-secret-subkeys` or is on a smart card. gpg marks both with a special kind of
    /// protection.
    pub fn is_absent(&self) -> bool {
        matches!(
            self.secret.as_slice(),
            [] | [CFB_SHA1 | CFB_SUM, _, 101, _, b'G', b'N', b'U', ..]
        )
    }

    /// Decrypts the key for signing.
    pub fn unlock(&self, passphrase: Option<&[u8]>) -> Result<UnlockedKey, SigningKeyError> {
        let secret = match self.secret.split_first() {
            Some((&UNPROTECTED, secret)) => self.unprotected(secret)?,
            Some((&CFB_SHA1, _)) => self.decrypted(passphrase)?,
            _ => return Err(self.unknown_protection()),
        };
        Ok(UnlockedKey {
            public: self.public.clone(),
            secret,
        })
    }

    fn unprotected(&self, secret: &[u8]) -> Result<PlainSecretParams, SigningKeyError> {
        let (secret, sum) = secret.split_last_chunk().ok_or_else(|| self.damaged())?;
        // Not with the `pgp` crate, which would encode the key again: see `UnlockedKey`.
        let computed = secret
            .iter()
            .fold(0_u16, |sum, byte| sum.wrapping_add(u16::from(*byte)));
        if computed != u16::from_be_bytes(*sum) {
            return Err(self.damaged());
        }
        PlainSecretParams::try_from_reader_no_checksum(
            secret,
            self.public.version(),
            self.public.algorithm(),
            self.public.public_params(),
        )
        .map_err(|_| self.damaged())
    }

    fn decrypted(&self, passphrase: Option<&[u8]>) -> Result<PlainSecretParams, SigningKeyError> {
        let locked = self.locked()?;
        let passphrase = passphrase.ok_or_else(|| SigningKeyError::NoPassphrase {
            fingerprint: self.fingerprint(),
        })?;
        locked
            .unlock(&Password::from(passphrase), &self.public, None)
            .map_err(|error| match error {
                // The `pgp` crate returns this error only if the digest after the secret part does
                // not match.
                pgp::errors::Error::InvalidInput { .. } => SigningKeyError::WrongPassphrase {
                    fingerprint: self.fingerprint(),
                },
                _ => self.unknown_protection(),
            })
    }

    fn locked(&self) -> Result<EncryptedSecretParams, SigningKeyError> {
        // Cipher, then the string-to-key method: simple, salted, or iterated and salted.
        if !matches!(self.secret.as_slice(), [_, _, 0 | 1 | 3, ..]) {
            return Err(self.unknown_protection());
        }
        let params = SecretParams::from_slice(
            &self.secret,
            self.public.version(),
            self.public.algorithm(),
            self.public.public_params(),
        );
        match &params {
            Ok(SecretParams::Encrypted(locked)) => Ok(locked.clone()),
            _ => Err(self.damaged()),
        }
    }

    fn damaged(&self) -> SigningKeyError {
        SigningKeyError::Damaged {
            fingerprint: self.fingerprint(),
        }
    }

    fn unknown_protection(&self) -> SigningKeyError {
        SigningKeyError::Protection {
            fingerprint: self.fingerprint(),
        }
    }
}

/// A decrypted signing key. The type of the `pgp` crate is not used because creating one encodes
/// the secret part again, which panics for an RSA key with equal primes.
pub(super) struct UnlockedKey {
    public: PublicKey,
    secret: PlainSecretParams,
}

impl UnlockedKey {
    pub fn public(&self) -> &PublicKey {
        &self.public
    }
}

impl fmt::Debug for UnlockedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UnlockedKey({:X})", self.public.fingerprint())
    }
}

impl pgp::types::SigningKey for UnlockedKey {
    fn sign(
        &self,
        _passphrase: &Password,
        hash: HashAlgorithm,
        digest: &[u8],
    ) -> pgp::errors::Result<SignatureBytes> {
        match &self.secret {
            PlainSecretParams::RSA(key) => key.sign(hash, digest),
            PlainSecretParams::ECDSA(key) => key.sign(hash, digest),
            PlainSecretParams::EdDSALegacy(eddsa_legacy::SecretKey::Ed25519(key)) => {
                key.sign(hash, digest)
            }
            _ => Err(io::Error::from(io::ErrorKind::Unsupported).into()),
        }
    }

    fn hash_alg(&self) -> HashAlgorithm {
        self.public.public_params().hash_alg()
    }
}

impl KeyDetails for UnlockedKey {
    fn version(&self) -> KeyVersion {
        self.public.version()
    }

    fn legacy_key_id(&self) -> KeyId {
        self.public.legacy_key_id()
    }

    fn fingerprint(&self) -> Fingerprint {
        self.public.fingerprint()
    }

    fn algorithm(&self) -> PublicKeyAlgorithm {
        self.public.algorithm()
    }

    fn created_at(&self) -> Timestamp {
        self.public.created_at()
    }

    fn legacy_v3_expiration_days(&self) -> Option<u16> {
        self.public.legacy_v3_expiration_days()
    }

    fn public_params(&self) -> &PublicParams {
        self.public.public_params()
    }
}
