//! Verdicts over signatures and files, compared with the real gpgv where it judges alike.

use pgp::composed::KeyType;
use pgp::packet::{RevocationCode, SubpacketData};
use proptest::prelude::*;

use super::*;
use crate::openpgp::hasher::HashAlgorithm;
use crate::openpgp::keyring::Policy;
use crate::openpgp::streaming::SignatureHasher;
use crate::openpgp::testing::{
    self, DATA, Extra, Gpgv, MADE, NOW, SIGNED, TestKey, TestSubkey, USER_ID, check, clear_signed,
    expires_after, gpgv, key_expires_after, may_sign, problem,
};
use crate::openpgp::trusted::Authority;

mod post_quantum;

fn keyring(bytes: &[u8]) -> Keyring {
    Keyring::parse(bytes, "keys").unwrap()
}

fn signers(trusted: &Trusted) -> &[Signer] {
    match trusted.authority() {
        Authority::Signed(signers) => signers,
        Authority::Unsigned | Authority::State => panic!("not signed"),
    }
}

fn verify(keys: &[u8], signature: &[u8], data: &[u8]) -> Result<Trusted, VerifyError> {
    keyring(keys).verify_detached(data.to_vec(), signature, "repomd.xml", NOW)
}

fn sign(key: &TestKey, hash: HashAlgorithm, at: u32, extra: Extra) -> Vec<u8> {
    testing::sign(&key.secret, SignatureType::Binary, hash, at, extra, DATA)
}

#[test]
fn a_good_signature_names_its_signer() {
    let key = TestKey::new(1);
    let trusted = verify(&key.certificate(), &key.sign(DATA), DATA).unwrap();
    assert_eq!(trusted.bytes(), DATA);
    let signer = Signer {
        fingerprint: key.fingerprint(),
        signing_fingerprint: key.fingerprint(),
        user_id: USER_ID.to_owned(),
        signed_at: i64::from(SIGNED),
    };
    assert_eq!(signers(&trusted), [signer]);
}

#[test]
fn genuine_signatures_count_and_others_do_not() {
    let key = TestKey::new(1);
    let check = |name, signature: &[u8], wanted, client| {
        check(name, &key.certificate(), signature, wanted, client);
    };
    check("binary", &key.sign(DATA), Ok(()), Gpgv::Good);
    let sha384 = sign(&key, HashAlgorithm::Sha384, SIGNED, vec![]);
    check("SHA-384", &sha384, Ok(()), Gpgv::Good);
    let text = testing::sign(
        &key.secret,
        SignatureType::Text,
        HashAlgorithm::Sha256,
        SIGNED,
        vec![],
        b"Origin: Example\r\n",
    );
    check("text", &text, Ok(()), Gpgv::Good);
    let of_other_bytes = key.sign(b"Origin: Evil\n");
    check(
        "of other bytes",
        &of_other_bytes,
        Err(Problem::Bad),
        Gpgv::Bad,
    );
    let stranger = TestKey::new(2).sign(DATA);
    check(
        "by a stranger",
        &stranger,
        Err(Problem::UnknownKey),
        Gpgv::Bad,
    );
    let about_the_key = key.say(SignatureType::Key, SIGNED, vec![]);
    let wrong_type = Err(Problem::WrongType { kind: 0x1f });
    check("of a wrong type", &about_the_key, wrong_type, Gpgv::Bad);
}

#[test]
fn signatures_count_only_in_their_time() {
    let key = TestKey::new(1);
    let check = |name, at, extra, wanted, client| {
        let signature = sign(&key, HashAlgorithm::Sha256, at, extra);
        check(name, &key.certificate(), &signature, wanted, client);
    };
    let expired = Err(Problem::Expired { at: NOW - 1 });
    check(
        "expired",
        SIGNED,
        vec![expires_after(999)],
        expired,
        Gpgv::Bad,
    );
    // gpgv's clock is the real one.
    check(
        "not yet expired",
        SIGNED,
        vec![expires_after(1001)],
        Ok(()),
        Gpgv::Differs,
    );
    let future = Err(Problem::Future { made: NOW + 11 });
    check(
        "from the future",
        SIGNED + 1011,
        vec![],
        future,
        Gpgv::Differs,
    );
    check(
        "by a clock slightly ahead",
        SIGNED + 1010,
        vec![],
        Ok(()),
        Gpgv::Good,
    );
    let older = Err(Problem::OlderThanKey {
        key_made: i64::from(MADE),
    });
    check("older than its key", MADE - 1, vec![], older, Gpgv::Bad);
}

