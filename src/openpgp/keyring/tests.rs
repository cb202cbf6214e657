//! Which keys a keyring has, and what is refused.

use pgp::packet::SignatureType;

use super::*;
use crate::openpgp::testing::{
    MADE, NOW, TestKey, TestSubkey, USER_ID, key_expires_after, may_only_certify, may_sign,
};

fn parse(bytes: &[u8]) -> Keyring {
    Keyring::parse(bytes, "keys").unwrap()
}

fn fingerprints(keyring: &Keyring) -> Vec<String> {
    let keys = keyring.keys(NOW).into_iter();
    keys.map(|key| key.fingerprint).collect()
}

fn sorted(mut fingerprints: Vec<String>) -> Vec<String> {
    fingerprints.sort();
    fingerprints
}

#[test]
fn keys_are_found_in_files_of_all_forms() {
    let (one, two) = (TestKey::new(1), TestKey::new(2));
    let both = sorted(vec![one.fingerprint(), two.fingerprint()]);
    let binary = [one.certificate(), two.certificate()].concat();
    let armored = |key: &TestKey| armor::write_public_keys(&key.certificate());
    let cases = [
        ("binary", binary.clone()),
        (
            "one armored block",
            armor::write_public_keys(&binary).into_bytes(),
        ),
        (
            "two armored blocks with text",
            format!(
                "pub  ed25519\n\n{}\n\nuid two\n{}\n",
                armored(&one),
                armored(&two)
            )
            .into_bytes(),
        ),
    ];
    for (name, file) in cases {
        assert_eq!(fingerprints(&parse(&file)), both, "{name}");
    }
}

#[test]
fn keys_of_unknown_kinds_are_left_out() {
    /// The fingerprint of the key of the unknown algorithm.
    const UNKNOWN: &str = "7E430314D8B6313D1F5D99B1A9CC3A596573409D";
    let key = TestKey::new(1);
    let version_3 = b"\xc6\x06\x03abcde";
    let unknown_algorithm = b"\xc6\x08\x04abcd\x63xy";
    let unknown_packet = b"\xfc\x02xy";
    let file = [
        &version_3[..],
        &key.certify("of the key before", MADE, vec![]),
        &key.certificate(),
        unknown_packet,
        unknown_algorithm,
    ]
    .concat();
    let keyring = parse(&file);
    let keys = keyring.keys(NOW);
    assert_eq!(keys.len(), 1);
    assert_eq!(keys[0].fingerprint, key.fingerprint());
    assert_eq!(keys[0].user_id.as_deref(), Some(USER_ID));
    let unusable: Vec<String> = keyring.unusable().iter().map(ToString::to_string).collect();
    assert_eq!(
        unusable,
        [
            "keys of version 3 are not supported".to_owned(),
            format!("{UNKNOWN}: version 4 keys with algorithm Unknown(99) are not supported"),
        ]
    );
    assert_eq!(
        keyring
            .unusable_named(&UNKNOWN[24..])
            .unwrap()
            .fingerprint
            .as_deref(),
        Some(UNKNOWN)
    );
    assert!(keyring.unusable_named(&key.fingerprint()).is_none());

    let error = Keyring::parse(version_3, "old.gpg").unwrap_err();
    assert_eq!(
        error.to_string(),
        "old.gpg contains no usable public key\n  keys of version 3 are not supported"
    );
}

#[test]
fn files_that_are_no_keys_say_what_they_are() {
    let key = TestKey::new(1);
    let armored = armor::write_public_keys(&key.certificate());
    let secret = b"\xc5\x06\x04abcde";
    let mut keybox = vec![0, 0, 0, 32, 1, 1, 0, 2];
    keybox.extend(b"KBXf    ");
    let large = vec![0; MAX_KEYRING_BYTES + 1];
    let cases: [(&[u8], &str); 8] = [
        (
            b"",
            "k is not an OpenPGP key file: it contains neither armor nor binary packets",
        ),
        (
            b"<html>",
            "k is not an OpenPGP key file: it contains neither armor nor binary packets",
        ),
        (
            secret,
            "k contains no usable public key\n  this is a secret key: export the public key instead",
        ),
        (&key.sign(b"x"), "k contains no usable public key"),
        (
            &armored.as_bytes()[..100],
            "k has invalid armor: the armor that begins on line 1 has no end line",
        ),
        (
            &key.certificate()[..20],
            "k contains invalid OpenPGP data: the OpenPGP packet at byte 0 is truncated",
        ),
        (
            &keybox,
            "k is a GnuPG keybox, which is not supported: export its keys with `gpg --export`",
        ),
        (&large, "k is too large: 8388609 bytes, limit 8388608 bytes"),
    ];
    for (file, message) in cases {
        let error = Keyring::parse(file, "k").unwrap_err();
        assert_eq!(error.to_string(), message);
    }
}

#[test]
fn copies_of_a_key_are_merged() {
    let (key, subkey) = (TestKey::new(1), TestSubkey::new(3));
    let expiring = key.certify(USER_ID, MADE, vec![may_sign(), key_expires_after(10)]);
    let old = [key.packet(), expiring].concat();
    let binding = key.bind(
        &subkey,
        SignatureType::SubkeyBinding,
        MADE,
        vec![may_sign(), subkey.back(&key)],
    );
    let extended = key.certify(USER_ID, MADE + 5, vec![may_only_certify()]);
    let new = [key.packet(), extended, subkey.packet(), binding].concat();

    let in_one_file = parse(&[old.clone(), new.clone()].concat());
    let mut in_two_files = parse(&new);
    in_two_files.extend(parse(&old));
    for keyring in [in_one_file, in_two_files] {
        let keys = keyring.keys(NOW);
        assert_eq!(keys.len(), 1);
        assert_eq!(keys[0].expires, None);
        assert_eq!(keys[0].subkeys[0].fingerprint, subkey.fingerprint());
        assert_eq!(keys[0].subkeys[0].problem, None);
    }
}

