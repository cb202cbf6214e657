//! Places that are not there: a disk that is not mounted looks like a place where nothing was
//! published.

use std::fs;

use serde_json::json;

use super::Scene;
use super::places::skipped;
use crate::kit::chantal::Repository;
use crate::kit::mirror::{PUBLISH, SYNC};
use crate::kit::mount::Mount;
use crate::kit::tree::{Tree, inodes};

const MISSING: &str = "error: r: published tree [dir]/www/r/latest does not exist: is its file system mounted?\n\
    hint: mount it; if the disk is lost, `chantal publish` with --recreate publishes the tree again, and `chantal unpublish` with --forget-absent forgets it; nothing was changed there\n";
const SNAPSHOT: [&str; 4] = ["snapshot", "create", "--repo-id", "r"];

fn with_snapshots(repository: Repository) -> Repository {
    let repository = repository.unpublished();
    repository.more(
        "publish:\n  latest_path: ../../www/r/latest\n  snapshots_path: ../../www/r/snapshots\n",
    )
}

/// An upstream that changed, one that did not, and a command: nothing is made, until somebody says
/// so.
#[test]
fn a_tree_that_is_missing_is_not_made_again() {
    for mut scene in Scene::both(|repository| repository) {
        fs::remove_dir_all(scene.published()).unwrap();
        scene.server.clear_log();
        for args in [&SYNC[..], &PUBLISH] {
            scene.chantal.run(args).fails_with(5, MISSING);
            assert!(!scene.published().exists());
        }
        assert_eq!(
            scene.server.requests().len(),
            1,
            "the upstream is unchanged"
        );
        scene.move_on();
        scene.chantal.run(&SYNC).fails_with(5, MISSING);
        let shown = scene.chantal.run(&["repo", "show", "--repo-id", "r"]);
        shown
            .succeeds()
            .mentions("[dir]/www/r/latest (missing: is its file system mounted?, ");
        scene.chantal.run(&["db", "cleanup"]).succeeds();
        assert!(!scene.published().exists());

        let recreate = [&PUBLISH[..], &["--recreate"]].concat();
        scene.chantal.run(&recreate).succeeds();
        Tree::read(&scene.published()).assert_same(&scene.expected(1));
        scene.sync().succeeds();
    }
}

/// The mount point is an empty directory, above the tree or in its place; the disk comes back with
/// the tree on it.
#[test]
fn a_disk_that_is_away_is_left_alone() {
    for levels in [1, 2] {
        for mut scene in Scene::both(|repository| repository) {
            let disk = scene.published();
            let disk = disk.ancestors().nth(levels - 1).unwrap().to_owned();
            let away = scene.chantal.dir().join("away");
            fs::rename(&disk, &away).unwrap();
            fs::create_dir(&disk).unwrap();
            scene.move_on();
            for _ in 0..2 {
                scene.chantal.run(&SYNC).fails_with(5, MISSING);
                assert_eq!(fs::read_dir(&disk).unwrap().count(), 0);
            }
            fs::remove_dir(&disk).unwrap();
            fs::rename(&away, &disk).unwrap();
            // The state is not new, but the tree does not show it yet.
            scene.sync().succeeds();
            Tree::read(&scene.published()).assert_same(&scene.expected(1));
        }
    }
}

/// A tree that somebody emptied is the same directory: its disk is there.
#[test]
fn an_emptied_tree_is_filled_again() {
    for scene in Scene::both(|repository| repository) {
        for entry in fs::read_dir(scene.published()).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                fs::remove_dir_all(path).unwrap();
            } else {
                fs::remove_file(path).unwrap();
            }
        }
        scene.sync().succeeds();
        Tree::read(&scene.published()).assert_same(&scene.expected(0));
    }
}

/// Each snapshot has a place that is new: only those beside it know that their disk should be
/// there.
#[test]
fn a_new_place_on_a_disk_that_is_away_is_not_made() {
    for scene in Scene::both(with_snapshots) {
        let snapshots = scene.chantal.dir().join("www/r/snapshots");
        let Some(mount) = Mount::new(&snapshots, "16m") else {
            return skipped("nothing can be mounted here");
        };
        let create = |name| {
            scene
                .chantal
                .run(&[&SNAPSHOT[..], &["--name", name]].concat())
        };
        create("one").succeeds();
        drop(mount);
        create("two").fails_with(
            5,
            "error: r: cannot create [dir]/www/r/snapshots/two: [dir]/www/r/snapshots/one was published on another file \
             system and does not exist: is it mounted?\n\
             hint: mount it; if the disk is lost, `chantal unpublish` with --forget-absent forgets the trees on it; nothing was created\n",
        );
        assert_eq!(fs::read_dir(&snapshots).unwrap().count(), 0);
        // A place elsewhere is none of that disk's business.
        let to = scene.chantal.dir().join("www/other").display().to_string();
        let publish = ["publish", "--snapshot-name", "two", "--to", &to];
        scene.chantal.run(&publish).succeeds();
        // The disk is lost for good.
        let forget = ["unpublish", "--snapshot-name", "one", "--forget-absent"];
        scene.chantal.run(&forget).succeeds();
        scene
            .chantal
            .run(&["publish", "--snapshot-name", "two"])
            .succeeds();
        Tree::read(&snapshots.join("two")).assert_same(&scene.expected(0));
    }
}

