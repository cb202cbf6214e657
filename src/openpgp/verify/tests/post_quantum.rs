//! Signatures of which one half is post-quantum, and messages about keys that cannot be used.

use ml_dsa::{ExpandedSigningKey, MlDsa65, MlDsa87, MlDsaParams, Seed};
use pgp::composed::KeyType;
use pgp::crypto::hash::HashAlgorithm;
use pgp::crypto::public_key::PublicKeyAlgorithm;
use pgp::packet::{
    PubKeyInner, PublicKey, SecretKey, SignatureConfig, SignatureType, Subpacket, SubpacketData,
};
use pgp::ser::Serialize;
use pgp::types::{
    Fingerprint, KeyDetails, KeyId, KeyVersion, Password, PublicParams, SignatureBytes, SigningKey,
    Tag, Timestamp,
};
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::super::*;
use crate::openpgp::armor::Raw;
use crate::openpgp::packets;
use crate::openpgp::streaming::SignatureHasher;
use crate::openpgp::testing::{DATA, MADE, NOW, SIGNED, TestKey, USER_ID, may_sign, problem};
use crate::openpgp::trusted::Authority;

/// As sequoia makes them for rpm 6: version 6, and the primary key signs.
#[derive(Debug)]
struct CompositeKey {
    public: PublicKey,
    classical: SecretKey,
    seed: Seed,
    parameters: Parameters,
}

#[derive(Clone, Copy, Debug)]
enum Parameters {
    MlDsa65,
    MlDsa87,
}

impl CompositeKey {
    fn new(parameters: Parameters, seed: u8) -> Self {
        let (kind, algorithm) = match parameters {
            Parameters::MlDsa65 => (KeyType::Ed25519, 30),
            Parameters::MlDsa87 => (KeyType::Ed448, 31),
        };
        let made = Timestamp::from_secs(MADE);
        let (params, secret) = kind
            .generate(StdRng::seed_from_u64(u64::from(seed)))
            .unwrap();
        let inner = PubKeyInner::new(KeyVersion::V6, kind.to_alg(), made, None, params).unwrap();
        let classical = PublicKey::from_inner(inner).unwrap();
        let seed = Seed::from([seed; 32]);
        let data = match parameters {
            Parameters::MlDsa65 => [classical_bytes(&classical), public::<MlDsa65>(&seed)],
            Parameters::MlDsa87 => [classical_bytes(&classical), public::<MlDsa87>(&seed)],
        };
        let data = data.concat().into();
        let algorithm = PublicKeyAlgorithm::Unknown(algorithm);
        let params = PublicParams::Unknown { data };
        let inner = PubKeyInner::new(KeyVersion::V6, algorithm, made, None, params).unwrap();
        Self {
            public: PublicKey::from_inner(inner).unwrap(),
            classical: SecretKey::new(classical, secret).unwrap(),
            seed,
            parameters,
        }
    }

    fn fingerprint(&self) -> String {
        format!("{:X}", self.public.fingerprint())
    }

    fn certificate(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut put = |tag, body: Vec<u8>| packets::write(&mut bytes, tag, &body);
        put(Tag::PublicKey, self.public.to_bytes().unwrap());
        let direct = self.config(SignatureType::Key, MADE, vec![may_sign()]);
        let direct = direct
            .sign_key(self, &Password::empty(), &self.public)
            .unwrap();
        put(Tag::Signature, direct.to_bytes().unwrap());
        let user_id = Raw(USER_ID.as_bytes());
        put(Tag::UserId, USER_ID.into());
        let certified = self
            .config(SignatureType::CertPositive, MADE, vec![may_sign()])
            .sign_certification(
                self,
                &self.public,
                &Password::empty(),
                Tag::UserId,
                &user_id,
            )
            .unwrap();
        put(Tag::Signature, certified.to_bytes().unwrap());
        bytes
    }

