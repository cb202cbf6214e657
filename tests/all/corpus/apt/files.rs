//! Index and package files that are not what was declared, though the signature is good.

use std::io::Read as _;

use flate2::read::GzDecoder;

use super::{INDEX, PACKAGES, gzipped, malformed_index, plain};
use crate::bad_input::MID_UPDATE;
use crate::corpus::Client::{Agrees, Differs};
use crate::corpus::Expected::{self, Accepted};
use crate::corpus::{Case, DECLARED, altered, bomb, refused, run};
use crate::kit::upstream::Codec;

/// The index is not what Release declares.
fn other_index(path: &str, expected: &str, got: &str) -> Expected {
    refused(
        4,
        format!(
            "index {INDEX}: [server]/{path} is not what was declared: expected {expected}, got {got}"
        ),
        MID_UPDATE,
    )
}

fn files() -> Vec<Case> {
    let raw = |name: &str, edit: fn(&[u8]) -> Vec<u8>, expected| {
        Case::content(
            name,
            plain,
            move |scene| scene.edit(PACKAGES, edit),
            expected,
            Agrees,
        )
    };
    let packed = |name: &str, edit: fn(&[u8]) -> Vec<u8>, expected, client| {
        Case::content(
            name,
            gzipped,
            move |scene| {
                let path = format!("{PACKAGES}.gz");
                let open = scene.opened(&path);
                let bytes = edit(scene.tree.bytes(&path));
                scene.pack(&path, &bytes, &open);
            },
            expected,
            client,
        )
    };
    let package = |name: &str, edit: fn(&[u8]) -> Vec<u8>, got: &str| {
        let what = format!(
            "package hello 2.0-1 (amd64): [server]/[hello] is not what was declared: expected {DECLARED}, got {got}"
        );
        Case::content(
            name,
            plain,
            move |scene| scene.edit(&scene.package(), edit),
            refused(4, what, MID_UPDATE),
            Agrees,
        )
    };
    vec![
        raw(
            "Packages: a byte",
            altered,
            other_index(PACKAGES, DECLARED, DECLARED),
        ),
        raw(
            "Packages: cut",
            |bytes| bytes[..bytes.len() - 9].to_vec(),
            other_index(PACKAGES, DECLARED, "[n] bytes"),
        ),
        raw(
            "Packages: longer",
            |bytes| [bytes, b"Package: x\n"].concat(),
            other_index(PACKAGES, DECLARED, "[n] bytes or more"),
        ),
        raw(
            "Packages: nothing",
            |_| Vec::new(),
            other_index(PACKAGES, DECLARED, "[n] bytes"),
        ),
        raw(
            "Packages: a page",
            |_| b"<html></html>\n".to_vec(),
            other_index(PACKAGES, DECLARED, "[n] bytes"),
        ),
        Case::content(
            "Packages.gz: a byte",
            gzipped,
            |scene| scene.edit(&format!("{PACKAGES}.gz"), altered),
            other_index(&format!("{PACKAGES}.gz"), DECLARED, DECLARED),
            Agrees,
        ),
        packed(
            "Packages.gz: in two members",
            |bytes| {
                let mut open = Vec::new();
                GzDecoder::new(bytes).read_to_end(&mut open).unwrap();
                let (a, b) = open.split_at(100);
                [Codec::Gz.compress(a), Codec::Gz.compress(b)].concat()
            },
            Accepted,
            Agrees,
        ),
        packed(
            "Packages.gz: no gzip",
            |_| b"Package: hello\n".to_vec(),
            malformed_index("not a good gzip stream: invalid gzip header"),
            Agrees,
        ),
        packed(
            "Packages.gz: cut, and so declared",
            |bytes| bytes[..bytes.len() - 9].to_vec(),
            malformed_index("the gzip stream is truncated"),
            Differs("apt reads as far as it gets"),
        ),
        packed(
            "Packages.gz: with something behind",
            |bytes| [bytes, b"something"].concat(),
            Accepted,
            Agrees,
        ),
        packed(
            "Packages.gz: of another text of that size",
            |bytes| {
                let mut open = Vec::new();
                GzDecoder::new(bytes).read_to_end(&mut open).unwrap();
                let text = String::from_utf8(open).unwrap();
                Codec::Gz.compress(text.replace("tests", "TESTS").as_bytes())
            },
            malformed_index(
                "uncompressed it is sha256 [digest], the root declares sha256 [digest]",
            ),
            Agrees,
        ),
        packed(
            "Packages.gz: of something else",
            |_| Codec::Gz.compress(b"Package: x\n"),
            malformed_index("the stanza behind line 0 has no Version"),
            Agrees,
        ),
        packed(
            "Packages.gz: a bomb of a small declared size",
            |_| bomb(b"Package: "),
            malformed_index("uncompressed it has more than the [n] bytes that the root declares"),
            Agrees,
        ),
        Case::content(
            "Packages.gz: a bomb of its own size",
            gzipped,
            |scene| {
                let open = vec![b'a'; 10 << 20];
                scene.pack(&format!("{PACKAGES}.gz"), &bomb(b"Package: "), &open);
            },
            malformed_index("line 1: a line is longer than [n] bytes"),
            Agrees,
        ),
        Case::content(
            "Packages.gz: a bomb of undeclared size",
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
            malformed_index("line 1: a line is longer than [n] bytes"),
            Agrees,
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
                "package hello 2.0-1 (amd64): [server]/[hello] is not there",
                MID_UPDATE,
            ),
            Agrees,
        ),
    ]
}

#[test]
fn files_are_what_was_declared() {
    run(&files());
}
