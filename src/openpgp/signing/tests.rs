//! Keys of all origins sign what gpgv, gpg and our own keyring verify.

use pgp::composed::KeyType;
use pgp::packet::{RevocationCode, SignatureType};

use super::gnupg::{Gpg, USER_ID};
use super::*;
use crate::openpgp::generate::{GeneratedKey, SigningKeyKind};
use crate::openpgp::testing::{
    DATA, MADE, NOW, TestKey, TestSubkey, because, gpgv, key_expires_after, may_only_certify,
    may_sign,
};
use crate::time;

const RELEASE: &[u8] = b"Origin: Example\n-----BEGIN PGP SIGNED MESSAGE-----\n- dashed\n\nFrom: here\n  indented: \xff\n\n";

fn secret_packet(key: &TestKey) -> Vec<u8> {
    let mut bytes = Vec::new();
    packets::write(&mut bytes, Tag::SecretKey, &key.secret.to_bytes().unwrap());
    bytes
}

fn secret_subkey_packet(key: &TestSubkey) -> Vec<u8> {
    let mut bytes = Vec::new();
    let body = key.secret.to_bytes().unwrap();
    packets::write(&mut bytes, Tag::SecretSubkey, &body);
    bytes
}

fn exported(key: &TestKey) -> Vec<u8> {
    let (kind, hash) = (SignatureType::CertPositive, HashAlgorithm::Sha512);
    let user_id = key.certify_as(kind, hash, USER_ID, MADE, vec![may_sign()]);
    [secret_packet(key), user_id].concat()
}

#[track_caller]
fn read(bytes: &[u8]) -> SigningKey {
    SigningKey::read(bytes, None, NOW).unwrap()
}

#[track_caller]
fn refused(bytes: &[u8]) -> String {
    SigningKey::read(bytes, None, NOW).unwrap_err().to_string()
}

/// Signs in both forms; the public part, our verdict and gpgv's must agree, and not survive a
/// changed byte.
#[track_caller]
fn check_signatures(key: &SigningKey, now: i64) {
    let public = key.public();
    let inline = key.sign_inline(RELEASE, now).unwrap();
    let trusted = public.verify_inline(&inline, "InRelease", now).unwrap();
    assert_eq!(trusted.bytes(), RELEASE);
    let detached = key.sign_detached(DATA, now).unwrap();
    let verify = |data: &[u8]| public.verify_detached(data.to_vec(), &detached, "Release", now);
    assert_eq!(verify(DATA).unwrap().bytes(), DATA);

    let mut changed = DATA.to_vec();
    changed[3] ^= 1;
    assert!(verify(&changed).is_err());
    let mut inline_changed = inline.clone();
    let place = inline.windows(7).position(|seen| seen == b"Example");
    inline_changed[place.unwrap()] ^= 1;
    assert!(
        public
            .verify_inline(&inline_changed, "InRelease", now)
            .is_err()
    );

    let keys = public.to_binary();
    for (signature, data, wanted) in [
        (&inline, None, true),
        (&inline_changed, None, false),
        (&detached, Some(DATA), true),
        (&detached, Some(&changed[..]), false),
    ] {
        if let Some(good) = gpgv(&keys, signature, data) {
            assert_eq!(good, wanted);
        }
    }
}

#[test]
fn every_usable_kind_of_key_signs() {
    use pgp::crypto::ecc_curve::ECCCurve;
    for kind in [
        KeyType::Ed25519Legacy,
        KeyType::Rsa(2048),
        KeyType::ECDSA(ECCCurve::P256),
        KeyType::ECDSA(ECCCurve::P521),
    ] {
        let test_key = TestKey::of_type(&kind, 1);
        let binary = exported(&test_key);
        let armored = armor::write(BlockType::PrivateKey, &binary);
        for file in [&binary[..], armored.as_bytes()] {
            let key = read(file);
            assert_eq!(key.fingerprint(), test_key.fingerprint());
            assert_eq!(key.signing_fingerprint(), test_key.fingerprint());
            assert_eq!(key.summary(NOW).user_id.unwrap(), USER_ID);
            assert_eq!(
                format!("{key:?}"),
                format!("SigningKey({})", key.fingerprint())
            );
            check_signatures(&key, NOW);
        }
    }
}

#[test]
fn threads_can_share_a_key() {
    fn is_shared<T: Send + Sync>(_: &T) {}
    is_shared(&read(&exported(&TestKey::new(1))));
}

#[test]
fn the_public_part_has_nothing_of_the_secret_one() {
    let test_key = TestKey::new(1);
    let key = read(&exported(&test_key));
    let user_id = &exported(&test_key)[secret_packet(&test_key).len()..];
    assert_eq!(
        key.public().to_binary(),
        [&test_key.packet(), user_id].concat()
    );
}

