//! Random operations on one repository, some of them killed, with damage in between: at every moment
//! the published tree is one that was whole at the upstream, and in the end nothing is lost or left.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use crate::kit::mirror::Mirror;
use crate::kit::tree::Tree;
use crate::kit::upstream::{Package, Upstream};

const SYNC: [&str; 4] = ["repo", "sync", "--repo-id", "r"];
const REPAIR: [&str; 3] = ["db", "check", "--repair"];

#[test]
fn nothing_is_lost_or_left() {
    for upstream in upstreams() {
        Operations::new(upstream, 1).run(25);
    }
}

#[test]
#[ignore = "slow: .ci/slow"]
fn nothing_is_lost_or_left_in_thousands() {
    for seed in 2..8 {
        for upstream in upstreams() {
            let root = upstream.root();
            let (kills, repairs) = Operations::new(upstream, seed).run(200);
            println!("{root}, seed {seed}: 200 operations, {kills} kills, {repairs} repairs");
        }
    }
}

fn upstreams() -> [Upstream; 3] {
    let flat = Upstream::deb().with_deb(|deb| deb.flat = Some("./".to_owned()));
    [Upstream::deb(), flat, Upstream::rpm()]
}

struct Operations {
    mirror: Mirror,
    random: u64,
    /// What the upstream had since the last sync that came to its end, the newest last.
    possible: Vec<Tree>,
    snapshots: Vec<(String, Tree)>,
    /// For error messages.
    history: Vec<String>,
    kills: u32,
    repairs: u32,
}

impl Operations {
    fn new(upstream: Upstream, seed: u64) -> Self {
        let upstream = (0..8).fold(upstream, |upstream, number| {
            upstream.package(Package::new(&format!("p{number}"), "1.0-1"))
        });
        let keep = if seed.is_multiple_of(2) { "0s" } else { "24h" };
        let places = format!(
            "publish:\n  latest_path: ../../www/r/latest\n  snapshots_path: ../../www/r/snapshots\n  \
             keep: {keep}\n"
        );
        let mirror = Mirror::of(upstream)
            .defined(|repository| repository.unpublished().more(&places))
            .synced();
        Self {
            possible: vec![mirror.built.mirrored()],
            mirror,
            random: seed,
            snapshots: Vec::new(),
            history: Vec::new(),
            kills: 0,
            repairs: 0,
        }
    }

    /// Returns the numbers of kills and repairs.
    fn run(mut self, operations: u32) -> (u32, u32) {
        for _ in 0..operations {
            match self.below(10) {
                0..3 => {
                    self.move_on();
                    self.sync(&[]);
                }
                3 => self.sync(&["--refresh"]),
                4 => self.command(&["publish", "--repo-id", "r", "--recreate"]),
                5 => self.command(&["publish", "--repo-id", "r", "--to", "www/to"]),
                6 => self.snapshot(),
                7 => self.command(&["db", "cleanup"]),
                _ => self.damage(),
            }
        }
        self.sync(&[]);
        self.mirror.run(&["db", "cleanup"]).exits(0);
        self.mirror.run(&["db", "check"]).exits(0);
        let www = self.mirror.chantal.dir().join("www");
        let left: Vec<PathBuf> = hidden(&www);
        assert!(left.is_empty(), "{left:?} {:#?}", self.history);
        (self.kills, self.repairs)
    }