    fn config(&self, kind: SignatureType, at: u32, extra: Vec<SubpacketData>) -> SignatureConfig {
        let (algorithm, hash) = (self.public.algorithm(), HashAlgorithm::Sha512);
        let mut config = SignatureConfig::v6_with_salt(kind, algorithm, hash, vec![7; 32]);
        config.hashed_subpackets = [
            SubpacketData::SignatureCreationTime(Timestamp::from_secs(at)),
            SubpacketData::IssuerFingerprint(self.public.fingerprint()),
        ]
        .into_iter()
        .chain(extra)
        .map(|data| Subpacket::regular(data).unwrap())
        .collect();
        config
    }
}

fn classical_bytes(key: &PublicKey) -> Vec<u8> {
    key.public_params().to_bytes().unwrap()
}

fn public<P: MlDsaParams>(seed: &Seed) -> Vec<u8> {
    let key = ExpandedSigningKey::<P>::from_seed(seed);
    key.verifying_key().encode().to_vec()
}

fn post_quantum<P: MlDsaParams>(seed: &Seed, digest: &[u8]) -> Vec<u8> {
    let key = ExpandedSigningKey::<P>::from_seed(seed);
    key.sign_deterministic(digest, &[])
        .unwrap()
        .encode()
        .to_vec()
}

impl SigningKey for CompositeKey {
    fn sign(
        &self,
        password: &Password,
        hash: HashAlgorithm,
        digest: &[u8],
    ) -> pgp::errors::Result<SignatureBytes> {
        let SignatureBytes::Native(classical) = self.classical.sign(password, hash, digest)? else {
            panic!("these signatures are one string");
        };
        let other = match self.parameters {
            Parameters::MlDsa65 => post_quantum::<MlDsa65>(&self.seed, digest),
            Parameters::MlDsa87 => post_quantum::<MlDsa87>(&self.seed, digest),
        };
        Ok(SignatureBytes::Native(
            [&classical[..], &other].concat().into(),
        ))
    }

    fn hash_alg(&self) -> HashAlgorithm {
        HashAlgorithm::Sha512
    }
}

