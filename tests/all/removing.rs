//! `repo remove`: a repository that left the configuration is forgotten, and nothing else is.

use std::fs;
use std::thread;
use std::time::Duration;

use serde_json::json;

use crate::kit::chantal::Chantal;
use crate::kit::mirror::{Mirror, beside};
use crate::kit::server::Server;
use crate::kit::tree::Tree;
use crate::kit::upstream::{Package, Upstream};

const REMOVE: [&str; 4] = ["repo", "remove", "--repo-id", "r"];
const LISTS: [&[&str]; 3] = [&["repo", "list"], &["snapshot", "list"], &["db", "stats"]];

/// Two repositories that have a package in common: `r`, with more of its own, and `other`. Both are
/// synced.
struct Scene {
    mirror: Mirror,
    _server: Server,
    /// What is published of the other one.
    other: Tree,
}

impl Scene {
    fn of(upstream: Upstream) -> Self {
        let shared = upstream.package(Package::new("shared", "1.0-1"));
        let mirror = Mirror::of(shared.clone().package(Package::new("own", "2.0-1")));
        let (_, server) = beside(&mirror.chantal, "other", &shared, |repository| repository);
        mirror.run(&["repo", "sync", "--all"]).succeeds();
        Self {
            other: mirror.chantal.published_tree("other"),
            mirror,
            _server: server,
        }
    }

    fn both() -> [Self; 2] {
        Upstream::both().map(Self::of)
    }

    fn define(&self, more: &str) {
        let repository = self.mirror.usual().more(more);
        self.mirror.chantal.repository(&repository);
    }

    /// It leaves the configuration.
    fn undefine(&self) {
        fs::remove_file(self.mirror.chantal.config().join("repos.d/r.yaml")).unwrap();
    }

    #[track_caller]
    fn other_is_whole(&self) {
        self.mirror
            .chantal
            .published_tree("other")
            .assert_same(&self.other);
        let shown = self.mirror.json(&["repo", "show", "--repo-id", "other"]);
        assert_eq!(shown["state"]["packages"], 1);
    }
}

#[test]
fn all_of_it_goes_and_nothing_of_others() {
    for scene in Scene::both() {
        scene
            .mirror
            .chantal
            .write("data/gpgkeys/r.asc", "kept keys");
        scene
            .mirror
            .chantal
            .write("data/gpgkeys/r.asc.new", "half of");
        let theirs = scene
            .mirror
            .chantal
            .write("data/gpgkeys/r.asc.asc", "of `r.asc`");
        scene.undefine();
        let latest = scene.mirror.chantal.published("r");
        let tree = Tree::read(&latest);

        let planned = scene.mirror.json(&[&REMOVE[..], &["--dry-run"]].concat());
        assert_eq!(planned["packages"], 2);
        assert_eq!(planned["syncs"], 1);
        assert_eq!(planned["removed"], false);
        assert_eq!(planned["trees"], json!(["[dir]/www/r/latest"]));
        Tree::read(&latest).assert_same(&tree);
        let said = scene
            .mirror
            .run(&[&REMOVE[..], &["--dry-run"]].concat())
            .succeeds();
        let said = said.mentions("r: would remove state (2 packages, ");
        let said = said.mentions("), history (1 sync), keys ([dir]/data/gpgkeys/r.asc)\n");
        said.mentions("\n  would remove [dir]/www/r/latest\n  exclusive: ");

        let said = scene.mirror.run(&REMOVE).succeeds();
        let said = said.mentions("r: removed state (2 packages, ");
        said.mentions("\n  removed [dir]/www/r/latest\n  exclusive: ")
            .mentions(" frees the disk space)\nremoved r\n");
        assert!(!latest.exists());
        assert_eq!(fs::read_dir(latest.parent().unwrap()).unwrap().count(), 0);
        assert!(!scene.mirror.chantal.data().join("gpgkeys/r.asc").exists());
        assert!(
            !scene
                .mirror
                .chantal
                .data()
                .join("gpgkeys/r.asc.new")
                .exists()
        );
        assert!(theirs.exists());

        // What was said to be free then is, to the byte.
        let cleaned = scene.mirror.json(&["db", "cleanup"]);
        assert!(planned["bytes"].as_u64().unwrap() > 0);
        assert_eq!(cleaned["bytes"], planned["bytes"]);
        assert_eq!(cleaned["objects"], planned["objects"]);
        scene.other_is_whole();

        scene
            .mirror
            .run(&REMOVE)
            .says("")
            .fails_with(2, "error: unknown repository r (known: other)\n");
        // When it comes back it is a new one.
        scene.define("");
        scene
            .mirror
            .run(&["repo", "history", "--repo-id", "r"])
            .succeeds()
            .says("r has never been synced\n");
        scene
            .mirror
            .run(&["repo", "sync", "--repo-id", "r"])
            .succeeds();
        scene.mirror.chantal.published_tree("r").assert_same(&tree);
    }
}

