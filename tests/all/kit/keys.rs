//! OpenPGP keys of the tests, made anew in every test process: no secret is ever committed.
//!
//! Version 4 with Ed25519 in its older encoding unless told otherwise: gpg 2.2 and apt know no
//! newer one. All were made at [`Key::MADE`], years ago, so that what they sign may be old too. A
//! key signs the same bytes at the same time the same way, so that what is built again stays the
//! same.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Write as _;
use std::sync::{Mutex, OnceLock};

use pgp::composed::{
    ArmorOptions, CleartextSignedMessage, DetachedSignature, DsaKeySize, KeyType, SignedKeyDetails,
    SignedSecretKey, SignedSecretSubKey,
};
use pgp::crypto::ecc_curve::ECCCurve;
use pgp::crypto::public_key::PublicKeyAlgorithm;
use pgp::packet::{
    KeyFlags, PubKeyInner, PublicKey, PublicSubkey, SecretKey, SecretSubkey, Signature,
    SignatureConfig, SignatureType, SignatureVersionSpecific, Subpacket, SubpacketData, UserId,
};
use pgp::ser::Serialize as _;
use pgp::types::{
    Duration, KeyDetails as _, KeyVersion, PacketHeaderVersion, Password, SecretParams, SignedUser,
    SigningKey, Tag, Timestamp,
};
use rand::thread_rng;

pub use pgp::crypto::hash::HashAlgorithm;
pub use pgp::packet::RevocationCode;

/// A secret key with one user id, and what its owner says of it. Changing that leaves the key the
/// same: one test may sign with a key and trust another state of it.
#[derive(Clone)]
pub struct Key {
    user_id: String,
    primary: SecretKey,
    /// Signs instead of the primary key, which then only certifies.
    subkey: Option<SecretSubkey>,
    /// The self-signatures' digest.
    hash: HashAlgorithm,
    expires_at: Option<u32>,
    revoked: Option<(u32, RevocationCode)>,
    subkey_revoked: Option<(u32, RevocationCode)>,
}

/// What a key computes with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Algorithm {
    Ed25519,
    /// A version 6 key with Ed25519 in its newer encoding.
    Ed25519V6,
    EcdsaP256,
    Dsa2048,
    /// By its bits.
    Rsa(u32),
}

impl Algorithm {
    fn key_type(self) -> KeyType {
        match self {
            Self::Ed25519 => KeyType::Ed25519Legacy,
            Self::Ed25519V6 => KeyType::Ed25519,
            Self::EcdsaP256 => KeyType::ECDSA(ECCCurve::P256),
            Self::Dsa2048 => KeyType::Dsa(DsaKeySize::B2048),
            Self::Rsa(bits) => KeyType::Rsa(bits),
        }
    }

    fn version(self) -> KeyVersion {
        match self {
            Self::Ed25519V6 => KeyVersion::V6,
            _ => KeyVersion::V4,
        }
    }
}

/// How a data signature's packet is made.
#[derive(Clone, Copy, Debug)]
pub struct PacketForm {
    pub version: PacketVersion,
    pub hash: HashAlgorithm,
    /// In seconds since the epoch.
    pub made: u32,
    /// In seconds since the epoch.
    pub expires_at: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PacketVersion {
    /// 4 or 6.
    OfKey,
    /// What Red Hat signs its packages with to this day; version 4 keys only.
    V3,
}

impl Key {
    /// When all keys are made, in seconds since the epoch.
    pub const MADE: u32 = 1_600_000_000;

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

    /// One of each, made when first asked for: the larger ones take their time.
    pub fn of(algorithm: Algorithm) -> &'static Self {
        static KEYS: Mutex<BTreeMap<Algorithm, &'static OnceLock<Key>>> =
            Mutex::new(BTreeMap::new());
        let key = *KEYS
            .lock()
            .unwrap()
            .entry(algorithm)
            .or_insert_with(|| Box::leak(Box::default()));
        key.get_or_init(|| {
            let user_id = format!("{algorithm:?} <{algorithm:?}@example.org>");
            Self::make(algorithm, &user_id)
        })
    }

