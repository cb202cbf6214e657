//! A Release that somebody signed, and somebody else changed.

use pgp::armor::BlockType;

use super::{IN_RELEASE, NO_MESSAGE, RELEASE, RELEASE_GPG};
use super::{detached, not_clear_signed, not_trusted, plain};
use crate::bad_input::CHECK_KEY;
use crate::corpus::Client::{Agrees, CannotJudge, Differs};
use crate::corpus::Expected::Accepted;
use crate::corpus::signers::{armored, good, signer};
use crate::corpus::{BAD, Case, NEEDS_SETTING, refused, run, warned};

const BEGIN: &str = "-----BEGIN PGP SIGNATURE-----\n";
const END: &str = "-----END PGP SIGNATURE-----\n";
const SKIPS: &str = "gpgv skips what is not signed";
const NO_HEADER: &str = "apt takes the file apart itself and skips the headers";

fn damages() -> Vec<Case> {
    let edited = |name: &'static str, edit: fn(&str) -> String, expected, clients| {
        Case::signature(
            name,
            plain,
            move |scene| scene.edit_text(IN_RELEASE, edit),
            expected,
            clients,
        )
    };
    let bad = || not_trusted(&[("[archive]", BAD)]);
    vec![
        edited(
            "a letter of the text",
            |text| text.replace("Label: Kit", "Label: Cat"),
            bad(),
            [Agrees; 2],
        ),
        edited(
            "a line more",
            |text| text.replace("Label:", "Version: 1\nLabel:"),
            bad(),
            [Agrees; 2],
        ),
        edited(
            "a line less",
            |text| text.replace("Label: Kit\n", ""),
            bad(),
            [Agrees; 2],
        ),
        edited(
            "an empty line in the text",
            |text| text.replace("Label:", "\nLabel:"),
            bad(),
            [Agrees; 2],
        ),
        edited(
            "a digest of the list",
            |text| text.replace(" main/", "0 main/"),
            bad(),
            [Agrees; 2],
        ),
        edited(
            "blanks at the ends of lines",
            |text| text.replace("Label: Kit\n", "Label: Kit \t\n"),
            Accepted,
            [Agrees; 2],
        ),
        edited(
            "other line ends",
            |text| text.replace('\n', "\r\n"),
            Accepted,
            [Agrees; 2],
        ),
        edited(
            "a dash escape more",
            |text| text.replace("Label:", "- Label:"),
            Accepted,
            [Agrees; 2],
        ),
        edited(
            "a dash that is not escaped",
            |text| text.replace("Label:", "-Label:"),
            not_clear_signed("line 5 starts with a dash that is not escaped"),
            [Agrees; 2],
        ),
        edited(
            "a dash escape inside a field",
            |text| text.replace("Label: Kit\n", "Label: Kit\n- Version: 1\n"),
            bad(),
            [Agrees; 2],
        ),
        edited(
            "another Hash header",
            |text| text.replace("Hash: SHA256", "Hash: SHA512"),
            Accepted,
            [
                Differs("gpgv computes only the digest that the header names"),
                Agrees,
            ],
        ),
        edited(
            "an unknown Hash header",
            |text| text.replace("Hash: SHA256", "Hash: ROT13"),
            not_clear_signed("line 2 is no Hash header, the only kind that is allowed"),
            [Agrees, Differs(NO_HEADER)],
        ),
        edited(
            "no Hash header",
            |text| text.replace("Hash: SHA256\n", ""),
            Accepted,
            [Differs("gpgv takes it for MD5"), Agrees],
        ),
        edited(
            "another header",
            |text| text.replace("Hash: SHA256", "Comment: SHA256"),
            not_clear_signed("line 2 is no Hash header, the only kind that is allowed"),
            [Agrees, Differs(NO_HEADER)],
        ),
        edited(
            "text in the place of headers",
            |text| text.replace("Hash: SHA256\n\n", "Hash: SHA256\n"),
            not_clear_signed("line 3 is no Hash header, the only kind that is allowed"),
            [Agrees; 2],
        ),
        edited(
            "a byte of the signature",
            |text| in_signature(text, 30),
            bad(),
            [Agrees; 2],
        ),
        edited(
            "the armor's checksum",
            |text| {
                let at = text.rfind("\n=").unwrap() + 2;
                let other = if &text[at..=at] == "A" { "B" } else { "A" };
                format!("{}{other}{}", &text[..at], &text[at + 1..])
            },
            Accepted,
            [Differs("RFC 9580 forbids to refuse because of it, gpgv does so"); 2],
        ),
        edited(
            "a letter that is no base64",
            |text| text.replace(END, &format!("!!!\n{END}")),
            not_clear_signed("line 20 is not base64"),
            [Differs("gpgv skips what is no base64"); 2],
        ),
        edited(
            "cut in the headers",
            |text| text[..text.find("\n\n").unwrap()].to_owned(),
            not_clear_signed("the signature is missing"),
            [Agrees; 2],
        ),
        edited(
            "cut in the text",
            |text| text[..text.find("Date:").unwrap()].to_owned(),
            not_clear_signed("the signature is missing"),
            [Agrees; 2],
        ),
        edited(
            "cut before the signature",
            |text| text[..text.find(BEGIN).unwrap()].to_owned(),
            not_clear_signed("the signature is missing"),
            [Agrees; 2],
        ),
        edited(
            "cut in the signature",
            |text| text[..text.find(END).unwrap() - 40].to_owned(),
            not_clear_signed("the armor that begins in line 14 has no end"),
            [Agrees; 2],
        ),
        edited(
            "cut before the last line",
            |text| text.replace(END, ""),
            not_clear_signed("the armor that begins in line 14 has no end"),
            [
                Differs("gpgv takes the end of the file for the end of the armor"),
                Agrees,
            ],
        ),
        edited(
            "cut before the last newline",
            |text| text.trim_end().to_owned(),
            Accepted,
            [Agrees; 2],
        ),
        edited(
            "an empty signature",
            |text| format!("{}{BEGIN}\n{END}", &text[..text.find(BEGIN).unwrap()]),
            refused(
                4,
                format!(
                    "there is no OpenPGP signature where that of [server]/{IN_RELEASE} should be"
                ),
                CHECK_KEY,
            ),
            [Agrees; 2],
        ),
        edited(
            "nothing at all",
            |_| String::new(),
            not_clear_signed(NO_MESSAGE),
            [Agrees; 2],
        ),
        edited(
            "a page for people",
            |_| "<!DOCTYPE html>\n<html></html>\n".to_owned(),
            not_clear_signed(NO_MESSAGE),
            [Agrees; 2],
        ),
        edited(
            "stripped of its signature",
            |text| {
                let start = text.find("\n\n").unwrap() + 2;
                text[start..text.find(BEGIN).unwrap()].to_owned()
            },
            not_clear_signed(NO_MESSAGE),
            [Agrees; 2],
        ),
        edited(
            "lowercase armor",
            |text| text.replace("BEGIN PGP SIGNATURE", "Begin PGP Signature"),
            not_clear_signed("line 14 starts with a dash that is not escaped"),
            [
                Differs("gpgv takes it for a wrong line of the text"),
                Agrees,
            ],
        ),
    ]
}