#[test]
fn weak_signatures_count_only_when_the_policy_says_so() {
    let strong = TestKey::of_type(&KeyType::Rsa(2048), 5);
    let short = TestKey::of_type(&KeyType::Rsa(1024), 6);
    let sign = |key, hash| sign(key, hash, SIGNED, vec![]);
    let weak_digest = |digest: &str| {
        let digest = digest.to_owned();
        Err(Problem::WeakDigest { digest })
    };
    let weak_key = Err(Problem::Key(KeyProblem::Weak {
        algorithm: "RSA",
        bits: 1024,
    }));
    let cases = [
        ("RSA", &strong, HashAlgorithm::Sha256, Ok(()), Gpgv::Good),
        (
            "SHA-1",
            &strong,
            HashAlgorithm::Sha1,
            weak_digest("SHA1"),
            Gpgv::Good,
        ),
        (
            "MD5",
            &strong,
            HashAlgorithm::Md5,
            weak_digest("MD5"),
            Gpgv::Bad,
        ),
        (
            "a short key",
            &short,
            HashAlgorithm::Sha256,
            weak_key,
            Gpgv::Good,
        ),
    ];
    for (name, key, hash, wanted, client) in cases {
        let (keys, signature) = (key.certificate(), sign(key, hash));
        check(name, &keys, &signature, wanted, client);
        let lenient = keyring(&keys).with_policy(Policy {
            allow_weak_signatures: true,
        });
        let result = lenient.verify_detached(DATA.to_vec(), &signature, "repomd.xml", NOW);
        assert!(result.is_ok(), "{name}");
    }

    // What a key says about itself may be older than the rules for data.
    let positive = SignatureType::CertPositive;
    let certify = |hash| strong.certify_as(positive, hash, USER_ID, MADE, vec![]);
    let signature = sign(&strong, HashAlgorithm::Sha512);
    let keys = [strong.packet(), certify(HashAlgorithm::Sha1)].concat();
    check(
        "certified with SHA-1",
        &keys,
        &signature,
        Ok(()),
        Gpgv::Good,
    );
    let keys = [strong.packet(), certify(HashAlgorithm::Md5)].concat();
    let none = Err(Problem::Key(KeyProblem::NoSelfSignature));
    check("certified with MD5", &keys, &signature, none, Gpgv::Bad);
}

#[test]
fn one_good_signature_among_several_is_enough() {
    let (known, stranger) = (TestKey::new(1), TestKey::new(2));
    let keys = known.certificate();
    let both = [stranger.sign(DATA), known.sign(DATA), known.sign(DATA)].concat();
    let in_one_block = testing::armored_signature(&both);
    let in_two_blocks = format!(
        "{}\n{}",
        testing::armored_signature(&stranger.sign(DATA)),
        testing::armored_signature(&known.sign(DATA))
    );
    for signature in [&both[..], in_one_block.as_bytes(), in_two_blocks.as_bytes()] {
        let trusted = verify(&keys, signature, DATA).unwrap();
        assert_eq!(signers(&trusted).len(), 1);
    }

    let text = "Origin: Example\n";
    let file = clear_signed(text, &[&stranger.sign_text(text), &known.sign_text(text)]);
    let trusted = keyring(&keys)
        .verify_inline(file.as_bytes(), "InRelease", NOW)
        .unwrap();
    assert_eq!(trusted.bytes(), text.as_bytes());
}

