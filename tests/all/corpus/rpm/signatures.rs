//! repomd.xml.asc: who signed, how, and what happened to it since.

use pgp::armor::BlockType;
use pgp::crypto::hash::HashAlgorithm::{Md5, Sha1, Sha224, Sha512};

use super::{ASC, REPOMD, plain};
use crate::bad_input::CHECK_KEY;
use crate::corpus::Client::{self, Agrees, CannotJudge, Differs};
use crate::corpus::Expected::{self, Accepted};
use crate::corpus::signers::{DAY, armored, good, hashed, now, signer};
use crate::corpus::{BAD, Case, NEEDS_SETTING, UNKNOWN, refused, run, warned};
use crate::kit::keys::{Key, PacketForm};

const ALL: &str = "gpgv wants every signature to be good";
const AFTER: &str = "gpgv reports it and accepts it";

fn not_trusted(reasons: &[(&str, &str)]) -> Expected {
    crate::corpus::not_trusted(REPOMD, reasons)
}

fn marred(reasons: &[(&str, &str)]) -> Expected {
    crate::corpus::marred(REPOMD, reasons)
}

fn weak(reasons: &[(&str, &str)]) -> Expected {
    crate::corpus::weak(REPOMD, reasons)
}

fn by(name: &str, signer: &'static str, expected: Expected, clients: [Client; 2]) -> Case {
    how(name, signer, good, expected, clients)
}

fn how(
    name: &str,
    signer: &'static str,
    how: fn() -> PacketForm,
    expected: Expected,
    clients: [Client; 2],
) -> Case {
    Case::signature(
        name,
        plain,
        move |scene| {
            scene.trusts(&[signer]);
            scene.signed_by(&[(signer, how())]);
        },
        expected,
        clients,
    )
}

fn signers() -> Vec<Case> {
    let two = |name: &str, other: &'static str, how: fn() -> PacketForm, clients| {
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
        Case::signature("good", plain, |_| {}, Accepted, [Agrees; 2]),
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
            [
                Differs("gpgv has no lower bound"),
                Differs("dnf has no lower bound"),
            ],
        ),
        how("a subkey", "owner", good, Accepted, [Agrees; 2]),
        how(
            "a revoked subkey",
            "robbed owner",
            good,
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
    let allowed = |name: &str, signer: &'static str, how: fn() -> PacketForm, clients| {
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
        how(
            "an expired signature",
            "archive",
            || PacketForm {
                expires_at: Some(now() - DAY / 2),
                ..good()
            },
            not_trusted(&[("[archive]", "the signature expired on [time]")]),
            [Agrees; 2],
        ),
        how(
            "a signature from the future",
            "archive",
            || PacketForm {
                made: now() + DAY,
                ..good()
            },
            not_trusted(&[(
                "[archive]",
                "the signature was made in the future, on [time]",
            )]),
            [Differs(AFTER), Differs("dnf does not look at it")],
        ),
        how(
            "a signature older than its key",
            "archive",
            || PacketForm {
                made: Key::MADE - 1,
                ..good()
            },
            not_trusted(&[(
                "[archive]",
                "the signature is older than its key, which was made on [time]",
            )]),
            [Agrees; 2],
        ),
        how(
            "SHA-512",
            "archive",
            || hashed(Sha512),
            Accepted,
            [Agrees; 2],
        ),
        how(
            "SHA-224",
            "rsa-2048",
            || hashed(Sha224),
            Accepted,
            [Agrees; 2],
        ),
        how(
            "SHA-1",
            "rsa-2048",
            || hashed(Sha1),
            weak(&[("[rsa-2048]", "the digest SHA1 is too weak")]),
            [Differs("gpgv accepts SHA-1"), Differs("dnf accepts SHA-1")],
        ),
        how(
            "MD5",
            "rsa-2048",
            || hashed(Md5),
            weak(&[("[rsa-2048]", "the digest MD5 is too weak")]),
            [Agrees; 2],
        ),
        allowed(
            "SHA-1 that is allowed",
            "rsa-2048",
            || hashed(Sha1),
            [Agrees; 2],
        ),
        allowed(
            "MD5 that is allowed",
            "rsa-2048",
            || hashed(Md5),
            [
                Differs("gpgv has no such setting"),
                Differs("dnf has no such setting"),
            ],
        ),
        allowed(
            "RSA of 1024 bits that is allowed",
            "rsa-1024",
            good,
            [Agrees; 2],
        ),
    ]
}