#[test]
fn what_is_configured_is_refused() {
    let scene = Scene::of(Upstream::deb());
    let refused = "error: r is still configured ([dir]/config/repos.d/r.yaml)\n\
                   hint: remove this file first: only repositories that are no longer configured can be removed\n";
    scene.mirror.run(&REMOVE).says("").fails_with(2, refused);
    scene.define("enabled: false\n");
    for more in [&[][..], &["--dry-run"], &["--snapshots", "--force"]] {
        let args = [&REMOVE[..], more].concat();
        scene.mirror.run(&args).says("").fails_with(2, refused);
    }
    assert!(scene.mirror.chantal.published("r").exists());

    let empty = Chantal::new();
    empty.run(&REMOVE).says("").fails_with(
        5,
        "error: no storage in [dir]/data\n\
         hint: is the file system mounted? `chantal init` creates a new storage\n",
    );
    assert!(!empty.data().exists());
    empty.run(&["init"]).exits(0);
    empty
        .run(&REMOVE)
        .says("")
        .fails_with(2, "error: unknown repository r\n");
    empty
        .run(&["repo", "remove", "--repo-id", "../x"])
        .exits(2)
        .mentions("contains '/'");
}

/// Snapshots are never deleted unless somebody says so, nor is what is published of them.
#[test]
fn snapshots_stay_unless_they_are_meant() {
    for scene in Scene::both() {
        scene.mirror.snapshot("a");
        scene.mirror.snapshot("b");
        let prod = scene.mirror.www("prod");
        let to = prod.display().to_string();
        scene
            .mirror
            .run(&["publish", "--snapshot-name", "r/a", "--to", &to])
            .succeeds();
        let tree = Tree::read(&prod);
        scene.undefine();

        let removed = scene.mirror.json(&REMOVE);
        assert_eq!(removed["removed"], true);
        assert_eq!(removed["snapshots_kept"], json!(["r/a", "r/b"]));
        assert_eq!(removed["snapshots_deleted"], json!([]));
        assert_eq!(removed["bytes"], 0, "the snapshots need all of it");
        assert!(removed["kept_bytes"].as_u64().unwrap() > 0);
        assert!(!scene.mirror.chantal.published("r").exists());
        scene.mirror.run(&["db", "cleanup"]).succeeds();
        Tree::read(&prod).assert_same(&tree);
        scene
            .mirror
            .run(&["snapshot", "show", "--name", "r/b"])
            .succeeds();

        // It is still known by them.
        scene
            .mirror
            .run(&[&REMOVE[..], &["--dry-run"]].concat())
            .succeeds()
            .mentions("r: would remove nothing\n")
            .mentions("  snapshots kept: r/a, r/b, ");
        let with = [&REMOVE[..], &["--snapshots"]].concat();
        let refused = "error: snapshots of r are published at [dir]/www/prod\n\
                       hint: publish something else there first; `--force` removes them there, too\n";
        scene.mirror.run(&with).says("").fails_with(2, refused);
        let dry_run = [&with[..], &["--dry-run"]].concat();
        scene.mirror.run(&dry_run).says("").fails_with(2, refused);
        Tree::read(&prod).assert_same(&tree);

        let force = [&with[..], &["--force"]].concat();
        let removed = scene.mirror.json(&force);
        assert_eq!(removed["removed"], true);
        assert_eq!(removed["trees"], json!(["[dir]/www/prod"]));
        assert_eq!(removed["snapshots_deleted"], json!(["r/a", "r/b"]));
        assert!(!prod.exists());
        let cleaned = scene.mirror.json(&["db", "cleanup"]);
        assert_eq!(cleaned["bytes"], removed["bytes"]);
        scene.mirror.run(&REMOVE).exits(2);
        scene.other_is_whole();
    }
}

