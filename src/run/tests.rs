//! Kills commands at every point, one after the other, and compares what the next run makes of it
//! with an undisturbed run.
//!
//! The commands run in processes of their own: this test executable, which is started again with
//! the arguments of the command in a variable ([`child`]).

mod media;

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use fs_err as fs;

use crate::digest::ObjectId;
use crate::kill_points::KILL_AT;

/// The arguments of the command, separated by line feeds.
const ARGUMENTS: &str = "CHANTAL_TEST_ARGUMENTS";
const SIGKILL: i32 = 9;

/// The host with the upstream, at the top of the directory.
const OUTSIDE: &str = "";
/// The host that imports, in a directory of its own.
const INSIDE: &str = "inside";

/// The program itself, in a process of its own.
#[test]
#[ignore = "started by other tests"]
fn child() {
    if std::env::var(ARGUMENTS).is_ok() {
        std::process::exit(match super::run_with(arguments()) {
            code if code == std::process::ExitCode::SUCCESS => 0,
            _ => 1,
        });
    }
}

fn arguments() -> Vec<String> {
    let arguments = std::env::var(ARGUMENTS).unwrap();
    let arguments = arguments.split('\n').map(str::to_owned);
    std::iter::once("chantal".to_owned())
        .chain(arguments)
        .collect()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Apt,
    Rpm,
}

type Files = BTreeMap<String, Vec<u8>>;

/// A repository with an upstream that changes, and its storage.
struct Scene {
    dir: tempfile::TempDir,
    kind: Kind,
    generation: u32,
}

impl Scene {
    fn new(kind: Kind) -> Self {
        let scene = Self {
            dir: tempfile::tempdir().unwrap(),
            kind,
            generation: 0,
        };
        scene.configure(OUTSIDE);
        scene
    }

    /// Writes the configuration of a host. Only the exporter has an upstream.
    fn configure(&self, host: &str) {
        let etc = self.path(host).join("etc");
        fs::create_dir_all(etc.join("conf.d")).unwrap();
        fs::create_dir_all(etc.join("repos.d")).unwrap();
        fs::write(
            etc.join("conf.d/storage.yaml"),
            "storage: {base_path: ../../storage, create: true}\n",
        )
        .unwrap();
        let rules = match self.kind {
            Kind::Apt => "apt: {distribution: stable, gpgcheck: false}",
            Kind::Rpm => "rpm: {gpgcheck: false, repo_gpgcheck: false}",
        };
        let kind = if self.kind == Kind::Apt { "apt" } else { "rpm" };
        let definition = format!(
            "name: r\ntype: {kind}\nupstream: {{url: ../../upstream}}\n{rules}\n\
             publish: {{latest_path: ../../www/latest, snapshots_path: ../../www/snapshots, keep: 0s}}\n"
        );
        fs::write(etc.join("repos.d/r.yaml"), definition).unwrap();
    }

    fn path(&self, below: &str) -> PathBuf {
        self.dir.path().join(below)
    }

    /// Changes the upstream: a third of the packages gets another version.
    fn move_on(&mut self) {
        self.generation += 1;
        let upstream = self.path("upstream");
        let _ = fs::remove_dir_all(&upstream);
        for (path, bytes) in self.upstream(self.generation) {
            let path = upstream.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
    }

    fn upstream(&self, generation: u32) -> Files {
        let mut files = Files::new();
        // Each package gets another version in every third generation.
        let packages = (0..6).map(|number| (number, (generation + number) / 3));
        match self.kind {
            Kind::Apt => apt(packages, generation, &mut files),
            Kind::Rpm => rpm(packages, generation, &mut files),
        }
        files
    }

    fn run(&self, arguments: &[&str], kill_at: Option<u32>) -> Output {
        self.run_on(OUTSIDE, arguments, kill_at)
    }

    fn run_on(&self, host: &str, arguments: &[&str], kill_at: Option<u32>) -> Output {
        let etc = self.path(host).join("etc");
        let etc = etc.to_str().unwrap();
        let all = [&["--config-dir", etc][..], arguments].concat();
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["--exact", "run::tests::child", "--ignored", "--nocapture"])
            .env(ARGUMENTS, all.join("\n"))
            .env_remove(KILL_AT);
        if let Some(kill_at) = kill_at {
            command.env(KILL_AT, kill_at.to_string());
        }
        command.output().unwrap()
    }

    #[track_caller]
    fn succeeds(&self, arguments: &[&str], after: &str) {
        self.succeeds_on(OUTSIDE, arguments, after);
    }