impl KeyDetails for CompositeKey {
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

fn keyring(key: &CompositeKey) -> Keyring {
    Keyring::parse(&key.certificate(), "keys").unwrap()
}

/// A signature packet, after `change` had its way with the numbers.
fn sign(key: &CompositeKey, change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let signature = key
        .config(SignatureType::Binary, SIGNED, Vec::new())
        .sign(key, &Password::empty(), DATA)
        .unwrap();
    let Some(SignatureBytes::Native(numbers)) = signature.signature() else {
        panic!("these signatures are one string");
    };
    let mut bytes = signature.to_bytes().unwrap();
    let start = bytes.len() - numbers.len();
    let mut numbers = numbers.to_vec();
    change(&mut numbers);
    bytes.splice(start.., numbers);
    let mut packet = Vec::new();
    packets::write(&mut packet, Tag::Signature, &bytes);
    packet
}

/// What a root's signature and a package's are judged to be.
fn verdicts(keyring: &Keyring, signature: &[u8]) -> [Result<String, Problem>; 2] {
    let root = keyring.verify_detached(DATA.to_vec(), signature, "repomd.xml", NOW);
    let root = match root {
        Ok(trusted) => {
            let Authority::Signed(signers) = trusted.authority() else {
                panic!("it is signed");
            };
            Ok(signers[0].fingerprint.clone())
        }
        Err(error) => Err(problem(Err(error))),
    };
    let mut passing = SignatureHasher::new(signature).unwrap();
    for byte in DATA {
        passing.update(&[*byte]);
    }
    let package = match keyring.verify_hashed(&[passing.finish()], "a package", NOW) {
        Ok(signers) => Ok(signers[0].fingerprint.clone()),
        Err(error) => Err(problem(Err(error))),
    };
    [root, package]
}

#[test]
fn both_halves_of_a_signature_must_be_good() {
    for (kind, classical) in [(Parameters::MlDsa65, 64), (Parameters::MlDsa87, 114)] {
        let signer = CompositeKey::new(kind, 1);
        let fingerprint = signer.fingerprint();
        let trusted = keyring(&signer);
        let good = sign(&signer, |_| {});
        for verdict in verdicts(&trusted, &good) {
            assert_eq!(verdict, Ok(fingerprint.clone()), "{kind:?}");
        }
        // Of each half its first and its last byte.
        for at in [0, classical - 2, classical, classical + 3000] {
            let bad = sign(&signer, |numbers| numbers[at] ^= 1);
            for verdict in verdicts(&trusted, &bad) {
                assert_eq!(verdict, Err(Problem::Bad), "{kind:?}, byte {at}");
            }
        }
        let short = sign(&signer, |numbers| numbers.truncate(classical));
        let root = trusted.verify_detached(DATA.to_vec(), &short, "repomd.xml", NOW);
        assert!(root.is_err(), "{kind:?}");
        let other = CompositeKey::new(kind, 2);
        for verdict in verdicts(&keyring(&other), &good) {
            assert_eq!(verdict, Err(Problem::UnknownKey), "{kind:?}");
        }
    }
}

#[test]
fn a_keyring_of_them_is_written_and_read_again() {
    let signer = CompositeKey::new(Parameters::MlDsa65, 1);
    let trusted = keyring(&signer);
    let again = Keyring::parse(trusted.to_armored_each().as_bytes(), "keys").unwrap();
    assert_eq!(again.to_binary(), trusted.to_binary());
    for verdict in verdicts(&again, &sign(&signer, |_| {})) {
        assert!(verdict.is_ok());
    }
}

/// Messages name the keys of the file that cannot be used.
#[test]
fn messages_tell_of_keys_that_cannot_be_used() {
    // SLH-DSA.
    let mut unusable = CompositeKey::new(Parameters::MlDsa65, 1);
    let (algorithm, params) = (
        PublicKeyAlgorithm::Unknown(32),
        unusable.public.public_params().clone(),
    );
    let made = Timestamp::from_secs(MADE);
    let inner = PubKeyInner::new(KeyVersion::V6, algorithm, made, None, params).unwrap();
    unusable.public = PublicKey::from_inner(inner).unwrap();
    let fingerprint = unusable.fingerprint();
    let known = TestKey::new(1);
    let file = [known.certificate(), unusable.certificate()].concat();
    let trusted = Keyring::parse(&file, "keys").unwrap();
    let refused = |signature: &[u8]| {
        let root = trusted.verify_detached(DATA.to_vec(), signature, "repomd.xml", NOW);
        root.unwrap_err().to_string()
    };
    let why = "version 6 keys with algorithm Unknown(32) are not supported";
    assert_eq!(
        refused(&sign(&unusable, |_| {})),
        format!(
            "repomd.xml has no good signature by a trusted key\n  by {fingerprint}: \
             the key is among the trusted keys, but cannot be used: {why}"
        )
    );
    let stranger = TestKey::new(2);
    assert_eq!(
        refused(&stranger.sign(DATA)),
        format!(
            "repomd.xml has no good signature by a trusted key\n  by {}: the key is not among the trusted keys\n  \
             unusable keys in the key files:\n    {fingerprint}: {why}",
            stranger.fingerprint()
        )
    );
    let good = known.sign(DATA);
    assert!(
        trusted
            .verify_detached(DATA.to_vec(), &good, "repomd.xml", NOW)
            .is_ok()
    );
    let named = std::slice::from_ref(&fingerprint);
    let error = trusted.clone().retain_fingerprints(named).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "no key has the fingerprint {fingerprint}, available: {}\n  \
             unusable keys in the key files:\n    {fingerprint}: {why}",
            known.fingerprint()
        )
    );
    let error = Keyring::parse(&unusable.certificate(), "keys").unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("keys contains no usable public key\n  {fingerprint}: {why}")
    );
}