/// One letter of the armor, that many before its end.
fn in_signature(text: &str, before: usize) -> String {
    let at = text.rfind("\n=").unwrap() - before;
    let other = if &text[at..=at] == "A" { "B" } else { "A" };
    format!("{}{other}{}", &text[..at], &text[at + 1..])
}

fn damages() -> Vec<Case> {
    let edited = |name: &str, path: &'static str, edit: fn(&str) -> String, expected, clients| {
        Case::signature(
            name,
            plain,
            move |scene| scene.edit_text(path, edit),
            expected,
            clients,
        )
    };
    let bad = || not_trusted(&[("[archive]", BAD)]);
    let none = || {
        refused(
            4,
            format!("there is no OpenPGP signature where that of [server]/{REPOMD} should be"),
            CHECK_KEY,
        )
    };
    let damaged = |why: &str| {
        refused(
            4,
            format!("the armor of the signature of [server]/{REPOMD} is damaged: {why}"),
            CHECK_KEY,
        )
    };
    vec![
        edited(
            "repomd.xml: a letter",
            REPOMD,
            |text| text.replacen("primary", "Primary", 1),
            bad(),
            [Agrees; 2],
        ),
        edited(
            "repomd.xml: a digit of a digest",
            REPOMD,
            |text| text.replacen("sha256\">", "sha256\">0", 1),
            bad(),
            [Agrees; 2],
        ),
        edited(
            "repomd.xml: a line more",
            REPOMD,
            |text| format!("{text}<!-- -->\n"),
            bad(),
            [Agrees; 2],
        ),
        edited(
            "repomd.xml: text before",
            REPOMD,
            |text| format!("\n{text}"),
            bad(),
            [Agrees; 2],
        ),
        edited(
            "repomd.xml: cut",
            REPOMD,
            |text| text[..text.len() / 2].to_owned(),
            bad(),
            [Agrees; 2],
        ),
        edited(
            "repomd.xml: without its last newline",
            REPOMD,
            |text| text.trim_end().to_owned(),
            bad(),
            [Agrees; 2],
        ),
        edited(
            "repomd.xml: other line ends",
            REPOMD,
            |text| text.replace('\n', "\r\n"),
            bad(),
            [Agrees; 2],
        ),
        edited(
            "repomd.xml: a page",
            REPOMD,
            |_| "<html></html>\n".to_owned(),
            bad(),
            [Agrees; 2],
        ),
        edited(
            "signature: a letter",
            ASC,
            |text| in_signature(text, 30),
            bad(),
            [Agrees; 2],
        ),
        edited(
            "signature: the armor's checksum",
            ASC,
            |text| {
                let at = text.rfind("\n=").unwrap() + 2;
                let other = if &text[at..=at] == "A" { "B" } else { "A" };
                format!("{}{other}{}", &text[..at], &text[at + 1..])
            },
            Accepted,
            [
                Differs("RFC 9580 forbids to refuse because of it, gpgv does so"),
                Differs("as gpgv does"),
            ],
        ),
        edited(
            "signature: of other bytes",
            ASC,
            |_| {
                armored(
                    BlockType::Signature,
                    &signer("archive").sign_packet(b"evil", good()),
                )
            },
            bad(),
            [Agrees; 2],
        ),
        edited(
            "signature: of a text",
            ASC,
            |_| {
                armored(
                    BlockType::Signature,
                    &signer("archive").sign_text_packet("evil", good()),
                )
            },
            bad(),
            [Agrees; 2],
        ),
        edited(
            "signature: nothing",
            ASC,
            |_| String::new(),
            none(),
            [Agrees; 2],
        ),
        edited(
            "signature: a page",
            ASC,
            |_| "<html></html>\n".to_owned(),
            none(),
            [Agrees; 2],
        ),
        edited(
            "signature: a key",
            ASC,
            |_| armored(BlockType::PublicKey, &signer("archive").public_binary()),
            not_trusted(&[(
                "[archive]",
                "the signature is of type 0x13, which is not for files",
            )]),
            [Agrees; 2],
        ),
        edited(
            "signature: cut",
            ASC,
            |text| text[..text.len() / 2].to_owned(),
            damaged("the armor that begins in line 1 has no end"),
            [Agrees; 2],
        ),
        edited(
            "signature: text around",
            ASC,
            |text| format!("Comment\n\n{text}\nComment\n"),
            Accepted,
            [Agrees; 2],
        ),
        edited(
            "signature: twice",
            ASC,
            |text| text.repeat(2),
            Accepted,
            [Agrees; 2],
        ),
        Case::signature(
            "signature: binary",
            plain,
            |scene| {
                let packet = signer("archive").sign_packet(scene.tree.bytes(REPOMD), good());
                scene.edit(ASC, |_| packet);
            },
            Accepted,
            [Agrees; 2],
        ),
    ]
}

