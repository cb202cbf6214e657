//! Roots and indexes that nobody can act on: weak digests, two answers to one question, sizes and texts that go nowhere.

use super::{BROKEN, GLOBAL, MID_UPDATE, Scene, digest, forge};
use crate::kit::upstream::Codec;

const REPORT: &str = "hint: nothing of it can be mirrored safely: report it to the upstream; the last good state is untouched\n";
const CONTRADICTION: &str = "hint: the upstream's indexes contradict each other: report it there; the last good state is untouched\n";
const WEAK: &str = "has no digest that can be trusted (sha256, sha384 or sha512; rpm also sha1)";

#[test]
fn only_weak_digests_in_the_root() {
    for upstream in forge::plain() {
        let scene = Scene::of(upstream);
        scene.server.swap(forge::root(&scene, |text| {
            text.replace("SHA256:", "MD5Sum:")
                .replacen("type=\"sha256\"", "type=\"md5\"", 1)
        }));
        let what = scene.pick(
            "dists/stable/Release: its list of files",
            "repodata/repomd.xml: primary",
        );
        scene.refused(4, &format!("error: r: {what} {WEAK}\n{REPORT}"));
        scene.recovers();
    }
}

#[test]
fn only_weak_digests_in_an_index() {
    for upstream in forge::plain() {
        let scene = Scene::of(upstream);
        scene.server.swap(forge::index(&scene, |text| {
            text.replace("SHA256: ", "MD5sum: ")
                .replace("type=\"sha256\"", "type=\"md5\"")
        }));
        // The first one in it.
        let what = scene.pick(
            "main/binary-amd64/Packages: data 1.0-1 all",
            "primary: data 1.0-1 noarch",
        );
        scene.refused(4, &format!("error: r: {what} {WEAK}\n{REPORT}"));
        scene.recovers();
    }
}

#[test]
fn one_path_with_two_contents() {
    for upstream in forge::plain() {
        let scene = Scene::of(upstream);
        let (hello, data) = (scene.built.path_of("hello"), scene.built.path_of("data"));
        let contents = [&data, &hello].map(|path| digest(scene.built.tree.bytes(path)));
        scene
            .server
            .swap(forge::index(&scene, |text| text.replace(&data, &hello)));
        scene.refused(
            4,
            &format!(
                "error: r: {hello} is listed with two contents: {} and {}\n{CONTRADICTION}",
                contents[0], contents[1]
            ),
        );
        scene.recovers();
    }
}

#[test]
fn one_index_with_two_contents() {
    for upstream in forge::plain() {
        let scene = Scene::of(upstream);
        let good = scene.pick("main/binary-amd64/Packages", "repodata/primary.xml");
        let other = scene.pick("main/binary-amd64/Release", "repodata/filelists.xml");
        scene
            .server
            .swap(forge::root(&scene, |text| text.replace(other, good)));
        let message = scene.pick(
            "dists/stable/Release: SHA256: \"main/binary-amd64/Packages\" is listed twice, with other content",
            "repodata/repomd.xml: repodata/primary.xml is named twice, with different checksums",
        );
        scene.refused(4, &format!("error: r: {message}\n{BROKEN}"));
        scene.recovers();
    }
}

#[test]
fn a_package_with_another_declared_size() {
    for upstream in forge::plain() {
        let scene = Scene::of(upstream);
        let path = scene.built.path_of("hello");
        let bytes = scene.built.tree.bytes(&path);
        let size = bytes.len();
        for (declared, got) in [
            (7, format!("{size} bytes or more")),
            (size + 1, format!("{size} bytes")),
        ] {
            scene.server.swap(forge::index(&scene, |text| {
                text.replace(&format!("Size: {size}\n"), &format!("Size: {declared}\n"))
                    .replace(
                        &format!("package=\"{size}\""),
                        &format!("package=\"{declared}\""),
                    )
            }));
            scene.refused(
                4,
                &format!(
                    "error: r: {}: [server]/{path} is not what was declared: expected {} ({declared} bytes), got {got}\n{MID_UPDATE}",
                    scene.package_name(),
                    digest(bytes),
                ),
            );
        }
        scene.recovers();
    }
}

