//! An `InRelease` that somebody signed, and somebody else changed.

use pgp::armor::BlockType;

use super::{IN_RELEASE, NO_MESSAGE, not_clear_signed, not_trusted, plain};
use crate::bad_input::CHECK_KEY;
use crate::corpus::Client::{self, Agrees, Differs};
use crate::corpus::Expected::{self, Accepted};
use crate::corpus::signers::{armored, in_checksum, in_signature, signer};
use crate::corpus::{BAD, Case, refused};

const BEGIN: &str = "-----BEGIN PGP SIGNATURE-----\n";
const END: &str = "-----END PGP SIGNATURE-----\n";
const SKIPS: &str = "gpgv skips what is not signed";
const NO_HEADER: &str = "apt takes the file apart itself and skips the headers";

fn edited(edit: fn(&str) -> String, expected: Expected, clients: [Client; 2]) -> Case {
    Case::signature(
        plain,
        move |scene| scene.edit_text(IN_RELEASE, edit),
        expected,
        clients,
    )
}

fn bad() -> Expected {
    not_trusted(&[("[archive]", BAD)])
}

cases!(
    a_letter_of_the_text = edited(
        |text| text.replace("Label: Kit", "Label: Cat"),
        bad(),
        [Agrees; 2],
    ),
    a_line_more = edited(
        |text| text.replace("Label:", "Version: 1\nLabel:"),
        bad(),
        [Agrees; 2],
    ),
    a_line_less = edited(|text| text.replace("Label: Kit\n", ""), bad(), [Agrees; 2]),
    an_empty_line_in_the_text = edited(
        |text| text.replace("Label:", "\nLabel:"),
        bad(),
        [Agrees; 2],
    ),
    a_digest_of_the_list = edited(|text| text.replace(" main/", "0 main/"), bad(), [Agrees; 2]),
    blanks_at_the_ends_of_lines = edited(
        |text| text.replace("Label: Kit\n", "Label: Kit \t\n"),
        Accepted,
        [Agrees; 2],
    ),
    other_line_ends = edited(|text| text.replace('\n', "\r\n"), Accepted, [Agrees; 2]),
    a_dash_escape_more = edited(
        |text| text.replace("Label:", "- Label:"),
        Accepted,
        [Agrees; 2],
    ),
    a_dash_that_is_not_escaped = edited(
        |text| text.replace("Label:", "-Label:"),
        not_clear_signed("line 5 starts with an unescaped dash"),
        [Agrees; 2],
    ),
    a_dash_escape_inside_a_field = edited(
        |text| text.replace("Label: Kit\n", "Label: Kit\n- Version: 1\n"),
        bad(),
        [Agrees; 2],
    ),
    another_hash_header = edited(
        |text| text.replace("Hash: SHA256", "Hash: SHA512"),
        Accepted,
        [
            Differs("gpgv computes only the digest that the header names"),
            Agrees,
        ],
    ),
    an_unknown_hash_header = edited(
        |text| text.replace("Hash: SHA256", "Hash: ROT13"),
        not_clear_signed("line 2 is not a Hash header, the only one allowed"),
        [Agrees, Differs(NO_HEADER)],
    ),
    no_hash_header = edited(
        |text| text.replace("Hash: SHA256\n", ""),
        Accepted,
        [Differs("gpgv takes it for MD5"), Agrees],
    ),
    another_header = edited(
        |text| text.replace("Hash: SHA256", "Comment: SHA256"),
        not_clear_signed("line 2 is not a Hash header, the only one allowed"),
        [Agrees, Differs(NO_HEADER)],
    ),
    text_in_the_place_of_headers = edited(
        |text| text.replace("Hash: SHA256\n\n", "Hash: SHA256\n"),
        not_clear_signed("line 3 is not a Hash header, the only one allowed"),
        [Agrees; 2],
    ),
    a_byte_of_the_signature = edited(|text| in_signature(text, 30), bad(), [Agrees; 2]),
    the_armors_checksum = edited(
        in_checksum,
        Accepted,
        [Differs("RFC 9580 forbids to refuse because of it, gpgv does so"); 2],
    ),
    a_letter_that_is_no_base64 = edited(
        |text| text.replace(END, &format!("!!!\n{END}")),
        not_clear_signed("line 20 is not base64"),
        [Differs("gpgv skips what is no base64"); 2],
    ),
    cut_in_the_headers = edited(
        |text| text[..text.find("\n\n").unwrap()].to_owned(),
        not_clear_signed("the signature is missing"),
        [Agrees; 2],
    ),
    cut_in_the_text = edited(
        |text| text[..text.find("Date:").unwrap()].to_owned(),
        not_clear_signed("the signature is missing"),
        [Agrees; 2],
    ),
    cut_before_the_signature = edited(
        |text| text[..text.find(BEGIN).unwrap()].to_owned(),
        not_clear_signed("the signature is missing"),
        [Agrees; 2],
    ),
    cut_in_the_signature = edited(
        |text| text[..text.find(END).unwrap() - 40].to_owned(),
        not_clear_signed("the armor that begins on line 14 has no end line"),
        [Agrees; 2],
    ),
    cut_before_the_last_line = edited(
        |text| text.replace(END, ""),
        not_clear_signed("the armor that begins on line 14 has no end line"),
        [
            Differs("gpgv takes the end of the file for the end of the armor"),
            Agrees,
        ],
    ),
    cut_before_the_last_newline = edited(|text| text.trim_end().to_owned(), Accepted, [Agrees; 2]),
    an_empty_signature = edited(
        |text| format!("{}{BEGIN}\n{END}", &text[..text.find(BEGIN).unwrap()]),
        refused(
            4,
            format!("the signature file of [server]/{IN_RELEASE} contains no OpenPGP signature"),
            CHECK_KEY,
        ),
        [Agrees; 2],
    ),
    nothing_at_all = edited(|_| String::new(), not_clear_signed(NO_MESSAGE), [Agrees; 2]),
    a_page_for_people = edited(
        |_| "<!DOCTYPE html>\n<html></html>\n".to_owned(),
        not_clear_signed(NO_MESSAGE),
        [Agrees; 2],
    ),
    stripped_of_its_signature = edited(
        |text| {
            let start = text.find("\n\n").unwrap() + 2;
            text[start..text.find(BEGIN).unwrap()].to_owned()
        },
        not_clear_signed(NO_MESSAGE),
        [Agrees; 2],
    ),
    lowercase_armor = edited(
        |text| text.replace("BEGIN PGP SIGNATURE", "Begin PGP Signature"),
        not_clear_signed("line 14 starts with an unescaped dash"),
        [
            Differs("gpgv takes it for a wrong line of the text"),
            Agrees,
        ],
    ),
);

