//! Several repositories in a run, several tenants on a host, and the ways in and out of one
//! repository.

use std::fs;
use std::process::Command;

use super::{both, hello, mirror_of, noise};
use crate::kit::chantal::{Chantal, Repository};
use crate::kit::mirror::Mirror;
use crate::kit::process::{self, Output};
use crate::kit::server::{Fault, Server, Times};
use crate::kit::tree::{Tree, inodes};
use crate::kit::upstream::{Package, Upstream};

/// An upstream directory and a definition for each format: `deb` and `rpm`.
fn two(chantal: &Chantal) -> [Tree; 2] {
    both().map(|upstream| {
        let name = match upstream.kind() {
            "apt" => "deb",
            _ => "rpm",
        };
        let built = upstream.build();
        built
            .tree
            .write_to(&chantal.dir().join("upstream").join(name));
        let url = format!("../../upstream/{name}");
        chantal.repository(&Repository::of(name, &upstream, &url));
        built.mirrored_as(name)
    })
}

#[test]
fn directories_are_upstreams_too() {
    for upstream in both() {
        let built = upstream.build();
        let chantal = Chantal::new();
        let directory = chantal.dir().join("up stream");
        built.tree.write_to(&directory);
        let absolute = directory.display().to_string();
        for url in [
            "../../up stream".to_owned(),
            absolute.clone(),
            format!("file://{}", absolute.replace(' ', "%20")),
        ] {
            chantal.repository(&Repository::of("r", &upstream, &url));
            let sync = || chantal.run(&["repo", "sync", "--repo-id", "r"]).succeeds();
            sync();
            chantal.published_tree("r").assert_same(&built.mirrored());
            sync().mentions("r: unchanged, 1 package, 1 request, ");
        }
    }
}

#[test]
fn one_that_fails_does_not_stop_the_others() {
    for workers in ["1", "3"] {
        let chantal = Chantal::new();
        let expected = two(&chantal);
        // Not the package of the others, which would do.
        let refused = mirror_of(Upstream::rpm().package(hello().file(b"another")));
        let package = refused.built.path_of("hello");
        refused
            .server
            .fault(&package, Times::Always, Fault::Status(404));
        let url = refused.server.url();
        chantal.hide(&url, "[server]");
        chantal.repository(&Repository::of("c-refused", &refused.upstream, &url));
        let absent = Repository::of("d-absent", &refused.upstream, "../../nowhere");
        chantal.repository(&absent.clone().more("enabled: false\n"));
        let unreachable = Server::start(Tree::new());
        unreachable.fault("repodata/repomd.xml", Times::Always, Fault::Status(500));
        chantal.hide(&unreachable.url(), "[down]");
        chantal.repository(&Repository::of(
            "e-down",
            &refused.upstream,
            &unreachable.url(),
        ));
        chantal.global("storage:\n  base_path: ../../data\ndownload:\n  retries: 0\n");

        let args = ["repo", "sync", "--all", "--workers", workers];
        let output = chantal.run(&args).exits(4);
        for said in [
            "error: c-refused: package hello 1.0-1 (x86_64): [server]/hello-1.0-1.x86_64.rpm: not found\n",
            "error: e-down: cannot fetch the metadata: [down]/repodata/repomd.xml: server returned HTTP status 500\n",
            "\n2 of 4 repositories synced, 2 changed, ",
        ] {
            let output = output.clone();
            output.mentions(said);
        }
        assert!(!output.stderr.contains("d-absent"));
        for (name, expected) in ["deb", "rpm"].iter().zip(&expected) {
            chantal.published_tree(name).assert_same(expected);
        }

        // Only the unreachable one is left.
        refused.server.clear_faults();
        chantal
            .run(&args)
            .exits(3)
            .mentions("3 of 4 repositories synced, 1 changed, ");
        unreachable.swap(refused.built.tree.clone());
        unreachable.clear_faults();
        chantal.run(&args).succeeds();
    }
}

#[test]
fn errors_come_in_the_order_of_the_repositories() {
    let chantal = Chantal::new();
    let upstream = Upstream::rpm().package(hello());
    for name in ["a", "b"] {
        chantal.repository(&Repository::of(name, &upstream, "../../nowhere"));
    }
    let error = |name: &str| {
        format!(
            "error: {name}: [dir]/nowhere does not exist or is not a directory\n\
             hint: mount it, or correct upstream.url (a URL begins with https:// or http://); \
             the state of the last successful sync is unchanged\n"
        )
    };
    let message = error("a") + &error("b");
    let nothing = "0 of 2 repositories synced, 0 changed, 2 requests, 0 B downloaded\n";
    chantal
        .run(&["repo", "sync", "--all"])
        .fails_with(4, &message)
        .says(nothing);
}