#[test]
fn the_newest_subkey_that_may_signs_else_the_primary_key() {
    let (key, subkey, other) = (TestKey::new(1), TestSubkey::new(2), TestSubkey::new(3));
    let bound = |subkey: &TestSubkey, extra: Vec<SubpacketData>| {
        let extra = [vec![may_sign(), subkey.back(&key)], extra].concat();
        let binding = key.bind(subkey, SignatureType::SubkeyBinding, MADE, extra);
        [secret_subkey_packet(subkey), binding].concat()
    };
    let file = [exported(&key), bound(&subkey, vec![])].concat();
    assert_eq!(read(&file).signing_fingerprint(), subkey.fingerprint());
    check_signatures(&read(&file), NOW);

    let expired = bound(&other, vec![key_expires_after(10)]);
    let with_expired = [file.clone(), expired.clone()].concat();
    assert_eq!(
        read(&with_expired).signing_fingerprint(),
        subkey.fingerprint()
    );
    let only_expired = [exported(&key), expired].concat();
    assert_eq!(read(&only_expired).signing_fingerprint(), key.fingerprint());

    // The primary key is elsewhere: gpg leaves a stub of it.
    let mut stub = key.secret.public_key().to_bytes().unwrap();
    stub.extend(b"\xff\x00\x65\x00GNU\x01");
    let mut offline = Vec::new();
    packets::write(&mut offline, Tag::SecretKey, &stub);
    offline.extend(key.certify(USER_ID, MADE, vec![may_sign()]));
    let signing = read(&[offline.clone(), bound(&subkey, vec![])].concat());
    assert_eq!(signing.fingerprint(), key.fingerprint());
    assert_eq!(signing.signing_fingerprint(), subkey.fingerprint());
    check_signatures(&signing, NOW);
    assert_eq!(
        refused(&offline),
        format!(
            "contains no key that can sign\n  {}: the file does not contain its secret part",
            key.fingerprint()
        )
    );
}

#[test]
fn files_that_are_no_secret_key_say_so() {
    let (key, other) = (TestKey::new(1), TestKey::new(2));
    let mut both = [key.fingerprint(), other.fingerprint()];
    both.sort();
    let both = format!("contains several secret keys: {}", both.join(", "));
    let not_a_key = "not an exported OpenPGP key";
    let cases: [(&[u8], &str); 9] = [
        (b"", not_a_key),
        (b"<html>", not_a_key),
        (b"(21:protected-private-key", not_a_key),
        (&key.sign(b"x"), not_a_key),
        (
            &key.certificate(),
            "contains only a public key, which cannot sign",
        ),
        (
            &exported(&key)[..50],
            "invalid OpenPGP data: the OpenPGP packet at byte 0 is truncated",
        ),
        (&[exported(&key), exported(&other)].concat(), &both),
        (
            b"\xc5\x06\x05abcde",
            "contains no usable secret key\n  keys of version 5 are not supported",
        ),
        (
            &vec![0x80; (1 << 20) + 1],
            "the file is too large: 1048577 bytes, limit 1048576 bytes",
        ),
    ];
    for (file, message) in cases {
        assert_eq!(refused(file), message);
    }
    // A copy of the same key is no second one, nor is somebody's public key.
    let copies = [exported(&key), exported(&key), other.certificate()].concat();
    assert_eq!(read(&copies).fingerprint(), key.fingerprint());
}

#[test]
fn keys_that_may_not_sign_say_why() {
    let key = TestKey::new(1);
    let certified = |extra| [secret_packet(&key), key.certify(USER_ID, MADE, extra)].concat();
    let reason = vec![because(RevocationCode::KeyRetired)];
    let revoked = [
        secret_packet(&key),
        key.say(SignatureType::KeyRevocation, MADE + 5, reason),
        key.certify(USER_ID, MADE, vec![may_sign()]),
    ]
    .concat();
    let short = TestKey::of_type(&KeyType::Rsa(1024), 1);
    let newer = TestKey::of_type(&KeyType::Ed25519, 1);
    let cases: [(&TestKey, Vec<u8>, &str); 6] = [
        (
            &key,
            certified(vec![may_sign(), key_expires_after(10)]),
            "the key expired on 2020-09-13 12:26:50 UTC",
        ),
        (
            &key,
            revoked,
            "the key was revoked on 2020-09-13 12:26:45 UTC",
        ),
        (
            &key,
            certified(vec![may_only_certify()]),
            "the key is not a signing key",
        ),
        (
            &key,
            secret_packet(&key),
            "the key has no valid self-signature",
        ),
        (
            &short,
            exported(&short),
            "RSA keys with 1024 bits are too weak",
        ),
        (
            &newer,
            exported(&newer),
            "algorithm Ed25519 in a key of version 4 is not supported by clients",
        ),
    ];
    for (key, file, why) in cases {
        let message = format!(
            "contains no key that can sign\n  {}: {why}",
            key.fingerprint()
        );
        assert_eq!(refused(&file), message);
    }
}