/// Its disk may only be away: what is published keeps its repository.
#[test]
fn a_tree_that_is_away_keeps_it() {
    for scene in Scene::both() {
        let to = scene.mirror.www("disk/r").display().to_string();
        scene
            .mirror
            .run(&["publish", "--repo-id", "r", "--to", &to])
            .succeeds();
        let tree = Tree::read(&scene.mirror.www("disk/r"));
        scene.undefine();
        fs::rename(scene.mirror.www("disk/r"), scene.mirror.www("away")).unwrap();
        let away = "error: r: published tree [dir]/www/disk/r does not exist: is its file system mounted?\n\
                    hint: mount it; if the disk is lost, `chantal publish` with --recreate publishes the tree again, and `chantal unpublish` with --forget-absent forgets it; nothing was changed there\n";
        let said = scene.mirror.run(&REMOVE).fails_with(5, away);
        assert_eq!(
            said.stdout,
            "kept r: could not remove 1 published tree\n  removed [dir]/www/r/latest\n"
        );
        assert!(!said.stdout.contains("removed r\n"), "{said:?}");
        let json = scene
            .mirror
            .run(&[&["--format", "json"], &REMOVE[..]].concat());
        let json = json.exits(5).json();
        assert_eq!(json["removed"], false);
        assert_eq!(json["packages"], 2, "its state is still there");
        assert_eq!(json["errors"].as_array().unwrap().len(), 1);

        fs::rename(scene.mirror.www("away"), scene.mirror.www("disk/r")).unwrap();
        scene.mirror.run(&["db", "cleanup"]).succeeds();
        Tree::read(&scene.mirror.www("disk/r")).assert_same(&tree);
        scene.mirror.run(&REMOVE).succeeds();
        assert!(!scene.mirror.www("disk/r").exists());
        scene.other_is_whole();
    }
}

/// At moments that nobody chose: the tree is whole or out of sight, and the next run ends the work.
#[test]
fn killed_while_it_removes() {
    let mut seed: u64 = 0x5eed;
    let (mut kills, mut ended) = (0, 0);
    for scene in Scene::both() {
        let tree = Tree::read(&scene.mirror.chantal.published("r"));
        for round in 0..8 {
            scene.define("");
            scene
                .mirror
                .run(&["repo", "sync", "--repo-id", "r"])
                .succeeds();
            scene.mirror.snapshot("s");
            scene
                .mirror
                .chantal
                .write("data/gpgkeys/r.asc", "kept keys");
            scene.undefine();
            let remove = [&REMOVE[..], &["--snapshots"]].concat();
            for attempt in 1.. {
                // Knuth's multiplier; the high bits are random enough.
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                // Longer each time: on a busy machine nothing would come to its end.
                let delay = Duration::from_micros((seed >> 33) % (10_000 * attempt));
                let mut child = scene.mirror.chantal.command(&remove).spawn().unwrap();
                thread::sleep(delay);
                child.kill().unwrap();
                let code = child.wait().unwrap().code();
                let latest = scene.mirror.chantal.published("r");
                if latest.exists() {
                    Tree::read(&latest).assert_same(&tree);
                }
                for list in LISTS {
                    scene.mirror.run(list).succeeds();
                }
                match code {
                    None => kills += 1,
                    // It came too late to be killed, or a killed run had come to its end.
                    Some(code) => {
                        assert!([0, 2].contains(&code), "round {round}: {code}");
                        ended += 1;
                        break;
                    }
                }
            }
            scene
                .mirror
                .run(&remove)
                .fails_with(2, "error: unknown repository r (known: other)\n");
            let www = scene.mirror.www("r");
            assert_eq!(fs::read_dir(www).unwrap().count(), 0, "round {round}");
            assert!(!scene.mirror.chantal.data().join("gpgkeys/r.asc").exists());
            scene
                .mirror
                .run(&["snapshot", "list"])
                .succeeds()
                .says("no snapshots\n");
        }
        scene.other_is_whole();
    }
    assert!(kills > ended, "only {kills} kills came in time");
}