    /// Signs with a subkey.
    pub fn owner() -> &'static Self {
        static KEY: OnceLock<Key> = OnceLock::new();
        KEY.get_or_init(|| {
            let (inner, secret) = material(Algorithm::Ed25519);
            let public = PublicSubkey::from_inner(inner).unwrap();
            let mut key = Self::generate("Owner <owner@example.org>");
            key.subkey = Some(SecretSubkey::new(public, secret).unwrap());
            key
        })
    }

    pub fn generate(user_id: &str) -> Self {
        Self::make(Algorithm::Ed25519, user_id)
    }

    pub fn make(algorithm: Algorithm, user_id: &str) -> Self {
        let (inner, secret) = material(algorithm);
        let public = PublicKey::from_inner(inner).unwrap();
        Self {
            user_id: user_id.to_owned(),
            primary: SecretKey::new(public, secret).unwrap(),
            subkey: None,
            hash: HashAlgorithm::Sha256,
            expires_at: None,
            revoked: None,
            subkey_revoked: None,
        }
    }

    /// In seconds since the epoch; so do its subkeys with it.
    #[must_use = "the key itself stays as it was"]
    pub fn expiring_at(&self, time: u32) -> Self {
        Self {
            expires_at: Some(time),
            ..self.clone()
        }
    }

    #[must_use = "the key itself stays as it was"]
    pub fn revoked_at(&self, time: u32, reason: RevocationCode) -> Self {
        Self {
            revoked: Some((time, reason)),
            ..self.clone()
        }
    }

    /// Only the key that signs, not the primary one.
    #[must_use = "the key itself stays as it was"]
    pub fn subkey_revoked_at(&self, time: u32, reason: RevocationCode) -> Self {
        Self {
            subkey_revoked: Some((time, reason)),
            ..self.clone()
        }
    }

    /// Signs with the primary key itself.
    #[must_use = "the key itself stays as it was"]
    pub fn without_subkey(&self) -> Self {
        Self {
            subkey: None,
            ..self.clone()
        }
    }

    /// With self-signatures of this digest, which may be weak.
    #[must_use = "the key itself stays as it was"]
    pub fn certified_with(&self, hash: HashAlgorithm) -> Self {
        Self {
            hash,
            ..self.clone()
        }
    }

    /// The primary key's, in uppercase hexadecimal.
    pub fn fingerprint(&self) -> String {
        format!("{:X}", self.primary.fingerprint())
    }

    /// Of the key that signs: its own, or its subkey's.
    pub fn signing_fingerprint(&self) -> String {
        format!("{:X}", self.signing_key().fingerprint())
    }

    pub fn public_armored(&self) -> String {
        let public = self.certificate().to_public_key();
        public.to_armored_string(ArmorOptions::default()).unwrap()
    }

    pub fn public_binary(&self) -> Vec<u8> {
        self.certificate().to_public_key().to_bytes().unwrap()
    }

    pub fn secret_armored(&self) -> String {
        let options = ArmorOptions::default();
        self.certificate().to_armored_string(options).unwrap()
    }

    pub fn is_rsa(&self) -> bool {
        self.signing_key().algorithm() == PublicKeyAlgorithm::RSA
    }

    /// A detached, armored signature: `Release.gpg`, `repomd.xml.asc`.
    pub fn sign(&self, bytes: &[u8]) -> String {
        DetachedSignature::new(self.signature(SignatureType::Binary, bytes, PacketForm::now()))
            .to_armored_string(ArmorOptions::default())
            .unwrap()
    }

    /// A signature packet, as rpm packages have it inside.
    pub fn sign_packet(&self, bytes: &[u8], form: PacketForm) -> Vec<u8> {
        self.packet(SignatureType::Binary, bytes, form)
    }

    /// The same of a text, as it is clear-signed. It must have no trailing blanks.
    pub fn sign_text_packet(&self, text: &str, form: PacketForm) -> Vec<u8> {
        // The line end before the signature belongs to the armor, not to the text.
        let text = text.strip_suffix('\n').unwrap_or(text);
        let text = text.replace('\n', "\r\n");
        self.packet(SignatureType::Text, text.as_bytes(), form)
    }

    fn packet(&self, kind: SignatureType, bytes: &[u8], form: PacketForm) -> Vec<u8> {
        let body = self.signature(kind, bytes, form).to_bytes().unwrap();
        let length = u16::try_from(body.len()).unwrap().to_be_bytes();
        // The older frame with a length of two bytes, as gpg writes it.
        [&[0x89][..], &length, &body].concat()
    }

    /// `InRelease`. The text must have no trailing blanks: pgp would sign them, other programs do
    /// not.
    pub fn clear_sign(&self, text: &str) -> String {
        clear_sign(&[self], text)
    }

    fn signing_key(&self) -> &dyn SigningKey {
        match &self.subkey {
            Some(subkey) => subkey,
            None => &self.primary,
        }
    }

    fn certificate(&self) -> SignedSecretKey {
        let (primary, password) = (&self.primary, Password::empty());
        let form = PacketForm::of(self.hash, Self::MADE);
        let lifetime = |time| Duration::from_secs(time - Self::MADE);
        let expiry = self.expires_at.map(lifetime);
        let uses: &[Use] = match self.subkey {
            Some(_) => &[Use::Certify],
            None => &[Use::Certify, Use::Sign],
        };
        let says: Vec<SubpacketData> = [may(uses)]
            .into_iter()
            .chain(expiry.map(SubpacketData::KeyExpirationTime))
            .collect();
        // RFC 9580 has a version 6 key say this of itself, not of its user ids.
        let direct = (primary.version() == KeyVersion::V6).then(|| {
            config(primary, SignatureType::Key, form, &says)
                .sign_key(primary, &password, primary.public_key())
                .unwrap()
        });
        let revocation = self.revoked.map(|(time, reason)| {
            let reason = SubpacketData::RevocationReason(reason, Vec::new().into());
            let form = PacketForm::of(self.hash, time);
            config(primary, SignatureType::KeyRevocation, form, &[reason])
                .sign_key(primary, &password, primary.public_key())
                .unwrap()
        });
        let name = UserId::from_str(PacketHeaderVersion::default(), &self.user_id).unwrap();
        let certification = config(primary, SignatureType::CertPositive, form, &says)
            .sign_certification(primary, primary.public_key(), &password, Tag::UserId, &name)
            .unwrap();
        let details = SignedKeyDetails::new(
            revocation.into_iter().collect(),
            direct.into_iter().collect(),
            vec![SignedUser::new(name, vec![certification])],
            Vec::new(),
        );
        let subkey = self.subkey.iter().map(|subkey| self.bound(subkey, form));
        SignedSecretKey::new(primary.clone(), details, Vec::new(), subkey.collect())
    }

    /// With each key's word that it belongs to the other.
    fn bound(&self, subkey: &SecretSubkey, form: PacketForm) -> SignedSecretSubKey {
        let (primary, password) = (&self.primary, Password::empty());
        let back = config(subkey, SignatureType::KeyBinding, form, &[])
            .sign_primary_key_binding(subkey, subkey.public_key(), &password, primary.public_key())
            .unwrap();
        let says = [
            may(&[Use::Sign]),
            SubpacketData::EmbeddedSignature(Box::new(back)),
        ];
        let binding = config(primary, SignatureType::SubkeyBinding, form, &says)
            .sign_subkey_binding(
                primary,
                primary.public_key(),
                &password,
                subkey.public_key(),
            )
            .unwrap();
        let revocation = self.subkey_revoked.map(|(time, reason)| {
            let reason = SubpacketData::RevocationReason(reason, Vec::new().into());
            let form = PacketForm::of(self.hash, time);
            config(primary, SignatureType::SubkeyRevocation, form, &[reason])
                .sign_subkey_binding(
                    primary,
                    primary.public_key(),
                    &password,
                    subkey.public_key(),
                )
                .unwrap()
        });
        let says = [binding].into_iter().chain(revocation);
        SignedSecretSubKey::new(subkey.clone(), says.collect())
    }

    /// pgp itself makes no version 3 signatures, and none with a weak digest.
    fn signature(&self, kind: SignatureType, bytes: &[u8], form: PacketForm) -> Signature {
        let key = self.signing_key();
        let config = config(key, kind, form, &[]);
        let mut hasher = form.hash.new_hasher().unwrap();
        if let SignatureVersionSpecific::V6 { salt } = &config.version_specific {
            hasher.update(salt);
        }
        hasher.update(bytes);
        let length = config.hash_signature_data(&mut hasher).unwrap();
        hasher.update(&config.trailer(length).unwrap());
        let digest = hasher.finalize();
        let signature = key.sign(&Password::empty(), form.hash, &digest).unwrap();
        Signature::from_config(config, [digest[0], digest[1]], signature).unwrap()
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.user_id, self.fingerprint())
    }
}

