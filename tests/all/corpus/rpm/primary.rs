//! Primary and the packages that it names, under a good signature.

use std::io::Read as _;

use flate2::read::GzDecoder;

use super::{PRIMARY, gzipped, plain};
use crate::bad_input::{BROKEN, MID_UPDATE};
use crate::corpus::Client::{self, Agrees, CannotJudge, Differs};
use crate::corpus::Expected::{self, Accepted};
use crate::corpus::{
    ANY_PATH, CONTRADICTION, Case, DECLARED, HIDDEN, NO_PLACE, PATHS, REPORT, altered, bomb,
    refused, run,
};
use crate::kit::upstream::Codec;

const HELLO: &str = "hello 2.0-1 x86_64";

fn edited(
    name: &str,
    edit: impl Fn(&str) -> String + Send + Sync + 'static,
    expected: Expected,
    client: Client,
) -> Case {
    Case::content(
        name,
        plain,
        move |scene| scene.index(PRIMARY, &edit),
        expected,
        client,
    )
}

/// With something else in hello's element, which is the last one.
fn of(
    name: &str,
    from: &'static str,
    to: &'static str,
    expected: Expected,
    client: Client,
) -> Case {
    edited(
        name,
        move |text| {
            let at = text.rfind("<package ").unwrap();
            assert!(text[at..].contains(from), "no {from} in {}", &text[at..]);
            format!("{}{}", &text[..at], text[at..].replacen(from, to, 1))
        },
        expected,
        client,
    )
}

fn malformed(why: &str) -> Expected {
    refused(4, format!("primary: {why}"), BROKEN)
}

fn not_a_path(why: &str) -> Expected {
    refused(
        4,
        format!("primary: {HELLO} names a path that cannot be mirrored: {why}"),
        REPORT,
    )
}

fn other_package(got: &str) -> Expected {
    let what = "package hello 2.0-1 (x86_64): [server]/[hello] is not what was declared";
    refused(
        4,
        format!("{what}: expected {DECLARED}, got {got}"),
        MID_UPDATE,
    )
}

