//! Keys and signatures for tests. They come from seeds, so every run has the same ones.

use std::io::Write;
use std::path::PathBuf;
use std::process::Command;

use pgp::composed::KeyType;
use pgp::crypto::hash::HashAlgorithm;
use pgp::packet::{
    KeyFlags, PubKeyInner, PublicKey, PublicSubkey, RevocationCode, SecretKey, SecretSubkey,
    Signature, SignatureConfig, SignatureType, Subpacket, SubpacketData,
};
use pgp::ser::Serialize;
use pgp::types::{Duration, KeyDetails, KeyVersion, Password, SigningKey, Tag, Timestamp};
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::armor::Raw;
use super::keyring::Keyring;
use super::packets;
use super::problem::Problem;
use super::trusted::Trusted;
use super::verify::{Rejection, VerifyError};

/// When keys are made, in seconds since the epoch.
pub const MADE: u32 = 1_600_000_000;
/// When signatures are made.
pub const SIGNED: u32 = MADE + 1_000;
/// When they are verified.
pub const NOW: i64 = SIGNED as i64 + 1_000;

pub const USER_ID: &str = "Archive <archive@example.org>";

/// Subpackets beside creation time and issuer.
pub type Extra = Vec<SubpacketData>;

pub struct TestKey {
    pub secret: SecretKey,
}

pub struct TestSubkey {
    pub secret: SecretSubkey,
}

impl TestKey {
    /// Ed25519 in the form that gpg 2.2 knows.
    pub fn new(seed: u64) -> Self {
        Self::of_type(&KeyType::Ed25519Legacy, seed)
    }

    pub fn of_type(key_type: &KeyType, seed: u64) -> Self {
        let (inner, secret) = generate(key_type, seed);
        let public = PublicKey::from_inner(inner).unwrap();
        Self {
            secret: SecretKey::new(public, secret).unwrap(),
        }
    }

    pub fn fingerprint(&self) -> String {
        format!("{:X}", self.secret.fingerprint())
    }

    /// The key packet alone.
    pub fn packet(&self) -> Vec<u8> {
        packet(Tag::PublicKey, self.secret.public_key())
    }

    /// A user id with a self-signature.
    pub fn certify(&self, user_id: &str, at: u32, extra: Extra) -> Vec<u8> {
        self.certify_as(
            SignatureType::CertPositive,
            HashAlgorithm::Sha256,
            user_id,
            at,
            extra,
        )
    }

    pub fn certify_as(
        &self,
        kind: SignatureType,
        hash: HashAlgorithm,
        user_id: &str,
        at: u32,
        extra: Extra,
    ) -> Vec<u8> {
        let signature = config(&self.secret, kind, hash, at, extra)
            .sign_certification(
                &self.secret,
                self.secret.public_key(),
                &Password::empty(),
                Tag::UserId,
                &Raw(user_id.as_bytes()),
            )
            .unwrap();
        let mut bytes = packet(Tag::UserId, &Raw(user_id.as_bytes()));
        bytes.extend(packet(Tag::Signature, &signature));
        bytes
    }

    /// A direct-key signature or a revocation.
    pub fn say(&self, kind: SignatureType, at: u32, extra: Extra) -> Vec<u8> {
        let signature = config(&self.secret, kind, HashAlgorithm::Sha256, at, extra)
            .sign_key(&self.secret, &Password::empty(), self.secret.public_key())
            .unwrap();
        packet(Tag::Signature, &signature)
    }

    /// A certificate that may sign and says nothing else.
    pub fn certificate(&self) -> Vec<u8> {
        [self.packet(), self.certify(USER_ID, MADE, vec![may_sign()])].concat()
    }

    /// A binding or a revocation of a subkey, without its packet.
    pub fn bind(&self, subkey: &TestSubkey, kind: SignatureType, at: u32, extra: Extra) -> Vec<u8> {
        let signature = config(&self.secret, kind, HashAlgorithm::Sha256, at, extra)
            .sign_subkey_binding(
                &self.secret,
                self.secret.public_key(),
                &Password::empty(),
                subkey.secret.public_key(),
            )
            .unwrap();
        packet(Tag::Signature, &signature)
    }