#[test]
fn an_index_with_another_declared_size() {
    for upstream in forge::plain() {
        let scene = Scene::of(upstream);
        let path = scene.pick(
            "dists/stable/main/binary-amd64/Packages",
            "repodata/primary.xml",
        );
        let bytes = scene.built.tree.bytes(path);
        let size = bytes.len();
        for (declared, got) in [
            (7, format!("{size} bytes or more")),
            (size + 1, format!("{size} bytes")),
        ] {
            scene.server.swap(forge::root(&scene, |text| {
                text.replace(&format!("{size:>8} main"), &format!("{declared:>8} main"))
                    .replace(&format!("<size>{size}<"), &format!("<size>{declared}<"))
            }));
            scene.refused(
                4,
                &format!(
                    "error: r: {}: [server]/{path} is not what was declared: expected {} ({declared} bytes), got {got}\n{MID_UPDATE}",
                    scene.index_name(),
                    digest(bytes),
                ),
            );
        }
        scene.recovers();
    }
}

const ENDLESS: &str = "18446744073709551615";

#[test]
fn a_package_larger_than_any_disk() {
    for upstream in forge::plain() {
        let scene = Scene::of(upstream);
        let size = scene.built.tree.bytes(&scene.built.path_of("hello")).len();
        scene.server.swap(forge::index(&scene, |text| {
            text.replace(&format!("Size: {size}\n"), &format!("Size: {ENDLESS}\n"))
                .replace(
                    &format!("package=\"{size}\""),
                    &format!("package=\"{ENDLESS}\""),
                )
        }));
        let output = scene.sync().exits(1);
        let stderr = output.stderr.clone();
        let free = stderr.split_once("has only ").unwrap().1;
        let free = free.split_once(" free").unwrap().0;
        free.parse::<u64>().unwrap();
        output.says_on_stderr(&format!(
            "error: r: {ENDLESS} bytes are to be downloaded, but the file system of [dir]/data/pool has only {free} free\n\
             hint: make room, or move the pool (storage.pool_path)\n"
        ));
        scene.is_untouched();
        scene.recovers();
    }
}

/// Together they are more than a number of 64 bits.
#[test]
fn indexes_larger_than_any_disk() {
    for scene in Scene::both() {
        // One after the other, so that it is known which one is judged first.
        scene.chantal.global(&format!("{GLOBAL}  workers: 1\n"));
        let path = &scene.index_paths()[0];
        let good = scene.built.tree.bytes(path);
        scene.server.swap(forge::root(&scene, |text| {
            let lines = text.lines().map(|line| match line.split_once("<size>") {
                Some((indent, _)) => format!("{indent}<size>{ENDLESS}</size>"),
                None if line.contains(" main/") => {
                    let words: Vec<&str> = line.split_whitespace().collect();
                    format!(" {} {ENDLESS} {}", words[0], words[2])
                }
                None => line.to_owned(),
            });
            lines.fold(String::new(), |text, line| text + &line + "\n")
        }));
        scene.refused(
            4,
            &format!(
                "error: r: {}: [server]/{path} is not what was declared: expected {} ({ENDLESS} bytes), got {} bytes\n{MID_UPDATE}",
                scene.index_name(),
                digest(good),
                good.len(),
            ),
        );
        scene.recovers();
    }
}

/// Ten megabytes in ten kilobytes, where the root says how much it should be.
#[test]
fn a_bomb_that_is_larger_than_declared() {
    for (scene, path) in gzipped() {
        let good = scene.built.tree.bytes(&path);
        let mut open = Vec::new();
        std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(good), &mut open).unwrap();
        let bomb = Codec::Gz.compress(&bomb(&scene));
        scene
            .server
            .swap(forge::index_with(&scene, &path, &bomb, |root| root));
        scene.refused(
            4,
            &format!(
                "error: r: {}: uncompressed it has more than the {} bytes that the root declares\n{BROKEN}",
                scene.pick("main/binary-amd64/Packages", "primary"),
                open.len(),
            ),
        );
        scene.recovers();
    }
}

#[test]
fn a_bomb_of_undeclared_size() {
    for (scene, path) in gzipped() {
        let bomb = Codec::Gz.compress(&bomb(&scene));
        let tree = forge::index_with(&scene, &path, &bomb, |root| {
            let lines = root.lines().filter(|line| {
                !line.ends_with("main/binary-amd64/Packages") && !line.contains("<open-")
            });
            lines.fold(String::new(), |text, line| text + line + "\n")
        });
        scene.server.swap(tree);
        let message = scene.pick(
            "main/binary-amd64/Packages: line 1: a line is longer than 4194304 bytes",
            "primary: a tag or a piece of text is longer than 1048576 bytes",
        );
        scene.refused(4, &format!("error: r: {message}\n{BROKEN}"));
        scene.recovers();
    }
}

