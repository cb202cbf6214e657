//! Primary and the packages that it names, under a good signature.

use std::io::Read as _;

use flate2::read::GzDecoder;

use super::{PRIMARY, gzipped, plain};
use crate::bad_input::{BROKEN, MID_UPDATE};
use crate::corpus::Client::{self, Agrees, CannotJudge, Differs};
use crate::corpus::Expected::{self, Accepted};
use crate::corpus::{
    ANY_PATH, BadPath, CONTRADICTION, Case, DECLARED, HIDDEN, NO_PLACE, REPORT, altered, bomb,
    refused,
};
use crate::kit::upstream::Codec;

const HELLO: &str = "hello 2.0-1 x86_64";

fn edited(edit: impl Fn(&str) -> String + 'static, expected: Expected, client: Client) -> Case {
    Case::content(
        plain,
        move |scene| scene.index(PRIMARY, &edit),
        expected,
        client,
    )
}

/// With something else in hello's element, which is the last one.
fn of(from: &'static str, to: &'static str, expected: Expected, client: Client) -> Case {
    edited(
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
        format!("primary: {HELLO} has an unsafe path: {why}"),
        REPORT,
    )
}

fn other_package(got: &str) -> Expected {
    let what =
        "package hello 2.0-1 (x86_64): [server]/[hello]: content does not match the metadata";
    refused(
        4,
        format!("{what}: expected {DECLARED}, got {got}"),
        MID_UPDATE,
    )
}

/// Other bytes than repomd.xml declares.
fn index(edit: fn(&[u8]) -> Vec<u8>, got: &str) -> Case {
    let what = format!("index primary: [server]/{PRIMARY}: content does not match the metadata");
    Case::content(
        plain,
        move |scene| scene.edit(PRIMARY, edit),
        refused(
            4,
            format!("{what}: expected {DECLARED}, got {got}"),
            MID_UPDATE,
        ),
        Agrees,
    )
}

fn packed(edit: fn(&[u8]) -> Vec<u8>, expected: Expected, client: Client) -> Case {
    Case::packed(gzipped, PRIMARY, edit, expected, client)
}

fn package(edit: fn(&[u8]) -> Vec<u8>, got: &str) -> Case {
    Case::content(
        plain,
        move |scene| scene.edit(&scene.package(), edit),
        other_package(got),
        Agrees,
    )
}

cases!(
    primary_a_byte = index(altered, DECLARED),
    primary_cut = index(|bytes| bytes[..bytes.len() - 9].to_vec(), "[n] bytes"),
    primary_longer = index(|bytes| [bytes, b"<!-- -->"].concat(), "[n] bytes or more"),
    primary_nothing = index(|_| Vec::new(), "[n] bytes"),
    primary_gz_no_gzip = packed(
        |_| b"<metadata/>".to_vec(),
        malformed("invalid gzip stream: invalid gzip header"),
        Agrees,
    ),
    primary_gz_cut_and_so_declared = packed(
        |bytes| bytes[..bytes.len() - 9].to_vec(),
        malformed("the gzip stream is truncated"),
        Differs("dnf reads as far as it gets"),
    ),
    primary_gz_with_something_behind =
        packed(|bytes| [bytes, b"something"].concat(), Accepted, Agrees),
    primary_gz_of_another_text_of_that_size = packed(
        |bytes| {
            let mut open = Vec::new();
            GzDecoder::new(bytes).read_to_end(&mut open).unwrap();
            let text = String::from_utf8(open).unwrap();
            Codec::Gz.compress(text.replace("tests", "TESTS").as_bytes())
        },
        malformed("wrong uncompressed digest: expected sha256 [digest], got sha256 [digest]"),
        Differs("dnf looks at the compressed file alone"),
    ),
    primary_gz_of_something_else = packed(
        |_| Codec::Gz.compress(b"<metadata></metadata>\n"),
        malformed("wrong uncompressed size: expected 1720, got [n] bytes"),
        Agrees,
    ),
    primary_gz_a_bomb_of_a_small_declared_size = packed(
        |_| bomb(b"<metadata>"),
        malformed("uncompressed size exceeds the [n] bytes declared in the root"),
        Agrees,
    ),
    primary_gz_a_bomb_of_undeclared_size = Case::content(
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
        malformed("a tag or text exceeds [n] bytes"),
        Agrees,
    ),
    primary_gz_another_open_size = Case::content(
        gzipped,
        |scene| {
            scene.root(|text| text.replacen("<open-size>", "<open-size>9", 1));
        },
        malformed("wrong uncompressed size: expected 91720, got [n] bytes"),
        Differs("dnf does not look at it"),
    ),
    package_a_byte = package(altered, DECLARED),
    package_cut = package(|bytes| bytes[..bytes.len() - 1].to_vec(), "[n] bytes"),
    package_longer = package(|bytes| [bytes, b"x"].concat(), "[n] bytes or more"),
    package_nothing = package(|_| Vec::new(), "[n] bytes"),
    package_not_there = Case::content(
        plain,
        |scene| scene.tree.remove(&scene.package()),
        refused(
            4,
            "package hello 2.0-1 (x86_64): [server]/[hello]: not found",
            MID_UPDATE,
        ),
        Agrees,
    ),
);

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

