//! Targets on other file systems, full ones, mount points, and what another user may not do.
//!
//! Some of it needs root or more than one file system; where that is missing a test says so and
//! passes.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt, chown};
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use super::Scene;
use crate::kit::chantal::Repository;
use crate::kit::mirror::{PUBLISH, SYNC};
use crate::kit::mount::Mount;
use crate::kit::process::{self, Output};
use crate::kit::tree::{Inode, Tree, inodes};
use crate::kit::upstream::{Package, Upstream};

/// Nobody on Debian and elsewhere.
const NOBODY: u32 = 65_534;

pub fn skipped(why: &str) {
    println!("skipped: {why}");
}

fn elsewhere(repository: Repository, latest: &Path) -> Repository {
    let yaml = format!("publish:\n  latest_path: {}\n", latest.display());
    repository.unpublished().more(&yaml)
}

/// A directory on another file system than the one of temporary files, removed when dropped.
fn other_file_system() -> Option<TempDir> {
    let dir = tempfile::Builder::new()
        .prefix("chantal-")
        .tempdir_in("/dev/shm")
        .ok()?;
    let device = |path: &Path| fs::metadata(path).unwrap().dev();
    (device(dir.path()) != device(&std::env::temp_dir())).then_some(dir)
}

fn published(output: &Output) -> serde_json::Value {
    output.json()[0]["published"].clone()
}

fn sync_json(scene: &Scene) -> Output {
    scene
        .chantal
        .run(&["--format", "json", "repo", "sync", "--repo-id", "r"])
}

fn numbers<'i>(inodes: impl Iterator<Item = &'i Inode>) -> BTreeSet<u64> {
    inodes.map(|inode| inode.number).collect()
}

#[test]
fn on_another_file_system_only_what_is_new_is_copied() {
    for upstream in Upstream::both() {
        let Some(dir) = other_file_system() else {
            return skipped("/dev/shm is no other file system");
        };
        let tree = dir.path().join("www/latest");
        let mut scene = Scene::new(upstream, |repository| elsewhere(repository, &tree));
        let first = published(&sync_json(&scene).succeeds());
        Tree::read(&tree).assert_same(&scene.expected(0));
        let before = inodes(&tree);
        // Equal files are copied once.
        assert_eq!(first["copied"], numbers(before.values()).len());
        assert!(before.values().all(|inode| inode.mode == 0o444));

        scene.move_on();
        let second = published(&sync_json(&scene).succeeds());
        Tree::read(&tree).assert_same(&scene.expected(1));
        let after = inodes(&tree);
        for (path, inode) in &after {
            match before.get(path) {
                Some(old)
                    if scene.generations[0].tree.find(path)
                        == scene.generations[1].tree.find(path) =>
                {
                    assert_eq!(inode.number, old.number, "{path} was copied again");
                }
                _ if scene.generations[1].tree.find(path).is_some() => {}
                // Of the earlier generation only.
                _ => assert_eq!(
                    Some(inode.number),
                    before.get(path).map(|old| old.number),
                    "{path}"
                ),
            }
        }
        let known = numbers(before.values());
        let copied = numbers(after.values()).difference(&known).count();
        assert_eq!(second["copied"], copied);
    }
}

#[test]
fn a_full_file_system_keeps_the_old_tree() {
    let mut scene = Scene::new(Upstream::deb(), |repository| repository);
    let mountpoint = scene.chantal.dir().join("small");
    let Some(_mount) = Mount::new(&mountpoint, "256k") else {
        return skipped("no tmpfs can be mounted");
    };
    let tree = mountpoint.join("latest");
    scene.repository = elsewhere(scene.repository.clone(), &tree);
    scene.chantal.repository(&scene.repository);
    scene.sync().succeeds();
    let before = inodes(&tree);

    let small = scene.upstream.clone();
    scene
        .upstream
        .add(Package::new("large", "1.0-1").raw(&vec![7; 1 << 20]));
    scene.move_on();
    let output = scene.chantal.run(&SYNC).exits(1).says("");
    assert!(
        output.stderr.contains("No space left on device"),
        "{output:?}"
    );
    assert_eq!(
        inodes(&tree).keys().collect::<Vec<_>>(),
        before.keys().collect::<Vec<_>>()
    );
    // Half a tree would keep the file system full.
    assert_eq!(fs::read_dir(&mountpoint).unwrap().count(), 1);

    scene.upstream = small;
    scene.generations.truncate(1);
    scene.upstream.bump_date();
    scene.move_on();
    scene.sync().succeeds();
    let package = scene.generations[1].path_of("hello");
    assert!(tree.join(package).exists());
}

