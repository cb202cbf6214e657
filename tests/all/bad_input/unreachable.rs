//! Servers that do not answer, stop in the middle, or say no.

use super::Scene;
use crate::kit::chantal::{Chantal, Repository};
use crate::kit::mirror::{NO_RETRIES, ONE_BY_ONE};
use crate::kit::server::{Fault, Server, Times};
use crate::kit::upstream::{Package, Upstream};

const LATER: &str = "hint: try again later; the state of the last successful sync is unchanged\n";

#[test]
fn a_body_that_always_ends_early() {
    for scene in Scene::both() {
        let index = &scene.index_paths()[0];
        let package = scene.built.path_of("hello");
        let root = scene.upstream.root();
        for (path, what) in [
            (&root, "cannot fetch the metadata".to_owned()),
            (index, scene.index_name().to_owned()),
            (&package, scene.package_name().to_owned()),
        ] {
            scene.server.fault(path, Times::Always, Fault::Truncate(9));
            scene.refused(
                3,
                &format!(
                    "error: r: {what}: [server]/{path}: connection closed before the transfer was complete\n{LATER}"
                ),
            );
            scene.server.clear_faults();
        }
        scene.recovers();
    }
}

/// Each of these takes a second, so they are few.
fn stalls(scene: &Scene, path: &str, what: &str) {
    scene.configure(&format!("{NO_RETRIES}  timeout: 1\n"));
    scene.server.fault(path, Times::Always, Fault::Stall(9));
    scene.refused(
        3,
        &format!(
            "error: r: {what}: [server]/{path}: no data received within download.timeout\n{LATER}"
        ),
    );
    scene.recovers();
}

#[test]
fn a_root_that_stops_coming() {
    let scene = Scene::of(Upstream::deb());
    stalls(&scene, &scene.upstream.root(), "cannot fetch the metadata");
}

#[test]
fn an_index_that_stops_coming() {
    let scene = Scene::of(Upstream::deb());
    stalls(&scene, &scene.index_paths()[0], scene.index_name());
}

#[test]
fn a_package_that_stops_coming() {
    let scene = Scene::of(Upstream::rpm());
    stalls(&scene, &scene.built.path_of("hello"), scene.package_name());
}

#[test]
fn a_connection_that_is_closed_without_an_answer() {
    for scene in Scene::both() {
        let root = scene.upstream.root();
        scene.server.fault(&root, Times::Always, Fault::Drop);
        scene.refused(
            3,
            &format!(
                "error: r: cannot fetch the metadata: [server]/{root}: connection closed before the transfer was complete\n{LATER}"
            ),
        );
        scene.recovers();
    }
}

#[test]
fn a_connection_that_is_refused() {
    for scene in Scene::both() {
        // Nobody listens there any more.
        let gone = Server::start(scene.built.tree.clone()).url();
        scene.chantal.hide(&gone, "[gone]");
        let mut elsewhere = scene.repository.clone();
        elsewhere = elsewhere.at(&gone);
        scene.chantal.repository(&elsewhere);
        let root = scene.upstream.root();
        let stderr = format!(
            "error: r: cannot fetch the metadata: [gone]/{root}: Connection refused (os error 111)\n{LATER}"
        );
        scene.sync().fails_with(3, &stderr).says("");
        scene.recovers();
    }
}

#[test]
fn a_server_in_trouble() {
    for scene in Scene::both() {
        let root = scene.upstream.root();
        for status in [500, 502, 503, 429] {
            scene
                .server
                .fault(&root, Times::Always, Fault::Status(status));
            scene.refused(
                3,
                &format!(
                    "error: r: cannot fetch the metadata: [server]/{root}: server returned HTTP status {status}\n{LATER}"
                ),
            );
            scene.server.clear_faults();
        }
        scene.recovers();
    }
}

#[test]
fn a_server_that_refuses() {
    for scene in Scene::both() {
        // So that the first one is told of.
        scene.configure(ONE_BY_ONE);
        let package = scene.built.path_of("hello");
        let root = scene.upstream.root();
        // What is asked for in place of it is refused as well.
        let roots = vec![root.clone(), root.replace("InRelease", "Release")];
        for (paths, what) in [
            (roots, "cannot fetch the metadata".to_owned()),
            (scene.index_paths(), scene.index_name().to_owned()),
            (vec![package], scene.package_name().to_owned()),
        ] {
            let path = &paths[0];
            for (status, hint) in [
                (
                    403,
                    "the credentials or the entitlement may be missing, wrong or expired",
                ),
                (401, "check credentials"),
            ] {
                for path in &paths {
                    scene
                        .server
                        .fault(path, Times::Always, Fault::Status(status));
                }
                scene.refused(
                    4,
                    &format!("error: r: {what}: [server]/{path}: access denied (HTTP status {status})\nhint: {hint}\n"),
                );
                scene.server.clear_faults();
            }
        }
        scene.recovers();
    }
}

/// A refused signature is a missing one, not a reason to do without.
#[test]
fn a_signature_that_is_refused() {
    let scene = Scene::of(Upstream::rpm());
    let path = "repodata/repomd.xml.asc";
    scene.server.fault(path, Times::Always, Fault::Status(403));
    scene.refused(
        4,
        "error: r: [server]/repodata/repomd.xml is not signed ([server]/repodata/repomd.xml.asc does not exist or is refused)\n\
         hint: if the upstream does not sign its metadata, set `gpgcheck: false` (apt) or `repo_gpgcheck: false` (rpm); the state of the last successful sync is unchanged\n",
    );
    scene.server.clear_faults();
    scene.server.fault(path, Times::Always, Fault::Status(401));
    scene.refused(
        4,
        "error: r: cannot fetch the metadata: [server]/repodata/repomd.xml.asc: access denied (HTTP status 401)\nhint: check credentials\n",
    );
    scene.recovers();
}

/// A pipe in a directory that is an upstream: opening it would wait for a writer.
#[test]
fn a_pipe_in_place_of_a_package() {
    for upstream in Upstream::both() {
        let upstream = upstream.package(Package::new("hello", "1.0-1"));
        let built = upstream.build();
        let chantal = Chantal::new();
        let directory = chantal.dir().join("upstream");
        built.tree.write_to(&directory);
        let package = built.path_of("hello");
        std::fs::remove_file(directory.join(&package)).unwrap();
        let made = std::process::Command::new("mkfifo")
            .arg(directory.join(&package))
            .status();
        assert!(made.unwrap().success());
        chantal.repository(&Repository::of("r", &upstream, directory.to_str().unwrap()));
        chantal
            .run(&["repo", "sync", "--repo-id", "r"])
            .exits(4)
            .mentions(&format!("[dir]/upstream/{package}: not a regular file"));
    }
}

/// Nobody hears why, but scripts still learn that.
#[test]
fn an_error_that_cannot_be_printed() {
    let chantal = Chantal::new();
    let full = std::fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let status = chantal
        .command(&["repo", "sync", "--repo-id", "nobody"])
        .stderr(full)
        .status();
    assert_eq!(status.unwrap().code(), Some(2));
}

#[test]
fn an_error_is_json_too() {
    let chantal = Chantal::new();
    let output = chantal
        .run(&["repo", "show", "--repo-id", "nobody", "--format", "json"])
        .exits(2);
    let document = output.json();
    assert_eq!(document["exit_code"], 2);
    assert_eq!(document["hint"], serde_json::Value::Null);
    let message = document["error"].as_str().unwrap();
    assert!(
        message.starts_with("unknown repository nobody"),
        "{message}"
    );
}
