//! OpenPGP: key files, and the two forms of signatures.

use std::sync::LazyLock;

use super::Verdict;
use crate::openpgp::{Authority, Keyring, Policy, SigningKey, Trusted};

/// In seconds since the epoch: a year after the keys of `fixtures/openpgp` and their signatures
/// were made.
pub const NOW: i64 = 1_735_689_600;

/// The text that all signatures of `fixtures/openpgp` sign.
const TEXT: &[u8] = include_bytes!("../../fixtures/openpgp/text");

/// RSA, DSA, ECDSA and Ed25519 keys with subkeys; each signed only [`TEXT`].
static KEYRING: LazyLock<Keyring> = LazyLock::new(|| {
    let keys = include_bytes!("../../fixtures/openpgp/keyring.asc");
    Keyring::parse(keys, "keyring.asc")
        .expect("a good keyring")
        .with_policy(Policy {
            allow_weak_signatures: true,
        })
});

/// A key file in any format.
pub fn keyring(input: &[u8]) -> Verdict {
    let Ok(keyring) = Keyring::parse(input, "keys") else {
        return Verdict::Refused;
    };
    let fingerprints = keyring.fingerprints();
    assert!(!fingerprints.is_empty());
    for fingerprint in &fingerprints {
        assert!(matches!(fingerprint.len(), 40 | 64), "{fingerprint}");
    }
    let text = keyring.to_armored();
    let again = Keyring::parse(text.as_bytes(), "keys").expect("it was written as a keyring");
    assert_eq!(again.fingerprints(), fingerprints);
    assert_eq!(again.to_armored(), text);
    assert_eq!(again.id(), keyring.id());
    assert_eq!(again.keys(NOW), keyring.keys(NOW));
    for form in [keyring.to_binary(), keyring.to_armored_each().into_bytes()] {
        let read = Keyring::parse(&form, "keys").expect("it was written as a keyring");
        assert_eq!(read.id(), keyring.id());
    }
    let mut both = keyring.clone();
    both.extend(again);
    assert_eq!(both.to_armored(), text);

    let mut first = keyring.clone();
    first
        .retain_fingerprints(&fingerprints[..1])
        .expect("it is one of them");
    assert_eq!(first.fingerprints(), fingerprints[..1]);
    // Damaged keys with valid signatures.
    for signature in [
        include_bytes!("../../fixtures/openpgp/rsa.sig").as_slice(),
        include_bytes!("../../fixtures/openpgp/dsa.sig").as_slice(),
        include_bytes!("../../fixtures/openpgp/ecdsa.sig").as_slice(),
        include_bytes!("../../fixtures/openpgp/eddsa.sig").as_slice(),
    ] {
        let _verdict = keyring.verify_detached(TEXT.to_vec(), signature, "text", NOW);
    }
    Verdict::Accepted
}

/// An exported secret key, without a passphrase or with a known one. Signatures of a key that can
/// be read must be valid for its public part.
pub fn secret_key(input: &[u8]) -> Verdict {
    let Ok(key) = SigningKey::read(input, Some(b"passphrase"), NOW) else {
        assert!(SigningKey::read(input, None, NOW).is_err());
        return Verdict::Refused;
    };
    let public = key.public();
    assert_eq!(public.fingerprints(), [key.fingerprint()]);
    let inline = key.sign_inline(TEXT, NOW).expect("it may sign now");
    let trusted = public.verify_inline(&inline, "text", NOW);
    assert!(trusted.expect("its own signature").bytes() == TEXT);
    let detached = key.sign_detached(TEXT, NOW).expect("it may sign now");
    let trusted = public.verify_detached(TEXT.to_vec(), &detached, "text", NOW);
    assert!(trusted.is_ok());
    // The public part must not contain the secret one.
    for form in [public.to_binary(), public.to_armored().into_bytes()] {
        assert!(SigningKey::read(&form, Some(b"passphrase"), NOW).is_err());
    }
    Verdict::Accepted
}

/// Armor, parsed as keys and as a signature.
pub fn armor(input: &[u8]) -> Verdict {
    match (keyring(input), detached(input)) {
        (Verdict::Refused, Verdict::Refused) => Verdict::Refused,
        _ => Verdict::Accepted,
    }
}

/// A signature of [`TEXT`].
pub fn detached(signature: &[u8]) -> Verdict {
    let verify = |text: &[u8]| KEYRING.verify_detached(text.to_vec(), signature, "text", NOW);
    let Ok(trusted) = verify(TEXT) else {
        return Verdict::Refused;
    };
    check_signers(&trusted);
    assert!(trusted.bytes() == TEXT);
    for (place, flip) in [(0, 1), (TEXT.len() / 2, 0x20), (TEXT.len() - 2, 0x80)] {
        let mut changed = TEXT.to_vec();
        changed[place] ^= flip;
        assert!(verify(&changed).is_err(), "byte {place} was changed");
    }
    let longer = [TEXT, b"SHA512:\n"].concat();
    assert!(verify(&longer).is_err(), "a line was added");
    assert!(
        verify(&TEXT[..TEXT.len() - 3]).is_err(),
        "the end was removed"
    );
    Verdict::Accepted
}

/// A clear-signed file. The keys signed only [`TEXT`].
pub fn inline(input: &[u8]) -> Verdict {
    if let Ok(unsigned) = Trusted::unsigned_inline(input, "text") {
        let text = unsigned.bytes();
        assert!(text.is_empty() || text.ends_with(b"\n"));
        for line in text.split(|byte| *byte == b'\n') {
            assert!(!line.ends_with(b"\r") && !line.ends_with(b" "));
        }
    }
    let Ok(trusted) = KEYRING.verify_inline(input, "text", NOW) else {
        return Verdict::Refused;
    };
    check_signers(&trusted);
    assert_eq!(
        String::from_utf8_lossy(trusted.bytes()),
        String::from_utf8_lossy(TEXT)
    );
    Verdict::Accepted
}

fn check_signers(trusted: &Trusted) {
    let known = KEYRING.fingerprints();
    match trusted.authority() {
        Authority::Signed(signers) => {
            assert!(!signers.is_empty());
            for signer in signers {
                assert!(known.contains(&signer.fingerprint));
            }
        }
        Authority::Unsigned | Authority::State => panic!("unsigned"),
    }
}
