//! Composite keys: ML-DSA with Ed25519 or Ed448, as used by rpm 6 and RHEL 10
//! (draft-ietf-openpgp-pqc, algorithms 30 and 31). A signature is good if both parts are: breaking
//! one of the algorithms is not enough to forge one.
//!
//! The `pgp` crate has a feature for them, which uses a version of `ml-dsa` that rejects some good
//! signatures and accepts repeated hints. Here it reads these keys and signatures as opaque bytes,
//! and verifies only the classical part.

use std::io;

use ml_dsa::{EncodedVerifyingKey, MlDsa65, MlDsa87, MlDsaParams, VerifyingKey as MlDsaKey};
use pgp::crypto::hash::HashAlgorithm;
use pgp::crypto::public_key::PublicKeyAlgorithm;
use pgp::errors::Error;
use pgp::packet::PubKeyInner;
use pgp::ser::Serialize;
use pgp::types::{
    Fingerprint, KeyDetails, KeyId, KeyVersion, PublicParams, SignatureBytes, Timestamp,
    VerifyingKey,
};

/// The algorithm of the classical part, and the lengths of its key and signature, in bytes.
const ED25519: (PublicKeyAlgorithm, usize, usize) = (PublicKeyAlgorithm::Ed25519, 32, 64);
const ED448: (PublicKeyAlgorithm, usize, usize) = (PublicKeyAlgorithm::Ed448, 57, 114);

/// A composite key.
struct Composite {
    classical: PubKeyInner,
    /// Length of the classical signature in bytes; the rest is the post-quantum one.
    classical_length: usize,
    post_quantum: PostQuantum,
}

enum PostQuantum {
    MlDsa65(Box<MlDsaKey<MlDsa65>>),
    MlDsa87(Box<MlDsaKey<MlDsa87>>),
}

/// Whether it is a usable composite key.
pub(super) fn is_composite(key: &impl KeyDetails) -> bool {
    Composite::of(key).is_some()
}

impl Composite {
    /// `None` for any other key, and for a damaged one.
    fn of(key: &impl KeyDetails) -> Option<Self> {
        let PublicParams::Unknown { data } = key.public_params() else {
            return None;
        };
        let (number, is_v6) = (u8::from(key.algorithm()), key.version() == KeyVersion::V6);
        let (algorithm, length, classical_length) = match number {
            30 if is_v6 => ED25519,
            31 if is_v6 => ED448,
            _ => return None,
        };
        let (classical, post_quantum) = data.split_at_checked(length)?;
        let params = PublicParams::try_from_reader(algorithm, Some(length), classical).ok()?;
        let made = key.created_at();
        Some(Self {
            classical: PubKeyInner::new(KeyVersion::V6, algorithm, made, None, params).ok()?,
            classical_length,
            post_quantum: match number {
                30 => PostQuantum::MlDsa65(decoded(post_quantum)?),
                _ => PostQuantum::MlDsa87(decoded(post_quantum)?),
            },
        })
    }

    fn made(&self, hash: HashAlgorithm, digest: &[u8], signature: &[u8]) -> bool {
        let Some((classical, post_quantum)) = signature.split_at_checked(self.classical_length)
        else {
            return false;
        };
        let classical = SignatureBytes::Native(classical.to_vec().into());
        self.classical.verify(hash, digest, &classical).is_ok()
            && match &self.post_quantum {
                PostQuantum::MlDsa65(key) => is_by(key, digest, post_quantum),
                PostQuantum::MlDsa87(key) => is_by(key, digest, post_quantum),
            }
    }
}

fn decoded<P: MlDsaParams>(bytes: &[u8]) -> Option<Box<MlDsaKey<P>>> {
    let bytes: &EncodedVerifyingKey<P> = bytes.try_into().ok()?;
    Some(Box::new(MlDsaKey::decode(bytes)))
}

/// The context of the signature is empty, as the draft requires.
fn is_by<P: MlDsaParams>(key: &MlDsaKey<P>, digest: &[u8], signature: &[u8]) -> bool {
    ml_dsa::Signature::<P>::try_from(signature)
        .is_ok_and(|signature| key.verify_with_context(digest, &[], &signature))
}

/// A key of any supported kind, for verifying.
#[derive(Debug)]
pub(super) struct Verifier<'k, K>(pub &'k K);

impl<K: VerifyingKey> VerifyingKey for Verifier<'_, K> {
    fn verify(
        &self,
        hash: HashAlgorithm,
        digest: &[u8],
        signature: &SignatureBytes,
    ) -> pgp::errors::Result<()> {
        match (Composite::of(self.0), signature) {
            (Some(key), SignatureBytes::Native(bytes)) if key.made(hash, digest, bytes) => Ok(()),
            (Some(_), _) => Err(Error::from("one half of the signature is bad".to_owned())),
            (None, _) => self.0.verify(hash, digest, signature),
        }
    }
}

impl<K: KeyDetails> KeyDetails for Verifier<'_, K> {
    fn version(&self) -> KeyVersion {
        self.0.version()
    }

    fn legacy_key_id(&self) -> KeyId {
        self.0.legacy_key_id()
    }

    fn fingerprint(&self) -> Fingerprint {
        self.0.fingerprint()
    }

    fn algorithm(&self) -> PublicKeyAlgorithm {
        self.0.algorithm()
    }

    fn created_at(&self) -> Timestamp {
        self.0.created_at()
    }

    fn legacy_v3_expiration_days(&self) -> Option<u16> {
        self.0.legacy_v3_expiration_days()
    }

    fn public_params(&self) -> &PublicParams {
        self.0.public_params()
    }
}

impl<K: Serialize> Serialize for Verifier<'_, K> {
    fn to_writer<W: io::Write>(&self, writer: &mut W) -> pgp::errors::Result<()> {
        self.0.to_writer(writer)
    }

    fn write_len(&self) -> usize {
        self.0.write_len()
    }
}
