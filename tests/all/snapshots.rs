//! Snapshots: states that stay, wherever they are published.

use std::fs;

use serde_json::json;

use crate::kit::chantal::{Chantal, Repository};
use crate::kit::mirror::Mirror;
use crate::kit::tree::{Tree, inodes};
use crate::kit::upstream::{Package, Upstream};

/// A repository `r` with a place for snapshots, synced.
fn synced(upstream: Upstream) -> Mirror {
    Mirror::of(upstream)
        .defined(|repository| with_places(repository, "r", ""))
        .synced()
}

/// With both places of a repository of that name, and further lines of `publish`.
fn with_places(repository: Repository, name: &str, publish: &str) -> Repository {
    let places = format!(
        "publish:\n  latest_path: ../../www/{name}/latest\n  snapshots_path: ../../www/{name}/snapshots\n{publish}"
    );
    repository.unpublished().more(&places)
}

/// The next day's upstream, synced: the package has another name every day.
fn next(mirror: &mut Mirror) {
    mirror.next(|upstream| {
        let old = upstream.packages[0].name.clone();
        upstream.remove(&old);
        upstream.add(Package::new(&format!("new-{old}"), "2-1"));
    });
    mirror.sync().succeeds();
}

fn tree(mirror: &Mirror, path: &str) -> Tree {
    Tree::read(&mirror.www(path))
}

fn both() -> [Mirror; 2] {
    Upstream::both().map(|upstream| synced(upstream.package(Package::new("hello", "1.0-1"))))
}

#[test]
fn a_snapshot_stays_when_its_repository_moves_on() {
    for mut mirror in both() {
        let before = mirror.built.mirrored();
        mirror
            .run(&["snapshot", "create", "--repo-id", "r", "--name", "tested"])
            .succeeds();
        tree(&mirror, "r/snapshots/tested").assert_same(&before);
        let links = inodes(&mirror.www("r/latest"));
        assert_eq!(
            inodes(&mirror.www("r/snapshots/tested")),
            links,
            "no file is copied"
        );

        next(&mut mirror);
        tree(&mirror, "r/snapshots/tested").assert_same(&before);
        let list = ["--format", "json", "snapshot", "list"];
        let listed = mirror.run(&list).succeeds().json();
        assert_eq!(listed.as_array().unwrap().len(), 1);
        assert_eq!(listed[0]["snapshot"], "tested");
        assert_eq!(listed[0]["packages"], 1);

        // Published again from the pool, byte for byte.
        mirror
            .run(&["unpublish", "--snapshot-name", "tested"])
            .succeeds();
        assert!(!mirror.www("r/snapshots/tested").exists());
        mirror
            .run(&["publish", "--snapshot-name", "r/tested"])
            .succeeds();
        tree(&mirror, "r/snapshots/tested").assert_same(&before);

        mirror
            .run(&["snapshot", "delete", "--name", "tested"])
            .succeeds()
            .says("deleted snapshot r/tested\n  removed [dir]/www/r/snapshots/tested\n");
        assert!(!mirror.www("r/snapshots/tested").exists());
        mirror
            .run(&["snapshot", "list"])
            .succeeds()
            .says("no snapshots\n");
    }
}

#[test]
fn what_a_snapshot_takes_for_itself() {
    for mut mirror in both() {
        mirror
            .run(&[
                "snapshot",
                "create",
                "--repo-id",
                "r",
                "--name",
                "a",
                "--no-publish",
            ])
            .succeeds();
        let show = ["--format", "json", "snapshot", "show", "--name", "a"];
        let shown = mirror.run(&show).succeeds().json();
        assert_eq!(shown["own_bytes"], 0, "the state has it too");
        assert_eq!(shown["published"], json!([]));
        let package = mirror.built.path_of("hello");
        let size = mirror.built.tree.bytes(&package).len() as u64;

        next(&mut mirror);
        // The published tree keeps the last generation's files for a while.
        assert_eq!(mirror.run(&show).succeeds().json()["own_bytes"], 0);
        mirror.run(&["unpublish", "--repo-id", "r"]).succeeds();
        let shown = mirror.run(&show).succeeds().json();
        let own = shown["own_bytes"].as_u64().unwrap();
        assert!(
            own >= size && own < shown["pool_bytes"].as_u64().unwrap(),
            "{shown}"
        );
        mirror
            .run(&[
                "snapshot",
                "create",
                "--repo-id",
                "r",
                "--name",
                "b",
                "--no-publish",
            ])
            .succeeds();
        let shown = mirror
            .run(&["snapshot", "show", "--name", "r/a"])
            .succeeds()
            .stdout;
        let published = shown.lines().find(|line| line.starts_with("published"));
        assert!(
            published.is_some_and(|line| line.split_whitespace().eq(["published", "no"])),
            "{shown}"
        );
    }
}

