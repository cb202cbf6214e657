//! The lock file is removed or replaced while a run holds the lock: the run notices before it commits or deletes anything.

use std::fs;

use super::SYNC;
use crate::kit::chantal::{Chantal, Repository};
use crate::kit::server::Server;
use crate::kit::upstream::{Built, Package, Upstream};

const LOST: &str = "the lock file [dir]/data/chantal.lock was removed or replaced while this run held it: nothing more was changed\n";
const HINT: &str = "hint: run the command again; never remove the lock file: it is free as soon as its holder ends, however it ends\n";

struct Scene {
    built: Built,
    server: Server,
    chantal: Chantal,
}

impl Scene {
    fn new(upstream: Upstream) -> Self {
        let upstream = upstream
            .package(Package::new("hello", "1.0-1"))
            .package(Package::new("other", "1.0-1"));
        let built = upstream.build();
        let server = Server::start(built.tree.clone());
        let chantal = Chantal::with_storage();
        chantal.hide_server(&server);
        chantal.repository(&Repository::of("r", &upstream, &server.url()));
        Self {
            built,
            server,
            chantal,
        }
    }

    /// A sync that ends so although it got everything; what it found stays as it is.
    #[track_caller]
    fn sync_ends(&self) {
        let output = self.chantal.run(&SYNC).exits(5).says("");
        let error = format!("error: r: {LOST}{HINT}");
        assert!(output.stderr.ends_with(&error), "{output:?}");
        assert!(!self.chantal.published("r").exists());
    }

    #[track_caller]
    fn next_one_works(&self) {
        self.chantal.run(&SYNC).succeeds();
        let published = self.chantal.published_tree("r");
        published.assert_same(&self.built.mirrored());
    }
}

/// Another run gets a lock of its own then: here one that deletes what the sync is about to name.
#[test]
fn a_lock_file_that_is_removed_lets_nothing_be_named_that_is_deleted() {
    for upstream in Upstream::both() {
        let scene = Scene::new(upstream);
        let lock = scene.chantal.data().join("chantal.lock");
        let mut cleanup = scene.chantal.command(&["db", "cleanup"]);
        let package = scene.built.path_of("other");
        scene.server.on_request(&package, move || {
            fs::remove_file(lock).unwrap();
            let output = cleanup.output().unwrap();
            assert!(output.status.success(), "{output:?}");
        });
        scene.sync_ends();
        let list = scene.chantal.run(&["repo", "list"]).succeeds().stdout;
        assert!(list.contains("never"), "{list}");
        scene.next_one_works();
    }
}

#[test]
fn a_lock_file_or_a_storage_that_is_replaced() {
    for is_storage in [false, true] {
        let scene = Scene::new(Upstream::rpm());
        let held = if is_storage {
            scene.chantal.data()
        } else {
            scene.chantal.data().join("chantal.lock")
        };
        let aside = scene.chantal.dir().join("aside");
        let (from, to) = (held.clone(), aside.clone());
        scene
            .server
            .on_request(&scene.built.path_of("hello"), move || {
                fs::rename(&from, &to).unwrap();
                if is_storage {
                    // As a disk that leaves.
                    fs::create_dir(&from).unwrap();
                } else {
                    fs::write(&from, "").unwrap();
                }
            });
        if is_storage {
            let output = scene.chantal.run(&SYNC).exits(5).says("");
            // Whichever is looked at first.
            let pool = "the pool [dir]/data/pool is not there any more";
            assert!(
                output.stderr.contains(pool) || output.stderr.contains(LOST),
                "{output:?}"
            );
            assert_eq!(fs::read_dir(&held).unwrap().count(), 0);
            fs::remove_dir(&held).unwrap();
            fs::rename(&aside, scene.chantal.data()).unwrap();
        } else {
            scene.sync_ends();
        }
        scene.next_one_works();
    }
}

/// Keys are kept beside the store, not in it.
#[test]
fn keys_are_not_kept_without_the_lock() {
    let upstream = Upstream::deb();
    let scene = Scene::new(upstream.clone());
    let key = crate::kit::keys::Key::archive();
    scene
        .server
        .edit(|tree| tree.insert("key.asc", key.public_armored()));
    let url = scene.server.url();
    let fingerprint = key.fingerprint();
    let repository = Repository::of("r", &upstream, &url)
        .unsigned()
        .format("gpgcheck: true")
        .format(&format!("gpgkey_url: {url}/key.asc"))
        .format(&format!("gpgkey_fingerprints: [{fingerprint}]"));
    scene.chantal.repository(&repository);
    let lock = scene.chantal.data().join("chantal.lock");
    scene.server.on_request("key.asc", move || {
        fs::remove_file(lock).unwrap();
    });
    let output = scene.chantal.run(&SYNC).exits(5).says("");
    assert!(
        output.stderr.ends_with(&format!("error: r: {LOST}{HINT}")),
        "{output:?}"
    );
    assert!(!scene.chantal.data().join("gpgkeys/r.asc").exists());
    scene.chantal.run(&SYNC).succeeds();
    assert!(scene.chantal.data().join("gpgkeys/r.asc").exists());
}
