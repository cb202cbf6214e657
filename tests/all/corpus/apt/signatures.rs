//! Who signed Release, and how.

use pgp::crypto::hash::HashAlgorithm::{Md5, Sha1, Sha224, Sha256, Sha512};

use super::{IN_RELEASE, NO_MESSAGE, RELEASE};
use super::{detached, marred, not_clear_signed, not_trusted, plain, weak};
use crate::corpus::Client::{Agrees, CannotJudge, Differs};
use crate::corpus::Expected::Accepted;
use crate::corpus::signers::{DAY, clear_signed, good, hashed, now, signer};
use crate::corpus::{BAD, Case, UNKNOWN, run};
use crate::kit::keys::{Key, PacketForm};

const ALL: &str = "gpgv wants every signature to be good";
const AFTER: &str = "gpgv reports it and accepts it; apt reads the report";
const CLOCK: &str = "apt tells gpgv to ignore conflicts of time";

fn signers() -> Vec<Case> {
    let by = |name: &'static str, signer: &'static str, expected, clients| {
        Case::signature(
            name,
            plain,
            move |scene| {
                scene.trusts(&[signer]);
                scene.signed_by(&[(signer, good())]);
            },
            expected,
            clients,
        )
    };
    let two = |name: &'static str, other: &'static str, how: fn() -> PacketForm, clients| {
        Case::signature(
            name,
            plain,
            move |scene| {
                scene.trusts(&["archive", other]);
                scene.signed_by(&[(other, how()), ("archive", good())]);
            },
            Accepted,
            clients,
        )
    };
    vec![
        Case::signature("good InRelease", plain, |_| {}, Accepted, [Agrees; 2]),
        Case::signature("good Release.gpg", detached, |_| {}, Accepted, [Agrees; 2]),
        Case::signature(
            "no InRelease, but a good Release.gpg",
            plain,
            |scene| scene.tree.remove(IN_RELEASE),
            Accepted,
            [Agrees; 2],
        ),
        by("another key, and trusted", "second", Accepted, [Agrees; 2]),
        by("RSA of 2048 bits", "rsa-2048", Accepted, [Agrees; 2]),
        two("two signers, both known", "second", good, [Agrees; 2]),
        Case::signature(
            "two signers, one unknown",
            plain,
            |scene| scene.signed_by(&[("stranger", good()), ("archive", good())]),
            Accepted,
            [Differs(ALL), Agrees],
        ),
        two("two signers, one expired", "expired", good, [Agrees; 2]),
        two("two signers, one revoked", "revoked", good, [Agrees; 2]),
        two("two signers, one weak", "rsa-1024", good, [Agrees; 2]),
        Case::signature(
            "two signatures, one expired",
            plain,
            |scene| {
                let expired = PacketForm {
                    expires_at: Some(now() - DAY / 2),
                    ..good()
                };
                scene.trusts(&["archive", "second"]);
                scene.signed_by(&[("second", expired), ("archive", good())]);
            },
            marred(&[("[second]", "the signature expired on [time]")]),
            [Agrees; 2],
        ),
        two(
            "two signatures, one with SHA-1",
            "rsa-2048",
            || hashed(Sha1),
            [Agrees; 2],
        ),
        Case::signature(
            "two signers, one of other bytes",
            plain,
            |scene| {
                scene.trusts(&["archive", "second"]);
                let text = scene.text(RELEASE);
                let packets = [
                    signer("second").sign_text_packet("Suite: evil\n", good()),
                    signer("archive").sign_text_packet(&text, good()),
                ];
                scene.edit(IN_RELEASE, |_| {
                    clear_signed(&text, "SHA256", &packets.concat()).into()
                });
            },
            marred(&[("[second]", BAD)]),
            [Agrees; 2],
        ),
        Case::signature(
            "a key that nobody trusts",
            plain,
            |scene| scene.signed_by(&[("stranger", good())]),
            not_trusted(&[("[stranger]", UNKNOWN)]),
            [Agrees; 2],
        ),
        Case::signature(
            "a key that nobody trusts, at the first sync",
            plain,
            |scene| {
                scene.before = None;
                scene.signed_by(&[("stranger", good())]);
            },
            not_trusted(&[("[stranger]", UNKNOWN)]),
            [Agrees; 2],
        ),
        Case::signature(
            "two keys that nobody trusts",
            plain,
            |scene| scene.signed_by(&[("stranger", good()), ("second", good())]),
            not_trusted(&[("[stranger]", UNKNOWN), ("[second]", UNKNOWN)]),
            [Agrees; 2],
        ),
        Case::signature(
            "another key is trusted now",
            plain,
            |scene| scene.trusts(&["second"]),
            not_trusted(&[("[archive]", UNKNOWN)]),
            [Agrees; 2],
        ),
        by(
            "an expired key",
            "expired",
            not_trusted(&[("[expired]", "the key expired on [time]")]),
            [Differs(AFTER), Agrees],
        ),
        by(
            "a revoked key",
            "revoked",
            not_trusted(&[("[revoked]", "the key was revoked on [time]")]),
            [Differs(AFTER), Agrees],
        ),
        by(
            "a retired key",
            "retired",
            not_trusted(&[("[retired]", "the key was revoked on [time]")]),
            [Differs(AFTER), Agrees],
        ),
        by(
            "RSA of 1024 bits",
            "rsa-1024",
            weak(&[("[rsa-1024]", "a RSA key of 1024 bits is too weak")]),
            [Differs("gpgv has no lower bound"); 2],
        ),
        Case::signature(
            "a subkey",
            plain,
            |scene| {
                scene.trusts(&["owner"]);
                scene.signed_by(&[("owner", good())]);
            },
            Accepted,
            [Agrees; 2],
        ),
        Case::signature(
            "a revoked subkey",
            plain,
            |scene| {
                scene.trusts(&["robbed owner"]);
                scene.signed_by(&[("robbed owner", good())]);
            },
            not_trusted(&[("[owner's subkey]", "the key was revoked on [time]")]),
            [Differs(AFTER), Agrees],
        ),
        Case::signature(
            "the primary key, where a subkey should",
            plain,
            |scene| {
                scene.trusts(&["owner"]);
                scene.signed_by(&[("owner himself", good())]);
            },
            not_trusted(&[("[owner]", "the key is not meant for signing")]),
            [Agrees; 2],
        ),
    ]
}

