//! Paths and names that are meant to do harm. The upstream's signatures and digests are all good.

use super::{BROKEN, Scene, forge};
use crate::kit::server::Server;
use crate::kit::tree::Tree;
use crate::kit::upstream::{Package, Upstream};

const REPORT: &str = "hint: the repository cannot be mirrored safely: report this to the upstream; the state of the last successful sync is unchanged\n";

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
                "error: r: {index}: {package} has an unsafe path: path {:?} is a URL\n{REPORT}",
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
                    "error: r: primary: data 1.0-1 noarch has an unsafe path: path {url:?} is a URL\n{REPORT}"
                ),
            );
        }
        assert_eq!(evil.connections(), 0);
        scene.recovers();
    }
}

/// No control character, and yet it would write the rest of the line backwards.
#[test]
fn invisible_characters_reach_no_terminal() {
    for upstream in Upstream::both() {
        let mut scene = Scene::of(upstream);
        let index = scene.pick("main/binary-amd64/Packages", "primary");
        scene
            .upstream
            .add(Package::new("x\u{202e}y", "1.0-1").at("x.pkg"));
        scene.server.swap(scene.upstream.build().tree);
        scene.refused(
            4,
            &format!(
                "error: r: {index}: package \"x\\u{{202e}}y\" has the invalid name \"x\\u{{202e}}y\"\n{BROKEN}"
            ),
        );
        scene.upstream.remove("x\u{202e}y");
        // A path may have them.
        for name in ["one", "two"] {
            scene
                .upstream
                .add(Package::new(name, "1.0-1").at("x\u{202e}y"));
        }
        scene.server.swap(scene.upstream.build().tree);
        scene
            .sync()
            .exits(4)
            .mentions("error: r: x\\u{202e}y is listed twice with different content: ");
        scene
            .chantal
            .run(&["repo", "history", "--repo-id", "r"])
            .succeeds()
            .mentions("x\\u{202e}y");
        scene.recovers();
    }
}

/// Two of them together are more than a number holds.
#[test]
fn the_largest_sizes_are_told_as_they_are() {
    for upstream in forge::plain() {
        let mut scene = Scene::of(upstream);
        scene.upstream.add(Package::new("other", "1.0-1"));
        scene.built = scene.upstream.build();
        let sizes = ["hello", "other"].map(|name| {
            let bytes = scene.built.tree.bytes(&scene.built.path_of(name));
            let size = |bytes: &dyn std::fmt::Display| {
                if scene.is_deb() {
                    format!("\nSize: {bytes}\n")
                } else {
                    format!(" package=\"{bytes}\" ")
                }
            };
            [size(&bytes.len()), size(&u64::MAX)]
        });
        let tree = forge::index(&scene, |text| {
            let with = |text: String, [old, new]: &[String; 2]| text.replace(old, new);
            sizes.iter().fold(text.to_owned(), with)
        });
        scene.server.swap(tree);
        let dry = ["repo", "sync", "--repo-id", "r", "--dry-run"];
        // As the run itself would end.
        let said = scene.chantal.run(&dry).exits(1).stdout;
        assert!(
            said.contains("would download 2 files (16.00 EiB)\n"),
            "{said}"
        );
        scene
            .sync()
            .exits(1)
            .mentions(" short (16.00 EiB to download, ");
        scene.is_untouched();
        scene.recovers();
    }
}