/// What was unpublished stays so, however often the repository is synced, until somebody publishes
/// it.
#[test]
fn syncs_leave_an_unpublished_place_alone() {
    for mut scene in Scene::both(|repository| repository) {
        let unpublish = ["unpublish", "--repo-id", "r"];
        scene
            .chantal
            .run(&unpublish)
            .succeeds()
            .says("removed [dir]/www/r/latest\n");
        let skips = "\n  not published: [dir]/www/r/latest was unpublished; `chantal publish` publishes it again\n";
        scene.sync().succeeds().mentions(skips);
        scene.move_on();
        scene.sync().succeeds().mentions(skips);
        let json = scene
            .chantal
            .run(&["--format", "json", "repo", "sync", "--repo-id", "r"]);
        let published = &json.succeeds().json()[0]["published"];
        assert_eq!(
            (&published["unpublished"], &published["changed"]),
            (&json!(true), &json!(false))
        );
        scene.chantal.run(&["db", "cleanup"]).succeeds();
        let shown = scene
            .chantal
            .run(&["repo", "show", "--repo-id", "r"])
            .succeeds();
        shown.mentions(
            "[dir]/www/r/latest: syncs skip it until `chantal publish` publishes it again\n",
        );
        assert!(!scene.published().exists());
        scene
            .chantal
            .run(&unpublish)
            .succeeds()
            .says("nothing to remove: not published\n");

        scene.chantal.run(&PUBLISH).succeeds();
        Tree::read(&scene.published()).assert_same(&scene.expected(0).clone());
        let before = inodes(&scene.published());
        scene.sync().succeeds();
        assert_eq!(inodes(&scene.published()), before);
    }
}

#[test]
fn trees_of_lost_disks_are_forgotten_when_that_is_said() {
    for scene in Scene::both(with_snapshots) {
        let run = |args: &[&str]| scene.chantal.run(args);
        run(&[&SNAPSHOT[..], &["--name", "s"]].concat()).succeeds();
        let snapshots = scene.chantal.dir().join("www/r/snapshots");
        fs::remove_dir_all(&snapshots).unwrap();
        let delete = ["snapshot", "delete", "--name", "r/s"];
        run(&delete).exits(5);
        run(&[&delete[..], &["--forget-absent"]].concat())
            .succeeds()
            .says("deleted snapshot r/s\n  forgot [dir]/www/r/snapshots/s: it is missing; files on its disk are kept\n");

        fs::remove_dir_all(scene.published()).unwrap();
        fs::remove_file(scene.chantal.config().join("repos.d/r.yaml")).unwrap();
        let remove = ["repo", "remove", "--repo-id", "r"];
        run(&remove).exits(5);
        run(&[&remove[..], &["--forget-absent"]].concat()).succeeds();
        let stats = run(&["--format", "json", "db", "stats"]).succeeds().json();
        assert_eq!(
            (&stats["published_trees"], &stats["repositories"]),
            (&json!(0), &json!(0))
        );
        let cleaned = run(&["--format", "json", "db", "cleanup"])
            .succeeds()
            .json();
        assert_eq!(cleaned["objects_kept"], 0);
    }
}

/// A place that is new, on a disk that only /etc/fstab knows.
#[test]
fn a_disk_that_fstab_names_must_be_mounted() {
    for scene in Scene::both(|repository| repository) {
        let disk = scene.chantal.dir().join("disk");
        fs::create_dir(&disk).unwrap();
        let line = format!("/dev/sdz1 {} ext4 defaults 0 2\n", disk.display());
        let fstab = scene.chantal.write("fstab", &line);
        let to = disk.join("www/tree").display().to_string();
        let args = ["publish", "--repo-id", "r", "--to", &to];
        let Some(output) = scene.chantal.run_with_fstab(&args, &fstab) else {
            return skipped("no file can be bound over /etc/fstab here");
        };
        output.says("").fails_with(
            5,
            "error: r: cannot create [dir]/disk/www/tree: /etc/fstab lists a file system for [dir]/disk, but it is not mounted\n\
             hint: mount it; nothing was created\n",
        );
        assert_eq!(fs::read_dir(&disk).unwrap().count(), 0);
        scene.chantal.run(&args).succeeds();
    }
}