#[test]
fn what_cannot_be_a_name_is_refused_on_the_command_line() {
    let chantal = Chantal::new();
    for command in [
        &["repo", "sync"][..],
        &["repo", "show"],
        &["repo", "history"],
        &["repo", "trust"],
        &["repo", "remove"],
        &["snapshot", "create", "--name", "s"],
        &["snapshot", "list"],
        &["snapshot", "merge", "--source", "s", "--name", "t"],
        &["publish"],
        &["unpublish"],
    ] {
        chantal
            .run(&[command, &["--repo-id", "../r"]].concat())
            .fails_with(
                2,
                "error: invalid value '../r' for '--repo-id <NAME>': \"../r\" contains '/'; only letters, digits, `.`, `_` \
                 and `-` are allowed\n\nFor more information, try '--help'.\n",
            );
    }
}

#[test]
fn repositories_are_chosen_by_name() {
    let chantal = Chantal::new();
    chantal
        .run(&["repo", "sync", "--all"])
        .fails_with(2, "error: no repository is enabled\n");
    chantal.run(&["repo", "sync", "--repo-id", "r"]).fails_with(
        2,
        "error: unknown repository r: no repository is configured\n",
    );
    let [deb, _] = two(&chantal);
    chantal
        .run(&["repo", "sync", "--repo-id", "r"])
        .fails_with(2, "error: unknown repository r (known: deb, rpm)\n");
    assert!(!chantal.data().exists());

    // Named twice it is synced once; named it is synced though it is disabled.
    let upstream = &both()[0];
    let disabled = Repository::of("deb", upstream, "../../upstream/deb").more("enabled: false\n");
    chantal.repository(&disabled);
    let sync = ["repo", "sync", "--repo-id", "deb", "--repo-id", "deb"];
    let output = chantal.run(&[&sync[..], &["--format", "json"]].concat());
    assert_eq!(output.exits(0).json().as_array().unwrap().len(), 1);
    chantal.published_tree("deb").assert_same(&deb);
    assert!(!chantal.published("rpm").exists());
}

#[test]
fn tenants_live_side_by_side() {
    let tenants = [Chantal::new(), Chantal::new()];
    let mut expected = Vec::new();
    for (chantal, body) in tenants.iter().zip([&b"one"[..], b"two"]) {
        let upstream = Upstream::rpm().package(hello().file(body));
        let built = upstream.build();
        built.tree.write_to(&chantal.dir().join("upstream"));
        chantal.repository(&Repository::of("r", &upstream, "../../upstream"));
        expected.push(built.mirrored());
    }
    // At the same time, and one of them through the environment.
    let first = tenants[0].spawn(&["repo", "sync", "--all"]);
    let mut command = Command::new(env!("CARGO_BIN_EXE_chantal"));
    command
        .args(["repo", "sync", "--all"])
        .env_clear()
        .env("CHANTAL_CONFIG_DIR", tenants[1].config());
    Output::new("chantal repo sync --all", &process::run(command)).succeeds();
    first.wait().succeeds();
    let trees = tenants
        .each_ref()
        .map(|chantal| chantal.published_tree("r"));
    for (tree, expected) in trees.iter().zip(&expected) {
        tree.assert_same(expected);
    }
    assert_ne!(trees[0], trees[1]);
}

#[test]
fn without_latest_path_nothing_is_published() {
    for upstream in both() {
        let mirror = mirror_of(upstream).defined(Repository::unpublished);
        let said = mirror.sync().succeeds().stdout;
        assert!(!said.contains("published"), "{said}");
        assert!(!mirror.chantal.dir().join("www").exists());
        let publish = |which: &[&str]| mirror.chantal.run(&[&["publish"], which].concat());
        publish(&["--repo-id", "r"]).fails_with(2, "error: r has no publish.latest_path\n");
        publish(&["--all"]).fails_with(
            0,
            "warning: nothing to publish: no enabled repository has publish.latest_path\n",
        );

        // Once it has one, the next sync publishes there, though the upstream did not change.
        mirror.chantal.repository(&mirror.usual());
        mirror.sync().succeeds().says(&format!(
            "r: unchanged, 1 package, 1 request, 0 B downloaded\n  \
             published at [dir]/www/r/latest ({} files)\n",
            mirror.built.mirrored().len()
        ));
        mirror.tree().assert_same(&mirror.built.mirrored());
    }
}

