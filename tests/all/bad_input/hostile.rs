//! Paths and names that are meant to do harm. The upstream's signatures and digests are all good.

use super::{Scene, forge};
use crate::kit::server::Server;
use crate::kit::tree::Tree;
use crate::kit::upstream::{Package, Upstream};

const REPORT: &str = "hint: nothing of it can be mirrored safely: report it to the upstream; the last good state is untouched\n";

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
