//! What Packages and Sources say, under a good signature.

use super::{INDEX, LAST, PACKAGES, SOURCES, malformed_index, plain, sources};
use crate::bad_input::{BROKEN, MID_UPDATE};
use crate::corpus::Client::{self, Agrees, Differs};
use crate::corpus::Expected::{self, Accepted};
use crate::corpus::{
    ANY_PATH, BadPath, CONTRADICTION, Case, DECLARED, HIDDEN, NO_PLACE, REPORT, refused,
};

const HELLO: &str = "hello 2.0-1 amd64";

fn edited(edit: impl Fn(&str) -> String + 'static, expected: Expected, client: Client) -> Case {
    Case::content(
        plain,
        move |scene| scene.index(PACKAGES, &edit),
        expected,
        client,
    )
}

/// The path of `hello` is none.
fn not_a_path(why: &str) -> Expected {
    let what = format!("{INDEX}: {HELLO} has an unsafe path");
    refused(4, format!("{what}: {why}"), REPORT)
}

/// A line of hello's stanza, which is the last one.
fn field(text: &str, name: &str, change: impl Fn(&str) -> String) -> String {
    let stanza = text.find("Package: hello").unwrap();
    let start = stanza + text[stanza..].find(&format!("{name}: ")).unwrap();
    let end = start + text[start..].find('\n').unwrap();
    let value = &text[start + name.len() + 2..end];
    format!("{}{}{}", &text[..start], change(value), &text[end..])
}

/// Another line in hello's stanza.
fn of(which: &'static str, change: fn(&str) -> String, expected: Expected, client: Client) -> Case {
    edited(move |text| field(text, which, change), expected, client)
}