#[test]
fn all_repositories_get_the_name_or_none() {
    let mirror = synced(Upstream::rpm().package(Package::new("hello", "1.0-1")));
    mirror.chantal.repository(&with_places(
        Repository::of("other", &mirror.upstream, &mirror.server.url()),
        "other",
        "",
    ));
    let create = ["snapshot", "create", "--all", "--name", "n"];
    mirror.run(&create).fails_with(
        1,
        "error: other has never been synced\n\
         hint: run `chantal repo sync --repo-id other` first\n",
    );
    mirror
        .run(&["snapshot", "list"])
        .succeeds()
        .says("no snapshots\n");
    assert!(!mirror.www("r/snapshots/n").exists());
    mirror.run(&["repo", "sync", "--all"]).succeeds();
    mirror.run(&create).succeeds();
    mirror.run(&create).fails_with(
        2,
        "error: snapshot other/n already exists\n\
         hint: snapshots are immutable: choose another name, or delete the existing snapshot first\n",
    );
    mirror
        .run(&["snapshot", "show", "--name", "n"])
        .fails_with(2, "error: snapshot n is ambiguous: other/n, r/n\n");
    mirror
        .run(&["snapshot", "show", "--name", "x"])
        .fails_with(2, "error: unknown snapshot x (known: other/n, r/n)\n");
    // One of them is not there: nothing is deleted.
    mirror
        .run(&["snapshot", "delete", "--name", "r/n", "--name", "r/x"])
        .exits(2);
    assert!(mirror.www("r/snapshots/n").exists());
    // A sync with a name that exists asks no upstream.
    mirror.server.clear_log();
    let sync = [
        "repo",
        "sync",
        "--repo-id",
        "r",
        "--create-snapshot",
        "--snapshot-name",
        "n",
    ];
    mirror
        .run(&sync)
        .exits(2)
        .mentions("error: snapshot r/n already exists");
    assert!(mirror.server.requests().is_empty());
    // Named twice, it is deleted once.
    mirror
        .run(&["snapshot", "delete", "--name", "r/n", "--name", "r/n", "--name", "other/n"])
        .succeeds()
        .says("deleted snapshot r/n\n  removed [dir]/www/r/snapshots/n\ndeleted snapshot other/n\n  removed [dir]/www/other/snapshots/n\n");
}

/// `prod` shows one tested state after the other, each in one step.
#[test]
fn a_place_is_switched_from_snapshot_to_snapshot() {
    for mut mirror in both() {
        let prod = mirror.www("prod").display().to_string();
        let publish = |mirror: &Mirror, name: &str| {
            mirror.run(&["publish", "--snapshot-name", name, "--to", &prod])
        };
        let create = |mirror: &Mirror, name: &str| {
            mirror
                .run(&[
                    "snapshot",
                    "create",
                    "--repo-id",
                    "r",
                    "--name",
                    name,
                    "--no-publish",
                ])
                .succeeds();
        };
        create(&mirror, "one");
        let one = mirror.built.mirrored();
        next(&mut mirror);
        create(&mirror, "two");
        let two = mirror.built.mirrored();
        publish(&mirror, "one").succeeds();
        tree(&mirror, "prod").assert_same(&one);
        publish(&mirror, "two").succeeds();
        let shown = tree(&mirror, "prod");
        for (path, bytes) in two.iter() {
            assert_eq!(shown.bytes(path), bytes, "{path}");
        }
        let package = mirror.built.path_of("new-hello");
        assert!(shown.find(&package).is_some());

        let back = publish(&mirror, "one");
        if mirror.upstream.kind() == "apt" {
            // apt would silently keep the newer lists.
            let stderr = back.exits(2).stderr;
            assert!(
                stderr.contains("apt ignores metadata that is older than what it has"),
                "{stderr}"
            );
            tree(&mirror, "prod").assert_same(&shown);
        } else {
            back.succeeds();
            let shown = tree(&mirror, "prod");
            assert_eq!(
                shown.bytes("repodata/repomd.xml"),
                one.bytes("repodata/repomd.xml")
            );
        }
        // The snapshot's own place is not touched by any of it, and a sync does not touch `prod`.
        let before = tree(&mirror, "prod");
        next(&mut mirror);
        tree(&mirror, "prod").assert_same(&before);
        mirror
            .run(&["unpublish", "--path", &prod])
            .succeeds()
            .says("removed [dir]/www/prod\n");
        mirror.run(&["unpublish", "--path", &prod]).fails_with(
            2,
            "error: [dir]/www/prod is not a published tree of this storage\n",
        );
    }
}