fn no_digest() -> Expected {
    refused(
        4,
        format!(
            "primary: {HELLO} has no strong digest (sha256, sha384 or sha512; for rpm also sha1)"
        ),
        REPORT,
    )
}

cases!(
    md5 = of("type=\"sha256\"", "type=\"md5\"", no_digest(), Agrees),
    no_checksum = edited(
        |text| checksum(text, |_| String::new()),
        no_digest(),
        Agrees,
    ),
    a_checksum_that_is_too_short = edited(
        |text| {
            checksum(text, |_| {
                "<checksum type=\"sha256\" pkgid=\"YES\">00</checksum>".to_owned()
            })
        },
        malformed("hello 2.0-1 x86_64: a sha256 digest has 64 hexadecimal digits, got 2"),
        Agrees,
    ),
    another_checksum = edited(
        |text| {
            let digest = "0".repeat(64);
            checksum(text, |_| {
                format!("<checksum type=\"sha256\" pkgid=\"YES\">{digest}</checksum>")
            })
        },
        other_package(DECLARED),
        Agrees,
    ),
    two_checksums = of(
        "<checksum ",
        "<checksum type=\"sha256\" pkgid=\"YES\">00</checksum><checksum ",
        malformed("an element has two <checksum>"),
        Agrees,
    ),
    two_locations = of(
        "<location ",
        "<location href=\"evil.rpm\"/><location ",
        malformed("an element has two <location>"),
        Differs("dnf takes the last one"),
    ),
    two_names = of(
        "<name>",
        "<name>evil</name><name>",
        malformed("an element has two <name>"),
        Differs("dnf takes the last one"),
    ),
    two_versions = of(
        "<version ",
        "<version epoch=\"0\" ver=\"9\" rel=\"9\"/><version ",
        malformed("an element has two <version>"),
        Differs("dnf takes the last one"),
    ),
    two_hrefs = of(
        "<location href",
        "<location href=\"evil.rpm\" href",
        malformed(
            "not well-formed XML: error while parsing attribute: position 25: duplicated attribute, previous declaration at position 9",
        ),
        Agrees,
    ),
    no_location = of(
        "<location ",
        "<place ",
        malformed("hello 2.0-1 x86_64 has no location"),
        Agrees,
    ),
    a_smaller_size = of(
        "<size package=\"",
        "<size package=\"7\" x=\"",
        other_package("[n] bytes or more"),
        Agrees,
    ),
    a_larger_size = of(
        "<size package=\"",
        "<size package=\"1",
        other_package("[n] bytes"),
        Agrees,
    ),
    a_negative_size = of(
        "<size package=\"",
        "<size package=\"-1\" x=\"",
        malformed(&format!("{HELLO}: invalid size \"-1\"")),
        Agrees,
    ),
    a_size_beyond_all_numbers = of(
        "<size package=\"",
        "<size package=\"99999999999999999999",
        malformed(&format!("{HELLO}: invalid size \"[n]\"")),
        Agrees,
    ),
    a_huge_size = of(
        "<size package=\"",
        "<size package=\"18446744073709551615\" x=\"",
        refused(
            1,
            "not enough space in [dir]/data/pool: [size] short ([size] to download, [size] free)",
            "hint: free up disk space, or move the pool (storage.pool_path)\n",
        ),
        Agrees,
    ),
    no_size = of("<size package=\"", "<size x=\"", Accepted, Agrees),
    an_escape_sequence_in_a_name = of(
        "<name>hello",
        "<name>he&#27;]0;owned&#7;",
        malformed(
            "package \"he\\u{1b}]0;owned\\u{7}\" has the invalid name \"he\\u{1b}]0;owned\\u{7}\"",
        ),
        Agrees,
    ),
    an_empty_name = of(
        "<name>hello",
        "<name>",
        malformed("package \"\" has the invalid name \"\""),
        Differs("dnf finds it by what it provides"),
    ),
    a_blank_in_a_version = of(
        "ver=\"2.0\"",
        "ver=\"2 0\"",
        malformed("package \"hello\" has the invalid version \"2 0-1\""),
        Differs("dnf takes any text"),
    ),
    a_control_character_in_a_path = of(
        "href=\"",
        "href=\"a&#1;",
        not_a_path("path \"a\\u{1}[hello]\" contains a control character or a backslash"),
        Agrees,
    ),
    a_nul_in_a_path = of(
        "href=\"",
        "href=\"a&#0;",
        malformed(
            "not well-formed XML: invalid character reference: 0x0 character is not permitted in XML",
        ),
        Agrees,
    ),
    an_empty_path = of(
        "href=\"",
        "href=\"\" x=\"",
        not_a_path("the path is empty"),
        Agrees,
    ),
    segments_that_vanish = of(
        "href=\"",
        "href=\"./x/..//",
        Accepted,
        Differs("dnf asks for the path as it is, and this server does not resolve it"),
    ),
    xml_base = of(
        "<location ",
        "<location xml:base=\"http://127.0.0.1:1/\" ",
        not_a_path("path \"http://127.0.0.1:1/\" is a URL"),
        Agrees,
    ),
    an_entity = of(
        "<name>hello",
        "<name>&b;",
        malformed("unknown entity &b;"),
        Agrees,
    ),
    an_escape_sequence_that_nobody_reads = of(
        "<packager/>",
        "<packager>&#x9b;2J</packager>",
        Accepted,
        Agrees,
    ),
    another_architecture = of(
        "<arch>x86_64",
        "<arch>sparc",
        Accepted,
        CannotJudge("it is for another machine"),
    ),
    a_doctype = edited(
        |text| {
            text.replacen(
                "?>\n",
                "?>\n<!DOCTYPE x [<!ENTITY a \"aaaa\"><!ENTITY b \"&a;&a;\">]>\n",
                1,
            )
        },
        malformed("DOCTYPE is not allowed"),
        Differs("dnf reads it"),
    ),
    one_path_with_two_contents = edited(
        |text| text.replace("data-1.0-1.noarch.rpm", "hello-2.0-1.x86_64.rpm"),
        refused(
            4,
            "[hello] is listed twice with different content: sha256 [digest] and sha256 [digest]",
            CONTRADICTION,
        ),
        Differs("dnf wants one of them"),
    ),
    a_package_in_the_place_of_an_index = edited(
        |text| text.replace("data-1.0-1.noarch.rpm", PRIMARY),
        refused(
            4,
            format!(
                "{PRIMARY} is listed twice with different content: object [digest] and object [digest]"
            ),
            CONTRADICTION,
        ),
        Differs("dnf wants the other package"),
    ),
    a_package_below_an_index = edited(
        |text| {
            text.replace(
                "data-1.0-1.noarch.rpm",
                "repodata/primary.xml/data-1.0-1.noarch.rpm",
            )
        },
        refused(
            4,
            format!("{PRIMARY} is a file, but also a directory in {PRIMARY}/data-1.0-1.noarch.rpm"),
            CONTRADICTION,
        ),
        Differs("dnf wants the other package"),
    ),
    a_package_twice = edited(
        |text| {
            let start = text.rfind("<package ").unwrap();
            let end = text.rfind("</metadata>").unwrap();
            format!("{}{}{}", &text[..end], &text[start..end], &text[end..])
        },
        Accepted,
        Agrees,
    ),
    another_number_of_packages = edited(
        |text| text.replace("packages=\"2\"", "packages=\"99999999999\""),
        Accepted,
        Agrees,
    ),
    another_root_element = edited(
        |text| text.replace("metadata", "metadatum"),
        malformed("expected one <metadata>, got <metadatum>"),
        Agrees,
    ),
    cut = edited(
        |text| text[..text.rfind("<location").unwrap()].to_owned(),
        malformed("truncated inside an element"),
        Agrees,
    ),
    tags_that_do_not_match = edited(
        |text| text.replacen("</package>", "</pack>", 1),
        malformed(
            "not well-formed XML: ill-formed document: expected `</package>`, but `</pack>` was found",
        ),
        Agrees,
    ),
    a_page = edited(
        |_| "<html><body>Hello</body></html>\n".to_owned(),
        malformed("expected one <metadata>, got <html>"),
        Agrees,
    ),
    no_xml = edited(
        |_| "hello\n".to_owned(),
        malformed("no <metadata> element"),
        Agrees,
    ),
    a_name_that_is_no_utf8 = Case::content(
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
        malformed("not UTF-8"),
        Agrees,
    ),
);

fn package_at((path, why, place): BadPath) -> Case {
    Case::content(
        plain,
        move |scene| {
            let package = scene.package();
            scene.copy(&package, path, place);
            scene.index(PRIMARY, |text| text.replace(&package, path));
        },
        not_a_path(why),
        if place.is_some() { ANY_PATH } else { NO_PLACE },
    )
}

path_cases!(a_package_at = package_at);
cases!(a_package_at_a_hidden_path = package_at(HIDDEN));