impl PacketForm {
    pub fn of(hash: HashAlgorithm, made: u32) -> Self {
        Self {
            version: PacketVersion::OfKey,
            hash,
            made,
            expires_at: None,
        }
    }

    fn now() -> Self {
        Self::of(HashAlgorithm::Sha256, Timestamp::now().as_secs())
    }
}

fn material(algorithm: Algorithm) -> (PubKeyInner, SecretParams) {
    let key_type = algorithm.key_type();
    let (public, secret) = key_type.generate(thread_rng()).unwrap();
    let (version, made) = (algorithm.version(), Timestamp::from_secs(Key::MADE));
    let inner = PubKeyInner::new(version, key_type.to_alg(), made, None, public).unwrap();
    (inner, secret)
}

/// What a key says that it is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Use {
    Certify,
    Sign,
}

fn may(uses: &[Use]) -> SubpacketData {
    let mut flags = KeyFlags::default();
    flags.set_certify(uses.contains(&Use::Certify));
    flags.set_sign(uses.contains(&Use::Sign));
    SubpacketData::KeyFlags(flags)
}

fn config(
    key: &dyn SigningKey,
    kind: SignatureType,
    form: PacketForm,
    says: &[SubpacketData],
) -> SignatureConfig {
    let (algorithm, hash) = (key.algorithm(), form.hash);
    let made = Timestamp::from_secs(form.made);
    if form.version == PacketVersion::V3 {
        return SignatureConfig::v3(kind, algorithm, hash, made, key.legacy_key_id());
    }
    let is_v6 = key.version() == KeyVersion::V6;
    let mut config = if is_v6 {
        // Not random, so that what is built again stays the same.
        let salt = vec![0x5a; hash.salt_len().unwrap()];
        SignatureConfig::v6_with_salt(kind, algorithm, hash, salt)
    } else {
        SignatureConfig::v4(kind, algorithm, hash)
    };
    let regular = |data| Subpacket::regular(data).unwrap();
    let common = [
        SubpacketData::SignatureCreationTime(made),
        SubpacketData::IssuerFingerprint(key.fingerprint()),
    ];
    let expiry = form
        .expires_at
        .map(|time| SubpacketData::SignatureExpirationTime(Duration::from_secs(time - form.made)));
    config.hashed_subpackets = [&common, says]
        .concat()
        .into_iter()
        .chain(expiry)
        .map(regular)
        .collect();
    if !is_v6 {
        config.unhashed_subpackets = vec![regular(SubpacketData::IssuerKeyId(key.legacy_key_id()))];
    }
    config
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
                let key = key.signing_key();
                let config = config(key, SignatureType::Text, PacketForm::now(), &[]);
                let mut hasher = config.into_hasher()?;
                hasher.write_all(normalized.as_bytes())?;
                hasher.sign(key, &Password::empty())
            })
            .collect()
    })
    .unwrap()
    .to_armored_string(ArmorOptions::default())
    .unwrap()
}
