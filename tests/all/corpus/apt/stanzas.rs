//! What Packages and Sources say, under a good signature.

use super::{INDEX, LAST, PACKAGES, SOURCES, malformed_index, plain, sources};
use crate::bad_input::{BROKEN, MID_UPDATE};
use crate::corpus::Client::{self, Agrees, Differs};
use crate::corpus::Expected::{self, Accepted};
use crate::corpus::{
    ANY_PATH, CONTRADICTION, Case, DECLARED, HIDDEN, NO_PLACE, PATHS, REPORT, refused, run,
};

const HELLO: &str = "hello 2.0-1 amd64";

fn edited(
    name: &str,
    edit: impl Fn(&str) -> String + Send + Sync + 'static,
    expected: Expected,
    client: Client,
) -> Case {
    Case::content(
        name,
        plain,
        move |scene| scene.index(PACKAGES, &edit),
        expected,
        client,
    )
}

/// The path of `hello` is none.
fn not_a_path(why: &str) -> Expected {
    let what = format!("{INDEX}: {HELLO} names a path that cannot be mirrored");
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

fn fields() -> Vec<Case> {
    let of = |name: &str, which: &'static str, change: fn(&str) -> String, expected, client| {
        edited(
            name,
            move |text| field(text, which, change),
            expected,
            client,
        )
    };
    let mut cases = vec![
        of(
            "two Filename, the same",
            "Filename",
            |value| format!("Filename: {value}\nFilename: {value}"),
            Accepted,
            Agrees,
        ),
        of(
            "two Filename",
            "Filename",
            |value| format!("Filename: pool/evil.deb\nFilename: {value}"),
            malformed_index("line 16: a stanza has the field Filename twice"),
            Differs(LAST),
        ),
        Case::content(
            "two Filename, the second one evil",
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
            malformed_index("line 16: a stanza has the field Filename twice"),
            Differs(LAST),
        ),
        of(
            "two SHA256",
            "SHA256",
            |value| format!("SHA256: {value}\nSHA256: {}", "0".repeat(64)),
            malformed_index("line 18: a stanza has the field SHA256 twice"),
            Agrees,
        ),
        of(
            "two Package",
            "Package",
            |value| format!("Package: {value}\nPackage: evil"),
            malformed_index("line 11: a stanza has the field Package twice"),
            Agrees,
        ),
        of(
            "two Size",
            "Size",
            |value| format!("Size: {value}\nSize: 1"),
            malformed_index("line 17: a stanza has the field Size twice"),
            Agrees,
        ),
        of(
            "no Filename",
            "Filename",
            |_| "X: y".to_owned(),
            malformed_index("the stanza behind line 9 has no Filename"),
            Agrees,
        ),
        of(
            "no SHA256",
            "SHA256",
            |_| "X: y".to_owned(),
            refused(
                4,
                format!(
                    "{INDEX}: {HELLO} has no digest that can be trusted (sha256, sha384 or sha512; rpm also sha1)"
                ),
                REPORT,
            ),
            Agrees,
        ),
        of(
            "MD5 alone",
            "SHA256",
            |_| format!("MD5sum: {}", "0".repeat(32)),
            refused(
                4,
                format!(
                    "{INDEX}: {HELLO} has no digest that can be trusted (sha256, sha384 or sha512; rpm also sha1)"
                ),
                REPORT,
            ),
            Agrees,
        ),
        of(
            "a short SHA256",
            "SHA256",
            |value| format!("SHA256: {}", &value[1..]),
            malformed_index(&format!(
                "{HELLO}: a sha256 digest has 64 hexadecimal digits, got 63"
            )),
            Agrees,
        ),
        of(
            "no Size",
            "Size",
            |_| "X: y".to_owned(),
            Accepted,
            Differs("apt wants to know it"),
        ),
        of(
            "a negative Size",
            "Size",
            |value| format!("Size: -{value}"),
            malformed_index(&format!("{HELLO}: the size is \"-654\"")),
            Agrees,
        ),
        of(
            "a Size beyond all numbers",
            "Size",
            |_| "Size: 99999999999999999999".to_owned(),
            malformed_index(&format!("{HELLO}: the size is \"[n]\"")),
            Agrees,
        ),
        of(
            "a huge Size",
            "Size",
            |_| "Size: 18446744073709551615".to_owned(),
            refused(
                1,
                "[n] bytes are to be downloaded, but the file system of [dir]/data/pool has only [n] free",
                "hint: make room, or move the pool (storage.pool_path)\n",
            ),
            Agrees,
        ),
        of(
            "a larger Size",
            "Size",
            |value| format!("Size: 1{value}"),
            refused(
                4,
                format!(
                    "package hello 2.0-1 (amd64): [server]/[hello] is not what was declared: expected {DECLARED}, got [n] bytes"
                ),
                MID_UPDATE,
            ),
            Agrees,
        ),
        of(
            "a name with a carriage return",
            "Package",
            |_| "Package: he\rllo".to_owned(),
            malformed_index(
                "package \"he\\rllo\" has the name \"he\\rllo\", which is not one short word",
            ),
            Agrees,
        ),
        of(
            "a smaller Size",
            "Size",
            |_| "Size: 7".to_owned(),
            refused(
                4,
                format!(
                    "package hello 2.0-1 (amd64): [server]/[hello] is not what was declared: expected {DECLARED}, got [n] bytes or more"
                ),
                MID_UPDATE,
            ),
            Agrees,
        ),
        of(
            "Filename goes on in the next line",
            "Filename",
            |value| format!("Filename: {value}\n ../../evil"),
            not_a_path("path \"[hello]\\n../../evil\" contains a control character or a backslash"),
            Agrees,
        ),
        of(
            "Filename with a control character",
            "Filename",
            |_| "Filename: a\u{1b}[2Jb".to_owned(),
            not_a_path("path \"a\\u{1b}[2Jb\" contains a control character or a backslash"),
            Agrees,
        ),
        of(
            "Filename with a NUL",
            "Filename",
            |_| "Filename: a\0b".to_owned(),
            not_a_path("path \"a\\0b\" contains a control character or a backslash"),
            Agrees,
        ),
        of(
            "Filename with a carriage return",
            "Filename",
            |value| format!("Filename: {value}\rFilename: evil"),
            not_a_path(
                "path \"[hello]\\rFilename: evil\" contains a control character or a backslash",
            ),
            Agrees,
        ),
        of(
            "an empty Filename",
            "Filename",
            |_| "Filename:".to_owned(),
            not_a_path("the path is empty"),
            Agrees,
        ),
        of(
            "Filename with segments that vanish",
            "Filename",
            |value| format!("Filename: ./x/..//{value}"),
            Accepted,
            Differs("apt asks for the path as it is, and this server does not resolve it"),
        ),
        of(
            "a name with an escape sequence",
            "Package",
            |_| "Package: he\u{1b}]0;owned\u{7}".to_owned(),
            malformed_index(
                "package \"he\\u{1b}]0;owned\\u{7}\" has the name \"he\\u{1b}]0;owned\\u{7}\", which is not one short word",
            ),
            Agrees,
        ),
        of(
            "an empty name",
            "Package",
            |_| "Package:".to_owned(),
            malformed_index("package \"\" has the name \"\", which is not one short word"),
            Agrees,
        ),
        of(
            "a version with a blank",
            "Version",
            |_| "Version: 1 2".to_owned(),
            malformed_index(
                "package \"hello\" has the version \"1 2\", which is not one short word",
            ),
            Differs("apt takes the first word"),
        ),
        of(
            "an escape sequence that nobody reads",
            "Maintainer",
            |_| "Maintainer: \u{1b}]0;owned\u{7}".to_owned(),
            Accepted,
            Agrees,
        ),
        Case::content(
            "a maintainer that is no UTF-8",
            plain,
            |scene| scene.index_bytes(PACKAGES, |bytes| replaced(bytes, b"Kit <", b"K\xf6t <")),
            Accepted,
            Agrees,
        ),
        Case::content(
            "a path that is no UTF-8",
            plain,
            |scene| scene.index_bytes(PACKAGES, |bytes| replaced(bytes, b"h/hello/", b"h/\xf6/")),
            malformed_index("Filename is not UTF-8"),
            Agrees,
        ),
        edited(
            "one path with two contents",
            |text| {
                text.replace(
                    "pool/main/d/data/data_1.0-1_all.deb",
                    "pool/main/h/hello/hello_2.0-1_amd64.deb",
                )
            },
            refused(
                4,
                "[hello] is listed with two contents: sha256 [digest] and sha256 [digest]",
                CONTRADICTION,
            ),
            Differs("apt wants one of them"),
        ),
        edited(
            "a stanza twice",
            |text| format!("{text}\n{}", &text[text.find("Package: hello").unwrap()..]),
            Accepted,
            Agrees,
        ),
        edited(
            "another text",
            |_| "hello\n".to_owned(),
            malformed_index("line 1: a line is neither a field nor folded"),
            Agrees,
        ),
        edited(
            "a page",
            |_| "<html><body>Hello</body></html>\n".to_owned(),
            malformed_index("line 1: a line is neither a field nor folded"),
            Agrees,
        ),
        edited(
            "a folded line first",
            |text| format!(" x\n{text}"),
            malformed_index("line 1: a folded line without a field above it"),
            Differs("apt skips it"),
        ),
    ];
    for (path, why, place) in PATHS.into_iter().chain([HIDDEN]) {
        cases.push(Case::content(
            &format!("a package at {path}"),
            plain,
            move |scene| {
                scene.copy(&scene.package(), path, place);
                scene.index(PACKAGES, |text| {
                    field(text, "Filename", |_| format!("Filename: {path}"))
                });
            },
            not_a_path(why),
            if place.is_some() { ANY_PATH } else { NO_PLACE },
        ));
    }
    cases
}