#[test]
fn a_sync_makes_a_snapshot_of_what_it_brought() {
    for mirror in both() {
        let sync = ["repo", "sync", "--repo-id", "r", "--create-snapshot"];
        let named = [&sync[..], &["--snapshot-name", "named"]].concat();
        let said = mirror.run(&named).succeeds().stdout;
        assert!(said.contains("  snapshot r/named: 1 package, "), "{said}");
        tree(&mirror, "r/snapshots/named").assert_same(&mirror.built.mirrored());
        mirror.run(&sync).succeeds();
        let listed = mirror.run(&["--format", "json", "snapshot", "list"]).json();
        let name = listed[1]["snapshot"].as_str().unwrap();
        let digits = name.strip_prefix("r-").unwrap().replace('-', "");
        assert_eq!(digits.len(), "20261123064626".len(), "{name}");
        assert!(digits.bytes().all(|digit| digit.is_ascii_digit()), "{name}");
        // The same name again is refused, and the sync itself is good.
        mirror.run(&named).exits(2);
    }
}

#[test]
fn what_stands_in_the_way_stays() {
    let mirror = synced(Upstream::rpm().package(Package::new("hello", "1.0-1")));
    mirror
        .run(&["snapshot", "create", "--repo-id", "r", "--name", "n"])
        .succeeds();
    let publish = |to: &str| {
        let to = mirror.www(to).display().to_string();
        mirror.run(&["publish", "--snapshot-name", "n", "--to", &to])
    };
    for (to, expected) in [
        (
            "r/latest",
            "[dir]/www/r/latest is the same path as publish.latest_path of r ([dir]/www/r/latest)",
        ),
        (
            "r/snapshots/x",
            "[dir]/www/r/snapshots/x is inside publish.snapshots_path of r ([dir]/www/r/snapshots)",
        ),
        (
            "../data/pool/x",
            "[dir]/data/pool/x is inside storage.pool_path ([dir]/data/pool)",
        ),
    ] {
        publish(to).fails_with(2, &format!("error: {expected}\n"));
    }
    publish("prod").succeeds();
    publish("prod/x").fails_with(
        2,
        "error: [dir]/www/prod/x and the published tree [dir]/www/prod overlap\n",
    );
    // Somebody's file is not taken away with the tree.
    let theirs = mirror.www("prod/README");
    fs::write(&theirs, "hand-made").unwrap();
    let prod = mirror.www("prod").display().to_string();
    mirror.run(&["unpublish", "--path", &prod]).exits(2);
    let delete = ["snapshot", "delete", "--name", "n", "--force"];
    mirror.run(&delete).exits(2);
    assert_eq!(fs::read(&theirs).unwrap(), b"hand-made");
    mirror.run(&["snapshot", "show", "--name", "n"]).succeeds();
    fs::remove_file(&theirs).unwrap();
    // Production shows it: that is for somebody to say.
    mirror
        .run(&["snapshot", "delete", "--name", "n"])
        .fails_with(
            2,
            "error: snapshot r/n is published at [dir]/www/prod\n\
         hint: publish another snapshot there first; `--force` removes it there, too\n",
        );
    mirror.run(&delete).succeeds();
    assert!(!mirror.www("prod").exists() && !mirror.www("r/snapshots/n").exists());
}

/// A link on the way leads where it leads.
#[test]
fn links_on_the_way_hide_nothing() {
    let mirror = synced(Upstream::rpm().package(Package::new("hello", "1.0-1")));
    mirror
        .run(&["snapshot", "create", "--repo-id", "r", "--name", "n"])
        .succeeds();
    for (link, target, below) in [
        ("pool", mirror.chantal.data(), "pool/x"),
        ("www", mirror.www(""), "r/latest/x"),
        ("snapshots", mirror.www("r"), "snapshots/x"),
    ] {
        let link = mirror.chantal.dir().join(format!("link-to-{link}"));
        std::os::unix::fs::symlink(target, &link).unwrap();
        let to = link.join(below).display().to_string();
        let stderr = mirror
            .run(&["publish", "--snapshot-name", "n", "--to", &to])
            .exits(2)
            .stderr;
        assert!(stderr.contains(" is inside "), "{stderr}");
    }
}