#[test]
fn the_error_says_of_every_signature_why_it_does_not_count() {
    let (known, stranger) = (TestKey::new(1), TestKey::new(2));
    let damaged = b"\xc2\x02\x04\x00";
    let version_5 = b"\xc2\x02\x05\x00";
    let signatures = [
        &stranger.sign(DATA)[..],
        &known.sign(b"other bytes"),
        damaged,
        version_5,
    ]
    .concat();
    let error = verify(&known.certificate(), &signatures, DATA).unwrap_err();
    let expected = format!(
        "repomd.xml has no good signature by a trusted key\
         \n  by {}: the key is not among the trusted keys\
         \n  by {}: bad signature: the file or the signature was modified\
         \n  by an unspecified key: the signature packet is damaged\
         \n  by an unspecified key: signatures of version 5 are not supported",
        stranger.fingerprint(),
        known.fingerprint()
    );
    assert_eq!(error.to_string(), expected);
}

type Is = fn(&VerifyError) -> bool;

#[test]
fn files_that_are_no_signature_are_told_apart() {
    let key = TestKey::new(1);
    let keys = key.certificate();
    let signature = key.sign(DATA);
    let armored = testing::armored_signature(&signature);
    let cut = &armored[..armored.len() - 30];
    let many = signature.repeat(MAX_SIGNATURES + 1);
    let large = vec![0; MAX_SIGNATURE_BYTES + 1];
    let cases: [(&str, &[u8], Is); 6] = [
        ("nothing", b"", |error| {
            matches!(error, VerifyError::NoSignature { .. })
        }),
        ("a web page", b"<html>", |error| {
            matches!(error, VerifyError::NoSignature { .. })
        }),
        ("cut armor", cut.as_bytes(), |error| {
            matches!(error, VerifyError::Armor { .. })
        }),
        ("a cut packet", &signature[..20], |error| {
            matches!(error, VerifyError::Framing { .. })
        }),
        ("too many", &many, |error| {
            matches!(error, VerifyError::TooMany { .. })
        }),
        ("too large", &large, |error| {
            matches!(error, VerifyError::TooLarge { .. })
        }),
    ];
    for (name, signature, is_expected) in cases {
        let error = verify(&keys, signature, DATA).unwrap_err();
        assert!(is_expected(&error), "{name}: {error}");
    }
}

#[test]
fn clear_signed_files_are_verified() {
    let key = TestKey::new(1);
    let keys = keyring(&key.certificate());
    let cases = [
        (
            "plain",
            "Origin: Example\nSuite: stable\n",
            "Origin: Example\nSuite: stable\n",
        ),
        ("no last newline", "a", "a\n"),
        (
            "dashes",
            "- a\n-----BEGIN PGP SIGNATURE-----\n--\n",
            "- a\n-----BEGIN PGP SIGNATURE-----\n--\n",
        ),
        ("trailing blanks", "a \t\n\n b  \n", "a\n\n b\n"),
        ("CRLF", "a\r\nb\r\n", "a\nb\n"),
        ("empty lines at the end", "a\n\n\n", "a\n\n\n"),
    ];
    for (name, text, wanted) in cases {
        let file = key.clear_sign(text);
        let trusted = keys
            .verify_inline(file.as_bytes(), "InRelease", NOW)
            .expect(name);
        assert_eq!(trusted.bytes(), wanted.as_bytes(), "{name}");
        if let Some(good) = gpgv(&key.certificate(), file.as_bytes(), None) {
            assert!(good, "gpgv: {name}");
        }
        let other_line_ends = file.replace("\r\n", "\n").replace('\n', "\r\n");
        assert!(
            keys.verify_inline(other_line_ends.as_bytes(), "InRelease", NOW)
                .is_ok(),
            "{name}"
        );
    }

    let file = key.clear_sign("Origin: Example\n");
    let tampered = file.replace("Example", "Evil");
    let error = keys.verify_inline(tampered.as_bytes(), "InRelease", NOW);
    assert_eq!(problem(error), Problem::Bad);
    for file in [
        format!("Origin: Evil\n{file}"),
        format!("{file}Origin: Evil\n"),
    ] {
        let error = keys
            .verify_inline(file.as_bytes(), "InRelease", NOW)
            .unwrap_err();
        assert!(
            matches!(error, VerifyError::NotClearSigned { .. }),
            "{error}"
        );
    }
}

