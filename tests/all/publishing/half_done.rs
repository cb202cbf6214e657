//! Publishings that failed or were killed: nothing of them stays, and what they began can be ended.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;

use super::Scene;
use super::places::skipped;
use crate::kit::chantal::{Chantal, Repository};
use crate::kit::mirror::{Mirror, SYNC};
use crate::kit::mount::Mount;
use crate::kit::tree::Tree;
use crate::kit::upstream::{Checksum, Package, Upstream};

const LISTS: [&[&str]; 3] = [
    &["repo", "show", "--repo-id", "r"],
    &["snapshot", "list"],
    &["db", "stats"],
];

fn json(chantal: &Chantal, args: &[&str]) -> serde_json::Value {
    let args = [&["--format", "json"], args].concat();
    chantal.run(&args).succeeds().json()
}

/// Nothing says that `tree` is published, nothing lies there, and nothing is needed for it.
#[track_caller]
fn nothing_of_it_stays(chantal: &Chantal, tree: &Path) {
    assert_eq!(json(chantal, LISTS[2])["published_trees"], 0);
    assert_eq!(json(chantal, LISTS[0])["published"], json!([]));
    let path = tree.display().to_string();
    chantal.run(&["unpublish", "--path", &path]).fails_with(
        2,
        &format!(
            "error: {} is not a published tree of this storage\n",
            chantal.shown(&path)
        ),
    );
    if let Ok(beside) = fs::read_dir(tree.parent().unwrap()) {
        assert_eq!(beside.count(), 0, "something lies beside {path}");
    }
}

#[test]
fn a_first_publishing_that_fails_leaves_nothing() {
    for upstream in Upstream::both() {
        let scene = Scene::new(upstream, Repository::unpublished);
        scene.sync().succeeds();
        let disk = scene.chantal.dir().join("www");
        let Some(_mount) = Mount::new(&disk, "4k") else {
            return skipped("nothing can be mounted here");
        };
        let tree = disk.join("at/tree");
        let to = tree.display().to_string();
        let publish = ["publish", "--repo-id", "r", "--to", &to];
        let failed = scene.chantal.run(&publish).exits(1);
        assert!(
            failed.stderr.contains("No space left on device"),
            "{failed:?}"
        );
        nothing_of_it_stays(&scene.chantal, &tree);
        fs::remove_file(scene.chantal.config().join("repos.d/r.yaml")).unwrap();
        scene
            .chantal
            .run(&["repo", "remove", "--repo-id", "r"])
            .succeeds();
        assert_eq!(json(&scene.chantal, &["db", "cleanup"])["objects_kept"], 0);
    }
}

/// The tree stays what it was, and so does what is known of it.
#[test]
fn a_publishing_that_fails_leaves_the_one_before() {
    for mut scene in Scene::both(|repository| repository) {
        scene
            .chantal
            .repository(&scene.repository.clone().unpublished());
        scene.move_on();
        scene.sync().succeeds();
        scene.chantal.repository(&scene.repository);
        let pool = scene.chantal.data().join("pool/sha256");
        let package = scene.generations[1]
            .tree
            .bytes(&scene.generations[1].path_of("hello"));
        let object = Checksum::Sha256.hex(package);
        fs::remove_file(pool.join(&object[..2]).join(&object)).unwrap();
        let before = json(&scene.chantal, LISTS[0])["published"].clone();
        scene
            .chantal
            .run(&SYNC)
            .exits(5)
            .mentions(" is missing from the pool");
        Tree::read(&scene.published()).assert_same(&scene.generations[0].mirrored());
        assert_eq!(json(&scene.chantal, LISTS[0])["published"], before);
        let beside = fs::read_dir(scene.published().parent().unwrap()).unwrap();
        assert_eq!(beside.count(), 1, "the staging directory is left");
    }
}

/// A mirror with enough files for a kill to find it at work, synced.
fn large(mut upstream: Upstream) -> Mirror {
    upstream.packages = (0..150)
        .map(|number| Package::new(&format!("p{number:03}"), "1.0-1").raw(b"body"))
        .collect();
    let places = "publish:\n  snapshots_path: ../../www/snapshots\n";
    Mirror::of(upstream)
        .defined(|repository| repository.unpublished().more(places))
        .synced()
}