    /// Returns what it said.
    #[track_caller]
    fn succeeds_on(&self, host: &str, arguments: &[&str], after: &str) -> String {
        let output = self.run_on(host, arguments, None);
        assert!(output.status.success(), "{arguments:?} {after}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// The files of one generation, and those of the previous one that clients may still need.
    fn expected(&self, generation: u32) -> Files {
        let mut files = self.upstream(generation);
        if generation > 1 {
            for (path, bytes) in self.upstream(generation - 1) {
                let is_retained = !path.ends_with("Release")
                    && !path.ends_with("repomd.xml")
                    && !path.ends_with("Packages");
                if is_retained {
                    files.entry(path).or_insert(bytes);
                }
            }
        }
        files
    }

    /// Kills a command at every point. `prepare` brings about what the command needs, `check` looks
    /// at what is there after the kill, and `compare` after the command was run again.
    fn kill(
        &mut self,
        arguments: &[&str],
        prepare: impl Fn(&mut Self),
        check: impl Fn(&Self, &str),
        compare: impl Fn(&Self, &str),
    ) -> u32 {
        for kill_at in 1.. {
            prepare(self);
            let output = self.run(arguments, Some(kill_at));
            let stderr = String::from_utf8(output.stderr.clone()).unwrap();
            let after = format!("{:?} {arguments:?}: {stderr}", self.kind);
            if output.status.signal() != Some(SIGKILL) {
                assert!(output.status.success(), "{after}");
                compare(self, &after);
                return kill_at - 1;
            }
            check(self, &after);
            // What is left is known.
            self.succeeds(&["db", "check", "--quick"], &after);
            self.succeeds(arguments, &after);
            compare(self, &after);
        }
        unreachable!("the command ends")
    }

    /// A client sees the previous generation or the current one, with all of its files.
    fn assert_whole(&self, after: &str) {
        self.assert_whole_on(OUTSIDE, after);
    }

    fn assert_whole_on(&self, host: &str, after: &str) {
        let tree = files_of(&self.path(host).join("www/latest"));
        let is_whole = [self.generation, self.generation - 1].iter().any(|number| {
            let files = self.upstream(*number);
            files
                .iter()
                .all(|(path, bytes)| tree.get(path) == Some(bytes))
        });
        let names: Vec<_> = tree.keys().collect();
        assert!(is_whole, "{after}: {names:#?}");
    }

    /// The tree has exactly what an undisturbed run makes of it, and nothing is left beside it.
    fn assert_finished(&self, after: &str) {
        self.assert_finished_on(OUTSIDE, after);
    }

    fn assert_finished_on(&self, host: &str, after: &str) {
        let tree = files_of(&self.path(host).join("www/latest"));
        let expected = self.expected(self.generation);
        assert_eq!(
            tree.keys().collect::<Vec<_>>(),
            expected.keys().collect::<Vec<_>>(),
            "{after}"
        );
        assert_eq!(tree, expected, "{after}");
        let beside: Vec<_> = fs::read_dir(self.path(host).join("www")).unwrap().collect();
        let hidden = beside.iter().filter(|entry| {
            let name = entry.as_ref().unwrap().file_name();
            name.to_str().unwrap().starts_with('.')
        });
        assert_eq!(hidden.count(), 0, "{after}");
        self.assert_clean_on(host, after);
    }

    /// All objects are intact.
    fn assert_clean_on(&self, host: &str, after: &str) {
        for (path, bytes) in files_of(&self.path(host).join("storage/pool/sha256")) {
            let name = path.rsplit('/').next().unwrap();
            assert_eq!(ObjectId::of(&bytes).hex(), name, "{after}");
        }
    }
}

fn files_of(top: &Path) -> Files {
    let mut files = Files::new();
    let mut directories = vec![top.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else {
                let relative = path.strip_prefix(top).unwrap().to_str().unwrap().to_owned();
                files.insert(relative, fs::read(path).unwrap());
            }
        }
    }
    files
}

fn apt(packages: impl Iterator<Item = (u32, u32)>, generation: u32, files: &mut Files) {
    let mut index = String::new();
    for (number, version) in packages {
        let path = format!("pool/{}/p{number}_{version}_amd64.deb", number % 2);
        let bytes = format!("package {number} {version}").into_bytes();
        let (size, sha256) = (bytes.len(), ObjectId::of(&bytes).hex());
        index += &format!(
            "Package: p{number}\nVersion: {version}\nArchitecture: amd64\nFilename: {path}\nSize: {size}\nSHA256: {sha256}\n\n"
        );
        files.insert(path, bytes);
    }
    let index = index.into_bytes();
    let listed = "main/binary-amd64/Packages";
    let release = format!(
        "Codename: stable\nDate: Thu, 01 Jan 2026 00:{:02}:{:02} UTC\nArchitectures: amd64\nComponents: main\n\
         Acquire-By-Hash: yes\nSHA256:\n {} {} {listed}\n",
        generation / 60,
        generation % 60,
        ObjectId::of(&index).hex(),
        index.len(),
    );
    let by_hash = format!(
        "dists/stable/main/binary-amd64/by-hash/SHA256/{}",
        ObjectId::of(&index).hex()
    );
    files.insert(by_hash, index.clone());
    files.insert(format!("dists/stable/{listed}"), index);
    files.insert("dists/stable/Release".to_owned(), release.into_bytes());
}

fn rpm(packages: impl Iterator<Item = (u32, u32)>, generation: u32, files: &mut Files) {
    let mut primary = String::new();
    for (number, version) in packages {
        // One at the top of the tree.
        let directory = if number == 0 { "" } else { "Packages/" };
        let path = format!("{directory}p{number}-{version}-1.x86_64.rpm");
        let bytes = format!("package {number} {version}").into_bytes();
        let (size, sha256) = (bytes.len(), ObjectId::of(&bytes).hex());
        primary += &format!(
            "<package type=\"rpm\"><name>p{number}</name><arch>x86_64</arch>\
             <version epoch=\"0\" ver=\"{version}\" rel=\"1\"/>\
             <checksum type=\"sha256\" pkgid=\"YES\">{sha256}</checksum>\
             <size package=\"{size}\" installed=\"1\" archive=\"1\"/><location href=\"{path}\"/>\
             <format></format></package>"
        );
        files.insert(path, bytes);
    }
    let primary = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<metadata xmlns=\"http://linux.duke.edu/metadata/common\" \
         xmlns:rpm=\"http://linux.duke.edu/metadata/rpm\" packages=\"6\">{primary}</metadata>\n"
    )
    .into_bytes();
    let sha256 = ObjectId::of(&primary).hex();
    let href = format!("repodata/{sha256}-primary.xml");
    let repomd = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<repomd xmlns=\"http://linux.duke.edu/metadata/repo\">\
         <revision>{generation}</revision><data type=\"primary\"><checksum type=\"sha256\">{sha256}</checksum>\
         <open-checksum type=\"sha256\">{sha256}</open-checksum><location href=\"{href}\"/>\
         <timestamp>{generation}</timestamp><size>{}</size><open-size>{}</open-size></data></repomd>\n",
        primary.len(),
        primary.len(),
    );
    files.insert(href, primary);
    files.insert("repodata/repomd.xml".to_owned(), repomd.into_bytes());
}