#[test]
fn a_long_text_is_verified() {
    let key = TestKey::new(1);
    let text = " 0123456789abcdef 1234 main/binary-amd64/Packages\n".repeat(40_000);
    assert!(text.len() > 2_000_000 - 50_000);
    let file = key.clear_sign(&text);
    let trusted = keyring(&key.certificate())
        .verify_inline(file.as_bytes(), "InRelease", NOW)
        .unwrap();
    assert_eq!(trusted.bytes(), text.as_bytes());
}

/// Bytes with a few of them changed, and the end cut off.
fn mutated(bytes: Vec<u8>) -> impl Strategy<Value = Vec<u8>> {
    let length = bytes.len();
    let changes = prop::collection::vec((0..length, any::<u8>()), 0..4);
    (changes, prop::option::weighted(0.2, 0..length)).prop_map(move |(changes, end)| {
        let mut bytes = bytes.clone();
        for (place, byte) in changes {
            bytes[place] = byte;
        }
        bytes.truncate(end.unwrap_or(length));
        bytes
    })
}

fn certificate_with_everything() -> (Vec<u8>, Vec<u8>) {
    let (key, subkey) = (TestKey::new(1), TestSubkey::new(3));
    let bind = |kind, extra| key.bind(&subkey, kind, MADE, extra);
    let keys = [
        key.certificate(),
        key.say(SignatureType::Key, MADE, vec![key_expires_after(5000)]),
        subkey.packet(),
        bind(
            SignatureType::SubkeyBinding,
            vec![may_sign(), subkey.back(&key)],
        ),
        TestKey::of_type(&KeyType::Rsa(1024), 6).certificate(),
        TestKey::of_type(&KeyType::ECDSA(pgp::crypto::ecc_curve::ECCCurve::P256), 7).certificate(),
    ]
    .concat();
    (keys, [key.sign(DATA), subkey.sign(DATA)].concat())
}