fn manners() -> Vec<Case> {
    let made = |name: &'static str, how: fn() -> PacketForm, expected, clients| {
        Case::signature(
            name,
            plain,
            move |scene| {
                scene.trusts(&["archive", "rsa-2048"]);
                let rsa = [Md5, Sha1, Sha224].contains(&how().hash);
                let signer = if rsa { "rsa-2048" } else { "archive" };
                scene.signed_by(&[(signer, how())]);
            },
            expected,
            clients,
        )
    };
    let allowed = |name: &'static str, signer: &'static str, how: fn() -> PacketForm, clients| {
        Case::signature(
            name,
            plain,
            move |scene| {
                scene.trusts(&[signer]);
                scene.signed_by(&[(signer, how())]);
                scene.says_above("allow_weak_signatures: true\n");
            },
            Accepted,
            clients,
        )
    };
    vec![
        made(
            "an expired signature",
            || PacketForm {
                expires_at: Some(now() - DAY / 2),
                ..good()
            },
            not_trusted(&[("[archive]", "the signature expired on [time]")]),
            [Agrees; 2],
        ),
        made(
            "a signature that has not expired yet",
            || PacketForm {
                expires_at: Some(now() + DAY),
                ..good()
            },
            Accepted,
            [Agrees; 2],
        ),
        made(
            "a signature from the future",
            || PacketForm {
                made: now() + DAY,
                ..good()
            },
            not_trusted(&[(
                "[archive]",
                "the signature was made in the future, on [time]",
            )]),
            [Differs("gpgv reports it and accepts it"), Differs(CLOCK)],
        ),
        made(
            "a signature older than its key",
            || PacketForm {
                made: Key::MADE - 1,
                ..good()
            },
            not_trusted(&[(
                "[archive]",
                "the signature is older than its key, which was made on [time]",
            )]),
            [Agrees, Differs(CLOCK)],
        ),
        made("SHA-512", || hashed(Sha512), Accepted, [Agrees; 2]),
        made("SHA-224", || hashed(Sha224), Accepted, [Agrees; 2]),
        made(
            "SHA-1",
            || hashed(Sha1),
            weak(&[("[rsa-2048]", "the digest SHA1 is too weak")]),
            [Differs("gpgv accepts SHA-1, apt does not"), Agrees],
        ),
        made(
            "MD5",
            || hashed(Md5),
            weak(&[("[rsa-2048]", "the digest MD5 is too weak")]),
            [Agrees; 2],
        ),
        allowed(
            "SHA-1 that is allowed",
            "rsa-2048",
            || hashed(Sha1),
            [Agrees, Differs("apt has no such setting")],
        ),
        allowed(
            "MD5 that is allowed",
            "rsa-2048",
            || hashed(Md5),
            [Differs("gpgv has no such setting"); 2],
        ),
        allowed(
            "RSA of 1024 bits that is allowed",
            "rsa-1024",
            || hashed(Sha256),
            [Agrees; 2],
        ),
        Case::signature(
            "a short key is allowed, an unknown one is not",
            plain,
            |scene| {
                scene.signed_by(&[("stranger", good())]);
                scene.says_above("allow_weak_signatures: true\n");
            },
            not_trusted(&[("[stranger]", UNKNOWN)]),
            [Agrees; 2],
        ),
        Case::signature(
            "gpgcheck: false, and signed by nobody who is known",
            plain,
            |scene| {
                scene.signed_by(&[("stranger", good())]);
                scene.says("gpgcheck: false");
            },
            Accepted,
            [CannotJudge("it is not asked to verify"); 2],
        ),
        Case::signature(
            "gpgcheck: false, and text around",
            plain,
            |scene| {
                scene.edit_text(IN_RELEASE, |text| format!("Suite: evil\n{text}"));
                scene.says("gpgcheck: false");
            },
            not_clear_signed(NO_MESSAGE),
            [CannotJudge("it is not asked to verify"); 2],
        ),
    ]
}

#[test]
fn who_signed() {
    run(&signers());
}

#[test]
fn how_it_was_signed() {
    run(&manners());
}