/// Upstreams with one compressed list of packages, and its path.
fn gzipped() -> Vec<(Scene, String)> {
    let [deb, rpm] = forge::plain();
    let deb = deb.with_deb(|deb| {
        deb.compressions = vec![Codec::Gz];
        deb.listed_only = vec![Codec::Plain];
    });
    let rpm = rpm.with_rpm(|rpm| rpm.compression = Codec::Gz);
    [(deb, "Packages.gz"), (rpm, "primary.xml.gz")]
        .map(|(upstream, end)| {
            let scene = Scene::of(upstream);
            let path = scene.built.ending(end);
            (scene, path)
        })
        .into()
}

/// Ten megabytes that begin like an index.
fn bomb(scene: &Scene) -> Vec<u8> {
    let mut text = scene
        .pick("Package: ", "<metadata><package><name>")
        .as_bytes()
        .to_vec();
    text.resize(10 << 20, b'a');
    text
}

#[test]
fn a_document_type_and_its_entities() {
    let scene = Scene::of(forge::plain_rpm());
    let doctype = "<!DOCTYPE x [<!ENTITY a \"aaaa\"><!ENTITY b \"&a;&a;\">]>\n";
    let with = |text: &str| text.replacen("?>\n", &format!("?>\n{doctype}"), 1);
    scene.server.swap(forge::root(&scene, with));
    scene.refused(
        4,
        &format!("error: r: repodata/repomd.xml: it has a DOCTYPE\n{BROKEN}"),
    );
    scene.server.swap(forge::index(&scene, with));
    scene.refused(4, &format!("error: r: primary: it has a DOCTYPE\n{BROKEN}"));
    scene.server.swap(forge::index(&scene, |text| {
        text.replace(">hello<", ">&b;<")
    }));
    scene.refused(
        4,
        &format!("error: r: primary: it has the unknown entity &b;\n{BROKEN}"),
    );
    scene.recovers();
}

/// A text that is not the format's, under a good signature and with a good digest.
#[test]
fn indexes_that_are_something_else() {
    for upstream in forge::plain() {
        let scene = Scene::of(upstream);
        for (text, deb, rpm) in [
            (
                "<html><body>Hello</body></html>\n",
                "line 1: a line is neither a field nor folded",
                "expected one <metadata>, got <html>",
            ),
            (
                "hello\n",
                "line 1: a line is neither a field nor folded",
                "it has no <metadata>",
            ),
        ] {
            scene.server.swap(forge::index(&scene, |_| text.to_owned()));
            let message = scene.pick(deb, rpm);
            let index = scene.pick("main/binary-amd64/Packages", "primary");
            scene.refused(4, &format!("error: r: {index}: {message}\n{BROKEN}"));
        }
        scene.recovers();
    }
}

#[test]
fn a_stanza_that_says_a_thing_twice() {
    let scene = Scene::of(forge::plain_deb());
    scene.server.swap(forge::index(&scene, |text| {
        text.replacen("Filename: ", "Filename: pool/evil.deb\nFilename: ", 1)
    }));
    scene.refused(
        4,
        &format!(
            "error: r: main/binary-amd64/Packages: line 7: a stanza has the field Filename twice\n{BROKEN}"
        ),
    );
    scene.recovers();
}

/// The root vouches for what the index uncompressed must be; the compressed file is not enough.
#[test]
fn an_index_whose_content_is_not_the_declared_one() {
    for (scene, path) in gzipped() {
        let good = scene.built.tree.bytes(&path).to_owned();
        let mut open = Vec::new();
        std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&good[..]), &mut open)
            .unwrap();
        let other = String::from_utf8(open.clone())
            .unwrap()
            .replace("tests", "TESTS");
        let packed = Codec::Gz.compress(other.as_bytes());
        scene
            .server
            .swap(forge::index_with(&scene, &path, &packed, |root| root));
        scene.refused(
            4,
            &format!(
                "error: r: {}: uncompressed it is {}, the root declares {}\n{BROKEN}",
                scene.pick("main/binary-amd64/Packages", "primary"),
                digest(other.as_bytes()),
                digest(&open),
            ),
        );
        scene.recovers();
    }
}