/// Kills the command while it stages `tree`; what is there then is not published.
fn kill_while_staging(mirror: &Mirror, args: &[&str], tree: &Path, undo: impl Fn()) {
    let name = tree.file_name().unwrap().to_str().unwrap();
    let staging = tree.with_file_name(format!(".{name}.chantal-staging"));
    for _ in 0..50 {
        let mut child = mirror.chantal.command(args).spawn().unwrap();
        let start = Instant::now();
        while !staging.exists() && child.try_wait().unwrap().is_none() {
            assert!(
                start.elapsed() < Duration::from_secs(30),
                "nothing is staged"
            );
            std::thread::sleep(Duration::from_micros(200));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        if staging.exists() && !tree.exists() {
            return;
        }
        undo();
    }
    panic!("no kill came in time");
}

#[test]
fn cleanup_ends_a_first_publishing_that_was_killed() {
    for mirror in Upstream::both().map(large) {
        let tree = mirror.chantal.dir().join("www/place/tree");
        let to = tree.display().to_string();
        let undo = || mirror.chantal.run(&["unpublish", "--path", &to]).succeeds();
        let publish = ["publish", "--repo-id", "r", "--to", &to];
        kill_while_staging(&mirror, &publish, &tree, || drop(undo()));
        for list in LISTS {
            mirror.chantal.run(list).succeeds();
        }
        mirror.chantal.run(&["db", "cleanup"]).succeeds();
        nothing_of_it_stays(&mirror.chantal, &tree);

        kill_while_staging(&mirror, &publish, &tree, || drop(undo()));
        mirror.chantal.run(&publish).succeeds();
        Tree::read(&tree).assert_same(&mirror.built.mirrored());
        assert_eq!(fs::read_dir(tree.parent().unwrap()).unwrap().count(), 1);
    }
}

/// The snapshot is there and its tree is not: the same command again makes the tree, and does not
/// refuse the name.
#[test]
fn a_snapshot_whose_publishing_was_killed_is_finished() {
    let sync = [&SYNC[..], &["--create-snapshot", "--snapshot-name", "s"]].concat();
    let create = ["snapshot", "create", "--repo-id", "r", "--name", "s"];
    let merge = ["snapshot", "merge", "--source", "r", "--name", "s"];
    for mirror in Upstream::both().map(large) {
        let tree = mirror.chantal.dir().join("www/snapshots/s");
        let delete = ["snapshot", "delete", "--name", "r/s"];
        for command in [&sync[..], &create, &merge] {
            kill_while_staging(&mirror, command, &tree, || {
                mirror.chantal.run(&delete).succeeds();
            });
            let said = mirror.chantal.run(command).succeeds();
            said.mentions("  published at [dir]/www/snapshots/s (");
            if command[1] != "merge" {
                Tree::read(&tree).assert_same(&mirror.built.mirrored());
            }
            let listed = json(&mirror.chantal, LISTS[1]);
            assert_eq!(listed.as_array().unwrap().len(), 1);
            // Nothing is left to finish.
            mirror
                .chantal
                .run(command)
                .exits(2)
                .mentions("snapshot r/s already exists");
            mirror.chantal.run(&delete).succeeds();
        }
    }
}

/// By default a snapshot is called by the second in which it is made.
#[test]
fn two_snapshots_of_one_second_have_two_names() {
    let scene = Scene::new(Upstream::rpm(), |repository| repository);
    scene.sync().succeeds();
    // As many as the machine may take until then.
    let now = std::time::SystemTime::now();
    let names = (0..60).map(|ahead| name_of(now + Duration::from_secs(ahead)));
    for name in names {
        let create = ["snapshot", "create", "--repo-id", "r", "--name", &name];
        scene.chantal.run(&create).succeeds();
    }
    let said = scene
        .chantal
        .run(&[&SYNC[..], &["--create-snapshot"]].concat())
        .succeeds();
    let name = said
        .stdout
        .split("snapshot r/")
        .nth(1)
        .unwrap()
        .split(':')
        .next()
        .unwrap();
    assert!(name.ends_with("-2"), "{name}");
}

fn name_of(time: std::time::SystemTime) -> String {
    let seconds = time
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let time = jiff::Timestamp::from_second(i64::try_from(seconds).unwrap()).unwrap();
    time.strftime("r-%Y-%m-%d-%H%M%S").to_string()
}

/// A tree that cannot be tended keeps what it needs, and the rest is cleaned up all the same.
#[test]
fn one_tree_in_the_way_does_not_stop_cleanup() {
    for mut scene in Scene::both(|repository| repository.keep("0s")) {
        let staging = scene.published().with_file_name(".latest.chantal-staging");
        fs::create_dir(&staging).unwrap();
        fs::write(staging.join("thesis.tex"), "years of work").unwrap();
        let pool = scene.chantal.data().join("pool");
        let stale = pool.join("sha256/00").join("0".repeat(64));
        fs::create_dir_all(stale.parent().unwrap()).unwrap();
        fs::write(&stale, "nothing names it").unwrap();
        let cleaned = scene.chantal.run(&["db", "cleanup"]);
        cleaned
            .mentions("removed 1 object (16 B), ")
            .exits(2)
            .says_on_stderr(
                "error: r: [dir]/www/r/.latest.chantal-staging exists and was not published by this storage\n\
                 hint: move it away, or set another publish path (a tree that was published elsewhere and moved here with its storage can be removed); nothing was changed\n",
            );
        assert!(staging.join("thesis.tex").exists() && !stale.exists());
        fs::remove_dir_all(&staging).unwrap();
        scene.move_on();
        scene.sync().succeeds();
        scene.chantal.run(&["db", "cleanup"]).succeeds();
    }
}
