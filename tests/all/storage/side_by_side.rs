//! Runs that work at the same time: on different repositories, on one that needs the storage
//! exclusively, and dry runs.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;

use crate::kit::chantal::{Chantal, Repository, Running};
use crate::kit::server::{Fault, Server, Times};
use crate::kit::tree::Tree;
use crate::kit::upstream::{Built, Package, Upstream};

/// Two repositories that have one package in common, each on a server of its own.
struct Scene {
    built: [Built; 2],
    /// What is to be published.
    trees: Vec<Tree>,
    servers: [Server; 2],
    chantal: Chantal,
}

const NAMES: [&str; 2] = ["a", "b"];

impl Scene {
    fn new(upstream: &Upstream) -> Self {
        let chantal = Chantal::new();
        let mut built = Vec::new();
        let mut trees = Vec::new();
        let mut servers = Vec::new();
        for name in NAMES {
            let upstream = upstream
                .clone()
                .package(Package::new("common", "1.0-1").raw(b"the same in both\n"))
                .package(Package::new(name, "1.0-1"));
            let made = upstream.build();
            let server = Server::start(made.tree.clone());
            let repository = Repository::of(name, &upstream, &server.url());
            chantal.repository(&repository);
            trees.push(made.mirrored_by(&repository));
            built.push(made);
            servers.push(server);
        }
        Self {
            built: built.try_into().unwrap_or_else(|_| unreachable!()),
            trees,
            servers: servers.try_into().unwrap_or_else(|_| unreachable!()),
            chantal,
        }
    }

    fn common(&self) -> String {
        self.built[0].path_of("common")
    }

    /// A sync of the first repository, in the middle of the file that both need.
    fn start_stalled(&self) -> Running<'_> {
        let common = self.common();
        self.servers[0].fault(&common, Times::Always, Fault::Stall(5));
        let first = self.chantal.spawn(&sync("a"));
        self.servers[0].wait_for(&common, 1);
        first
    }

    fn end_stall(&self) {
        self.servers[0].clear_faults();
        self.servers[0].release();
    }

    #[track_caller]
    fn is_whole(&self) {
        for (name, tree) in NAMES.iter().zip(&self.trees) {
            self.chantal.published_tree(name).assert_same(tree);
        }
    }
}

fn sync(name: &str) -> [&str; 4] {
    ["repo", "sync", "--repo-id", name]
}

/// What both need is downloaded by one of them, and the other one waits for that; the rest goes on
/// meanwhile.
#[test]
fn two_syncs_of_two_repositories() {
    for upstream in Upstream::both() {
        let scene = Scene::new(&upstream);
        // The storage is there.
        scene.chantal.run(&["init"]).succeeds();
        let common = scene.common();
        let first = scene.start_stalled();
        let mut second = scene.chantal.spawn(&sync("b"));
        scene.servers[1].wait_for(&scene.built[1].path_of("b"), 1);
        assert!(second.is_running());
        assert!(scene.servers[1].requests_of(&common).is_empty());
        scene.end_stall();
        first.wait().succeeds();
        second.wait().succeeds();
        assert!(scene.servers[1].requests_of(&common).is_empty());
        scene.is_whole();
    }
}

/// The one that was downloading is killed: the other one goes on with what it got.
#[test]
fn a_download_of_a_killed_run_is_taken_over() {
    for upstream in Upstream::both() {
        let scene = Scene::new(&upstream);
        scene.chantal.run(&["init"]).succeeds();
        let first = scene.start_stalled();
        let second = scene.chantal.spawn(&sync("b"));
        scene.servers[1].wait_for(&scene.built[1].path_of("b"), 1);
        first.kill();
        second.wait().succeeds();
        scene.servers[0].clear_faults();
        scene.chantal.run(&sync("a")).succeeds();
        scene.is_whole();
    }
}

