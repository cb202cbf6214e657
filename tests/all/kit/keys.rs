//! OpenPGP keys of the tests, made anew in every test process: no secret is ever committed.
//!
//! Version 4 with Ed25519 in its older encoding: gpg 2.2 and apt know no newer one.

use std::sync::OnceLock;

use pgp::composed::{
    ArmorOptions, CleartextSignedMessage, DetachedSignature, KeyType, SecretKeyParamsBuilder,
    SignedPublicKey, SignedSecretKey,
};
use pgp::crypto::hash::HashAlgorithm;
use pgp::packet::{SignatureConfig, SignatureType, Subpacket, SubpacketData};
use pgp::ser::Serialize as _;
use pgp::types::{KeyDetails as _, Password, Timestamp};
use rand::thread_rng;

/// A secret key with one user id that signs with its primary key.
pub struct Key {
    secret: SignedSecretKey,
}

impl Key {
    /// Signs every upstream that was not told otherwise.
    pub fn archive() -> &'static Self {
        static KEY: OnceLock<Key> = OnceLock::new();
        KEY.get_or_init(|| Self::generate("Archive <archive@example.org>"))
    }

    /// Good, but nobody's configuration trusts it.
    pub fn stranger() -> &'static Self {
        static KEY: OnceLock<Key> = OnceLock::new();
        KEY.get_or_init(|| Self::generate("Stranger <stranger@example.org>"))
    }

    pub fn generate(user_id: &str) -> Self {
        let mut params = SecretKeyParamsBuilder::default();
        params
            .key_type(KeyType::Ed25519Legacy)
            .can_certify(true)
            .can_sign(true)
            .primary_user_id(user_id.to_owned());
        let secret = params.build().unwrap().generate(thread_rng()).unwrap();
        Self { secret }
    }

    /// Uppercase hexadecimal.
    pub fn fingerprint(&self) -> String {
        format!("{:X}", self.secret.fingerprint())
    }

    pub fn public_armored(&self) -> String {
        let options = ArmorOptions::default();
        self.public().to_armored_string(options).unwrap()
    }

    pub fn public_binary(&self) -> Vec<u8> {
        self.public().to_bytes().unwrap()
    }

    pub fn secret_armored(&self) -> String {
        let options = ArmorOptions::default();
        self.secret.to_armored_string(options).unwrap()
    }

    /// A detached, armored signature: `Release.gpg`, `repomd.xml.asc`.
    pub fn sign(&self, bytes: &[u8]) -> String {
        let (key, hash) = (&self.secret.primary_key, HashAlgorithm::Sha256);
        DetachedSignature::sign_binary_data(thread_rng(), key, &Password::empty(), hash, bytes)
            .unwrap()
            .to_armored_string(ArmorOptions::default())
            .unwrap()
    }

    /// `InRelease`. The text must have no trailing blanks: pgp would sign them, other programs do not.
    pub fn clear_sign(&self, text: &str) -> String {
        clear_sign(&[self], text)
    }

    fn public(&self) -> SignedPublicKey {
        self.secret.to_public_key()
    }
}

/// A clear-signed text with one signature by each of `keys`.
pub fn clear_sign(keys: &[&Key], text: &str) -> String {
    assert!(
        !text.lines().any(|line| line.ends_with([' ', '\t'])),
        "trailing blanks are not signed"
    );
    // The line end before the signature belongs to the armor, not to the text.
    let text = text.trim_end_matches('\n');
    CleartextSignedMessage::new_many(text, |normalized| {
        keys.iter()
            .map(|key| {
                let key = &key.secret.primary_key;
                let mut config = SignatureConfig::from_key(thread_rng(), key, SignatureType::Text)?;
                config.hash_alg = HashAlgorithm::Sha256;
                config.hashed_subpackets = vec![
                    Subpacket::regular(SubpacketData::SignatureCreationTime(Timestamp::now()))?,
                    Subpacket::regular(SubpacketData::IssuerFingerprint(key.fingerprint()))?,
                ];
                config.unhashed_subpackets = vec![Subpacket::regular(SubpacketData::IssuerKeyId(
                    key.legacy_key_id(),
                ))?];
                config.sign(key, &Password::empty(), normalized.as_bytes())
            })
            .collect()
    })
    .unwrap()
    .to_armored_string(ArmorOptions::default())
    .unwrap()
}