fn files() -> Vec<Case> {
    let index = |name: &str, edit: fn(&[u8]) -> Vec<u8>, got: &str| {
        let what = format!("index primary: [server]/{PRIMARY} is not what was declared");
        let expected = refused(
            4,
            format!("{what}: expected {DECLARED}, got {got}"),
            MID_UPDATE,
        );
        Case::content(
            name,
            plain,
            move |scene| scene.edit(PRIMARY, edit),
            expected,
            Agrees,
        )
    };
    let packed = |name: &str, edit: fn(&[u8]) -> Vec<u8>, expected, client| {
        Case::content(
            name,
            gzipped,
            move |scene| {
                let path = format!("{PRIMARY}.gz");
                let open = scene.opened(&path);
                let bytes = edit(scene.tree.bytes(&path));
                scene.pack(&path, &bytes, &open);
            },
            expected,
            client,
        )
    };
    let package = |name: &str, edit: fn(&[u8]) -> Vec<u8>, got: &str| {
        Case::content(
            name,
            plain,
            move |scene| scene.edit(&scene.package(), edit),
            other_package(got),
            Agrees,
        )
    };
    vec![
        index("primary: a byte", altered, DECLARED),
        index(
            "primary: cut",
            |bytes| bytes[..bytes.len() - 9].to_vec(),
            "[n] bytes",
        ),
        index(
            "primary: longer",
            |bytes| [bytes, b"<!-- -->"].concat(),
            "[n] bytes or more",
        ),
        index("primary: nothing", |_| Vec::new(), "[n] bytes"),
        packed(
            "primary.gz: no gzip",
            |_| b"<metadata/>".to_vec(),
            malformed("not a good gzip stream: invalid gzip header"),
            Agrees,
        ),
        packed(
            "primary.gz: cut, and so declared",
            |bytes| bytes[..bytes.len() - 9].to_vec(),
            malformed("the gzip stream is truncated"),
            Differs("dnf reads as far as it gets"),
        ),
        packed(
            "primary.gz: with something behind",
            |bytes| [bytes, b"something"].concat(),
            Accepted,
            Agrees,
        ),
        packed(
            "primary.gz: of another text of that size",
            |bytes| {
                let mut open = Vec::new();
                GzDecoder::new(bytes).read_to_end(&mut open).unwrap();
                let text = String::from_utf8(open).unwrap();
                Codec::Gz.compress(text.replace("tests", "TESTS").as_bytes())
            },
            malformed("uncompressed it is sha256 [digest], the root declares sha256 [digest]"),
            Differs("dnf looks at the compressed file alone"),
        ),
        packed(
            "primary.gz: of something else",
            |_| Codec::Gz.compress(b"<metadata></metadata>\n"),
            malformed("uncompressed it has [n] bytes, the root declares 1720"),
            Agrees,
        ),
        packed(
            "primary.gz: a bomb of a small declared size",
            |_| bomb(b"<metadata>"),
            malformed("uncompressed it has more than the [n] bytes that the root declares"),
            Agrees,
        ),
        Case::content(
            "primary.gz: a bomb of undeclared size",
            gzipped,
            |scene| {
                let path = format!("{PRIMARY}.gz");
                let open = scene.opened(&path);
                scene.pack(&path, &bomb(b"<metadata><package><name>"), &open);
                scene.root(|text| {
                    let declared = text.lines().filter(|line| !line.contains("<open-"));
                    declared.collect::<Vec<_>>().join("\n") + "\n"
                });
            },
            malformed("a tag or a piece of text is longer than [n] bytes"),
            Agrees,
        ),
        Case::content(
            "primary.gz: another open size",
            gzipped,
            |scene| {
                scene.root(|text| text.replacen("<open-size>", "<open-size>9", 1));
            },
            malformed("uncompressed it has [n] bytes, the root declares 91720"),
            Differs("dnf does not look at it"),
        ),
        package("package: a byte", altered, DECLARED),
        package(
            "package: cut",
            |bytes| bytes[..bytes.len() - 1].to_vec(),
            "[n] bytes",
        ),
        package(
            "package: longer",
            |bytes| [bytes, b"x"].concat(),
            "[n] bytes or more",
        ),
        package("package: nothing", |_| Vec::new(), "[n] bytes"),
        Case::content(
            "package: not there",
            plain,
            |scene| scene.tree.remove(&scene.package()),
            refused(
                4,
                "package hello 2.0-1 (x86_64): [server]/[hello] is not there",
                MID_UPDATE,
            ),
            Agrees,
        ),
    ]
}

/// With another checksum element of hello.
fn checksum(text: &str, change: impl Fn(&str) -> String) -> String {
    let start = text.rfind("<checksum ").unwrap();
    let end = start + text[start..].find("</checksum>").unwrap() + "</checksum>".len();
    format!(
        "{}{}{}",
        &text[..start],
        change(&text[start..end]),
        &text[end..]
    )
}

