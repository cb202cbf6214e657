//! Paths and names that are meant to do harm. The upstream's signatures and digests are all good.

use super::{BROKEN, Scene, forge};
use crate::kit::server::Server;
use crate::kit::tree::Tree;
use crate::kit::upstream::{DebExtra, Package, Upstream};

const REPORT: &str = "hint: nothing of it can be mirrored safely: report it to the upstream; the last good state is untouched\n";

/// A path as an index writes it, and what is said of it.
const PATHS: [(&str, &str); 6] = [
    (
        "../../etc/passwd",
        "path \"../../etc/passwd\" leaves the repository",
    ),
    (
        "a/../../passwd",
        "path \"a/../../passwd\" leaves the repository",
    ),
    ("/etc/passwd", "path \"/etc/passwd\" is absolute"),
    ("a/..", "the path is empty"),
    (
        "a\\..\\passwd",
        "path \"a\\\\..\\\\passwd\" contains a control character or a backslash",
    ),
    ("ftp://evil/x", "path \"ftp://evil/x\" is a URL of its own"),
];

/// Serves that tree; the sync is refused, and nothing that the good upstream has not was asked for.
fn refused(scene: &Scene, tree: Tree, stderr: &str) {
    scene.server.swap(tree);
    scene.server.clear_log();
    scene.refused(4, stderr);
    for request in scene.server.requests() {
        assert!(
            scene.built.tree.find(&request.path).is_some()
                || request.path == "repodata/repomd.xml.key",
            "{request:?}"
        );
    }
}

#[test]
fn a_package_outside_of_the_repository() {
    for upstream in forge::plain() {
        let scene = Scene::of(upstream);
        let index = scene.pick("main/binary-amd64/Packages", "primary");
        let package = scene.pick("hello 2.0-1 amd64", "hello 2.0-1 x86_64");
        let good = scene.built.path_of("hello");
        for (path, why) in PATHS {
            let tree = forge::index(&scene, |text| text.replace(&good, path));
            refused(
                &scene,
                tree,
                &format!(
                    "error: r: {index}: {package} names a path that cannot be mirrored: {why}\n{REPORT}"
                ),
            );
        }
        scene.recovers();
    }
}

#[test]
fn a_package_on_another_server() {
    for upstream in forge::plain() {
        let scene = Scene::of(upstream);
        let evil = Server::start(scene.built.tree.clone());
        let (url, good) = (evil.url(), scene.built.path_of("hello"));
        let index = scene.pick("main/binary-amd64/Packages", "primary");
        let package = scene.pick("hello 2.0-1 amd64", "hello 2.0-1 x86_64");
        let by_name = forge::index(&scene, |text| text.replace(&good, &format!("{url}/{good}")));
        refused(
            &scene,
            by_name,
            &format!(
                "error: r: {index}: {package} names a path that cannot be mirrored: path {:?} is a URL of its own\n{REPORT}",
                format!("{url}/{good}")
            ),
        );
        if !scene.is_deb() {
            let by_base = forge::index(&scene, |text| {
                text.replace(
                    "<location href",
                    &format!("<location xml:base=\"{url}\" href"),
                )
            });
            refused(
                &scene,
                by_base,
                &format!(
                    "error: r: primary: data 1.0-1 noarch names a path that cannot be mirrored: path {url:?} is a URL of its own\n{REPORT}"
                ),
            );
        }
        assert_eq!(evil.connections(), 0);
        scene.recovers();
    }
}

#[test]
fn source_files_outside_of_the_repository() {
    let upstream = forge::plain_deb().with_deb(|deb| {
        deb.extras.insert(DebExtra::Sources);
    });
    let scene = Scene::with(upstream, |repository| repository.format("sources: true"));
    let path = "dists/stable/main/source/Sources";
    for (from, to, why) in [
        (
            "Directory: pool/main/h/hello",
            "Directory: ../..",
            "path \"../../hello_2.0-1.dsc\" leaves the repository",
        ),
        (
            "Directory: pool/main/h/hello",
            "Directory: /etc",
            "path \"/etc/hello_2.0-1.dsc\" is absolute",
        ),
        (
            " hello_2.0-1.dsc\n",
            " ../../../../../x.dsc\n",
            "path \"pool/main/h/hello/../../../../../x.dsc\" leaves the repository",
        ),
    ] {
        let tree = forge::index_at(&scene, path, |text| text.replace(from, to));
        refused(
            &scene,
            tree,
            &format!(
                "error: r: main/source/Sources: hello 2.0-1 source names a path that cannot be mirrored: {why}\n{REPORT}"
            ),
        );
    }
    scene.server.swap(scene.built.tree.clone());
    scene.sync().succeeds();
}

