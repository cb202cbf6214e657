//! Runs that are killed, interrupted or disturbed: nothing is half-visible, nothing is lost,
//! nothing is fetched twice.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::kit::mirror::{Mirror, ONE_BY_ONE, SYNC};
use crate::kit::server::{Fault, Times};
use crate::kit::tree::Tree;
use crate::kit::upstream::{Built, Checksum, Package, Upstream};

const PACKAGES: usize = 12;

/// An upstream in its first generation, and what it will have in its second: every package is
/// another then.
struct Scene {
    mirror: Mirror,
    old: Built,
}

fn package(number: usize, version: usize) -> Package {
    let body = format!("body {number} of version {version}\n").repeat(2000);
    Package::new(&format!("p{number:02}"), &format!("{version}.0-1")).raw(body.as_bytes())
}

impl Scene {
    /// Synced once; the server has the second generation.
    fn of(upstream: Upstream) -> Self {
        let mut upstream = upstream;
        upstream.packages = (0..PACKAGES).map(|number| package(number, 1)).collect();
        let mut mirror = Mirror::of(upstream).configured(ONE_BY_ONE).synced();
        let old = mirror.built.clone();
        mirror.next(|upstream| {
            upstream.packages = (0..PACKAGES).map(|number| package(number, 2)).collect();
        });
        mirror.server.clear_log();
        Self { mirror, old }
    }

    fn published(&self) -> PathBuf {
        self.mirror.published()
    }

    /// The tree shows the old generation exactly.
    #[track_caller]
    fn shows_the_old(&self) {
        Tree::read(&self.published()).assert_same(&self.old.mirrored());
    }

    /// The tree shows the old generation. Packages of the new one may be there, too.
    #[track_caller]
    fn shows_the_old_to_clients(&self) {
        let mut tree = Tree::read(&self.published());
        let old = self.old.mirrored();
        let mut added: Vec<String> = tree.paths().into_iter().map(str::to_owned).collect();
        added.retain(|path| old.find(path).is_none());
        for path in added {
            let new = self.mirror.built.tree.find(&path);
            assert!(new.is_some() && new == tree.find(&path), "{path}");
            tree.remove(&path);
        }
        tree.assert_same(&old);
    }

    /// The tree shows the new generation, and beside it the old one's indexes and packages: not its
    /// root.
    #[track_caller]
    fn shows_the_new(&self) {
        let mut expected = retained(&self.old);
        expected.merge("", &self.mirror.built.mirrored());
        Tree::read(&self.published()).assert_same(&expected);
    }

    /// Only the tree is where it is published, nothing is half-downloaded, and the pool holds no
    /// temporary files.
    #[track_caller]
    fn left_no_clutter(&self) {
        let names = |path: &Path| -> Vec<String> {
            let entries = fs::read_dir(path).unwrap();
            let mut names: Vec<String> = entries
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
            names.sort();
            names
        };
        assert_eq!(names(self.published().parent().unwrap()), ["latest"]);
        let pool = self.mirror.chantal.data().join("pool");
        assert_eq!(names(&pool.join("partial")), [""; 0]);
        assert_eq!(names(&pool), ["CHANTAL-POOL", "partial", "sha256"]);
        assert_eq!(
            names(&self.mirror.chantal.data()),
            ["chantal.lock", "chantal.redb", "locks", "pool"]
        );
        let locks = names(&self.mirror.chantal.data().join("locks"));
        assert!(
            !locks.iter().any(|name| name.starts_with("run-")),
            "{locks:?}"
        );
    }

    /// How often each path was asked for, keys aside.
    fn asked(&self) -> BTreeMap<String, usize> {
        let mut asked = BTreeMap::new();
        for request in self.mirror.server.requests() {
            *asked.entry(request.path).or_insert(0) += 1;
        }
        asked
    }

    /// Packages of the new generation in the order in which they are downloaded.
    fn packages(&self) -> Vec<String> {
        let mut paths: Vec<String> = (0..PACKAGES)
            .map(|number| self.mirror.built.path_of(&format!("p{number:02}")))
            .collect();
        paths.sort();
        paths
    }