/// A cleanup is refused while anything is on its way into the pool, or waits for its end.
#[test]
fn a_cleanup_waits_for_a_sync() {
    let scene = Scene::new(&Upstream::deb());
    scene.chantal.run(&["init"]).succeeds();
    let first = scene.start_stalled();
    for args in [
        &["db", "cleanup"][..],
        &["db", "cleanup", "--wait=0s"],
        &["pool", "take-over", "--from", "0"],
    ] {
        let code = if args[0] == "pool" { 2 } else { 6 };
        scene.chantal.run(args).says("").exits(code);
    }
    let mut cleanup = scene.chantal.spawn(&["-v", "db", "cleanup", "--wait"]);
    scene.chantal.run(&["repo", "list"]).succeeds();
    assert!(cleanup.is_running());
    scene.end_stall();
    first.wait().succeeds();
    let cleanup = cleanup.wait().exits(0);
    assert!(
        cleanup.stderr.contains("is locked by another process"),
        "{cleanup:?}"
    );
    scene.chantal.run(&sync("b")).succeeds();
    scene.is_whole();
}

#[test]
fn what_wait_takes() {
    let chantal = Chantal::with_storage();
    for good in ["--wait", "--wait=10", "--wait=5m", "--wait=always"] {
        chantal.run(&["db", "cleanup", good]).succeeds();
    }
    for bad in ["--wait=", "--wait=soon", "--wait=-1"] {
        chantal.run(&["db", "cleanup", bad]).exits(2);
    }
}

/// Writers take turns in the store: no run fails over another one's transaction, and nothing of it
/// is lost.
#[test]
fn many_runs_at_once() {
    let scene = Scene::new(&Upstream::rpm());
    scene.chantal.run(&["repo", "sync", "--all"]).succeeds();
    let rounds: usize = 6;
    let run = |args: &[&str]| scene.chantal.command(args);
    let mut queues: Vec<Vec<Command>> = Vec::new();
    for name in NAMES {
        let refresh = ["repo", "sync", "--repo-id", name, "--refresh", "--wait"];
        queues.push((0..rounds).map(|_| run(&refresh)).collect());
        let publish = ["publish", "--repo-id", name, "--wait"];
        let names = (0..rounds).map(|number| format!("s{number}"));
        queues.push(
            names
                .flat_map(|snapshot| {
                    let create = ["snapshot", "create", "--repo-id", name, "--name", &snapshot];
                    [run(&[&create[..], &["--wait"]].concat()), run(&publish)]
                })
                .collect(),
        );
    }
    let dry_run = ["repo", "sync", "--all", "--dry-run", "--refresh"];
    let others = [&["db", "cleanup", "--wait"][..], &dry_run];
    queues.push(
        (0..2 * rounds)
            .map(|number| run(others[number % 2]))
            .collect(),
    );
    thread::scope(|scope| {
        for queue in queues {
            scope.spawn(move || {
                for mut command in queue {
                    let output = command.output().unwrap();
                    assert!(output.status.success(), "{command:?}: {output:?}");
                }
            });
        }
    });
    scene.is_whole();
    let list = scene.chantal.run(&["--format", "json", "snapshot", "list"]);
    let list = list.succeeds().json();
    assert_eq!(list.as_array().unwrap().len(), 2 * rounds);
    for name in NAMES {
        let history = ["--format", "json", "repo", "history", "--repo-id", name];
        let history = scene.chantal.run(&history).succeeds().json();
        assert_eq!(history.as_array().unwrap().len(), 1 + rounds);
    }
    let cleanup = ["--format", "json", "db", "cleanup", "--dry-run"];
    let cleanup = scene.chantal.run(&cleanup).succeeds().json();
    assert_eq!(cleanup["objects"], 0, "{cleanup:#}");
    // No run left its file in the directory of locks.
    let locks = fs::read_dir(scene.chantal.data().join("locks")).unwrap();
    let names: Vec<_> = locks.map(|file| file.unwrap().file_name()).collect();
    let is_run = |name: &&std::ffi::OsString| name.to_str().unwrap().starts_with("run-");
    assert_eq!(names.iter().filter(is_run).count(), 0, "{names:?}");
}

/// Two that make a snapshot of one name: one of them makes it.
#[test]
fn one_name_for_two() {
    let scene = Scene::new(&Upstream::deb());
    scene.chantal.run(&["repo", "sync", "--all"]).succeeds();
    for number in 0..5 {
        let name = format!("s{number}");
        let args = ["snapshot", "create", "--repo-id", "a", "--name", &name];
        let args = [&args[..], &["--no-publish", "--wait"]].concat();
        let mut both = [(); 2].map(|()| scene.chantal.command(&args).spawn().unwrap());
        let codes = both.each_mut().map(|run| run.wait().unwrap().code());
        let made = codes.iter().filter(|code| **code == Some(0)).count();
        assert_eq!(made, 1, "{codes:?}");
    }
}