/// One letter of the armor, that many before its end.
fn in_signature(text: &str, before: usize) -> String {
    let at = text.rfind("\n=").unwrap() - before;
    let other = if &text[at..=at] == "A" { "B" } else { "A" };
    format!("{}{other}{}", &text[..at], &text[at + 1..])
}

fn surroundings() -> Vec<Case> {
    let edited = |name: &'static str, edit: fn(&str) -> String, expected, clients| {
        Case::signature(
            name,
            plain,
            move |scene| scene.edit_text(IN_RELEASE, edit),
            expected,
            clients,
        )
    };
    let outside = || not_clear_signed("line 21 is outside of what is signed");
    vec![
        edited(
            "text before",
            |text| format!("Suite: evil\n\n{text}"),
            not_clear_signed(NO_MESSAGE),
            [Differs(SKIPS), Agrees],
        ),
        edited(
            "an empty line before",
            |text| format!("\n{text}"),
            not_clear_signed(NO_MESSAGE),
            [Differs(SKIPS), Agrees],
        ),
        edited(
            "a byte order mark before",
            |text| format!("\u{feff}{text}"),
            not_clear_signed(NO_MESSAGE),
            [Agrees; 2],
        ),
        edited(
            "text after",
            |text| format!("{text}Suite: evil\n"),
            outside(),
            [Differs(SKIPS), Agrees],
        ),
        edited(
            "an empty line after",
            |text| format!("{text}\n"),
            outside(),
            [Differs(SKIPS), Agrees],
        ),
        edited(
            "a message after",
            |text| text.repeat(2),
            outside(),
            [Agrees; 2],
        ),
        edited(
            "an unsigned message before",
            |text| {
                let head = "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\n";
                format!("{head}Suite: evil\n{text}")
            },
            not_clear_signed("line 5 starts with a dash that is not escaped"),
            [Agrees; 2],
        ),
        edited(
            "a key after",
            |text| {
                let certificate = &signer("stranger").public_binary();
                text.to_owned() + &armored(BlockType::PublicKey, certificate)
            },
            outside(),
            [Agrees, Agrees],
        ),
        edited(
            "the signature twice",
            |text| text.to_owned() + &text[text.find(BEGIN).unwrap()..],
            Accepted,
            [Agrees; 2],
        ),
        edited(
            "text between two signatures",
            |text| format!("{text}Suite: evil\n{}", &text[text.find(BEGIN).unwrap()..]),
            outside(),
            [Differs(SKIPS), Agrees],
        ),
    ]
}