fn outside() -> Expected {
    not_clear_signed("line 21 is not covered by the signature")
}

cases!(
    text_before = edited(
        |text| format!("Suite: evil\n\n{text}"),
        not_clear_signed(NO_MESSAGE),
        [Differs(SKIPS), Agrees],
    ),
    an_empty_line_before = edited(
        |text| format!("\n{text}"),
        not_clear_signed(NO_MESSAGE),
        [Differs(SKIPS), Agrees],
    ),
    a_byte_order_mark_before = edited(
        |text| format!("\u{feff}{text}"),
        not_clear_signed(NO_MESSAGE),
        [Agrees; 2],
    ),
    text_after = edited(
        |text| format!("{text}Suite: evil\n"),
        outside(),
        [Differs(SKIPS), Agrees],
    ),
    an_empty_line_after = edited(
        |text| format!("{text}\n"),
        outside(),
        [Differs(SKIPS), Agrees],
    ),
    a_message_after = edited(|text| text.repeat(2), outside(), [Agrees; 2]),
    an_unsigned_message_before = edited(
        |text| {
            let head = "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\n";
            format!("{head}Suite: evil\n{text}")
        },
        not_clear_signed("line 5 starts with an unescaped dash"),
        [Agrees; 2],
    ),
    a_key_after = edited(
        |text| {
            let certificate = &signer("stranger").public_binary();
            text.to_owned() + &armored(BlockType::PublicKey, certificate)
        },
        outside(),
        [Agrees, Agrees],
    ),
    the_signature_twice = edited(
        |text| text.to_owned() + &text[text.find(BEGIN).unwrap()..],
        Accepted,
        [Agrees; 2],
    ),
    text_between_two_signatures = edited(
        |text| format!("{text}Suite: evil\n{}", &text[text.find(BEGIN).unwrap()..]),
        outside(),
        [Differs(SKIPS), Agrees],
    ),
);