    /// The index that lists the packages, as it is asked for first.
    fn index(&self) -> String {
        let lines = self.mirror.built.tree.paths();
        let index = match self.mirror.upstream.kind() {
            "apt" => {
                let bytes = self
                    .mirror
                    .built
                    .tree
                    .bytes("dists/stable/main/binary-amd64/Packages.xz");
                lines.into_iter().find(|path| {
                    path.contains("by-hash") && self.mirror.built.tree.bytes(path) == bytes
                })
            }
            _ => lines
                .into_iter()
                .find(|path| path.ends_with("primary.xml.gz")),
        };
        index.unwrap().to_owned()
    }

    fn signature(&self) -> &'static str {
        match self.mirror.upstream.kind() {
            "apt" => "dists/stable/Release.gpg",
            _ => "repodata/repomd.xml.asc",
        }
    }

    /// Until a file of this length is being downloaded: a request is entered before its body is
    /// sent.
    fn wait_for_partial(&self, length: usize) {
        let partial = self.mirror.chantal.data().join("pool/partial");
        let start = Instant::now();
        let is_there = || {
            let mut files = fs::read_dir(&partial).unwrap().flatten();
            files.any(|file| {
                file.metadata()
                    .is_ok_and(|meta| meta.len() == length as u64)
            })
        };
        while !is_there() {
            assert!(start.elapsed() < Duration::from_secs(30), "nothing comes");
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Kills a sync that waits for the rest of this file.
    fn kill_at(&self, path: &str, after: usize) {
        self.mirror
            .server
            .fault(path, Times::Always, Fault::Stall(after));
        let running = self.mirror.chantal.spawn(&SYNC);
        self.mirror.server.wait_for(path, 1);
        if self.packages().iter().any(|package| package == path) {
            self.wait_for_partial(after);
        }
        running.kill();
        self.mirror.server.clear_faults();
        self.mirror.server.release();
    }
}

/// What of a generation stays when the next one is published.
fn retained(built: &Built) -> Tree {
    let mut tree = built.mirrored();
    tree.retain(|path| !is_root(path));
    tree
}

fn is_root(path: &str) -> bool {
    [
        "InRelease",
        "stable/Release",
        "Release.gpg",
        "repomd.xml",
        "repomd.xml.asc",
    ]
    .iter()
    .any(|name| path.ends_with(name))
}

/// A client that never stops: it reads a root and then everything that this root leads to. Where
/// both generations have a file of one name (`Packages.xz`, which its by-hash copy is for) it may
/// find the other one's, if the exchange came between.
struct Client {
    stop: Arc<AtomicBool>,
    rounds: Arc<AtomicUsize>,
    thread: Option<JoinHandle<()>>,
}

impl Client {
    fn start(scene: &Scene) -> Self {
        let (stop, rounds) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicUsize::new(0)),
        );
        let root = scene.mirror.upstream.root();
        let generations = [&scene.old, &scene.mirror.built]
            .map(|built| (built.tree.bytes(&root).to_vec(), retained(built)));
        let (stopped, counted, published) = (stop.clone(), rounds.clone(), scene.published());
        let thread = thread::spawn(move || {
            while !stopped.load(Ordering::SeqCst) {
                let found = fs::read(published.join(&root)).expect("the root is always there");
                let place = generations
                    .iter()
                    .position(|(root, _)| *root == found)
                    .expect("the root is one of the two");
                let (files, others) = (&generations[place].1, &generations[1 - place].1);
                for (path, bytes) in files.iter() {
                    let read = fs::read(published.join(path));
                    let read = read.unwrap_or_else(|e| panic!("{path} of this root: {e}"));
                    let is_right = read == bytes || others.find(path).is_some_and(|o| *o == *read);
                    assert!(is_right, "{path} is not what the root means");
                }
                counted.fetch_add(1, Ordering::SeqCst);
            }
        });
        Self {
            stop,
            rounds,
            thread: Some(thread),
        }
    }

    /// After at least one more look.
    fn end(mut self) {
        let thread = self.thread.take().unwrap();
        let (start, seen) = (Instant::now(), self.rounds.load(Ordering::SeqCst));
        while self.rounds.load(Ordering::SeqCst) <= seen && !thread.is_finished() {
            assert!(
                start.elapsed() < Duration::from_mins(1),
                "the client stands still"
            );
            thread::yield_now();
        }
        self.stop.store(true, Ordering::SeqCst);
        thread.join().unwrap();
    }
}

