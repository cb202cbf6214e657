//! Published trees: links and modes, what stays of earlier generations, other file systems, targets
//! that move or vanish.

mod absent;
mod half_done;
mod places;
mod restored;

use std::collections::BTreeSet;
use std::fs;
use std::ops::{Deref, DerefMut};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::kit::chantal::Repository;
use crate::kit::mirror::{Mirror, NO_RETRIES, PUBLISH, SYNC};
use crate::kit::process::{self, Output};
use crate::kit::tree::{Tree, inodes};
use crate::kit::upstream::{Built, Package, Upstream};

/// A repository `r` whose upstream moves on: in each generation `hello` is another package and
/// `only-N` is there.
struct Scene {
    mirror: Mirror,
    generations: Vec<Built>,
}

/// Its mirror's fields and methods are its own.
impl Deref for Scene {
    type Target = Mirror;

    fn deref(&self) -> &Mirror {
        &self.mirror
    }
}

impl DerefMut for Scene {
    fn deref_mut(&mut self) -> &mut Mirror {
        &mut self.mirror
    }
}

impl Scene {
    /// Not synced yet.
    fn new(upstream: Upstream, configure: impl Fn(Repository) -> Repository) -> Self {
        let upstream = upstream
            .package(Package::new("data", "1.0-1").independent())
            .package(Package::new("hello", "1.0-1"))
            .package(Package::new("only-1", "1.0-1"));
        let mirror = Mirror::of(upstream)
            .configured(NO_RETRIES)
            .defined(configure);
        let generations = vec![mirror.built.clone()];
        Self {
            mirror,
            generations,
        }
    }

    fn both(configure: impl Fn(Repository) -> Repository) -> [Self; 2] {
        Upstream::both().map(|upstream| {
            let scene = Self::new(upstream, &configure);
            scene.chantal.run(&SYNC).succeeds();
            scene
        })
    }

    fn move_on(&mut self) {
        let number = self.generations.len();
        let next = number + 1;
        self.mirror.next(|upstream| {
            upstream.remove(&format!("only-{number}"));
            upstream.add(Package::new(&format!("only-{next}"), "1.0-1"));
            upstream.replace(Package::new("hello", &format!("{next}.0-1")));
        });
        self.generations.push(self.mirror.built.clone());
    }

    /// The last generation, and of the ones before it, the latest first, what has another name and
    /// is no root.
    fn expected(&self, earlier: usize) -> Tree {
        let last = self.generations.len() - 1;
        let mut expected = Tree::new();
        for built in &self.generations[last - earlier..last] {
            let mut tree = built.mirrored();
            tree.retain(|path| {
                let name = path.rsplit('/').next().unwrap();
                !["InRelease", "Release.gpg", "repomd.xml", "repomd.xml.asc"].contains(&name)
                    && path != "dists/stable/Release"
            });
            expected.merge("", &tree);
        }
        expected.merge("", &self.generations[last].mirrored());
        expected
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn directories(path: &Path) -> Vec<PathBuf> {
    let mut found = vec![path.to_owned()];
    for entry in fs::read_dir(path).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            found.extend(directories(&entry.path()));
        }
    }
    found
}

fn pool_inodes(scene: &Scene) -> BTreeSet<u64> {
    let pool = inodes(&scene.chantal.data().join("pool/sha256"));
    pool.into_values().map(|inode| inode.number).collect()
}

#[test]
fn links_with_fixed_modes_whatever_the_umask() {
    for umask in ["000", "077"] {
        for upstream in Upstream::both() {
            let scene = Scene::new(upstream, |repository| repository);
            let sync = scene.chantal.command(&SYNC);
            let mut command = Command::new("/bin/sh");
            command.args(["-c", &format!("umask {umask}; exec \"$0\" \"$@\"")]);
            command.arg(sync.get_program()).args(sync.get_args());
            command.env_clear().current_dir(scene.chantal.dir());
            let output = process::run(command);
            Output::new("sync", &output).succeeds();
            let pool = pool_inodes(&scene);
            for (path, inode) in inodes(&scene.published()) {
                assert!(pool.contains(&inode.number), "{path} is a copy");
                assert_eq!(inode.mode, 0o444, "{path}");
            }
            for directory in directories(&scene.chantal.dir().join("www")) {
                assert_eq!(mode(&directory), 0o755, "{}", directory.display());
            }
            Tree::read(&scene.published()).assert_same(&scene.expected(0));
        }
    }
}

#[test]
fn earlier_generations_stay_while_they_are_kept() {
    for mut scene in Scene::both(|repository| repository) {
        for earlier in 1..4 {
            scene.move_on();
            scene.sync().succeeds();
            Tree::read(&scene.published()).assert_same(&scene.expected(earlier));
        }
    }
}

/// `keep: 0s` keeps the one generation that a client may be in the middle of, and no more.
#[test]
fn the_generation_before_stays_even_if_nothing_is_kept() {
    for mut scene in Scene::both(|repository| repository.keep("0s")) {
        for _ in 1..4 {
            scene.move_on();
            scene.sync().succeeds();
            Tree::read(&scene.published()).assert_same(&scene.expected(1));
        }
        // An unchanged upstream is no new generation.
        let before = inodes(&scene.published());
        scene.sync().succeeds();
        assert_eq!(inodes(&scene.published()), before);
    }
}