fn content(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let tree = Tree::read(dir);
    tree.iter()
        .filter(|(path, _)| !path.starts_with("cache/"))
        .map(|(path, bytes)| (path.to_owned(), bytes.to_vec()))
        .collect()
}

/// It says the same before and after the sync of others, changes nothing, and needs no lock.
#[test]
fn a_dry_run_takes_no_lock_and_changes_nothing() {
    for upstream in Upstream::both() {
        let scene = Scene::new(&upstream);
        let dry_run = ["repo", "sync", "--repo-id", "a", "--dry-run"];
        // Where nothing is yet, nothing is made.
        let new = scene.chantal.run(&dry_run).succeeds();
        assert!(new.stdout.contains("2 packages"), "{new:?}");
        assert!(!scene.chantal.data().exists());

        scene.chantal.run(&sync("b")).succeeds();
        let before = content(&scene.chantal.data());
        let one = scene.chantal.run(&dry_run).succeeds();
        assert!(one.stdout.contains("1 file"), "{one:?}");
        assert!(content(&scene.chantal.data()) == before);
        // Indexes that an earlier dry run brought are there.
        scene.servers[0].clear_log();
        scene.chantal.run(&dry_run).succeeds();
        let asked = scene.servers[0].request_lines();
        let is_index = |line: &&String| line.contains("Packages") || line.contains("primary");
        let indexes: Vec<_> = asked.iter().filter(is_index).collect();
        assert!(
            indexes.iter().all(|line| line.ends_with(" 404")),
            "{asked:?}"
        );

        let common = scene.common();
        let mine = scene.built[0].path_of("a");
        scene.servers[0].fault(&mine, Times::Always, Fault::Stall(5));
        let running = scene.chantal.spawn(&sync("a"));
        scene.servers[0].wait_for(&mine, 1);
        scene.chantal.run(&dry_run).succeeds();
        let preview = scene.chantal.run(&["db", "cleanup", "--dry-run"]).exits(0);
        assert!(preview.stderr.contains("`repo sync`"), "{preview:?}");
        scene.end_stall();
        running.wait().succeeds();
        assert!(scene.servers[0].requests_of(&common).is_empty());
        scene.is_whole();
        let cache = scene.chantal.data().join("cache/dry-run");
        assert!(cache.exists());
        scene.chantal.run(&["db", "cleanup"]).succeeds();
        assert!(!cache.exists());
    }
}

/// They make the cache together, also while a cleanup removes it.
#[test]
fn dry_runs_at_once() {
    let scene = Scene::new(&Upstream::deb());
    scene.chantal.run(&["repo", "sync", "--all"]).succeeds();
    for _ in 0..5 {
        let dry_run = ["repo", "sync", "--all", "--dry-run", "--refresh"];
        let runs = [(); 4].map(|()| scene.chantal.spawn(&dry_run));
        scene.chantal.run(&["db", "cleanup", "--wait"]).succeeds();
        for run in runs {
            run.wait().succeeds();
        }
    }
}

/// A link would never name the file that is locked: a run says so, and does not look for ever.
#[test]
fn a_lock_file_that_is_a_link() {
    let scene = Scene::new(&Upstream::rpm());
    scene.chantal.run(&["init"]).succeeds();
    let lock = scene.chantal.data().join("chantal.lock");
    let elsewhere = scene.chantal.data().join("elsewhere");
    fs::rename(&lock, &elsewhere).unwrap();
    std::os::unix::fs::symlink("elsewhere", &lock).unwrap();
    for args in [&["db", "cleanup"][..], &sync("a")] {
        scene.chantal.run(args).says("").fails_with(
            5,
            "error: [dir]/data/chantal.lock is not a regular file\n\
             hint: move it away: chantal creates its lock files itself\n",
        );
    }
    fs::rename(&elsewhere, &lock).unwrap();
    scene.chantal.run(&sync("a")).succeeds();
}