cases!(
    two_filename_the_same = of(
        "Filename",
        |value| format!("Filename: {value}\nFilename: {value}"),
        Accepted,
        Agrees,
    ),
    two_filename = of(
        "Filename",
        |value| format!("Filename: pool/evil.deb\nFilename: {value}"),
        malformed_index("line 16: duplicate field Filename in a stanza"),
        Differs(LAST),
    ),
    two_filename_the_second_one_evil = Case::content(
        plain,
        |scene| {
            let bytes = scene.tree.bytes(&scene.package()).to_vec();
            scene.tree.insert("pool/evil.deb", bytes);
            scene.index(PACKAGES, |text| {
                field(text, "Filename", |path| {
                    format!("Filename: {path}\nFilename: pool/evil.deb")
                })
            });
        },
        malformed_index("line 16: duplicate field Filename in a stanza"),
        Differs(LAST),
    ),
    two_sha256 = of(
        "SHA256",
        |value| format!("SHA256: {value}\nSHA256: {}", "0".repeat(64)),
        malformed_index("line 18: duplicate field SHA256 in a stanza"),
        Agrees,
    ),
    two_package = of(
        "Package",
        |value| format!("Package: {value}\nPackage: evil"),
        malformed_index("line 11: duplicate field Package in a stanza"),
        Agrees,
    ),
    two_size = of(
        "Size",
        |value| format!("Size: {value}\nSize: 1"),
        malformed_index("line 17: duplicate field Size in a stanza"),
        Agrees,
    ),
    no_filename = of(
        "Filename",
        |_| "X: y".to_owned(),
        malformed_index("the stanza after line 9 has no Filename"),
        Agrees,
    ),
    no_sha256 = of(
        "SHA256",
        |_| "X: y".to_owned(),
        refused(
            4,
            format!(
                "{INDEX}: {HELLO} has no strong digest (sha256, sha384 or sha512; for rpm also sha1)"
            ),
            REPORT,
        ),
        Agrees,
    ),
    md5_alone = of(
        "SHA256",
        |_| format!("MD5sum: {}", "0".repeat(32)),
        refused(
            4,
            format!(
                "{INDEX}: {HELLO} has no strong digest (sha256, sha384 or sha512; for rpm also sha1)"
            ),
            REPORT,
        ),
        Agrees,
    ),
    a_short_sha256 = of(
        "SHA256",
        |value| format!("SHA256: {}", &value[1..]),
        malformed_index(&format!(
            "{HELLO}: a sha256 digest has 64 hexadecimal digits, got 63"
        )),
        Agrees,
    ),
    no_size = of(
        "Size",
        |_| "X: y".to_owned(),
        Accepted,
        Differs("apt wants to know it"),
    ),
    a_negative_size = of(
        "Size",
        |value| format!("Size: -{value}"),
        malformed_index(&format!("{HELLO}: invalid size \"-654\"")),
        Agrees,
    ),
    a_size_beyond_all_numbers = of(
        "Size",
        |_| "Size: 99999999999999999999".to_owned(),
        malformed_index(&format!("{HELLO}: invalid size \"[n]\"")),
        Agrees,
    ),
    a_huge_size = of(
        "Size",
        |_| "Size: 18446744073709551615".to_owned(),
        refused(
            1,
            "not enough space in [dir]/data/pool: [size] short ([size] to download, [size] free)",
            "hint: free up disk space, or move the pool (storage.pool_path)\n",
        ),
        Agrees,
    ),
    a_larger_size = of(
        "Size",
        |value| format!("Size: 1{value}"),
        refused(
            4,
            format!(
                "package hello 2.0-1 (amd64): [server]/[hello]: content does not match the metadata: expected {DECLARED}, got [n] bytes"
            ),
            MID_UPDATE,
        ),
        Agrees,
    ),
    a_name_with_a_carriage_return = of(
        "Package",
        |_| "Package: he\rllo".to_owned(),
        malformed_index("package \"he\\rllo\" has the invalid name \"he\\rllo\"",),
        Agrees,
    ),
    a_smaller_size = of(
        "Size",
        |_| "Size: 7".to_owned(),
        refused(
            4,
            format!(
                "package hello 2.0-1 (amd64): [server]/[hello]: content does not match the metadata: expected {DECLARED}, got [n] bytes or more"
            ),
            MID_UPDATE,
        ),
        Agrees,
    ),
    filename_goes_on_in_the_next_line = of(
        "Filename",
        |value| format!("Filename: {value}\n ../../evil"),
        not_a_path("path \"[hello]\\n../../evil\" contains a control character or a backslash"),
        Agrees,
    ),
    filename_with_a_control_character = of(
        "Filename",
        |_| "Filename: a\u{1b}[2Jb".to_owned(),
        not_a_path("path \"a\\u{1b}[2Jb\" contains a control character or a backslash"),
        Agrees,
    ),
    filename_with_a_nul = of(
        "Filename",
        |_| "Filename: a\0b".to_owned(),
        not_a_path("path \"a\\0b\" contains a control character or a backslash"),
        Agrees,
    ),
    filename_with_a_carriage_return = of(
        "Filename",
        |value| format!("Filename: {value}\rFilename: evil"),
        not_a_path("path \"[hello]\\rFilename: evil\" contains a control character or a backslash"),
        Agrees,
    ),
    an_empty_filename = of(
        "Filename",
        |_| "Filename:".to_owned(),
        not_a_path("the path is empty"),
        Agrees,
    ),
    filename_with_segments_that_vanish = of(
        "Filename",
        |value| format!("Filename: ./x/..//{value}"),
        Accepted,
        Differs("apt asks for the path as it is, and this server does not resolve it"),
    ),
    a_name_with_an_escape_sequence = of(
        "Package",
        |_| "Package: he\u{1b}]0;owned\u{7}".to_owned(),
        malformed_index(
            "package \"he\\u{1b}]0;owned\\u{7}\" has the invalid name \"he\\u{1b}]0;owned\\u{7}\"",
        ),
        Agrees,
    ),
    an_empty_name = of(
        "Package",
        |_| "Package:".to_owned(),
        malformed_index("package \"\" has the invalid name \"\""),
        Agrees,
    ),
    a_version_with_a_blank = of(
        "Version",
        |_| "Version: 1 2".to_owned(),
        malformed_index("package \"hello\" has the invalid version \"1 2\""),
        Differs("apt takes the first word"),
    ),
    an_escape_sequence_that_nobody_reads = of(
        "Maintainer",
        |_| "Maintainer: \u{1b}]0;owned\u{7}".to_owned(),
        Accepted,
        Agrees,
    ),
    a_maintainer_that_is_no_utf8 = Case::content(
        plain,
        |scene| scene.index_bytes(PACKAGES, |bytes| replaced(bytes, b"Kit <", b"K\xf6t <")),
        Accepted,
        Agrees,
    ),
    a_path_that_is_no_utf8 = Case::content(
        plain,
        |scene| scene.index_bytes(PACKAGES, |bytes| replaced(bytes, b"h/hello/", b"h/\xf6/")),
        malformed_index("Filename is not UTF-8"),
        Agrees,
    ),
    one_path_with_two_contents = edited(
        |text| {
            text.replace(
                "pool/main/d/data/data_1.0-1_all.deb",
                "pool/main/h/hello/hello_2.0-1_amd64.deb",
            )
        },
        refused(
            4,
            "[hello] is listed twice with different content: sha256 [digest] and sha256 [digest]",
            CONTRADICTION,
        ),
        Differs("apt wants one of them"),
    ),
    a_stanza_twice = edited(
        |text| format!("{text}\n{}", &text[text.find("Package: hello").unwrap()..]),
        Accepted,
        Agrees,
    ),
    another_text = edited(
        |_| "hello\n".to_owned(),
        malformed_index("line 1: invalid line: neither a field nor a continuation line"),
        Agrees,
    ),
    a_page = edited(
        |_| "<html><body>Hello</body></html>\n".to_owned(),
        malformed_index("line 1: invalid line: neither a field nor a continuation line"),
        Agrees,
    ),
    a_folded_line_first = edited(
        |text| format!(" x\n{text}"),
        malformed_index("line 1: a continuation line without a field"),
        Differs("apt skips it"),
    ),
);