#[test]
fn a_keyring_survives_its_file_and_strangers_do_not() {
    let (key, stranger) = (TestKey::new(1), TestKey::new(2));
    let file = [
        key.certificate(),
        stranger.certify("a stranger's certification", MADE, vec![]),
    ]
    .concat();
    let keyring = parse(&file);
    let text = keyring.to_armored();
    assert_eq!(text, armor::write_public_keys(&key.certificate()));
    let again = parse(text.as_bytes());
    assert_eq!(again.keys(NOW), keyring.keys(NOW));
    assert_eq!(again.to_armored(), text);
}

#[test]
fn user_ids_are_at_most_as_long_as_in_gpg() {
    let key = TestKey::new(1);
    let length_of_newest = |length| {
        let newer = key.certify(&"u".repeat(length), MADE + 1, vec![]);
        let keyring = parse(&[key.certificate(), newer].concat());
        keyring.keys(NOW)[0].user_id.as_ref().unwrap().len()
    };
    assert_eq!(length_of_newest(2048), 2048);
    assert_eq!(length_of_newest(2049), USER_ID.len());
}

#[test]
fn every_form_holds_every_key() {
    let (one, two) = (TestKey::new(1), TestKey::new(2));
    let keyring = parse(&[one.certificate(), two.certificate()].concat());
    let binary = keyring.to_binary();
    let blocks = |text: &str| armor::read(text.as_bytes(), 1).unwrap().blocks.len();
    let (block, each) = (keyring.to_armored(), keyring.to_armored_each());
    assert_eq!((blocks(&block), blocks(&each)), (1, 2));
    for form in [&binary[..], block.as_bytes(), each.as_bytes()] {
        assert_eq!(parse(form).to_binary(), binary);
    }
    assert_eq!(parse(&binary).keys(NOW), keyring.keys(NOW));
}

#[test]
fn only_configured_fingerprints_are_kept() {
    let (one, two, subkey) = (TestKey::new(1), TestKey::new(2), TestSubkey::new(3));
    let binding = one.bind(&subkey, SignatureType::SubkeyBinding, MADE, vec![]);
    let file = [
        one.certificate(),
        subkey.packet(),
        binding,
        two.certificate(),
    ]
    .concat();
    let keyring = parse(&file);

    let mut spaced = one.fingerprint().to_lowercase();
    spaced.insert(20, ' ');
    spaced.insert(4, ' ');
    let mut kept = keyring.clone();
    kept.retain_fingerprints(&[spaced]).unwrap();
    assert_eq!(fingerprints(&kept), [one.fingerprint()]);

    let absent = "A".repeat(40);
    let cases = [
        (
            "0x1234",
            KeyringError::NotFingerprint {
                text: "0x1234".to_owned(),
            },
        ),
        (
            &absent,
            KeyringError::NotAmongKeys {
                missing: vec![absent.clone()],
                available: sorted(vec![one.fingerprint(), two.fingerprint()]),
                unusable: Vec::new(),
            },
        ),
        (
            &subkey.fingerprint(),
            KeyringError::Subkey {
                fingerprint: subkey.fingerprint(),
                primary: one.fingerprint(),
            },
        ),
    ];
    for (wanted, error) in cases {
        let mut keyring = keyring.clone();
        let wanted = [one.fingerprint(), wanted.to_owned()];
        assert_eq!(keyring.retain_fingerprints(&wanted), Err(error));
        assert_eq!(keyring.keys(NOW).len(), 2);
    }
}

#[test]
fn only_revocations_of_known_keys_are_added() {
    let (key, other) = (TestKey::new(1), TestKey::new(2));
    let mut keyring = parse(&key.certificate());
    let before = keyring.to_binary();
    let revocation = key.say(SignatureType::KeyRevocation, MADE + 1, vec![]);
    // A copy that says more than that, and a key that is not trusted.
    let copy = [
        key.packet(),
        revocation.clone(),
        key.certify("another user id", MADE, vec![key_expires_after(1)]),
        other.certificate(),
    ];
    keyring.add_revocations(&parse(&other.certificate()));
    assert_eq!(keyring.to_binary(), before);
    assert!(keyring.keys(NOW)[0].revoked.is_none());
    keyring.add_revocations(&parse(&copy.concat()));
    let keys = keyring.keys(NOW);
    assert_eq!(keys.len(), 1);
    assert!(keys[0].revoked.is_some_and(|revoked| revoked.compromised));
    assert_eq!(keys[0].expires, None);
    assert_eq!(keyring.to_binary().len(), before.len() + revocation.len());
    // A revocation that another key made is none.
    let forged = other.say(SignatureType::KeyRevocation, MADE + 1, vec![]);
    let mut keyring = parse(&key.certificate());
    keyring.add_revocations(&parse(&[key.packet(), forged].concat()));
    assert!(keyring.keys(NOW)[0].revoked.is_none());
}