#[test]
fn damaged_secret_parts_are_noticed() {
    let (key, other) = (TestKey::new(1), TestKey::new(2));
    let damaged = format!("the secret part of key {} is damaged", key.fingerprint());
    let end = secret_packet(&key).len();
    let mut changed = exported(&key);
    changed[end - 10] ^= 1;
    assert_eq!(refused(&changed), damaged);

    let public = key.secret.public_key().to_bytes().unwrap();
    let secret = other.secret.to_bytes().unwrap();
    let mut swapped = Vec::new();
    let body = [&public[..], &secret[public.len()..]].concat();
    packets::write(&mut swapped, Tag::SecretKey, &body);
    swapped.extend(key.certify(USER_ID, MADE, vec![may_sign()]));
    assert_eq!(refused(&swapped), damaged);
}

#[test]
fn texts_that_apt_would_read_otherwise_are_not_signed() {
    let key = read(&exported(&TestKey::new(1)));
    let long = [&vec![b'x'; MAX_LINE_BYTES + 1][..], b"\n"].concat();
    let cases: [(&[u8], SigningError); 6] = [
        (b"", SigningError::Unfinished),
        (b"a", SigningError::Unfinished),
        (b"a\nb \n", SigningError::Blank { line: 2 }),
        (b"a\t\n", SigningError::Blank { line: 1 }),
        (b"a\rb\n", SigningError::Blank { line: 1 }),
        (&long, SigningError::LongLine { line: 1 }),
    ];
    for (text, error) in cases {
        assert_eq!(key.sign_inline(text, NOW), Err(error));
    }
    for text in [&b"\n"[..], b"\n\n", &long[1..], b"-\n--\n- -\n"] {
        let signed = key.sign_inline(text, NOW).unwrap();
        let trusted = key
            .public()
            .verify_inline(&signed, "InRelease", NOW)
            .unwrap();
        assert_eq!(trusted.bytes(), text);
        assert_ne!(gpgv(&key.public().to_binary(), &signed, None), Some(false));
    }
}

#[test]
fn nothing_is_signed_after_the_key_expired() {
    let test_key = TestKey::new(1);
    let lifetime = u32::try_from(NOW).unwrap() - MADE + 100;
    let extra = vec![may_sign(), key_expires_after(lifetime)];
    let file = [
        secret_packet(&test_key),
        test_key.certify(USER_ID, MADE, extra),
    ]
    .concat();
    let key = read(&file);
    assert_eq!(key.expires(), Some(NOW + 100));
    assert!(key.sign_detached(DATA, NOW + 99).is_ok());
    assert_eq!(
        key.sign_detached(DATA, NOW + 100),
        Err(SigningError::Expired { at: NOW + 100 })
    );
    let unlimited = read(&exported(&test_key));
    let late = i64::from(u32::MAX) + 1;
    assert_eq!(
        unlimited.sign_detached(DATA, late),
        Err(SigningError::Time { now: late })
    );
    assert!(unlimited.sign_detached(DATA, -1).is_err());
}

/// What `gpg --export-secret-keys` and its sisters write.
#[test]
fn keys_that_gpg_made_sign() {
    for (passphrase, algorithm) in [
        ("", "ed25519"),
        ("correct horse", "ed25519"),
        ("", "rsa2048"),
        ("p\u{e4}ss", "rsa2048"),
    ] {
        let Some(gpg) = Gpg::new() else { return };
        gpg.make(passphrase, algorithm, "sign,cert", "never");
        gpg.add(
            passphrase,
            if algorithm == "ed25519" {
                "cv25519"
            } else {
                "rsa2048"
            },
            "encr",
        );
        let given = (!passphrase.is_empty()).then_some(passphrase.as_bytes());
        let fingerprints = gpg.fingerprints();
        for armor in [&["--armor"][..], &[]] {
            let file = gpg.output(
                passphrase,
                &[armor, &["--export-secret-keys"]].concat(),
                b"",
            );
            let key = SigningKey::read(&file, given, time::now()).unwrap();
            assert_eq!(key.fingerprint(), fingerprints[0]);
            assert_eq!(key.signing_fingerprint(), fingerprints[0]);
            check_signatures(&key, time::now());
            check_passphrases(&file, given, &fingerprints[0]);
        }
        let public = gpg.output("", &["--export"], b"");
        assert_eq!(
            SigningKey::read(&public, given, time::now()).unwrap_err(),
            SigningKeyError::Public
        );
    }
}