#[test]
fn a_full_pool_is_noticed_before_anything_is_fetched() {
    let scene = Scene::new(
        Upstream::rpm().package(Package::new("large", "1.0-1").raw(&vec![7; 4 << 20])),
        |repository| repository,
    );
    let mountpoint = scene.chantal.dir().join("small");
    let Some(_mount) = Mount::new(&mountpoint, "2m") else {
        return skipped("no tmpfs can be mounted");
    };
    scene
        .chantal
        .global("storage:\n  base_path: ../../small/data\ndownload:\n  retries: 0\n");
    scene.chantal.run(&["init"]).exits(0);
    let output = scene.chantal.run(&SYNC).exits(1).says("");
    let stderr = output.stderr.clone();
    let (start, rest) = stderr.split_once(" to download, ").unwrap();
    let start = start.strip_prefix("error: r: not enough space in [dir]/small/data/pool: ");
    let (_, needed) = start.unwrap().split_once(" short (").unwrap();
    let needed = needed.strip_suffix(" MiB").unwrap();
    assert!(needed.parse::<f64>().unwrap() > 4.0, "{stderr}");
    assert!(
        rest.ends_with(" free)\nhint: free up disk space, or move the pool (storage.pool_path)\n"),
        "{rest}"
    );
    assert!(
        scene
            .server
            .requests_of(&scene.generations[0].path_of("large"))
            .is_empty()
    );
    assert!(!scene.published().exists());
}

#[test]
fn a_mount_point_is_no_target() {
    for upstream in Upstream::both() {
        let scene = Scene::new(upstream, |repository| repository);
        let Some(mount) = Mount::new(&scene.published(), "1m") else {
            return skipped("no tmpfs can be mounted");
        };
        scene.chantal.run(&SYNC).says("").fails_with(
            2,
            "error: r: [dir]/www/r/latest is a mount point, which cannot be replaced by a published tree\n\
             hint: set the publish path to a directory below the mount point\n",
        );
        let beside = fs::read_dir(scene.published().parent().unwrap()).unwrap();
        assert_eq!(beside.count(), 1, "a staging directory was left");
        assert_eq!(fs::read_dir(scene.published()).unwrap().count(), 0);
        drop(mount);
        scene.chantal.run(&PUBLISH).succeeds();
        Tree::read(&scene.published()).assert_same(&scene.expected(0));
    }
}

/// ext4 allows 65,000 links to one file.
#[test]
fn a_file_with_too_many_links_is_copied() {
    let scene = Scene::new(Upstream::rpm(), |repository| repository);
    scene.sync().succeeds();
    let package = scene.generations[0].path_of("hello");
    let inode = fs::metadata(scene.published().join(&package))
        .unwrap()
        .ino();
    let links = scene.chantal.dir().join("links");
    fs::create_dir(&links).unwrap();
    let source = scene.published().join(&package);
    let full = (0..70_000).any(|number| {
        let link = fs::hard_link(&source, links.join(number.to_string()));
        link.is_err_and(|error| error.kind() == std::io::ErrorKind::TooManyLinks)
    });
    if !full {
        return skipped("this file system has no limit of links");
    }
    let output = scene
        .chantal
        .run(&[
            "--format",
            "json",
            "publish",
            "--repo-id",
            "r",
            "--recreate",
        ])
        .succeeds();
    assert_eq!(output.json()[0]["copied"], 1);
    assert_ne!(fs::metadata(&source).unwrap().ino(), inode);
    assert_eq!(inodes(&scene.published())[&package].mode, 0o444);
    Tree::read(&scene.published()).assert_same(&scene.expected(0));
}