impl Drop for Client {
    /// A failed test removes the tree: the client must not fail over that.
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

#[test]
fn killed_while_it_waits_for_the_server() {
    for upstream in Upstream::both() {
        let scene = Scene::of(upstream);
        let client = Client::start(&scene);
        let packages = scene.packages();
        let points = [
            scene.mirror.upstream.root(),
            scene.signature().to_owned(),
            scene.index(),
            packages[0].clone(),
            packages[5].clone(),
            packages[PACKAGES - 1].clone(),
        ];
        for (place, path) in points.iter().enumerate() {
            scene.mirror.server.clear_log();
            scene.kill_at(path, 10);
            scene.shows_the_old();
            // Once the indexes are there, only packages are asked for; each of them once, over all
            // runs.
            let asked = scene.asked();
            if place > 3 {
                assert!(!asked.contains_key(&scene.index()), "{asked:#?}");
                assert!(
                    !asked.contains_key(&packages[0]) || place == 4,
                    "{asked:#?}"
                );
            }
        }
        scene.mirror.server.clear_log();
        scene.mirror.chantal.run(&SYNC).succeeds();
        let asked = scene.asked();
        assert_eq!(asked.get(&packages[PACKAGES - 1]), Some(&1));
        for package in &packages[..PACKAGES - 1] {
            assert_eq!(asked.get(package), None, "{package} was there");
        }
        let resumed = scene.mirror.server.requests_of(&packages[PACKAGES - 1]);
        assert_eq!(resumed[0].header("range"), Some("bytes=10-"));
        scene.shows_the_new();
        scene.left_no_clutter();
        client.end();
    }
}

/// Twenty kills at moments that nobody chose, each followed by a look at the tree; then a run to
/// the end.
#[test]
fn killed_at_any_moment() {
    let mut seed: u64 = 0x5eed;
    for upstream in Upstream::both() {
        let scene = Scene::of(upstream);
        let client = Client::start(&scene);
        let mut changed = false;
        for round in 0..10 {
            // Knuth's multiplier; the high bits are random enough.
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let delay = Duration::from_micros((seed >> 33) % 60_000);
            let mut child = scene.mirror.chantal.command(&SYNC).spawn().unwrap();
            thread::sleep(delay);
            child.kill().unwrap();
            child.wait().unwrap();
            let root = fs::read(scene.published().join(scene.mirror.upstream.root())).unwrap();
            let is_new = root == scene.mirror.built.tree.bytes(&scene.mirror.upstream.root());
            assert!(
                is_new || !changed,
                "round {round}: the old generation came back"
            );
            changed = is_new;
            if is_new {
                scene.shows_the_new();
            } else {
                scene.shows_the_old_to_clients();
            }
            scene.mirror.chantal.run(&["repo", "list"]).succeeds();
        }
        scene.mirror.chantal.run(&SYNC).succeeds();
        scene.shows_the_new();
        // All that a kill may leave is a temporary file of an object, whose name is not known to the
        // next run: cleanup removes it.
        let partial = scene.mirror.chantal.data().join("pool/partial");
        for file in fs::read_dir(partial).unwrap() {
            let name = file.unwrap().file_name();
            assert!(name.to_str().unwrap().starts_with("made-"), "{name:?}");
        }
        scene.mirror.chantal.run(&["db", "cleanup"]).succeeds();
        scene.shows_the_new();
        scene.left_no_clutter();
        for (path, count) in scene.asked() {
            // A kill between the answer and the rename costs that one file again, and there were
            // ten.
            assert!(count <= 11, "{path}: {count}");
        }
        client.end();
    }
}

/// Killed as soon as something happens to the staging directory, and a little later each time,
/// until the tree is new: while it is filled, and while what the kill before left is cleared away.
#[test]
fn killed_while_it_publishes() {
    for upstream in Upstream::both() {
        // On a busy machine a whole run may come and go before this thread's turn.
        let is_killed = (0..10).any(|_| kill_while_it_publishes(upstream.clone()) > 0);
        assert!(is_killed, "no kill came in time");
    }
}

/// Returns how many kills came in time.
fn kill_while_it_publishes(upstream: Upstream) -> usize {
    let scene = Scene::of(upstream);
    let client = Client::start(&scene);
    let staging = scene.published().with_file_name(".latest.chantal-staging");
    let mut kills = 0;
    for delay in (0..20).map(|step| Duration::from_micros(500 * step)) {
        let stamp = || {
            fs::metadata(&staging)
                .ok()
                .map(|meta| (meta.ctime(), meta.ctime_nsec()))
        };
        let before = stamp();
        let mut child = scene.mirror.chantal.command(&SYNC).spawn().unwrap();
        while stamp() == before && child.try_wait().unwrap().is_none() {
            thread::yield_now();
        }
        thread::sleep(delay);
        child.kill().unwrap();
        if child.wait().unwrap().code().is_none() {
            kills += 1;
        }
        let root = fs::read(scene.published().join(scene.mirror.upstream.root())).unwrap();
        if root == scene.mirror.built.tree.bytes(&scene.mirror.upstream.root()) {
            scene.shows_the_new();
            break;
        }
        scene.shows_the_old_to_clients();
    }
    scene.mirror.server.clear_log();
    scene.mirror.chantal.run(&SYNC).succeeds();
    // The state was committed before it was published: one question is all that is left.
    let root = scene.mirror.upstream.root();
    let mut lines = scene.mirror.server.request_lines();
    // A killed run's last question may reach the server only now.
    lines.dedup();
    assert_eq!(lines, [format!("GET {root} 304")]);
    scene.shows_the_new();
    scene.left_no_clutter();
    client.end();
    kills
}

/// The first sync has no generation to fall back to: until it is done there is no tree at all.
#[test]
fn killed_in_the_first_sync() {
    for upstream in Upstream::both() {
        let upstream = upstream.package(package(1, 1)).package(package(2, 1));
        let Mirror {
            upstream,
            built,
            server,
            chantal,
            ..
        } = Mirror::of(upstream).configured(ONE_BY_ONE);
        for path in [upstream.root(), built.path_of("p01"), built.path_of("p02")] {
            server.fault(&path, Times::Always, Fault::Stall(5));
            let running = chantal.spawn(&SYNC);
            server.wait_for(&path, 1);
            running.kill();
            server.clear_faults();
            server.release();
            assert!(!chantal.published("r").exists());
            chantal.run(&["repo", "show", "--repo-id", "r"]).succeeds();
        }
        chantal.run(&SYNC).succeeds();
        chantal.published_tree("r").assert_same(&built.mirrored());
    }
}

#[test]
fn interrupted() {
    // What SHA-512 names is found again only because the store was told of it at the end.
    let sha512 = Upstream::deb().with_deb(|deb| deb.checksums = vec![Checksum::Sha512]);
    for upstream in Upstream::both().into_iter().chain([sha512]) {
        let scene = Scene::of(upstream);
        let packages = scene.packages();
        scene
            .mirror
            .server
            .fault(&packages[5], Times::Always, Fault::Stall(10));
        let running = scene.mirror.chantal.spawn(&SYNC);
        scene.mirror.server.wait_for(&packages[5], 1);
        running.interrupt();
        scene.mirror.server.clear_faults();
        scene.mirror.server.release();
        running
            .wait()
            .fails_with(130, "error: r: interrupted\n")
            .says("");
        scene.shows_the_old();
        let list = scene
            .mirror
            .chantal
            .run(&["--format", "json", "repo", "list"])
            .succeeds()
            .json();
        assert_eq!(list[0]["packages"], PACKAGES);

        scene.mirror.server.clear_log();
        scene.mirror.chantal.run(&SYNC).succeeds();
        let asked = scene.asked();
        for package in &packages[..5] {
            assert_eq!(asked.get(package), None, "{package} was there");
        }
        for package in &packages[6..] {
            assert_eq!(asked.get(package), Some(&1), "{package}");
        }
        scene.shows_the_new();
        scene.left_no_clutter();
    }
}

/// Who cannot wait for the server to say something presses Ctrl-C twice.
#[test]
fn interrupted_twice() {
    let scene = Scene::of(Upstream::deb());
    let path = scene.packages()[5].clone();
    scene
        .mirror
        .server
        .fault(&path, Times::Always, Fault::Stall(10));
    let mut running = scene.mirror.chantal.spawn(&SYNC);
    scene.mirror.server.wait_for(&path, 1);
    let start = Instant::now();
    while running.is_running() {
        // Two signals that come together count as one: more are sent until one finds the first one
        // done.
        running.interrupt();
        assert!(start.elapsed() < Duration::from_secs(30), "it does not end");
        thread::sleep(Duration::from_millis(2));
    }
    running.wait().fails_with(130, "").says("");
    scene.shows_the_old();
    scene.mirror.server.clear_faults();
    scene.mirror.server.release();
    scene.mirror.chantal.run(&SYNC).succeeds();
    scene.shows_the_new();
    scene.left_no_clutter();
}

#[test]
fn a_second_run_is_told_who_is_first() {
    for upstream in Upstream::both() {
        let scene = Scene::of(upstream);
        let path = scene.packages()[3].clone();
        scene
            .mirror
            .server
            .fault(&path, Times::Always, Fault::Stall(10));
        let first = scene.mirror.chantal.spawn(&SYNC);
        scene.mirror.server.wait_for(&path, 1);
        let lock = scene.mirror.chantal.data().join("locks/repository-r.lock");
        let lock: serde_json::Value = serde_json::from_slice(&fs::read(lock).unwrap()).unwrap();
        let since = jiff::Timestamp::from_second(lock["since"].as_i64().unwrap()).unwrap();
        for (args, of, what) in [
            (&SYNC[..], "r: ", "repository r"),
            (&["init"], "", "[dir]/data"),
            (&["db", "cleanup"], "", "[dir]/data"),
            (&["db", "migrate", "--wait=0"], "", "[dir]/data"),
        ] {
            scene.mirror.chantal.run(args).says("").fails_with(
                6,
                &format!(
                    "error: {of}{what} is locked by another process: `repo sync`, process {}, since {since}\n\
                     hint: wait until it has finished, or use --wait\n",
                    lock["pid"]
                ),
            );
        }
        // What needs neither the repository nor the storage for itself.
        scene.mirror.chantal.run(&["publish", "--all"]).succeeds();
        scene.shows_the_old();
        for args in [
            &["repo", "list"][..],
            &["repo", "show", "--repo-id", "r"],
            &["repo", "history", "--repo-id", "r"],
        ] {
            scene.mirror.chantal.run(args).succeeds();
        }
        scene.mirror.server.clear_faults();
        scene.mirror.server.release();
        first.wait().succeeds();
        scene.shows_the_new();
    }
}

/// A killed run's lock is nobody's, and readers need not wait for a writer to clean up.
#[test]
fn readers_after_a_kill() {
    for upstream in Upstream::both() {
        let scene = Scene::of(upstream);
        let before = scene
            .mirror
            .chantal
            .run(&["repo", "list"])
            .succeeds()
            .stdout;
        scene.kill_at(&scene.packages()[3], 10);
        scene
            .mirror
            .chantal
            .run(&["repo", "list"])
            .succeeds()
            .says(&before);
        for noun in ["show", "history"] {
            scene
                .mirror
                .chantal
                .run(&["repo", noun, "--repo-id", "r"])
                .succeeds();
        }
        scene.mirror.chantal.run(&SYNC).succeeds();
        scene.shows_the_new();
    }
}