    pub fn sign(&self, data: &[u8]) -> Vec<u8> {
        sign(
            &self.secret,
            SignatureType::Binary,
            HashAlgorithm::Sha256,
            SIGNED,
            vec![],
            data,
        )
    }

    pub fn clear_sign(&self, text: &str) -> String {
        clear_signed(text, &[&self.sign_text(text)])
    }

    /// The signature of a clear-signed text.
    pub fn sign_text(&self, text: &str) -> Vec<u8> {
        sign(
            &self.secret,
            SignatureType::Text,
            HashAlgorithm::Sha512,
            SIGNED,
            vec![],
            canonical(text).as_bytes(),
        )
    }
}

impl TestSubkey {
    pub fn new(seed: u64) -> Self {
        let (inner, secret) = generate(&KeyType::Ed25519Legacy, seed);
        let public = PublicSubkey::from_inner(inner).unwrap();
        Self {
            secret: SecretSubkey::new(public, secret).unwrap(),
        }
    }

    pub fn fingerprint(&self) -> String {
        format!("{:X}", self.secret.fingerprint())
    }

    pub fn packet(&self) -> Vec<u8> {
        packet(Tag::PublicSubkey, self.secret.public_key())
    }

    /// The back-signature, for the binding.
    pub fn back(&self, primary: &TestKey) -> SubpacketData {
        let signature = config(
            &self.secret,
            SignatureType::KeyBinding,
            HashAlgorithm::Sha256,
            MADE,
            vec![],
        )
        .sign_primary_key_binding(
            &self.secret,
            self.secret.public_key(),
            &Password::empty(),
            primary.secret.public_key(),
        )
        .unwrap();
        SubpacketData::EmbeddedSignature(Box::new(signature))
    }

    pub fn sign(&self, data: &[u8]) -> Vec<u8> {
        sign(
            &self.secret,
            SignatureType::Binary,
            HashAlgorithm::Sha256,
            SIGNED,
            vec![],
            data,
        )
    }
}

fn generate(key_type: &KeyType, seed: u64) -> (PubKeyInner, pgp::types::SecretParams) {
    let (public, secret) = key_type.generate(StdRng::seed_from_u64(seed)).unwrap();
    let made = Timestamp::from_secs(MADE);
    let inner = PubKeyInner::new(KeyVersion::V4, key_type.to_alg(), made, None, public).unwrap();
    (inner, secret)
}

fn config(
    key: &impl SigningKey,
    kind: SignatureType,
    hash: HashAlgorithm,
    at: u32,
    extra: Extra,
) -> SignatureConfig {
    let mut config = SignatureConfig::v4(kind, key.algorithm(), hash);
    config.hashed_subpackets = [
        SubpacketData::SignatureCreationTime(Timestamp::from_secs(at)),
        SubpacketData::IssuerFingerprint(key.fingerprint()),
    ]
    .into_iter()
    .chain(extra)
    .map(|data| Subpacket::regular(data).unwrap())
    .collect();
    config.unhashed_subpackets =
        vec![Subpacket::regular(SubpacketData::IssuerKeyId(key.legacy_key_id())).unwrap()];
    config
}

/// A data signature's packet.
pub fn sign(
    key: &impl SigningKey,
    kind: SignatureType,
    hash: HashAlgorithm,
    at: u32,
    extra: Extra,
    data: &[u8],
) -> Vec<u8> {
    let signature: Signature = config(key, kind, hash, at, extra)
        .sign(key, &Password::empty(), data)
        .unwrap();
    packet(Tag::Signature, &signature)
}

fn packet(tag: Tag, body: &impl Serialize) -> Vec<u8> {
    let mut bytes = Vec::new();
    packets::write(&mut bytes, tag, &body.to_bytes().unwrap());
    bytes
}

pub fn may_sign() -> SubpacketData {
    let mut flags = KeyFlags::default();
    flags.set_certify(true);
    flags.set_sign(true);
    SubpacketData::KeyFlags(flags)
}