const SYNC: [&str; 4] = ["repo", "sync", "--repo-id", "r"];

/// Points of each command that must at least be reached, so that the test cannot become empty.
fn at_least(reached: u32, least: u32, what: &str) {
    assert!(reached >= least, "{what}: only {reached} points");
}

#[test]
fn a_sync_is_killed_at_every_point() {
    for kind in [Kind::Apt, Kind::Rpm] {
        let mut scene = Scene::new(kind);
        for _ in 0..3 {
            scene.move_on();
            scene.succeeds(&SYNC, "first");
        }
        let reached = scene.kill(
            &SYNC,
            Scene::move_on,
            Scene::assert_whole,
            Scene::assert_finished,
        );
        at_least(reached, 12, "sync");
    }
}

#[test]
fn a_publication_of_the_whole_tree_is_killed_at_every_point() {
    for kind in [Kind::Apt, Kind::Rpm] {
        let mut scene = Scene::new(kind);
        for _ in 0..3 {
            scene.move_on();
            scene.succeeds(&SYNC, "first");
        }
        let recreate = ["publish", "--repo-id", "r", "--recreate"];
        let reached = scene.kill(
            &recreate,
            |_| {},
            Scene::assert_whole,
            Scene::assert_finished,
        );
        at_least(reached, 12, "publish --recreate");
    }
}

/// A path that shows the state and a snapshot in turn.
#[test]
fn a_change_between_snapshots_is_killed_at_every_point() {
    for kind in [Kind::Apt, Kind::Rpm] {
        let mut scene = Scene::new(kind);
        for name in ["one", "two"] {
            scene.move_on();
            scene.succeeds(&SYNC, "first");
            scene.succeeds(
                &["snapshot", "create", "--repo-id", "r", "--name", name],
                "",
            );
        }
        let to = scene.path("www/to");
        let to = to.to_str().unwrap();
        let show = |name| ["publish", "--snapshot-name", name, "--to", to];
        if kind == Kind::Apt {
            // apt needs a newer date, and there is no key.
            continue;
        }
        scene.succeeds(&show("r/one"), "");
        let reached = scene.kill(
            &show("r/two"),
            |scene| scene.succeeds(&show("r/one"), ""),
            |_, _| {},
            |scene, after| {
                let tree = files_of(&scene.path("www/to"));
                for (path, bytes) in scene.upstream(2) {
                    assert_eq!(tree.get(&path), Some(&bytes), "{path} {after}");
                }
            },
        );
        at_least(reached, 6, "publish --to");
    }
}