fn elements() -> Vec<Case> {
    let no_digest = || {
        refused(
            4,
            format!(
                "primary: {HELLO} has no digest that can be trusted (sha256, sha384 or sha512; rpm also sha1)"
            ),
            REPORT,
        )
    };
    let mut cases = vec![
        of(
            "MD5",
            "type=\"sha256\"",
            "type=\"md5\"",
            no_digest(),
            Agrees,
        ),
        edited(
            "no checksum",
            |text| checksum(text, |_| String::new()),
            no_digest(),
            Agrees,
        ),
        edited(
            "a checksum that is too short",
            |text| {
                checksum(text, |_| {
                    "<checksum type=\"sha256\" pkgid=\"YES\">00</checksum>".to_owned()
                })
            },
            malformed("hello 2.0-1 x86_64: a sha256 digest has 64 hexadecimal digits, got 2"),
            Agrees,
        ),
        edited(
            "another checksum",
            |text| {
                let digest = "0".repeat(64);
                checksum(text, |_| {
                    format!("<checksum type=\"sha256\" pkgid=\"YES\">{digest}</checksum>")
                })
            },
            other_package(DECLARED),
            Agrees,
        ),
        of(
            "two checksums",
            "<checksum ",
            "<checksum type=\"sha256\" pkgid=\"YES\">00</checksum><checksum ",
            malformed("an element has two <checksum>"),
            Agrees,
        ),
        of(
            "two locations",
            "<location ",
            "<location href=\"evil.rpm\"/><location ",
            malformed("an element has two <location>"),
            Differs("dnf takes the last one"),
        ),
        of(
            "two names",
            "<name>",
            "<name>evil</name><name>",
            malformed("an element has two <name>"),
            Differs("dnf takes the last one"),
        ),
        of(
            "two versions",
            "<version ",
            "<version epoch=\"0\" ver=\"9\" rel=\"9\"/><version ",
            malformed("an element has two <version>"),
            Differs("dnf takes the last one"),
        ),
        of(
            "two hrefs",
            "<location href",
            "<location href=\"evil.rpm\" href",
            malformed(
                "not well-formed XML: error while parsing attribute: position 25: duplicated attribute, previous declaration at position 9",
            ),
            Agrees,
        ),
        of(
            "no location",
            "<location ",
            "<place ",
            malformed("hello 2.0-1 x86_64 has no location"),
            Agrees,
        ),
        of(
            "a smaller size",
            "<size package=\"",
            "<size package=\"7\" x=\"",
            other_package("[n] bytes or more"),
            Agrees,
        ),
        of(
            "a larger size",
            "<size package=\"",
            "<size package=\"1",
            other_package("[n] bytes"),
            Agrees,
        ),
        of(
            "a negative size",
            "<size package=\"",
            "<size package=\"-1\" x=\"",
            malformed(&format!("{HELLO}: the size is \"-1\"")),
            Agrees,
        ),
        of(
            "a size beyond all numbers",
            "<size package=\"",
            "<size package=\"99999999999999999999",
            malformed(&format!("{HELLO}: the size is \"[n]\"")),
            Agrees,
        ),
        of(
            "a huge size",
            "<size package=\"",
            "<size package=\"18446744073709551615\" x=\"",
            refused(
                1,
                "[n] bytes are to be downloaded, but the file system of [dir]/data/pool has only [n] free",
                "hint: make room, or move the pool (storage.pool_path)\n",
            ),
            Agrees,
        ),
        of(
            "no size",
            "<size package=\"",
            "<size x=\"",
            Accepted,
            Agrees,
        ),
        of(
            "an escape sequence in a name",
            "<name>hello",
            "<name>he&#27;]0;owned&#7;",
            malformed(
                "package \"he\\u{1b}]0;owned\\u{7}\" has the name \"he\\u{1b}]0;owned\\u{7}\", which is not one short word",
            ),
            Agrees,
        ),
        of(
            "an empty name",
            "<name>hello",
            "<name>",
            malformed("package \"\" has the name \"\", which is not one short word"),
            Differs("dnf finds it by what it provides"),
        ),
        of(
            "a blank in a version",
            "ver=\"2.0\"",
            "ver=\"2 0\"",
            malformed("package \"hello\" has the version \"2 0-1\", which is not one short word"),
            Differs("dnf takes any text"),
        ),
        of(
            "a control character in a path",
            "href=\"",
            "href=\"a&#1;",
            not_a_path("path \"a\\u{1}[hello]\" contains a control character or a backslash"),
            Agrees,
        ),
        of(
            "a NUL in a path",
            "href=\"",
            "href=\"a&#0;",
            malformed(
                "not well-formed XML: invalid character reference: 0x0 character is not permitted in XML",
            ),
            Agrees,
        ),
        of(
            "an empty path",
            "href=\"",
            "href=\"\" x=\"",
            not_a_path("the path is empty"),
            Agrees,
        ),
        of(
            "segments that vanish",
            "href=\"",
            "href=\"./x/..//",
            Accepted,
            Differs("dnf asks for the path as it is, and this server does not resolve it"),
        ),
        of(
            "xml:base",
            "<location ",
            "<location xml:base=\"http://127.0.0.1:1/\" ",
            not_a_path("path \"http://127.0.0.1:1/\" is a URL of its own"),
            Agrees,
        ),
        of(
            "an entity",
            "<name>hello",
            "<name>&b;",
            malformed("it has the unknown entity &b;"),
            Agrees,
        ),
        of(
            "an escape sequence that nobody reads",
            "<packager/>",
            "<packager>&#x9b;2J</packager>",
            Accepted,
            Agrees,
        ),
        of(
            "another architecture",
            "<arch>x86_64",
            "<arch>sparc",
            Accepted,
            CannotJudge("it is for another machine"),
        ),
        edited(
            "a DOCTYPE",
            |text| {
                text.replacen(
                    "?>\n",
                    "?>\n<!DOCTYPE x [<!ENTITY a \"aaaa\"><!ENTITY b \"&a;&a;\">]>\n",
                    1,
                )
            },
            malformed("it has a DOCTYPE"),
            Differs("dnf reads it"),
        ),
        edited(
            "one path with two contents",
            |text| text.replace("data-1.0-1.noarch.rpm", "hello-2.0-1.x86_64.rpm"),
            refused(
                4,
                "[hello] is listed with two contents: sha256 [digest] and sha256 [digest]",
                CONTRADICTION,
            ),
            Differs("dnf wants one of them"),
        ),
        edited(
            "a package in the place of an index",
            |text| text.replace("data-1.0-1.noarch.rpm", PRIMARY),
            refused(
                4,
                format!(
                    "{PRIMARY} is listed with two contents: object [digest] and object [digest]"
                ),
                CONTRADICTION,
            ),
            Differs("dnf wants the other package"),
        ),
        edited(
            "a package below an index",
            |text| {
                text.replace(
                    "data-1.0-1.noarch.rpm",
                    "repodata/primary.xml/data-1.0-1.noarch.rpm",
                )
            },
            refused(
                4,
                format!("{PRIMARY} is a file, and a directory in {PRIMARY}/data-1.0-1.noarch.rpm"),
                CONTRADICTION,
            ),
            Differs("dnf wants the other package"),
        ),
        edited(
            "a package twice",
            |text| {
                let start = text.rfind("<package ").unwrap();
                let end = text.rfind("</metadata>").unwrap();
                format!("{}{}{}", &text[..end], &text[start..end], &text[end..])
            },
            Accepted,
            Agrees,
        ),
        edited(
            "another number of packages",
            |text| text.replace("packages=\"2\"", "packages=\"99999999999\""),
            Accepted,
            Agrees,
        ),
        edited(
            "another root element",
            |text| text.replace("metadata", "metadatum"),
            malformed("expected one <metadata>, got <metadatum>"),
            Agrees,
        ),
        edited(
            "cut",
            |text| text[..text.rfind("<location").unwrap()].to_owned(),
            malformed("it ends inside of an element"),
            Agrees,
        ),
        edited(
            "tags that do not match",
            |text| text.replacen("</package>", "</pack>", 1),
            malformed(
                "not well-formed XML: ill-formed document: expected `</package>`, but `</pack>` was found",
            ),
            Agrees,
        ),
        edited(
            "a page",
            |_| "<html><body>Hello</body></html>\n".to_owned(),
            malformed("expected one <metadata>, got <html>"),
            Agrees,
        ),
        edited(
            "no XML",
            |_| "hello\n".to_owned(),
            malformed("it has no <metadata>"),
            Agrees,
        ),
        Case::content(
            "a name that is no UTF-8",
            plain,
            |scene| {
                scene.index_bytes(PRIMARY, |bytes| {
                    let at = bytes
                        .windows(6)
                        .rposition(|part| part == b"<name>")
                        .unwrap()
                        + 6;
                    [&bytes[..at], b"\xf6", &bytes[at..]].concat()
                });
            },
            malformed("it is not UTF-8"),
            Agrees,
        ),
    ];
    for (path, why, place) in PATHS.into_iter().chain([HIDDEN]) {
        cases.push(Case::content(
            &format!("a package at {path}"),
            plain,
            move |scene| {
                let package = scene.package();
                scene.copy(&package, path, place);
                scene.index(PRIMARY, |text| text.replace(&package, path));
            },
            not_a_path(why),
            if place.is_some() { ANY_PATH } else { NO_PLACE },
        ));
    }
    cases
}

#[test]
fn files_are_what_was_declared() {
    run(&files());
}

#[test]
fn what_an_element_says() {
    run(&elements());
}
