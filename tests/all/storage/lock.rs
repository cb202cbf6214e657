//! The lock file is removed or replaced while a run holds the lock: the run notices before it
//! commits or deletes anything.

use std::fs;

use crate::kit::chantal::Repository;
use crate::kit::mirror::{Mirror, SYNC};
use crate::kit::upstream::{Package, Upstream};

const LOST: &str = "lock file [dir]/data/chantal.lock was removed or replaced while it was held: no further changes were made\n";
const HINT: &str = "hint: run the command again; never remove a lock file: the lock is released automatically when its process ends\n";

/// A repository `r`, not synced yet.
fn mirror_of(upstream: Upstream) -> Mirror {
    let upstream = upstream
        .package(Package::new("hello", "1.0-1"))
        .package(Package::new("other", "1.0-1"));
    Mirror::of(upstream).with_storage()
}

/// A sync that ends so although it got everything; what it found stays as it is.
#[track_caller]
fn sync_ends(mirror: &Mirror) {
    let output = mirror.sync().exits(5).says("");
    let error = format!("error: r: {LOST}{HINT}");
    assert!(output.stderr.ends_with(&error), "{output:?}");
    assert!(!mirror.published().exists());
}

#[track_caller]
fn next_one_works(mirror: &Mirror) {
    mirror.sync().succeeds();
    mirror.is_published();
}

/// Another run gets a lock of its own then: here one that deletes what the sync is about to name.
#[test]
fn a_lock_file_that_is_removed_lets_nothing_be_named_that_is_deleted() {
    for upstream in Upstream::both() {
        let mirror = mirror_of(upstream);
        let lock = mirror.chantal.data().join("chantal.lock");
        let mut cleanup = mirror.chantal.command(&["db", "cleanup"]);
        let package = mirror.built.path_of("other");
        mirror.server.on_request(&package, move || {
            fs::remove_file(lock).unwrap();
            let output = cleanup.output().unwrap();
            assert!(output.status.success(), "{output:?}");
        });
        sync_ends(&mirror);
        let list = mirror.chantal.run(&["repo", "list"]).succeeds().stdout;
        assert!(list.contains("never"), "{list}");
        next_one_works(&mirror);
    }
}

#[test]
fn a_lock_file_or_a_storage_that_is_replaced() {
    for is_storage in [false, true] {
        let mirror = mirror_of(Upstream::rpm());
        let held = if is_storage {
            mirror.chantal.data()
        } else {
            mirror.chantal.data().join("chantal.lock")
        };
        let aside = mirror.chantal.dir().join("aside");
        let (from, to) = (held.clone(), aside.clone());
        mirror
            .server
            .on_request(&mirror.built.path_of("hello"), move || {
                fs::rename(&from, &to).unwrap();
                if is_storage {
                    // As a disk that leaves.
                    fs::create_dir(&from).unwrap();
                } else {
                    fs::write(&from, "").unwrap();
                }
            });
        if is_storage {
            let output = mirror.chantal.run(&SYNC).exits(5).says("");
            // Whichever is looked at first.
            let pool = "pool [dir]/data/pool no longer exists";
            assert!(
                output.stderr.contains(pool) || output.stderr.contains(LOST),
                "{output:?}"
            );
            assert_eq!(fs::read_dir(&held).unwrap().count(), 0);
            fs::remove_dir(&held).unwrap();
            fs::rename(&aside, mirror.chantal.data()).unwrap();
        } else {
            sync_ends(&mirror);
        }
        next_one_works(&mirror);
    }
}

/// Keys are kept beside the store, not in it.
#[test]
fn keys_are_not_kept_without_the_lock() {
    let upstream = Upstream::deb();
    let mirror = mirror_of(upstream.clone());
    let key = crate::kit::keys::Key::archive();
    mirror
        .server
        .edit(|tree| tree.insert("key.asc", key.public_armored()));
    let url = mirror.server.url();
    let fingerprint = key.fingerprint();
    let repository = Repository::of("r", &upstream, &url)
        .unsigned()
        .format("gpgcheck: true")
        .format(&format!("gpgkey_url: {url}/key.asc"))
        .format(&format!("gpgkey_fingerprints: [{fingerprint}]"));
    mirror.chantal.repository(&repository);
    let lock = mirror.chantal.data().join("chantal.lock");
    mirror.server.on_request("key.asc", move || {
        fs::remove_file(lock).unwrap();
    });
    let output = mirror.chantal.run(&SYNC).exits(5).says("");
    assert!(
        output.stderr.ends_with(&format!("error: r: {LOST}{HINT}")),
        "{output:?}"
    );
    assert!(!mirror.chantal.data().join("gpgkeys/r.asc").exists());
    mirror.chantal.run(&SYNC).succeeds();
    assert!(mirror.chantal.data().join("gpgkeys/r.asc").exists());
}