const NOT_ASKED: Client = CannotJudge("it is not asked to verify");
const NO_SIGNATURE: Client = CannotJudge("there is no signature");

fn settings() -> Vec<Case> {
    let gone = |name: &str, settings: &'static [&str], expected, client| {
        Case::signature(
            name,
            plain,
            move |scene| {
                scene.tree.remove(ASC);
                for line in settings {
                    scene.says(line);
                }
            },
            expected,
            [NO_SIGNATURE, client],
        )
    };
    let missing = refused(
        4,
        format!("[server]/{REPOMD} has no signature ([server]/{ASC} does not exist or is refused)"),
        NEEDS_SETTING,
    );
    let stripped = refused(
        4,
        format!(
            "[server]/{REPOMD} has no signature, but it was signed before ([server]/{ASC} does not exist or is refused)"
        ),
        "hint: if the upstream really stopped signing, say `repo_gpgcheck: false`; the last good state is untouched\n",
    );
    vec![
        gone("no signature", &[], missing, Agrees),
        gone(
            "no signature any more, and auto",
            &["repo_gpgcheck: auto"],
            stripped,
            Agrees,
        ),
        gone(
            "no signature, and not asked for",
            &["repo_gpgcheck: false"],
            Accepted,
            NOT_ASKED,
        ),
        Case::signature(
            "no signature from the start, and auto",
            plain,
            |scene| {
                scene.before = None;
                scene.tree.remove(ASC);
                scene.says("repo_gpgcheck: auto");
            },
            Accepted,
            [NO_SIGNATURE, NOT_ASKED],
        ),
        Case::signature(
            "a signature by nobody who is known, and not asked for",
            plain,
            |scene| {
                scene.signed_by(&[("stranger", good())]);
                scene.says("repo_gpgcheck: false");
            },
            Accepted,
            [NOT_ASKED; 2],
        ),
        Case::signature(
            "a signature by nobody who is known, and auto",
            plain,
            |scene| {
                scene.signed_by(&[("stranger", good())]);
                scene.says("repo_gpgcheck: auto");
            },
            not_trusted(&[("[stranger]", UNKNOWN)]),
            [Agrees; 2],
        ),
        Case::signature(
            "a bad signature, and auto at the first sync",
            plain,
            |scene| {
                scene.before = None;
                scene.edit_text(REPOMD, |text| text.replacen("primary", "Primary", 1));
                scene.says("repo_gpgcheck: auto");
            },
            not_trusted(&[("[archive]", BAD)]),
            [Agrees; 2],
        ),
        Case::signature(
            "a good signature, auto, and no key",
            plain,
            |scene| {
                scene.says("repo_gpgcheck: auto");
                scene.trusts(&[]);
            },
            warned(&format!(
                "[server]/{ASC} exists, but no key is configured to verify it with"
            )),
            [NOT_ASKED; 2],
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

#[test]
fn what_was_changed_since() {
    run(&damages());
}

#[test]
fn what_is_asked_for() {
    run(&settings());
}