#[test]
fn publishing_by_hand() {
    for upstream in both() {
        let publish = "publish:\n  latest_path: ../../www/r/latest\n  auto: false\n";
        let mut mirror =
            mirror_of(upstream).defined(|repository| repository.unpublished().more(publish));
        let run = |mirror: &Mirror| mirror.chantal.run(&["publish", "--repo-id", "r"]);
        mirror.chantal.run(&["init"]).exits(0);
        run(&mirror).says("").fails_with(
            1,
            "error: r has never been synced: there is no state to publish\nhint: run `chantal repo sync --repo-id r` first\n",
        );
        mirror.sync().succeeds();
        assert!(!mirror.chantal.dir().join("www").exists());
        let files = mirror.built.mirrored().len();
        let said = format!("r: published at [dir]/www/r/latest ({files} files)\n");
        run(&mirror).succeeds().says(&said);
        let first = mirror.built.mirrored();
        mirror.tree().assert_same(&first);
        // It is made anew whatever is there.
        run(&mirror).succeeds().says(&said);
        mirror.tree().assert_same(&first);

        mirror.next(|upstream| upstream.add(Package::new("new", "1-1")));
        mirror.sync().succeeds();
        mirror.tree().assert_same(&first);
        run(&mirror).succeeds();
        let package = mirror.built.path_of("new");
        assert!(mirror.tree().find(&package).is_some());
    }
}

#[test]
fn a_dry_run_says_the_plan_and_changes_nothing() {
    for upstream in both() {
        let large = Package::new("large", "1-1").raw(&noise(200_000));
        let mut mirror = mirror_of(upstream.package(large)).with_storage();
        let packages = |mirror: &Mirror| {
            let paths = ["hello", "large"].map(|name| mirror.built.path_of(name));
            paths
                .iter()
                .map(|path| mirror.server.requests_of(path).len())
                .sum::<usize>()
        };
        let said = mirror.sync_with(&["--dry-run"]).succeeds().stdout;
        let lines: Vec<&str> = said.lines().collect();
        let size = mirror
            .built
            .tree
            .bytes(&mirror.built.path_of("hello"))
            .len() as u64
            + 200_000;
        let plan = format!(
            "r: 2 packages; would download 2 files ({})",
            indicatif::HumanBytes(size)
        );
        assert_eq!(lines[0], plan);
        assert!(lines[1].starts_with("  disk: ") && lines[1].ends_with(" after the download"));
        assert_eq!(lines.len(), 2);
        assert_eq!(packages(&mirror), 0);
        assert!(!mirror.chantal.dir().join("www").exists());
        let list = mirror
            .chantal
            .run(&["repo", "list", "--format", "json"])
            .json();
        assert_eq!(list[0]["manifest"], serde_json::Value::Null);
        mirror
            .chantal
            .run(&["repo", "history", "--repo-id", "r"])
            .succeeds()
            .says("r has never been synced\n");

        // The indexes that the plan needed are not fetched again.
        mirror.server.clear_log();
        mirror.sync().succeeds();
        for request in mirror.server.requests().iter().filter(|r| r.status == 200) {
            let path = &request.path;
            let is_root = path.contains("repomd.xml") || path.ends_with("Release.gpg");
            let is_index = path.contains("/by-hash/") || path.starts_with("repodata/");
            assert!(is_root || !is_index, "{path}");
        }
        mirror.tree().assert_same(&mirror.built.mirrored());
        let nothing = "r: unchanged, nothing to download\n";
        mirror.sync_with(&["--dry-run"]).succeeds().says(nothing);

        mirror.next(|upstream| upstream.add(Package::new("new", "1-1")));
        let before = inodes(&mirror.chantal.published("r"));
        let plan = mirror
            .sync_with(&["--dry-run", "--format", "json"])
            .succeeds()
            .json();
        let new = mirror.built.tree.bytes(&mirror.built.path_of("new")).len();
        assert_eq!(plan[0]["outcome"], "change");
        assert_eq!(plan[0]["packages"], 3);
        assert_eq!(plan[0]["files"], 1);
        assert_eq!(plan[0]["bytes"], new);
        let free = |when: &str| plan[0][format!("free_{when}")].as_u64().unwrap();
        assert_eq!(free("before") - free("after"), new as u64);
        assert_eq!(inodes(&mirror.chantal.published("r")), before);
    }
}

#[test]
fn a_dry_run_fails_as_the_sync_would() {
    for upstream in both() {
        let mirror = mirror_of(upstream);
        mirror.server.swap(Tree::new());
        let dry = mirror.sync_with(&["--dry-run"]).exits(4).says("");
        let real = mirror.sync();
        assert_eq!(dry.stderr, real.stderr);
        assert!(
            dry.stderr
                .starts_with("error: r: no repository found: none of ")
        );
    }
}

#[test]
fn published_files_are_links_that_anybody_may_read() {
    for upstream in both() {
        let mirror = mirror_of(upstream);
        mirror.sync().succeeds();
        for (path, inode) in inodes(&mirror.chantal.published("r")) {
            assert_eq!(inode.mode, 0o444, "{path}");
            assert!(inode.links >= 2, "{path}");
        }
        let beside = fs::read_dir(mirror.chantal.dir().join("www/r"))
            .unwrap()
            .count();
        assert_eq!(beside, 1, "no staging directory is left");
    }
}