/// A disk that is not mounted is no reason to forget what is on it.
#[test]
fn a_tree_that_is_away_is_not_forgotten() {
    let mirror = synced(Upstream::rpm().package(Package::new("hello", "1.0-1")));
    let prod = mirror.www("disk/prod").display().to_string();
    mirror
        .run(&[
            "snapshot",
            "create",
            "--repo-id",
            "r",
            "--name",
            "n",
            "--no-publish",
        ])
        .succeeds();
    mirror
        .run(&["publish", "--snapshot-name", "n", "--to", &prod])
        .succeeds();
    fs::rename(mirror.www("disk/prod"), mirror.www("away")).unwrap();
    for command in [
        &["unpublish", "--path", &prod][..],
        &["snapshot", "delete", "--name", "n", "--force"],
    ] {
        mirror.run(command).fails_with(
            5,
            "error: r: published tree [dir]/www/disk/prod does not exist: is its file system mounted?\n\
             hint: mount it; if the disk is lost, `chantal publish` with --recreate publishes the tree again, and `chantal unpublish` with --forget-absent forgets it; nothing was changed there\n",
        );
    }
    fs::rename(mirror.www("away"), mirror.www("disk/prod")).unwrap();
    mirror.run(&["unpublish", "--path", &prod]).succeeds();
    mirror.run(&["unpublish", "--repo-id", "nope"]).exits(2);
}

#[test]
fn names_that_are_none() {
    let chantal = Chantal::new();
    for (name, why) in [
        (
            "latest",
            "`latest` is reserved for the latest state of a repository",
        ),
        (".x", "starts with `.`"),
        ("../x", "contains '/'"),
        ("a b", "only letters, digits, `.`, `_` and `-` are allowed"),
        ("", "is empty"),
    ] {
        let stderr = chantal
            .run(&["snapshot", "create", "--all", "--name", name])
            .exits(2)
            .stderr;
        assert!(stderr.contains(why), "{stderr}");
    }
}

/// Everything that a cleanup must leave as it is.
fn needed(mirror: &Mirror) -> [Tree; 2] {
    [tree(mirror, "r/latest"), tree(mirror, "r/snapshots")]
}

fn pool_size(mirror: &Mirror) -> usize {
    Tree::read(&mirror.chantal.data().join("pool/sha256")).len()
}

#[test]
fn cleanup_removes_what_nothing_names() {
    const DRY: [&str; 5] = ["--format", "json", "db", "cleanup", "--dry-run"];
    const CLEAN: [&str; 4] = ["--format", "json", "db", "cleanup"];
    for mut mirror in both() {
        let run = |mirror: &Mirror, args: &[&str]| mirror.run(args).succeeds().json();
        assert_eq!(run(&mirror, &CLEAN)["objects"], 0);
        let package = mirror.built.path_of("hello");
        mirror
            .run(&["snapshot", "create", "--repo-id", "r", "--name", "a"])
            .succeeds();
        for _ in 0..3 {
            next(&mut mirror);
        }
        let stats = run(&mirror, &["--format", "json", "db", "stats"]);
        let unneeded =
            stats["objects"].as_u64().unwrap() - stats["needed_objects"].as_u64().unwrap();
        assert_eq!(
            unneeded, 0,
            "the tree's earlier generations are kept for a day: {stats}"
        );
        mirror.define(|repository| with_places(repository, "r", "  keep: 0s\n"));
        let before = needed(&mirror);
        let (pool, planned) = (pool_size(&mirror), run(&mirror, &DRY));
        assert_eq!(pool_size(&mirror), pool, "a dry run removes nothing");
        let objects = planned["objects"].as_u64().unwrap();
        assert!(objects > 0, "{planned}");
        assert_eq!(planned["trees"], json!(["[dir]/www/r/latest"]));

        let cleaned = run(&mirror, &CLEAN);
        for key in ["objects", "bytes", "manifests", "objects_kept", "trees"] {
            assert_eq!(cleaned[key], planned[key], "{key}");
        }
        assert_eq!(pool_size(&mirror) as u64, pool as u64 - objects);
        // The snapshot is whole, and so is what clients see; the generations whose time was over
        // are gone from it.
        let [latest, snapshots] = needed(&mirror);
        snapshots.assert_same(&before[1]);
        for (path, bytes) in mirror.built.mirrored().iter() {
            assert_eq!(latest.bytes(path), bytes, "{path}");
        }
        assert!(latest.len() < before[0].len());
        assert!(latest.find(&package).is_none());
        assert_eq!(run(&mirror, &CLEAN)["objects"], 0);

        // The snapshot's own objects go with its name, and come back with the next sync that needs
        // them.
        mirror
            .run(&["snapshot", "delete", "--name", "a"])
            .succeeds();
        assert!(run(&mirror, &CLEAN)["objects"].as_u64().unwrap() > 0);
        mirror
            .run(&["repo", "sync", "--repo-id", "r", "--refresh"])
            .succeeds();
        let latest = tree(&mirror, "r/latest");
        for (path, bytes) in mirror.built.mirrored().iter() {
            assert_eq!(latest.bytes(path), bytes, "{path}");
        }
    }
}