#[test]
fn an_index_outside_of_the_repository() {
    for upstream in forge::plain() {
        let scene = Scene::of(upstream);
        let good = scene.pick("main/binary-amd64/Packages", "repodata/primary.xml");
        let named = scene.pick(
            "dists/stable/Release: SHA256",
            "repodata/repomd.xml: primary",
        );
        for (path, why) in PATHS {
            let tree = forge::root(&scene, |text| text.replace(good, path));
            refused(
                &scene,
                tree,
                &format!("error: r: {named} names a path that cannot be mirrored: {why}\n{REPORT}"),
            );
        }
        scene.recovers();
    }
}

#[test]
fn control_characters_in_paths() {
    for upstream in forge::plain() {
        let scene = Scene::of(upstream);
        let index = scene.pick("main/binary-amd64/Packages", "primary");
        let package = scene.pick("hello 2.0-1 amd64", "hello 2.0-1 x86_64");
        let good = scene.built.path_of("hello");
        for (deb, rpm, why) in [
            ("a\0b", "a&#1;b", scene.pick("a\\0b", "a\\u{1}b")),
            ("a\u{1b}[2Jb", "a&#27;[2Jb", "a\\u{1b}[2Jb"),
            ("a\u{9b}b", "a&#x9b;b", "a\\u{9b}b"),
        ] {
            let tree = forge::index(&scene, |text| text.replace(&good, scene.pick(deb, rpm)));
            refused(
                &scene,
                tree,
                &format!(
                    "error: r: {index}: {package} names a path that cannot be mirrored: \
                     path \"{why}\" contains a control character or a backslash\n{REPORT}"
                ),
            );
        }
        scene.recovers();
    }
}

#[test]
fn control_characters_in_names() {
    for upstream in forge::plain() {
        let scene = Scene::of(upstream);
        let index = scene.pick("main/binary-amd64/Packages", "primary");
        for (deb, rpm, shown) in [
            (
                "he\u{1b}]0;owned\u{7}",
                "he&#27;]0;owned&#7;",
                "\"he\\u{1b}]0;owned\\u{7}\"",
            ),
            ("he\rllo", "he&#13;llo", "\"he\\rllo\""),
            (
                "he\0llo",
                "he&#8;llo",
                scene.pick("\"he\\0llo\"", "\"he\\u{8}llo\""),
            ),
        ] {
            let tree = forge::index(&scene, |text| {
                text.replace("Package: hello\n", &format!("Package: {deb}\n"))
                    .replace("<name>hello</name>", &format!("<name>{rpm}</name>"))
            });
            refused(
                &scene,
                tree,
                &format!(
                    "error: r: {index}: package {shown} has the name {shown}, which is not one short word\n{BROKEN}"
                ),
            );
        }
        scene.recovers();
    }
}

/// No control character, and yet it would write the rest of the line backwards.
#[test]
fn invisible_characters_reach_no_terminal() {
    for upstream in Upstream::both() {
        let mut scene = Scene::of(upstream);
        scene
            .upstream
            .add(Package::new("x\u{202e}y", "1.0-1").at("x\u{202e}y"));
        scene.built = scene.upstream.build();
        scene.server.swap(scene.built.tree.clone());
        scene.serve_nothing("x\u{202e}y");
        scene.refused(
            4,
            &format!(
                "error: r: package x\\u{{202e}}y 1.0-1 ({}): [server]/x%E2%80%AEy is not there\n\
                 hint: the upstream may be mid-update; the last good state is untouched\n",
                scene.pick("amd64", "x86_64")
            ),
        );
        scene
            .chantal
            .run(&["repo", "history", "--repo-id", "r"])
            .succeeds()
            .mentions("x\\u{202e}y");
        scene.recovers();
    }
}