    /// The high bits are random enough.
    fn below(&mut self, end: u64) -> u64 {
        self.random = self
            .random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 33) % end
    }

    /// Some packages of the upstream get another version.
    fn move_on(&mut self) {
        let changed = [self.below(8), self.below(8)];
        let version = self.below(1_000_000);
        // A minute each: there are many, and none may be from the future.
        let date = self.mirror.upstream.date + 60;
        self.mirror.next(|upstream| {
            upstream.date = date;
            for number in changed {
                let name = format!("p{number}");
                upstream.replace(Package::new(&name, &format!("{version}.0-1")));
            }
        });
        self.possible.push(self.mirror.built.mirrored());
    }

    fn sync(&mut self, more: &[&str]) {
        self.command(&[&SYNC[..], more].concat());
        let newest = self.possible.pop().unwrap();
        assert_has(&self.mirror.published(), &newest, &self.history);
        self.possible = vec![newest];
    }

    /// Runs a command to its end; it may be killed before, and looked at then.
    fn command(&mut self, arguments: &[&str]) {
        self.history.push(arguments.join(" "));
        if self.below(3) == 0 {
            let millis = 5 + self.below(150);
            self.history.push(format!("killed after {millis} ms"));
            let mut command = self.mirror.chantal.command(arguments);
            let running = command.stdout(Stdio::null()).stderr(Stdio::null());
            let mut running = running.spawn().unwrap();
            thread::sleep(Duration::from_millis(millis));
            running.kill().unwrap();
            running.wait().unwrap();
            self.kills += 1;
            if arguments != REPAIR {
                self.look();
            }
        }
        let output = self.mirror.run(arguments);
        assert!(output.status.success(), "{output:?} {:#?}", self.history);
        self.look();
    }

    /// What clients see is whole.
    fn look(&self) {
        let published = Tree::read(&self.mirror.published());
        let mut possible = self.possible.iter().rev();
        let is_whole = possible.any(|tree| has(&published, tree));
        assert!(is_whole, "{:?} {:#?}", published.paths(), self.history);
        for (name, tree) in &self.snapshots {
            let path = self.mirror.www(&format!("r/snapshots/{name}"));
            assert_has(&path, tree, &self.history);
        }
    }

    /// Creates a snapshot, or deletes the oldest one.
    fn snapshot(&mut self) {
        self.sync(&[]);
        if self.snapshots.len() > 2 {
            let (name, _) = self.snapshots.remove(0);
            self.history.push(format!("delete {name}"));
            let delete = ["snapshot", "delete", "--name", &name];
            self.mirror.run(&delete).exits(0);
            return;
        }
        let name = format!("s{}", self.history.len());
        self.mirror.snapshot(&name);
        self.history.push(format!("create {name}"));
        self.snapshots.push((name, self.possible[0].clone()));
        self.look();
    }

    /// Damages files that the upstream still has, in the pool or in the tree alone.
    fn damage(&mut self) {
        self.sync(&[]);
        let paths: Vec<String> = self.possible[0]
            .paths()
            .iter()
            .map(|path| (*path).to_owned())
            .collect();
        for _ in 0..=self.below(3) {
            let path = &paths[usize::try_from(self.below(paths.len() as u64)).unwrap()];
            let file = self.mirror.published().join(path);
            let bytes = fs::read(&file).unwrap_or_default();
            let what = self.below(4);
            self.history.push(format!("damage {what} {path}"));
            match what {
                // Of the object, and with it of all trees.
                0 => overwrite(&file, &vec![b'x'; bytes.len()]),
                1 => drop(fs::remove_file(&file)),
                2 => replace(&file, &bytes),
                _ => replace(&file, &bytes[..bytes.len() / 2]),
            }
        }
        self.command(&REPAIR);
        self.mirror.run(&["db", "check"]).exits(0);
        self.repairs += 1;
    }
}

fn has(tree: &Tree, expected: &Tree) -> bool {
    expected
        .iter()
        .all(|(path, bytes)| tree.find(path).is_some_and(|found| *found == *bytes))
}

fn assert_has(tree: &Path, expected: &Tree, history: &[String]) {
    let found = Tree::read(tree);
    assert!(
        has(&found, expected),
        "{} {:?} {history:#?}",
        tree.display(),
        found.paths()
    );
}

/// In place: all its links have these bytes.
fn overwrite(file: &Path, bytes: &[u8]) {
    use std::os::unix::fs::PermissionsExt as _;

    if file.exists() {
        fs::set_permissions(file, fs::Permissions::from_mode(0o644)).unwrap();
        fs::write(file, bytes).unwrap();
        fs::set_permissions(file, fs::Permissions::from_mode(0o444)).unwrap();
    }
}

/// As an editor or a copying program does.
fn replace(file: &Path, bytes: &[u8]) {
    drop(fs::remove_file(file));
    fs::write(file, bytes).unwrap();
}

/// Files of interrupted runs beside the trees.
fn hidden(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut directories = vec![directory.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path
                .file_name()
                .unwrap()
                .as_encoded_bytes()
                .starts_with(b".")
            {
                found.push(path);
            } else if path.is_dir() {
                directories.push(path);
            }
        }
    }
    found
}