/// Runs chantal as somebody else; `None` where that cannot be done.
fn as_nobody(scene: &Scene, args: &[&str]) -> Option<Output> {
    if !rustix::process::geteuid().is_root() {
        skipped("only root can become nobody");
        return None;
    }
    let chantal = scene.chantal.command(args);
    let mut command = Command::new("setpriv");
    let id = NOBODY.to_string();
    command.args(["--reuid", &id, "--regid", &id, "--clear-groups"]);
    command.arg(chantal.get_program()).args(chantal.get_args());
    let mut probe = Command::new("setpriv");
    probe.args(["--reuid", &id, "--regid", &id, "--clear-groups"]);
    probe.arg(chantal.get_program()).arg("--version");
    if !probe.output().is_ok_and(|output| output.status.success()) {
        skipped("setpriv is not there, or the binary is where nobody can read it");
        return None;
    }
    command.current_dir("/").env_clear();
    let output = process::run(command);
    let mut output = Output::new("as nobody", &output);
    output.stdout = scene.chantal.shown(&output.stdout);
    output.stderr = scene.chantal.shown(&output.stderr);
    Some(output)
}

/// What of the storage is given away.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Share {
    Everything,
    AllButObjects,
}

/// From now on nobody's user owns the configuration and that share of the storage.
fn give_away(scene: &Scene, share: Share) {
    fs::set_permissions(scene.chantal.dir(), PermissionsExt::from_mode(0o755)).unwrap();
    let mut paths = vec![scene.chantal.data(), scene.chantal.config()];
    while let Some(path) = paths.pop() {
        if path.is_dir() {
            paths.extend(
                fs::read_dir(&path)
                    .unwrap()
                    .map(|entry| entry.unwrap().path()),
            );
        }
        if share == Share::Everything || !path.starts_with(scene.chantal.data().join("pool/sha256"))
        {
            chown(&path, Some(NOBODY), Some(NOBODY)).unwrap();
        }
    }
}

#[test]
fn a_target_that_may_not_be_written() {
    for mut scene in Scene::both(|repository| repository) {
        let before = inodes(&scene.published());
        scene.move_on();
        give_away(&scene, Share::Everything);
        let Some(output) = as_nobody(&scene, &SYNC) else {
            return;
        };
        output.says("").fails_with(
            1,
            "error: r: failed to create directory `[dir]/www/r/.latest.chantal-staging`: Permission denied (os error 13)\n\
             hint: run chantal as a user who can write there\n",
        );
        assert_eq!(
            inodes(&scene.published()).keys().collect::<Vec<_>>(),
            before.keys().collect::<Vec<_>>()
        );
        // The state was good; whoever may write there can publish it.
        scene.chantal.run(&PUBLISH).succeeds();
        Tree::read(&scene.published()).assert_same(&scene.expected(1));
    }
}

#[test]
fn objects_of_somebody_else_cannot_be_linked() {
    let protected = fs::read_to_string("/proc/sys/fs/protected_hardlinks");
    if protected.is_ok_and(|value| value.trim() != "1") {
        return skipped("fs.protected_hardlinks is off");
    }
    for scene in Scene::both(|repository| repository) {
        give_away(&scene, Share::AllButObjects);
        let www = scene.chantal.dir().join("www/r");
        chown(&www, Some(NOBODY), Some(NOBODY)).unwrap();
        fs::rename(scene.published(), www.join("aside")).unwrap();
        let recreate = [&PUBLISH[..], &["--recreate"]].concat();
        let Some(output) = as_nobody(&scene, &recreate) else {
            return;
        };
        let stderr = output.stderr.clone();
        let path = stderr
            .strip_prefix("error: r: [dir]/data/pool/sha256/")
            .unwrap()
            .split(' ')
            .next()
            .unwrap();
        assert_eq!(path.len(), 67);
        output.says("").fails_with(
            1,
            &format!(
                "error: r: [dir]/data/pool/sha256/{path} is owned by user 0: only that user or root can create hard links to it\n\
                 hint: run chantal as the owner of the pool (see fs.protected_hardlinks)\n"
            ),
        );
        assert!(!scene.published().exists());
    }
}
