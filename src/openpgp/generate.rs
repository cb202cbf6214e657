//! Generates signing keys in the form of gpg 2.2, which can import them.

use pgp::armor::BlockType;
use pgp::composed::KeyType;
use pgp::crypto::hash::HashAlgorithm;
use pgp::crypto::sym::SymmetricKeyAlgorithm;
use pgp::packet::{
    Features, KeyFlags, PubKeyInner, PublicKey, SecretKey, Signature, SignatureType, SubpacketData,
};
use pgp::ser::Serialize;
use pgp::types::{CompressionAlgorithm, KeyVersion, Password, S2kParams, Tag, Timestamp};
use rand::rngs::OsRng;

use super::armor::{self, Raw};
use super::certificate::MAX_USER_ID_BYTES;
use super::packets;
use super::signing::{self, SigningKey};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SigningKeyKind {
    Ed25519,
    Rsa4096,
}

/// A new key, with the only copy of its secret part.
pub struct GeneratedKey {
    pub key: SigningKey,
    /// As `gpg --export-secret-keys --armor` writes it.
    pub secret_armored: String,
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum GenerateError {
    #[error(
        "a user ID must have between 1 and {MAX_USER_ID_BYTES} bytes and no control characters"
    )]
    UserId,
    #[error("{} is not a valid creation time for a key", crate::time::utc(*now))]
    Time { now: i64 },
    #[error("verification of the new key failed")]
    Failed,
}

impl From<pgp::errors::Error> for GenerateError {
    // The text of the error may contain parts of the key.
    fn from(_: pgp::errors::Error) -> Self {
        Self::Failed
    }
}

impl SigningKey {
    /// Generates a key that certifies, signs and never expires; `now` is in seconds since the
    /// epoch.
    pub fn generate(
        kind: SigningKeyKind,
        user_id: &str,
        passphrase: Option<&[u8]>,
        now: i64,
    ) -> Result<GeneratedKey, GenerateError> {
        if !(1..=MAX_USER_ID_BYTES).contains(&user_id.len()) || user_id.contains(char::is_control) {
            return Err(GenerateError::UserId);
        }
        let made = u32::try_from(now).map_err(|_| GenerateError::Time { now })?;
        let made = Timestamp::from_secs(made);
        let mut secret = secret_key(kind, made)?;
        let certification = certification(&secret, user_id, made)?;
        if let Some(passphrase) = passphrase {
            // AES-256 and iterated, salted SHA-256: the strongest that gpg 2.2 supports.
            let protection = S2kParams::new_default(OsRng, KeyVersion::V4);
            secret.set_password_with_s2k(&Password::from(passphrase), protection)?;
        }
        let mut bytes = Vec::new();
        packets::write(&mut bytes, Tag::SecretKey, &secret.to_bytes()?);
        packets::write(&mut bytes, Tag::UserId, user_id.as_bytes());
        packets::write(&mut bytes, Tag::Signature, &certification.to_bytes()?);
        let secret_armored = armor::write(BlockType::PrivateKey, &bytes);
        // Read back like in later runs, to detect an unusable key before it is used.
        let key = Self::read(secret_armored.as_bytes(), passphrase, now)
            .map_err(|_| GenerateError::Failed)?;
        Ok(GeneratedKey {
            key,
            secret_armored,
        })
    }
}

fn secret_key(kind: SigningKeyKind, made: Timestamp) -> pgp::errors::Result<SecretKey> {
    let kind = match kind {
        // gpg 2.2 and the apt of Debian 12 support no other encoding of it.
        SigningKeyKind::Ed25519 => KeyType::Ed25519Legacy,
        SigningKeyKind::Rsa4096 => KeyType::Rsa(4096),
    };
    let (public, secret) = kind.generate(OsRng)?;
    let inner = PubKeyInner::new(KeyVersion::V4, kind.to_alg(), made, None, public)?;
    SecretKey::new(PublicKey::from_inner(inner)?, secret)
}

/// The self-signature over the user id. The preferences are those of gpg; they matter only for
/// encryption.
fn certification(
    key: &SecretKey,
    user_id: &str,
    made: Timestamp,
) -> pgp::errors::Result<Signature> {
    let mut flags = KeyFlags::default();
    flags.set_certify(true);
    flags.set_sign(true);
    let mut features = Features::default();
    features.set_seipd_v1(true);
    let says = vec![
        SubpacketData::KeyFlags(flags),
        SubpacketData::PreferredSymmetricAlgorithms(
            [
                SymmetricKeyAlgorithm::AES256,
                SymmetricKeyAlgorithm::AES192,
                SymmetricKeyAlgorithm::AES128,
            ]
            .into_iter()
            .collect(),
        ),
        SubpacketData::PreferredHashAlgorithms(
            [
                HashAlgorithm::Sha512,
                HashAlgorithm::Sha384,
                HashAlgorithm::Sha256,
            ]
            .into_iter()
            .collect(),
        ),
        SubpacketData::PreferredCompressionAlgorithms(
            [
                CompressionAlgorithm::ZLIB,
                CompressionAlgorithm::BZip2,
                CompressionAlgorithm::ZIP,
            ]
            .into_iter()
            .collect(),
        ),
        SubpacketData::Features(features),
        // Key servers accept changes from the owner only.
        SubpacketData::KeyServerPreferences([0x80].into_iter().collect()),
    ];
    signing::config(key, SignatureType::CertPositive, made, says)?.sign_certification(
        key,
        key.public_key(),
        &Password::empty(),
        Tag::UserId,
        &Raw(user_id.as_bytes()),
    )
}