fn replaced(bytes: &[u8], old: &[u8], new: &[u8]) -> Vec<u8> {
    let at = bytes
        .windows(old.len())
        .rposition(|part| part == old)
        .unwrap();
    [&bytes[..at], new, &bytes[at + old.len()..]].concat()
}

fn source_files() -> Vec<Case> {
    let of = |name: &str, from: &'static str, to: &'static str, expected, client| {
        Case::content(
            name,
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
    };
    let path = |why: &str| {
        refused(
            4,
            format!(
                "main/source/Sources: hello 2.0-1 source names a path that cannot be mirrored: {why}"
            ),
            REPORT,
        )
    };
    vec![
        of("good Sources", "", "", Accepted, Agrees),
        of(
            "Directory leaves",
            "Directory: pool/main/h/hello",
            "Directory: ../..",
            path("path \"../../hello_2.0-1.dsc\" leaves the repository"),
            Agrees,
        ),
        of(
            "Directory is absolute",
            "Directory: pool/main/h/hello",
            "Directory: /etc",
            refused(
                4,
                "package hello 2.0-1 (source): [server]/etc/hello_2.0-1.dsc is not there",
                MID_UPDATE,
            ),
            Agrees,
        ),
        of(
            "Directory is a URL",
            "Directory: pool/main/h/hello",
            "Directory: http://127.0.0.1:1",
            path("path \"http://127.0.0.1:1/hello_2.0-1.dsc\" is a URL of its own"),
            Agrees,
        ),
        of(
            "a file leaves",
            " hello_2.0-1.dsc\n",
            " ../../../../../x.dsc\n",
            path("path \"pool/main/h/hello/../../../../../x.dsc\" leaves the repository"),
            Agrees,
        ),
        of(
            "two Directory",
            "Directory: pool/main/h/hello",
            "Directory: pool\nDirectory: pool/main/h/hello",
            refused(
                4,
                "main/source/Sources: line 19: a stanza has the field Directory twice",
                BROKEN,
            ),
            Differs(LAST),
        ),
        of(
            "no digest",
            "Checksums-Sha256:",
            "Files:",
            refused(
                4,
                "main/source/Sources: data 1.0-1 source has no digest that can be trusted (sha256, sha384 or sha512; rpm also sha1)",
                REPORT,
            ),
            Differs("apt downloads nothing then, and calls that success"),
        ),
        of(
            "another file",
            " hello_2.0-1.dsc\n",
            " data_1.0-1.dsc\n",
            refused(
                4,
                "package hello 2.0-1 (source): [server]/pool/main/h/hello/data_1.0-1.dsc is not there",
                MID_UPDATE,
            ),
            Agrees,
        ),
    ]
}

#[test]
fn what_a_stanza_says() {
    run(&fields());
}

#[test]
fn what_a_source_says() {
    run(&source_files());
}
