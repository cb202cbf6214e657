//! Disks that are not mounted, come back under another device number, or leave in the middle of a
//! run.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use crate::kit::disk::Disk;
use crate::kit::mirror::{Mirror, SYNC};
use crate::kit::server::{Fault, Times};
use crate::kit::tree::Tree;
use crate::kit::upstream::{Package, Upstream};

const KINDS: [&str; 3] = ["ext4", "xfs", "btrfs"];

/// A repository `r` whose upstream moves on, and a disk at `disk/`.
struct Scene {
    mirror: Mirror,
    kind: String,
    disk: Disk,
}

impl Scene {
    fn of(kind: &str, upstream: Upstream) -> Self {
        let mirror = Mirror::of(upstream.package(Package::new("hello", "1.0-1")));
        let dir = mirror.chantal.dir();
        let disk = Disk::new(kind, &dir.join("image"), &dir.join("disk"));
        Self {
            mirror,
            kind: kind.to_owned(),
            disk,
        }
    }

    fn each(mut run: impl FnMut(Self)) {
        for kind in KINDS {
            for upstream in Upstream::both() {
                println!("{kind}, {}", upstream.kind());
                run(Self::of(kind, upstream));
            }
        }
    }

    fn define(&mut self, latest: &str) {
        let publish = format!("publish:\n  latest_path: {latest}\n");
        self.mirror
            .define(|repository| repository.unpublished().more(&publish));
    }

    fn move_on(&mut self, version: &str) {
        self.mirror
            .next(|upstream| upstream.replace(Package::new("hello", version)));
    }

    fn mount_point(&self) -> PathBuf {
        self.mirror.chantal.dir().join("disk")
    }

    #[track_caller]
    fn mount_point_is_empty(&self) {
        let found: Vec<_> = fs::read_dir(self.mount_point()).unwrap().collect();
        assert!(found.is_empty(), "{found:?}");
    }

    /// The same disk behind another loop device.
    fn mount_elsewhere(&self, taken: &mut Vec<Disk>) {
        // It takes the number that the disk had.
        let name = format!("taken-{}", taken.len());
        let dir = self.mirror.chantal.dir();
        taken.push(Disk::new(
            &self.kind,
            &dir.join(format!("{name}.image")),
            &dir.join(name),
        ));
        self.disk.mount();
    }

    #[track_caller]
    fn shows_the_new(&self) {
        let tree = Tree::read(&self.mount_point().join("www/latest"));
        let expected = self.mirror.built.mirrored();
        for path in expected.paths() {
            assert_eq!(tree.find(path), expected.find(path), "{path}");
        }
    }
}

#[test]
#[ignore = "slow: .ci/slow"]
fn a_published_tree_comes_back_with_its_disk() {
    Scene::each(|mut scene| {
        scene.define("../../disk/www/latest");
        scene.mirror.chantal.run(&SYNC).succeeds();
        scene.shows_the_new();
        let device = fs::metadata(scene.mount_point()).unwrap().dev();
        scene.disk.unmount();
        scene.move_on("2.0-1");
        for _ in 0..2 {
            let failed = scene.mirror.chantal.run(&SYNC).exits(5);
            failed.mentions("published tree [dir]/disk/www/latest does not exist: is its file system mounted?\n");
            scene.mount_point_is_empty();
        }
        let mut taken = Vec::new();
        scene.mount_elsewhere(&mut taken);
        assert_ne!(fs::metadata(scene.mount_point()).unwrap().dev(), device);
        // Recognised without a word, and brought up to date.
        scene.mirror.chantal.run(&SYNC).succeeds();
        scene.shows_the_new();
        scene
            .mirror
            .chantal
            .run(&["unpublish", "--repo-id", "r"])
            .succeeds();
        scene.disk.unmount();
    });
}

#[test]
#[ignore = "slow: .ci/slow"]
fn a_storage_is_not_begun_again_without_its_disk() {
    Scene::each(|mut scene| {
        scene.define("../../disk/www/latest");
        let global = "storage:\n  base_path: ../../disk/chantal\n  create: true\n";
        scene.mirror.chantal.global(global);
        // The file system's own directory makes it no empty mount point.
        fs::write(scene.mount_point().join("here"), "").unwrap();
        scene.mirror.chantal.run(&SYNC).succeeds();
        scene.disk.unmount();
        scene.move_on("2.0-1");
        for args in [&SYNC[..], &["publish", "--all"], &["db", "cleanup"]] {
            scene
                .mirror
                .chantal
                .run(args)
                .exits(5)
                .mentions("is the file system mounted?");
            scene.mount_point_is_empty();
        }
        scene.mount_elsewhere(&mut Vec::new());
        scene.mirror.chantal.run(&SYNC).succeeds();
        scene.shows_the_new();
    });
}

#[test]
#[ignore = "slow: .ci/slow"]
fn a_disk_that_leaves_in_the_middle_of_a_run_is_not_replaced() {
    Scene::each(|mut scene| {
        scene.define("../../www/latest");
        let global = "storage:\n  base_path: ../../data\n  create: true\n  pool_path: ../../disk/pool\ndownload: {retries: 0}\n";
        scene.mirror.chantal.global(global);
        fs::write(scene.mount_point().join("here"), "").unwrap();
        scene.mirror.chantal.run(&SYNC).succeeds();
        scene.move_on("2.0-1");
        let path = scene.mirror.built.path_of("hello");
        scene
            .mirror
            .server
            .fault(&path, Times::Always, Fault::Stall(10));
        let running = scene.mirror.chantal.spawn(&SYNC);
        scene.mirror.server.wait_for(&path, 1);
        scene.disk.pull_out();
        scene.mirror.server.clear_faults();
        scene.mirror.server.release();
        let failed = running.wait().exits(5);
        failed.mentions("is the file system mounted?");
        scene.mount_point_is_empty();
        let again = scene.mirror.chantal.run(&SYNC).exits(5);
        again.mentions("is the file system mounted?");
        scene.mount_point_is_empty();
        scene.disk.mount();
        scene.mirror.chantal.run(&SYNC).succeeds();
        let tree = Tree::read(&scene.mirror.chantal.dir().join("www/latest"));
        assert_eq!(tree.find(&path), scene.mirror.built.tree.find(&path));
    });
}

/// exFAT has no links and no modes, and one file for `A.deb` and `a.deb`.
#[test]
#[ignore = "slow: .ci/slow"]
fn what_exfat_lacks_is_said_and_what_would_fall_together_is_refused() {
    for upstream in Upstream::both() {
        let mut scene = Scene::of("exfat", upstream);
        scene.define("../../disk/www/latest");
        let synced = scene.mirror.chantal.run(&SYNC).exits(0);
        synced.mentions("\n  the file system does not support hard links and modes\n");
        scene.shows_the_new();
        scene.move_on("2.0-1");
        scene.mirror.chantal.run(&SYNC).succeeds();
        scene.shows_the_new();
        scene.mirror.chantal.run(&["db", "check"]).exits(0);

        scene.mirror.next(|upstream| {
            upstream.add(Package::new("Hello", "2.0-1"));
        });
        let before = Tree::read(&scene.mount_point().join("www/latest"));
        let refused = scene.mirror.chantal.run(&SYNC).exits(2);
        refused.mentions("the file system does not distinguish it from another file");
        Tree::read(&scene.mount_point().join("www/latest")).assert_same(&before);
        scene.mirror.next(|upstream| {
            upstream.packages.pop();
        });
        scene.mirror.chantal.run(&SYNC).succeeds();
        scene.shows_the_new();
    }
}