fn package_at((path, why, place): BadPath) -> Case {
    Case::content(
        plain,
        move |scene| {
            scene.copy(&scene.package(), path, place);
            scene.index(PACKAGES, |text| {
                field(text, "Filename", |_| format!("Filename: {path}"))
            });
        },
        not_a_path(why),
        if place.is_some() { ANY_PATH } else { NO_PLACE },
    )
}

path_cases!(a_package_at = package_at);
cases!(a_package_at_a_hidden_path = package_at(HIDDEN));

fn replaced(bytes: &[u8], old: &[u8], new: &[u8]) -> Vec<u8> {
    let at = bytes
        .windows(old.len())
        .rposition(|part| part == old)
        .unwrap();
    [&bytes[..at], new, &bytes[at + old.len()..]].concat()
}

/// Something else in Sources.
fn source(from: &'static str, to: &'static str, expected: Expected, client: Client) -> Case {
    Case::content(
        sources,
        move |scene| {
            scene.always_says("sources: true");
            if from != to {
                scene.index(SOURCES, |text| text.replace(from, to));
            }
        },
        expected,
        client,
    )
}

fn not_a_source_path(why: &str) -> Expected {
    let what = "main/source/Sources: hello 2.0-1 source has an unsafe path";
    refused(4, format!("{what}: {why}"), REPORT)
}

cases!(
    good_sources = source("", "", Accepted, Agrees),
    directory_leaves = source(
        "Directory: pool/main/h/hello",
        "Directory: ../..",
        not_a_source_path("path \"../../hello_2.0-1.dsc\" is outside of the repository"),
        Agrees,
    ),
    directory_is_absolute = source(
        "Directory: pool/main/h/hello",
        "Directory: /etc",
        refused(
            4,
            "package hello 2.0-1 (source): [server]/etc/hello_2.0-1.dsc: not found",
            MID_UPDATE,
        ),
        Agrees,
    ),
    directory_is_a_url = source(
        "Directory: pool/main/h/hello",
        "Directory: http://127.0.0.1:1",
        not_a_source_path("path \"http://127.0.0.1:1/hello_2.0-1.dsc\" is a URL"),
        Agrees,
    ),
    a_file_leaves = source(
        " hello_2.0-1.dsc\n",
        " ../../../../../x.dsc\n",
        not_a_source_path(
            "path \"pool/main/h/hello/../../../../../x.dsc\" is outside of the repository"
        ),
        Agrees,
    ),
    two_directory = source(
        "Directory: pool/main/h/hello",
        "Directory: pool\nDirectory: pool/main/h/hello",
        refused(
            4,
            "main/source/Sources: line 19: duplicate field Directory in a stanza",
            BROKEN,
        ),
        Differs(LAST),
    ),
    no_digest = source(
        "Checksums-Sha256:",
        "Files:",
        refused(
            4,
            "main/source/Sources: data 1.0-1 source has no strong digest (sha256, sha384 or sha512; for rpm also sha1)",
            REPORT,
        ),
        Differs("apt downloads nothing then, and calls that success"),
    ),
    another_file = source(
        " hello_2.0-1.dsc\n",
        " data_1.0-1.dsc\n",
        refused(
            4,
            "package hello 2.0-1 (source): [server]/pool/main/h/hello/data_1.0-1.dsc: not found",
            MID_UPDATE,
        ),
        Agrees,
    ),
);