/// What an earlier root names by its digest is there: apt asks by-hash, dnf for the name with the
/// digest.
#[test]
fn indexes_of_the_earlier_root_are_reachable() {
    for mut scene in Scene::both(|repository| repository.keep("0s")) {
        let is_by_digest = |path: &&str| path.contains("by-hash/") || path.contains("-primary.xml");
        let first = scene.generations[0].clone();
        let names: Vec<&str> = first
            .tree
            .paths()
            .into_iter()
            .filter(is_by_digest)
            .collect();
        assert!(!names.is_empty());
        scene.move_on();
        scene.sync().succeeds();
        for name in names {
            let published = fs::read(scene.published().join(name)).unwrap();
            assert_eq!(published, first.tree.bytes(name));
        }
        let package = first.path_of("only-1");
        assert!(scene.published().join(&package).exists());
        scene.move_on();
        scene.sync().succeeds();
        assert!(!scene.published().join(&package).exists());
    }
}

/// A root that the upstream stopped having must not seem to be its newest.
#[test]
fn a_root_that_is_gone_upstream_does_not_linger() {
    let mut scene = Scene::new(Upstream::deb(), |repository| repository);
    scene.sync().succeeds();
    assert!(scene.published().join("dists/stable/InRelease").exists());
    scene.upstream.deb_mut().roots = crate::kit::upstream::Roots::DetachedOnly;
    scene.move_on();
    scene.sync().succeeds();
    assert!(!scene.published().join("dists/stable/InRelease").exists());
    assert!(scene.published().join("dists/stable/Release.gpg").exists());
}

#[test]
fn a_file_that_was_deleted_or_changed_comes_back() {
    for scene in Scene::both(|repository| repository) {
        let path = scene
            .published()
            .join(scene.generations[0].path_of("hello"));
        fs::remove_file(&path).unwrap();
        scene.chantal.run(&PUBLISH).succeeds();
        Tree::read(&scene.published()).assert_same(&scene.expected(0));
        // By writing anew, as an editor does: the pool's object is another file.
        fs::remove_file(&path).unwrap();
        fs::write(&path, "improved").unwrap();
        scene.chantal.run(&PUBLISH).succeeds();
        Tree::read(&scene.published()).assert_same(&scene.expected(0));
    }
}

#[test]
fn another_place_in_the_configuration() {
    for mut scene in Scene::both(|repository| repository) {
        let before = inodes(&scene.published());
        let moved = scene.repository.clone().unpublished();
        let moved = moved.more("publish:\n  latest_path: ../../www/moved\n");
        scene.chantal.repository(&moved);
        scene.sync().succeeds();
        let tree = scene.chantal.dir().join("www/moved");
        Tree::read(&tree).assert_same(&scene.expected(0));
        // The earlier place is left as it is: clients may use it until somebody takes it away.
        let after = inodes(&scene.published());
        assert_eq!(
            after.keys().collect::<Vec<_>>(),
            before.keys().collect::<Vec<_>>()
        );
        scene.move_on();
        scene.sync().succeeds();
        Tree::read(&tree).assert_same(&scene.expected(1));
        assert!(
            !scene
                .published()
                .join(scene.generations[1].path_of("only-2"))
                .exists()
        );
    }
}

#[test]
fn what_was_never_synced_cannot_be_published() {
    for upstream in Upstream::both() {
        let scene = Scene::new(upstream, |repository| repository);
        scene.chantal.run(&["init"]).succeeds();
        scene.chantal.run(&PUBLISH).fails_with(
            1,
            "error: r has never been synced: there is no state to publish\nhint: run `chantal repo sync --repo-id r` first\n",
        );
        assert!(!scene.published().exists());
    }
}

#[test]
fn without_a_place_nothing_is_published() {
    for scene in Scene::both(Repository::unpublished) {
        assert!(!scene.chantal.dir().join("www").exists());
        scene
            .chantal
            .run(&PUBLISH)
            .says("")
            .fails_with(2, "error: r has no publish.latest_path\n");
    }
}

#[test]
fn only_when_told_so() {
    let configure = |repository: Repository| {
        let repository = repository.unpublished();
        repository.more("publish:\n  latest_path: ../../www/r/latest\n  auto: false\n")
    };
    for mut scene in Scene::both(configure) {
        assert!(!scene.published().exists());
        scene.chantal.run(&PUBLISH).succeeds();
        Tree::read(&scene.published()).assert_same(&scene.expected(0));
        let before = inodes(&scene.published());
        scene.move_on();
        scene.sync().succeeds();
        assert_eq!(inodes(&scene.published()), before);
        scene.chantal.run(&PUBLISH).succeeds();
        Tree::read(&scene.published()).assert_same(&scene.expected(1));
    }
}

/// Two repositories of one upstream: each content is in the pool once and linked twice.
#[test]
fn equal_files_of_two_repositories_are_one() {
    for scene in Scene::both(|repository| repository) {
        let twin = Repository::of("twin", &scene.upstream, &scene.server.url());
        scene.chantal.repository(&twin);
        scene.server.clear_log();
        scene
            .chantal
            .run(&["repo", "sync", "--repo-id", "twin"])
            .succeeds();
        let package = scene.generations[0].path_of("hello");
        assert!(scene.server.requests_of(&package).is_empty());
        let [one, two] = ["r", "twin"].map(|name| {
            fs::metadata(scene.chantal.published(name).join(&package))
                .unwrap()
                .ino()
        });
        assert_eq!(one, two);
    }
}