/// Neither is shown in the error.
#[track_caller]
fn check_passphrases(file: &[u8], passphrase: Option<&[u8]>, fingerprint: &str) {
    let read = |given: Option<&[u8]>| SigningKey::read(file, given, time::now()).err();
    let fingerprint = || fingerprint.to_owned();
    let (missing, wrong) = match passphrase {
        // gpg needs none for it, so one too many does no harm.
        None => (None, None),
        Some(_) => (
            Some(SigningKeyError::NoPassphrase {
                fingerprint: fingerprint(),
            }),
            Some(SigningKeyError::WrongPassphrase {
                fingerprint: fingerprint(),
            }),
        ),
    };
    assert_eq!(read(None), missing);
    for other in ["", "correct horse\n", "hunter2"] {
        assert_eq!(read(Some(other.as_bytes())), wrong);
    }
}

#[test]
fn subkeys_that_gpg_made_sign() {
    for passphrase in ["", "correct horse"] {
        let Some(gpg) = Gpg::new() else { return };
        gpg.make(passphrase, "rsa2048", "cert", "never");
        gpg.add(passphrase, "ed25519", "sign");
        gpg.add(passphrase, "rsa2048", "encr");
        let fingerprints = gpg.fingerprints();
        let given = (!passphrase.is_empty()).then_some(passphrase.as_bytes());
        for export in ["--export-secret-keys", "--export-secret-subkeys"] {
            let file = gpg.output(passphrase, &["--armor", export], b"");
            let key = SigningKey::read(&file, given, time::now()).unwrap();
            assert_eq!(key.fingerprint(), fingerprints[0]);
            assert_eq!(key.signing_fingerprint(), fingerprints[1]);
            check_signatures(&key, time::now());
            check_passphrases(&file, given, &fingerprints[1]);
        }
    }
}

fn generate(kind: SigningKeyKind, passphrase: Option<&str>) -> GeneratedKey {
    SigningKey::generate(kind, USER_ID, passphrase.map(str::as_bytes), time::now()).unwrap()
}

#[test]
fn generated_keys_sign_here_and_in_gpg() {
    for (kind, passphrase) in [
        (SigningKeyKind::Ed25519, None),
        (SigningKeyKind::Ed25519, Some("correct horse")),
        (SigningKeyKind::Rsa4096, Some("correct horse")),
    ] {
        let generated = generate(kind, passphrase);
        check_signatures(&generated.key, time::now());
        let summary = generated.key.summary(time::now());
        assert_eq!(
            (summary.user_id.as_deref(), summary.expires),
            (Some(USER_ID), None)
        );

        let Some(gpg) = Gpg::new() else { return };
        let secret = generated.secret_armored.as_bytes();
        gpg.output("", &["--import"], secret);
        assert_eq!(gpg.fingerprints(), [generated.key.fingerprint()]);
        let given = passphrase.unwrap_or_default();
        let now = time::now();
        let public = generated.key.public();
        let detached = gpg.output(given, &["--armor", "--detach-sign"], DATA);
        public
            .verify_detached(DATA.to_vec(), &detached, "Release", now + 1)
            .unwrap();
        let inline = gpg.output(given, &["--clear-sign"], RELEASE);
        public.verify_inline(&inline, "InRelease", now + 1).unwrap();
        if passphrase.is_some() {
            let Some(gpg) = Gpg::new() else { return };
            gpg.output("", &["--import"], secret);
            let refused = gpg.run("wrong", &["--detach-sign"], DATA);
            assert!(!refused.status.success());
        }
        // And gpg's own export of it comes back as the same key.
        let file = gpg.output(given, &["--export-secret-keys"], b"");
        let again = SigningKey::read(&file, passphrase.map(str::as_bytes), now + 1).unwrap();
        assert_eq!(again.fingerprint(), generated.key.fingerprint());
    }
}

#[test]
fn no_two_generated_keys_are_equal_and_bad_user_ids_are_refused() {
    use crate::openpgp::generate::GenerateError;
    let make = |user_id: &str| SigningKey::generate(SigningKeyKind::Ed25519, user_id, None, NOW);
    let fingerprint = |user_id| make(user_id).unwrap().key.fingerprint();
    assert_ne!(fingerprint("a"), fingerprint("a"));
    assert!(make(&"u".repeat(2048)).is_ok());
    for user_id in ["", "a\nb", "a\u{1b}", &"u".repeat(2049)] {
        assert_eq!(make(user_id).err(), Some(GenerateError::UserId));
    }
}
