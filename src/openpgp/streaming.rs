//! Signatures over streamed data: the data is hashed while it is read, and the signature is
//! verified at the end.
//!
//! So a signature over a large file is verified without reading the file again, also with a second
//! keyring if the key is not in the first one.

use pgp::packet::{Signature, SignatureType, SignatureVersionSpecific};
use pgp::types::{KeyVersion, Tag, VerifyingKey};

use super::hasher::Hasher;
use super::packets::Packets;
use super::problem::Problem;

/// A signature that is not verified yet, with its data or digest.
pub(super) enum UnverifiedSignature<'a> {
    Bytes {
        signature: &'a Signature,
        data: &'a [u8],
    },
    HashedSignature(&'a SignatureDigest),
    /// Not a valid signature.
    Invalid(&'a Problem),
}

/// A signature with the hash state of its data.
#[derive(Debug)]
pub struct SignatureHasher {
    signature: Signature,
    hasher: Hasher,
}

/// A signature with the digest of its data, or why it is not valid.
#[derive(Clone, Debug)]
pub struct HashedSignature(pub(super) Result<SignatureDigest, Problem>);

#[derive(Clone, Debug)]
pub(super) struct SignatureDigest {
    pub signature: Signature,
    pub digest: Vec<u8>,
}

impl SignatureHasher {
    /// Parses one signature packet with its header. `Err` is the final result for any data.
    pub fn new(packet: &[u8]) -> Result<Self, HashedSignature> {
        Self::read(packet).map_err(|problem| HashedSignature(Err(problem)))
    }

    fn read(packet: &[u8]) -> Result<Self, Problem> {
        let mut packets = Packets::new(packet);
        let Some(Ok(packet)) = packets.next() else {
            return Err(Problem::Malformed);
        };
        if packet.tag() != Tag::Signature || packets.next().is_some() {
            return Err(Problem::Malformed);
        }
        Self::of(packet.signature().ok_or(Problem::Malformed)?)
    }

    pub(super) fn of(signature: Signature) -> Result<Self, Problem> {
        let Some(config) = signature.config() else {
            let version = signature.version().into();
            return Err(Problem::Version { version });
        };
        // Text signatures ignore line ends; streamed data is never text.
        if config.typ() != SignatureType::Binary {
            let kind = config.typ().into();
            return Err(Problem::WrongType { kind });
        }
        let algorithm = config.hash_alg;
        let mut hasher = Hasher::new(algorithm).ok_or_else(|| Problem::UnknownDigest {
            digest: algorithm.to_string(),
        })?;
        if let SignatureVersionSpecific::V6 { salt } = &config.version_specific {
            if algorithm.salt_len() != Some(salt.len()) {
                return Err(Problem::Malformed);
            }
            hasher.update(salt);
        }
        Ok(Self { signature, hasher })
    }

    pub fn update(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
    }

    pub fn finish(self) -> HashedSignature {
        let Self {
            signature,
            mut hasher,
        } = self;
        // The hash includes the attributes of the signature itself.
        let trailer = signature.config().and_then(|config| {
            let length = config.hash_signature_data(hasher.state()).ok()?;
            config.trailer(length).ok()
        });
        HashedSignature(match trailer {
            Some(trailer) => {
                hasher.update(&trailer);
                let digest = hasher.finish();
                Ok(SignatureDigest { signature, digest })
            }
            None => Err(Problem::Malformed),
        })
    }
}

impl SignatureDigest {
    /// Whether a key made the signature; only the cryptography is checked.
    pub fn is_by(&self, key: &impl VerifyingKey) -> bool {
        let Some((config, bytes)) = self.signature.config().zip(self.signature.signature()) else {
            return false;
        };
        // Version 6 signatures require version 6 keys, and vice versa (RFC 9580, section 5.2).
        let is_v6 = matches!(config.version_specific, SignatureVersionSpecific::V6 { .. });
        let start = self.signature.signed_hash_value();
        is_v6 == (key.version() == KeyVersion::V6)
            && start.is_some_and(|start| self.digest.starts_with(&start))
            && key.verify(config.hash_alg, &self.digest, bytes).is_ok()
    }
}
