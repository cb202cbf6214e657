//! Signatures over bytes that pass by once: each hashes what it was made over, and is judged when all of it has passed.
//!
//! So a signature over a large file is verified without a second look at the file, and with another keyring, should
//! the first lack its key, without any.

use pgp::packet::{Signature, SignatureType, SignatureVersionSpecific};
use pgp::types::{KeyVersion, Tag, VerifyingKey};

use super::hasher::Hasher;
use super::packets::Packets;
use super::problem::Problem;

/// A signature, and what it claims to have been made over.
pub(super) enum UnverifiedSignature<'a> {
    Bytes {
        signature: &'a Signature,
        data: &'a [u8],
    },
    HashedSignature(&'a SignatureDigest),
    /// Not a signature that could count.
    Invalid(&'a Problem),
}

/// A signature whose bytes are passing by.
#[derive(Debug)]
pub struct SignatureHasher {
    signature: Signature,
    hasher: Hasher,
}

/// A signature whose bytes have passed by, or why it can never be good.
#[derive(Clone, Debug)]
pub struct HashedSignature(pub(super) Result<SignatureDigest, Problem>);

#[derive(Clone, Debug)]
pub(super) struct SignatureDigest {
    pub signature: Signature,
    pub digest: Vec<u8>,
}

impl SignatureHasher {
    /// From one signature packet with its header. `Err` is the verdict, whatever passes by.
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
        let signature = packet.signature().ok_or(Problem::Malformed)?;
        let Some(config) = signature.config() else {
            let version = signature.version().into();
            return Err(Problem::Version { version });
        };
        // Over text the ends of lines would count as equal; nothing that passes by is text.
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
        // A signature hashes what it says of itself too.
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
    /// Whether a key made the signature: arithmetic only.
    pub fn is_by(&self, key: &impl VerifyingKey) -> bool {
        let Some((config, bytes)) = self.signature.config().zip(self.signature.signature()) else {
            return false;
        };
        // Signatures of version 6 belong to keys of version 6 and to no others (RFC 9580, section 5.2).
        let is_v6 = matches!(config.version_specific, SignatureVersionSpecific::V6 { .. });
        let start = self.signature.signed_hash_value();
        is_v6 == (key.version() == KeyVersion::V6)
            && start.is_some_and(|start| self.digest.starts_with(&start))
            && key.verify(config.hash_alg, &self.digest, bytes).is_ok()
    }
}