pub fn may_only_certify() -> SubpacketData {
    let mut flags = KeyFlags::default();
    flags.set_certify(true);
    SubpacketData::KeyFlags(flags)
}

pub fn key_expires_after(seconds: u32) -> SubpacketData {
    SubpacketData::KeyExpirationTime(Duration::from_secs(seconds))
}

pub fn expires_after(seconds: u32) -> SubpacketData {
    SubpacketData::SignatureExpirationTime(Duration::from_secs(seconds))
}

pub fn because(code: RevocationCode) -> SubpacketData {
    SubpacketData::RevocationReason(code, Vec::new().into())
}

/// The text as a clear signature hashes it, worked out apart from the code under test.
fn canonical(text: &str) -> String {
    text.strip_suffix('\n')
        .unwrap_or(text)
        .split('\n')
        .map(|line| line.trim_end_matches([' ', '\t', '\r']))
        .collect::<Vec<_>>()
        .join("\r\n")
}

pub fn armored_signature(packets: &[u8]) -> String {
    let mut text = Vec::new();
    pgp::armor::write(
        &Raw(packets),
        pgp::armor::BlockType::Signature,
        &mut text,
        None,
        true,
    )
    .unwrap();
    String::from_utf8(text).unwrap()
}

pub fn clear_signed(text: &str, signatures: &[&[u8]]) -> String {
    let mut body = String::new();
    for line in text.split_inclusive('\n') {
        body.push_str(if line.starts_with('-') { "- " } else { "" });
        body.push_str(line);
    }
    let newline = if text.ends_with('\n') { "" } else { "\n" };
    let signature = armored_signature(&signatures.concat());
    format!("-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\n{body}{newline}{signature}")
}

/// What the real gpgv says of files: whether every signature is good. `None` when it is not
/// installed.
pub fn gpgv(keyring: &[u8], signature: &[u8], data: Option<&[u8]>) -> Option<bool> {
    if Command::new("gpgv").arg("--version").output().is_err() {
        assert!(
            std::env::var_os("CHANTAL_REQUIRE_CLIENTS").is_none_or(|value| value != "1"),
            "gpgv is not installed"
        );
        eprintln!("gpgv is not installed: its verdict is not compared");
        return None;
    }
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| -> PathBuf {
        let path = directory.path().join(name);
        fs_err::File::create(&path)
            .unwrap()
            .write_all(bytes)
            .unwrap();
        path
    };
    let output = Command::new("gpgv")
        .arg("--homedir")
        .arg(directory.path())
        .arg("--keyring")
        .arg(file("keyring.gpg", keyring))
        .arg(file("signature", signature))
        .args(data.map(|data| file("data", data)))
        .output()
        .unwrap();
    Some(output.status.success())
}

/// What is signed.
pub const DATA: &[u8] = b"Origin: Example\n";

/// How gpgv judges the same files.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Gpgv {
    Good,
    Bad,
    /// Otherwise, or at another time, or accepting what apt refuses.
    Differs,
}

/// Verifies a detached signature of [`DATA`] and compares the verdict with gpgv's.
#[track_caller]
pub fn check(name: &str, keys: &[u8], signature: &[u8], wanted: Result<(), Problem>, client: Gpgv) {
    let keyring = Keyring::parse(keys, "keys").expect(name);
    let result = keyring.verify_detached(DATA.to_vec(), signature, "repomd.xml", NOW);
    match wanted {
        Ok(()) => assert_eq!(result.expect(name).bytes(), DATA, "{name}"),
        Err(wanted) => assert_eq!(problem(result), wanted, "{name}"),
    }
    if client != Gpgv::Differs
        && let Some(good) = gpgv(keys, signature, Some(DATA))
    {
        assert_eq!(good, client == Gpgv::Good, "gpgv: {name}");
    }
}

/// The one problem of a signature that was refused.
#[track_caller]
pub fn problem(result: Result<Trusted, VerifyError>) -> Problem {
    match result.unwrap_err() {
        VerifyError::NotTrusted { rejections, .. } => {
            let [rejection] = <[Rejection; 1]>::try_from(rejections).unwrap();
            rejection.problem
        }
        other => panic!("{other}"),
    }
}