#[test]
fn cleanup_takes_stale_downloads_and_leaves_other_peoples_files() {
    let mirror = synced(Upstream::rpm().package(Package::new("hello", "1.0-1")));
    let pool = mirror.chantal.data().join("pool");
    let [old, young] = ["sha256-old", "sha256-young"].map(|name| pool.join("partial").join(name));
    for path in [&old, &young] {
        fs::write(path, "half a package").unwrap();
    }
    let long_ago =
        std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_600_000_000);
    fs::File::options()
        .write(true)
        .open(&old)
        .unwrap()
        .set_modified(long_ago)
        .unwrap();
    let theirs = pool.join("sha256/README");
    fs::write(&theirs, "not an object").unwrap();
    // From a run that was killed before it could tell the store.
    let orphan = pool.join("sha256/00");
    fs::create_dir_all(&orphan).unwrap();
    let orphan = orphan.join("0".repeat(64));
    fs::write(&orphan, "nobody names me").unwrap();

    let stats = |key: &str| {
        let stats = mirror.run(&["--format", "json", "db", "stats"]);
        stats.succeeds().json()[key].as_u64().unwrap()
    };
    assert_eq!(stats("pool_objects"), stats("objects") + 1);
    let said = mirror.run(&["db", "stats"]).succeeds().stdout;
    let line = "not needed       1 object, 15 B (`chantal db cleanup` removes them)\n";
    assert!(said.contains(line), "{said}");
    let said = mirror.run(&["db", "cleanup"]).succeeds().stdout;
    assert_eq!(stats("pool_objects"), stats("objects"));
    assert!(
        said.starts_with("removed 1 object (15 B), 1 stale download (14 B), 0 manifests; "),
        "{said}"
    );
    assert!(!old.exists() && !orphan.exists());
    assert!(young.exists() && theirs.exists());
}

/// What a disk that is not mounted shows stays needed, and nothing is published in its place.
#[test]
fn cleanup_leaves_trees_that_are_away() {
    let mut mirror = synced(Upstream::rpm().package(Package::new("hello", "1.0-1")));
    for _ in 0..3 {
        next(&mut mirror);
    }
    mirror.define(|repository| with_places(repository, "r", "  keep: 0s\n"));
    fs::rename(mirror.www("r/latest"), mirror.www("away")).unwrap();
    let before = pool_size(&mirror);
    let clean = ["--format", "json", "db", "cleanup"];
    let cleaned = mirror.run(&clean).succeeds().json();
    assert_eq!(cleaned["trees"], json!([]));
    assert!(!mirror.www("r/latest").exists());
    assert_eq!(pool_size(&mirror), before);
    fs::rename(mirror.www("away"), mirror.www("r/latest")).unwrap();
    let cleaned = mirror.run(&clean).succeeds().json();
    assert_eq!(cleaned["trees"], json!(["[dir]/www/r/latest"]));
    assert!(pool_size(&mirror) < before);
}

#[test]
fn cleanup_refuses_another_pool() {
    let mirror = synced(Upstream::rpm().package(Package::new("hello", "1.0-1")));
    let marker = mirror.chantal.data().join("pool/CHANTAL-POOL");
    let text = fs::read_to_string(&marker).unwrap();
    fs::remove_file(&marker).unwrap();
    fs::write(
        &marker,
        text.replace(text.lines().nth(1).unwrap(), "another"),
    )
    .unwrap();
    let before = pool_size(&mirror);
    mirror.run(&["db", "cleanup"]).exits(5);
    assert_eq!(pool_size(&mirror), before);
}