proptest! {
    #[test]
    fn hostile_keys_never_panic(keys in mutated(certificate_with_everything().0)) {
        let (_, signatures) = certificate_with_everything();
        if let Ok(keyring) = Keyring::parse(&keys, "keys") {
            let again = Keyring::parse(keyring.to_armored().as_bytes(), "keys").unwrap();
            prop_assert_eq!(again.keys(NOW), keyring.keys(NOW));
            let _ = keyring.verify_detached(DATA.to_vec(), &signatures, "x", NOW);
        }
    }

    #[test]
    fn changed_signatures_never_panic_and_never_cover_other_bytes(
        signatures in mutated(certificate_with_everything().1),
    ) {
        let (keys, _) = certificate_with_everything();
        let keyring = keyring(&keys);
        let _ = keyring.verify_detached(DATA.to_vec(), &signatures, "x", NOW);
        prop_assert!(keyring.verify_detached(b"Evil".to_vec(), &signatures, "x", NOW).is_err());
    }

    #[test]
    fn a_changed_clear_signed_file_is_refused_or_says_the_same(
        file in mutated(TestKey::new(1).clear_sign("a: b\n- c\n\nd \n").into_bytes()),
    ) {
        let keyring = keyring(&TestKey::new(1).certificate());
        if let Ok(trusted) = keyring.verify_inline(&file, "x", NOW) {
            prop_assert_eq!(trusted.bytes(), b"a: b\n- c\n\nd\n");
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = Keyring::parse(&bytes, "x");
        let keyring = Keyring::default();
        let _ = keyring.verify_inline(&bytes, "x", NOW);
        let _ = keyring.verify_detached(Vec::new(), &bytes, "x", NOW);
    }
}

/// What passes by in pieces is judged as what lies there whole.
#[test]
fn bytes_may_pass_by() {
    let key = TestKey::new(1);
    let keys = keyring(&key.certificate());
    let check_signatures = |signature: &[u8], data: &[u8]| {
        let passed = match SignatureHasher::new(signature) {
            Ok(mut passing) => {
                data.chunks(3).for_each(|part| passing.update(part));
                passing.finish()
            }
            Err(verdict) => verdict,
        };
        keys.verify_hashed(&[passed], "a package", NOW)
    };
    let good = key.sign(DATA);
    let whole = verify(&key.certificate(), &good, DATA).unwrap();
    assert_eq!(check_signatures(&good, DATA).unwrap(), signers(&whole));

    let v6 = TestKey::of_type(&KeyType::Ed25519, 2);
    let stranger = testing::sign(
        &v6.secret,
        SignatureType::Binary,
        HashAlgorithm::Sha256,
        SIGNED,
        vec![],
        DATA,
    );
    let text = testing::sign(
        &key.secret,
        SignatureType::Text,
        HashAlgorithm::Sha256,
        SIGNED,
        vec![],
        DATA,
    );
    let twice = [good.clone(), good.clone()].concat();
    for (signature, data, expected) in [
        (&good, &DATA[1..], Problem::Bad),
        (&stranger, DATA, Problem::UnknownKey),
        (&text, DATA, Problem::WrongType { kind: 1 }),
        (&twice, DATA, Problem::Malformed),
        (&b"junk".to_vec(), DATA, Problem::Malformed),
        (&key.certificate(), DATA, Problem::Malformed),
    ] {
        match check_signatures(signature, data) {
            Err(VerifyError::NotTrusted { rejections, .. }) => {
                assert_eq!(rejections[0].problem, expected);
            }
            other => panic!("{other:?}"),
        }
    }
}

/// A root by a key that has expired since is refused, a package is not; a key in a stranger's hands
/// signs neither.
#[test]
fn packages_are_judged_at_their_signing() {
    let key = TestKey::new(1);
    let certificate = |extra| [key.packet(), key.certify(USER_ID, MADE, extra)].concat();
    let expired = certificate(vec![may_sign(), key_expires_after(SIGNED - MADE + 10)]);
    let revoked = |reason| {
        let said = vec![SubpacketData::RevocationReason(reason, b""[..].into())];
        let revocation = key.say(SignatureType::KeyRevocation, SIGNED + 10, said);
        [
            key.packet(),
            revocation,
            key.certify(USER_ID, MADE, vec![may_sign()]),
        ]
        .concat()
    };
    let signature = key.sign(DATA);
    for (keys, root_counts, package_counts) in [
        (certificate(vec![may_sign()]), true, true),
        (expired, false, true),
        (revoked(RevocationCode::KeyRetired), false, true),
        (revoked(RevocationCode::KeyCompromised), false, false),
    ] {
        assert_eq!(verify(&keys, &signature, DATA).is_ok(), root_counts);
        let mut passing = SignatureHasher::new(&signature).unwrap();
        passing.update(DATA);
        let verdict = keyring(&keys).verify_hashed(&[passing.finish()], "a package", NOW);
        assert_eq!(verdict.is_ok(), package_counts, "{verdict:?}");
        // So are roots that are judged as of their signing.
        let root = DATA.to_vec();
        let keys = keyring(&keys);
        let detached = keys.verify_detached_when_signed(root, &signature, "a root", NOW);
        assert_eq!(detached.is_ok(), package_counts);
        let inline = key.clear_sign("text\n");
        let inline = keys.verify_inline_when_signed(inline.as_bytes(), "a root", NOW);
        assert_eq!(inline.is_ok(), package_counts);
        let is_revocation = |error: &VerifyError| error.is_revocation();
        assert_eq!(
            detached.as_ref().err().is_some_and(is_revocation),
            !package_counts
        );
    }
}