fn detached_signatures() -> Vec<Case> {
    let other = |name: &'static str,
                 path: &'static str,
                 edit: fn(&str) -> String,
                 message: &str,
                 clients| {
        Case::signature(
            name,
            detached,
            move |scene| scene.edit_text(path, edit),
            refused(4, message, CHECK_KEY),
            clients,
        )
    };
    let bad = &format!(
        "[server]/{RELEASE} has no good signature by a trusted key\n  by [archive]: {BAD}"
    );
    let gone = || {
        let signature = format!("[server]/{RELEASE_GPG} does not exist or is refused");
        refused(
            4,
            format!("[server]/{RELEASE} has no signature ({signature})"),
            NEEDS_SETTING,
        )
    };
    let none = &format!("there is no OpenPGP signature where that of [server]/{RELEASE} should be");
    vec![
        other(
            "Release: a letter",
            RELEASE,
            |text| text.replace("Label: Kit", "Label: Cat"),
            bad,
            [Agrees; 2],
        ),
        other(
            "Release: a line more",
            RELEASE,
            |text| format!("{text}Version: 1\n"),
            bad,
            [Agrees; 2],
        ),
        other(
            "Release: cut",
            RELEASE,
            |text| text[..text.len() - 9].to_owned(),
            bad,
            [Agrees; 2],
        ),
        other(
            "Release: other line ends",
            RELEASE,
            |text| text.replace('\n', "\r\n"),
            bad,
            [Agrees; 2],
        ),
        other(
            "Release.gpg: a letter",
            RELEASE_GPG,
            |text| in_signature(text, 30),
            bad,
            [Agrees; 2],
        ),
        other(
            "Release.gpg: of other bytes",
            RELEASE_GPG,
            |_| {
                let packet = signer("archive").sign_packet(b"Suite: evil\n", good());
                armored(BlockType::Signature, &packet)
            },
            bad,
            [Agrees; 2],
        ),
        other(
            "Release.gpg: nothing",
            RELEASE_GPG,
            |_| String::new(),
            none,
            [Agrees; 2],
        ),
        other(
            "Release.gpg: a page",
            RELEASE_GPG,
            |_| "<html></html>\n".to_owned(),
            none,
            [Agrees; 2],
        ),
        other(
            "Release.gpg: cut",
            RELEASE_GPG,
            |text| text[..text.len() / 2].to_owned(),
            &format!(
                "the armor of the signature of [server]/{RELEASE} is damaged: the armor that begins in line 1 has no end"
            ),
            [Agrees; 2],
        ),
        Case::signature(
            "Release.gpg: gone",
            detached,
            |scene| scene.tree.remove(RELEASE_GPG),
            gone(),
            [CannotJudge("there is no signature"), Agrees],
        ),
        Case::signature(
            "no signature at all, at the first sync",
            detached,
            |scene| {
                scene.before = None;
                scene.tree.remove(RELEASE_GPG);
            },
            gone(),
            [CannotJudge("there is no signature"), Agrees],
        ),
        Case::signature(
            "Release.gpg: text around",
            detached,
            |scene| scene.edit_text(RELEASE_GPG, |text| format!("Comment\n\n{text}\nComment\n")),
            Accepted,
            [Agrees, Differs("apt wants nothing but the signature")],
        ),
        Case::signature(
            "a bad InRelease beside a good Release.gpg",
            plain,
            |scene| scene.edit_text(IN_RELEASE, |text| text.replace("Label: Kit", "Label: Cat")),
            not_trusted(&[("[archive]", BAD)]),
            [Agrees; 2],
        ),
        Case::signature(
            "a good InRelease beside another Release",
            plain,
            |scene| scene.edit_text(RELEASE, |text| text.replace("Kit", "Cat")),
            warned(&format!(
                "[server]/{RELEASE} is not what the root says and is left out"
            )),
            [Agrees; 2],
        ),
    ]
}

#[test]
fn what_was_changed_since() {
    run(&damages());
}

#[test]
fn what_stands_around() {
    run(&surroundings());
}

#[test]
fn signatures_in_files_of_their_own() {
    run(&detached_signatures());
}
