//! Index and package files that are not what was declared, though the signature is good.

use std::io::Read as _;

use flate2::read::GzDecoder;

use super::{INDEX, PACKAGES, gzipped, malformed_index, plain};
use crate::bad_input::MID_UPDATE;
use crate::corpus::Client::{self, Agrees, Differs};
use crate::corpus::Expected::{self, Accepted};
use crate::corpus::{Case, DECLARED, altered, bomb, refused};
use crate::kit::upstream::Codec;

/// The index is not what Release declares.
fn other_index(path: &str, expected: &str, got: &str) -> Expected {
    refused(
        4,
        format!(
            "index {INDEX}: [server]/{path}: content does not match the metadata: expected {expected}, got {got}"
        ),
        MID_UPDATE,
    )
}

/// Other bytes than Release declares.
fn raw(edit: fn(&[u8]) -> Vec<u8>, expected: Expected) -> Case {
    Case::content(
        plain,
        move |scene| scene.edit(PACKAGES, edit),
        expected,
        Agrees,
    )
}

fn packed(edit: fn(&[u8]) -> Vec<u8>, expected: Expected, client: Client) -> Case {
    Case::packed(gzipped, PACKAGES, edit, expected, client)
}

fn package(edit: fn(&[u8]) -> Vec<u8>, got: &str) -> Case {
    let what = format!(
        "package hello 2.0-1 (amd64): [server]/[hello]: content does not match the metadata: expected {DECLARED}, got {got}"
    );
    Case::content(
        plain,
        move |scene| scene.edit(&scene.package(), edit),
        refused(4, what, MID_UPDATE),
        Agrees,
    )
}

cases!(
    packages_a_byte = raw(altered, other_index(PACKAGES, DECLARED, DECLARED)),
    packages_cut = raw(
        |bytes| bytes[..bytes.len() - 9].to_vec(),
        other_index(PACKAGES, DECLARED, "[n] bytes"),
    ),
    packages_longer = raw(
        |bytes| [bytes, b"Package: x\n"].concat(),
        other_index(PACKAGES, DECLARED, "[n] bytes or more"),
    ),
    packages_nothing = raw(|_| Vec::new(), other_index(PACKAGES, DECLARED, "[n] bytes")),
    packages_a_page = raw(
        |_| b"<html></html>\n".to_vec(),
        other_index(PACKAGES, DECLARED, "[n] bytes"),
    ),
    packages_gz_a_byte = Case::content(
        gzipped,
        |scene| scene.edit(&format!("{PACKAGES}.gz"), altered),
        other_index(&format!("{PACKAGES}.gz"), DECLARED, DECLARED),
        Agrees,
    ),
    packages_gz_in_two_members = packed(
        |bytes| {
            let mut open = Vec::new();
            GzDecoder::new(bytes).read_to_end(&mut open).unwrap();
            let (a, b) = open.split_at(100);
            [Codec::Gz.compress(a), Codec::Gz.compress(b)].concat()
        },
        Accepted,
        Agrees,
    ),
    packages_gz_no_gzip = packed(
        |_| b"Package: hello\n".to_vec(),
        malformed_index("invalid gzip stream: invalid gzip header"),
        Agrees,
    ),
    packages_gz_cut_and_so_declared = packed(
        |bytes| bytes[..bytes.len() - 9].to_vec(),
        malformed_index("the gzip stream is truncated"),
        Differs("apt reads as far as it gets"),
    ),
    packages_gz_with_something_behind =
        packed(|bytes| [bytes, b"something"].concat(), Accepted, Agrees),
    packages_gz_of_another_text_of_that_size = packed(
        |bytes| {
            let mut open = Vec::new();
            GzDecoder::new(bytes).read_to_end(&mut open).unwrap();
            let text = String::from_utf8(open).unwrap();
            Codec::Gz.compress(text.replace("tests", "TESTS").as_bytes())
        },
        malformed_index("wrong uncompressed digest: expected sha256 [digest], got sha256 [digest]"),
        Agrees,
    ),
    packages_gz_of_something_else = packed(
        |_| Codec::Gz.compress(b"Package: x\n"),
        malformed_index("the stanza after line 0 has no Version"),
        Agrees,
    ),
    packages_gz_a_bomb_of_a_small_declared_size = packed(
        |_| bomb(b"Package: "),
        malformed_index("uncompressed size exceeds the [n] bytes declared in the root"),
        Agrees,
    ),
    packages_gz_a_bomb_of_its_own_size = Case::content(
        gzipped,
        |scene| {
            let open = vec![b'a'; 10 << 20];
            scene.pack(&format!("{PACKAGES}.gz"), &bomb(b"Package: "), &open);
        },
        malformed_index("line 1: a line exceeds [n] bytes"),
        Agrees,
    ),
    packages_gz_a_bomb_of_undeclared_size = Case::content(
        gzipped,
        |scene| {
            let path = format!("{PACKAGES}.gz");
            let open = scene.opened(&path);
            scene.pack(&path, &bomb(b"Package: "), &open);
            scene.root(|text| {
                let listed = text.lines().filter(|line| !line.ends_with("/Packages"));
                listed.collect::<Vec<_>>().join("\n") + "\n"
            });
        },
        malformed_index("line 1: a line exceeds [n] bytes"),
        Agrees,
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
            "package hello 2.0-1 (amd64): [server]/[hello]: not found",
            MID_UPDATE,
        ),
        Agrees,
    ),
);