/// Files of expired generations are removed by an unchanged sync and by a cleanup.
#[test]
fn the_removal_of_expired_files_is_killed_at_every_point() {
    for kind in [Kind::Apt, Kind::Rpm] {
        for command in [&SYNC[..], &["db", "cleanup"]] {
            let mut scene = Scene::new(kind);
            let keep = |scene: &Scene, keep: &str| {
                let path = scene.path("etc/repos.d/r.yaml");
                let text = fs::read_to_string(&path).unwrap();
                let (start, _) = text.rsplit_once("keep: ").unwrap();
                fs::write(&path, format!("{start}keep: {keep}}}\n")).unwrap();
            };
            scene.move_on();
            scene.succeeds(&SYNC, "first");
            let reached = scene.kill(
                command,
                |scene| {
                    keep(scene, "1h");
                    for _ in 0..2 {
                        scene.move_on();
                        scene.succeeds(&SYNC, "");
                    }
                    keep(scene, "0s");
                },
                Scene::assert_whole,
                Scene::assert_finished,
            );
            at_least(reached, 4, "removal");
        }
    }
}

/// Everything is damaged before the repair that is killed, and again before the next one.
#[test]
fn a_repair_is_killed_at_every_point() {
    for kind in [Kind::Apt, Kind::Rpm] {
        let mut scene = Scene::new(kind);
        for _ in 0..2 {
            scene.move_on();
            scene.succeeds(&SYNC, "first");
        }
        // What only the previous generation has is not at the upstream any more.
        let objects = scene.path("storage/pool/sha256");
        let current = scene.upstream(2).into_values();
        let current: Vec<_> = current.map(|bytes| ObjectId::of(&bytes).hex()).collect();
        let damage = |byte: u8| {
            for (path, mut bytes) in files_of(&objects) {
                if current.iter().any(|name| path.ends_with(name.as_str())) {
                    bytes[0] = byte;
                    overwrite(&objects.join(path), &bytes);
                }
            }
        };
        let repair = ["db", "check", "--repair"];
        let mut reached = 0;
        loop {
            damage(1);
            let output = scene.run(&repair, Some(reached + 1));
            let after = format!("{kind:?}: {}", String::from_utf8_lossy(&output.stderr));
            if output.status.signal() != Some(SIGKILL) {
                assert!(output.status.success(), "{after}");
                break;
            }
            reached += 1;
            damage(2);
            scene.succeeds(&repair, &after);
            scene.assert_finished(&after);
            scene.succeeds(&["db", "check"], &after);
        }
        at_least(reached, 20, "repair");
    }
}

/// A killed update leaves a tree that is known to be the recorded one, so that a repair of a damaged
/// root does not take it for another generation.
#[test]
fn damage_after_a_killed_sync_is_repaired() {
    for kind in [Kind::Apt, Kind::Rpm] {
        let mut scene = Scene::new(kind);
        for _ in 0..2 {
            scene.move_on();
            scene.succeeds(&SYNC, "first");
        }
        for kill_at in 1.. {
            let root = match kind {
                Kind::Apt => "dists/stable/Release",
                Kind::Rpm => "repodata/repomd.xml",
            };
            scene.move_on();
            let output = scene.run(&SYNC, Some(kill_at));
            let after = format!("{kind:?}: {}", String::from_utf8_lossy(&output.stderr));
            if output.status.signal() != Some(SIGKILL) {
                assert!(output.status.success(), "{after}");
                at_least(kill_at, 12, "sync");
                break;
            }
            // Its object has other links: it is there, so that it need not be downloaded.
            let file = scene.path("www/latest").join(root);
            let good = fs::read(&file).unwrap();
            fs::remove_file(&file).unwrap();
            fs::write(&file, b"damaged").unwrap();
            let repair = scene.run(&["db", "check", "--repair"], None);
            let said = String::from_utf8_lossy(&repair.stdout);
            assert!(repair.status.success(), "{after}\n{said}");
            assert_eq!(fs::read(&file).unwrap(), good, "{after}\n{said}");
            scene.assert_whole(&after);
            scene.succeeds(&SYNC, &after);
            scene.assert_finished(&after);
        }
    }
}

/// Keeps the file, with all of its links.
fn overwrite(file: &Path, bytes: &[u8]) {
    use std::os::unix::fs::PermissionsExt;

    let mode = fs::metadata(file).unwrap().permissions();
    fs::set_permissions(file, PermissionsExt::from_mode(0o644)).unwrap();
    fs::write(file, bytes).unwrap();
    fs::set_permissions(file, mode).unwrap();
}
