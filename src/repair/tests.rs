//! Repairs of small storages: every source of an object, the published trees, and what is left.

mod generated;

use std::os::unix::fs::{MetadataExt as _, PermissionsExt};
use std::path::{Path, PathBuf};

use fs_err as fs;

use super::*;
use crate::check::{Damage, DamagedObject, ObjectUse, Owner};
use crate::config::{self, Config};
use crate::digest::ObjectId;
use crate::manifest::{self, Entry, Package, Role};
use crate::names::{RepoId, SnapshotName};
use crate::openpgp::Keyring;
use crate::progress::Progress;
use crate::publish::{Caller, Destination, PublishMode, Publisher};
use crate::rel_path::RelPath;
use crate::repo_format::RepoFormat;
use crate::signing_key::ConfiguredKey;
use crate::storage::Storage;
use crate::store::records::{RepositoryRecord, RootRecord, SnapshotRecord, StateRecord};
use crate::threads;

const ROOT: (&str, &str) = ("repodata/repomd.xml", "root");
const PRIMARY: (&str, &str) = ("repodata/1-primary.xml.gz", "primary");
const HELLO: (&str, &str) = ("p/hello.rpm", "the package hello");
const OTHER: (&str, &str) = ("p/other.rpm", "the package other");

/// A storage with repositories `r` and `s`, each with an upstream in a directory.
struct Scene {
    dir: tempfile::TempDir,
    storage: Storage,
    config: Config,
}

impl Scene {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let storage = Storage::test(&dir.path().join("storage"));
        let at = |name: &str| dir.path().join(name).display().to_string();
        fs::create_dir_all(at("config/repos.d")).unwrap();
        fs::create_dir_all(at("config/conf.d")).unwrap();
        fs::write(
            at("config/conf.d/c.yaml"),
            format!(
                "storage: {{base_path: {}}}\ndownload: {{retries: 0}}\n",
                at("storage")
            ),
        )
        .unwrap();
        for name in ["r", "s"] {
            fs::create_dir(at(name)).unwrap();
            let text = format!(
                "name: {name}\ntype: rpm\nupstream: {{url: {}}}\nrpm: {{gpgcheck: false}}\n",
                at(name)
            );
            fs::write(at(&format!("config/repos.d/{name}.yaml")), text).unwrap();
        }
        let config = config::load(&dir.path().join("config")).unwrap().config;
        assert_eq!(config.repositories.len(), 2);
        Self {
            dir,
            storage,
            config,
        }
    }

    /// A scene whose repository `r` has this state, published; its upstream has the same files.
    fn published() -> Self {
        let scene = Self::new();
        let state = scene.state(&[ROOT, PRIMARY, HELLO, OTHER]);
        scene.put_state("r", &state);
        scene.serve("r", &[ROOT, PRIMARY, HELLO, OTHER]);
        scene.publish("latest");
        scene
    }

    fn at(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    fn serve(&self, repository: &str, files: &[(&str, &str)]) {
        for (path, content) in files {
            let file = self.at(repository).join(path);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, content).unwrap();
        }
    }

    fn manifest(&self, files: &[(&str, &str)]) -> ObjectId {
        let Storage { pool, locks, .. } = &self.storage;
        let entries = files.iter().map(|(path, content)| {
            let stored = pool.add(locks, content.as_bytes()).unwrap();
            Entry {
                path: RelPath::parse(path).unwrap(),
                object: stored.object,
                size: stored.size,
                role: role(path),
                package: package(path),
            }
        });
        let built = manifest::build(entries.collect()).unwrap();
        self.storage
            .write(|writer| writer.put_made(&built, 1))
            .unwrap();
        built.id
    }

    fn state(&self, files: &[(&str, &str)]) -> StateRecord {
        let root = RootRecord {
            path: None,
            object: ObjectId::of(b"root"),
            date: None,
            valid_until: None,
            revision: None,
            signed_by: Vec::new(),
        };
        StateRecord {
            format: RepoFormat::Rpm,
            manifest: self.manifest(files),
            roots: vec![root],
            regenerated: false,
            evidence: None,
            keyring: None,
            packages_signed_by: [].into(),
            left_out: [].into(),
            missing: [].into(),
            packages: 2,
            bytes: 1,
            synced_at: 1,
        }
    }

    fn put_state(&self, repository: &str, state: &StateRecord) {
        let record = RepositoryRecord {
            state: state.clone(),
            origin: ObjectId::of(b""),
            selection: ObjectId::of(b""),
            checked_at: 1,
            was_signed: false,
            newest_root_date: None,
        };
        self.storage
            .write(|writer| writer.put_repository(&RepoId::test(repository), &record))
            .unwrap();
    }

    fn put_snapshot(&self, repository: &str, name: &str, state: &StateRecord, from: &[&str]) {
        let record = SnapshotRecord {
            state: state.clone(),
            description: None,
            created_at: 1,
            merged_from: from.iter().map(|name| (*name).to_owned()).collect(),
        };
        let name = SnapshotName::parse(name).unwrap();
        self.storage
            .write(|writer| writer.put_snapshot(&RepoId::test(repository), &name, &record))
            .unwrap();
    }

    fn publish(&self, tree: &str) -> PathBuf {
        let path = self.at("www").join(tree);
        let publisher = Publisher {
            storage: &self.storage,
            config: &self.config,
            key: &ConfiguredKey::none(),
            caller: Caller::Command,
            mode: PublishMode::Always,
        };
        let to = Destination::Path(&path);
        publisher.state(&RepoId::test("r"), to).unwrap();
        path
    }

    fn repair(&self, damaged: &[DamagedObject], trees: &[DamagedTreeFile]) -> RepairOutcome {
        let workers = threads::pool("test", 2).unwrap();
        let context = RepairContext {
            config: &self.config,
            key: &ConfiguredKey::none(),
            storage: &self.storage,
            workers: &workers,
            progress: &Progress::Lines,
            limiter: None,
        };
        repair(context, damaged, trees).unwrap()
    }

    fn object(&self, content: &str) -> PathBuf {
        self.storage
            .pool
            .object_path(ObjectId::of(content.as_bytes()))
    }

    /// Damages the file of an object, and whatever is linked to it.
    fn damage(&self, content: &str) -> DamagedObject {
        let path = self.object(content);
        fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
        fs::write(&path, content.to_uppercase()).unwrap();
        let got = ObjectId::of(content.to_uppercase().as_bytes());
        damaged(content, Damage::Digest { got })
    }

    fn lose(&self, content: &str) -> DamagedObject {
        fs::remove_file(self.object(content)).unwrap();
        damaged(content, Damage::Missing)
    }

    fn is_intact(&self, content: &str) -> bool {
        let object = ObjectId::of(content.as_bytes());
        self.storage.pool.is_intact(object).unwrap()
    }
}

/// The tree has these files, and nothing is left next to it.
#[track_caller]
fn shows(tree: &Path, files: &[(&str, &str)]) {
    for (path, content) in files {
        let text = fs::read_to_string(tree.join(path)).unwrap();
        assert_eq!(&text, content, "{path}");
    }
    for entry in fs::read_dir(tree.parent().unwrap()).unwrap() {
        let name = entry.unwrap().file_name();
        assert!(!name.to_string_lossy().starts_with('.'), "{name:?} is left");
    }
}

fn role(path: &str) -> Role {
    match path {
        "keys" => Role::Key,
        path if path.ends_with("repomd.xml") => Role::Root,
        path if path.starts_with("repodata/") => Role::Index,
        _ => Role::Package,
    }
}

fn package(path: &str) -> Option<Package> {
    (role(path) == Role::Package).then(|| Package {
        name: path.to_owned(),
        version: "1".to_owned(),
        architecture: "noarch".to_owned(),
    })
}

fn damaged(content: &str, damage: Damage) -> DamagedObject {
    DamagedObject {
        object: ObjectId::of(content.as_bytes()),
        size: content.len() as u64,
        damage,
        uses: Vec::new(),
    }
}

#[test]
fn the_upstream_has_it_and_every_tree_is_mended() {
    let scene = Scene::published();
    let trees = [scene.at("www/latest"), scene.publish("second")];
    let damage = [
        scene.damage(HELLO.1),
        scene.lose(OTHER.1),
        scene.damage(PRIMARY.1),
    ];
    let inode = |path: &Path| fs::metadata(path).unwrap().ino();
    let lost = inode(&trees[0].join(OTHER.0));
    let outcome = scene.repair(&damage, &[]);
    assert!(outcome.unrepaired.is_empty(), "{:?}", outcome.unrepaired);
    let sources: Vec<_> = outcome.repaired.iter().map(|one| &one.source).collect();
    let upstream = |path: &str| RepairSource::Upstream {
        repository: RepoId::test("r"),
        path: RelPath::parse(path).unwrap(),
    };
    // The trees still have the file that the pool lost.
    let tree = RepairSource::Tree(trees[0].join(OTHER.0));
    assert_eq!(sources, [&upstream(HELLO.0), &tree, &upstream(PRIMARY.0)]);
    assert_eq!(outcome.requests, 2);
    let bytes = (HELLO.1.len() + PRIMARY.1.len()) as u64;
    assert_eq!(outcome.bytes_downloaded, bytes);
    let mended: Vec<_> = outcome
        .trees
        .iter()
        .map(|tree| (&tree.path, tree.files))
        .collect();
    assert_eq!(mended, [(&trees[0], 2), (&trees[1], 2)]);
    for tree in &trees {
        shows(tree, &[ROOT, PRIMARY, HELLO, OTHER]);
        assert_eq!(inode(&tree.join(HELLO.0)), inode(&scene.object(HELLO.1)));
        // It is right as it is.
        assert_eq!(inode(&tree.join(OTHER.0)), lost);
    }
    let again = scene.repair(&damage, &[]);
    assert!(again.trees.is_empty());
    assert!(
        again
            .repaired
            .iter()
            .all(|one| one.source == RepairSource::Pool)
    );
    assert_eq!(again.requests, 0);
}

#[test]
fn files_on_this_machine_cost_no_traffic() {
    let scene = Scene::published();
    let tree = scene.at("www/latest");
    // As on another file system.
    let copy = tree.join(HELLO.0);
    fs::remove_file(&copy).unwrap();
    fs::write(&copy, HELLO.1).unwrap();
    fs::set_permissions(&copy, PermissionsExt::from_mode(0o444)).unwrap();
    let partial = scene.at("storage/pool/partial");
    let partial = partial.join(format!("sha256-{}", ObjectId::of(OTHER.1.as_bytes())));
    fs::write(&partial, OTHER.1).unwrap();
    let outcome = scene.repair(&[scene.damage(HELLO.1), scene.damage(OTHER.1)], &[]);
    let sources: Vec<_> = outcome
        .repaired
        .iter()
        .map(|one| one.source.clone())
        .collect();
    assert_eq!(
        sources,
        [RepairSource::Tree(copy), RepairSource::Partial(partial)]
    );
    assert_eq!((outcome.requests, outcome.bytes_downloaded), (0, 0));
    assert_eq!(outcome.trees[0].files, 1);
    shows(&tree, &[ROOT, PRIMARY, HELLO, OTHER]);
}

#[test]
fn what_nobody_has_is_listed_and_put_aside() {
    let scene = Scene::published();
    // The upstream has moved on.
    scene.serve(
        "r",
        &[
            ("repodata/repomd.xml", "toor"),
            (HELLO.0, "another package.."),
        ],
    );
    fs::remove_file(scene.at("r").join(OTHER.0)).unwrap();
    let mut hello = scene.damage(HELLO.1);
    hello.uses.push(ObjectUse {
        repository: RepoId::test("r"),
        owner: Owner::State,
        path: RelPath::parse(HELLO.0).unwrap(),
        role: Role::Package,
        package: package(HELLO.0),
    });
    fs::remove_file(scene.at("www/latest").join(OTHER.0)).unwrap();
    let other = scene.lose(OTHER.1);
    let mut outcome = scene.repair(&[hello, other, scene.damage(ROOT.1)], &[]);
    assert!(outcome.repaired.is_empty() && outcome.trees.is_empty());
    let reasons = outcome.unrepaired.iter().map(|one| one.reasons.join("; "));
    let reasons: Vec<String> = reasons.collect();
    assert!(reasons[0].contains("content does not match"), "{reasons:?}");
    assert!(
        reasons[1].ends_with("p/other.rpm: not found"),
        "{reasons:?}"
    );
    let root = "r: the upstream has another root by now, and no older ones: ";
    assert!(reasons[2].starts_with(root), "{reasons:?}");
    let fates: Vec<_> = outcome
        .unrepaired
        .iter()
        .map(|one| one.fate.clone())
        .collect();
    assert_eq!(fates, [Fate::Kept, Fate::Missing, Fate::Kept]);
    let trees = [scene.at("www/latest")];
    assert!(outcome.unrepaired[0].trees.iter().eq(&trees));

    put_aside(&scene.storage, &mut outcome).unwrap();
    let aside = scene.at("storage/pool/damaged");
    let name = |content: &str| aside.join(ObjectId::of(content.as_bytes()).hex());
    let fates: Vec<_> = outcome
        .unrepaired
        .iter()
        .map(|one| one.fate.clone())
        .collect();
    let [hello, root] = [HELLO.1, ROOT.1].map(name);
    assert_eq!(
        fates,
        [
            Fate::PutAside(hello.clone()),
            Fate::Missing,
            Fate::PutAside(root)
        ]
    );
    assert!(!scene.object(HELLO.1).exists() && hello.exists());

    // The upstream has it again: it is found, and the damaged file is of no use any more.
    scene.serve("r", &[HELLO]);
    let outcome = scene.repair(&[damaged(HELLO.1, Damage::Missing)], &[]);
    assert_eq!(outcome.repaired.len(), 1);
    assert_eq!(outcome.trees[0].files, 1);
    let files = scene.storage.pool.damaged_files().unwrap();
    assert_eq!(files.len(), 2);
    let unknown = crate::cleanup::UnknownObjects::Keep;
    let Storage { store, pool, .. } = &scene.storage;
    let plan = crate::cleanup::plan(store, pool, &scene.config, unknown).unwrap();
    let listed: Vec<_> = plan.damaged.iter().map(|file| &file.path).collect();
    assert_eq!(listed, [&hello]);
}

/// Between the repair and the exclusive lock, another run may have replaced it.
#[test]
fn what_was_replaced_meanwhile_is_not_put_aside() {
    let scene = Scene::published();
    fs::remove_dir_all(scene.at("r")).unwrap();
    let mut outcome = scene.repair(&[scene.damage(HELLO.1)], &[]);
    assert_eq!(outcome.unrepaired.len(), 1);
    let Storage { pool, locks, .. } = &scene.storage;
    pool.add(locks, HELLO.1.as_bytes()).unwrap();
    put_aside(&scene.storage, &mut outcome).unwrap();
    assert!(outcome.unrepaired.is_empty());
    assert_eq!(outcome.repaired[0].source, RepairSource::Pool);
    assert!(scene.is_intact(HELLO.1));
}

#[test]
fn other_repositories_and_the_sources_of_merges_are_asked() {
    let scene = Scene::new();
    // In a merge, a package may have another path than at its source; the source of `hello` was
    // deleted, that of `other` is still there.
    let source = scene.state(&[ROOT, PRIMARY, OTHER]);
    scene.put_snapshot("s", "one", &source, &[]);
    let mut inner = scene.state(&[("repodata/repomd.xml", "inner"), HELLO]);
    inner.regenerated = true;
    scene.put_snapshot("r", "inner", &inner, &["s/gone"]);
    let moved = ("moved/other.rpm", OTHER.1);
    let mut merged = scene.state(&[("repodata/repomd.xml", "merged"), HELLO, moved]);
    merged.regenerated = true;
    scene.put_snapshot("r", "merged", &merged, &["s/one", "r/inner"]);
    scene.serve("s", &[HELLO, OTHER]);
    let damage = [
        scene.damage(HELLO.1),
        scene.lose(OTHER.1),
        scene.damage("merged"),
    ];
    let outcome = scene.repair(&damage, &[]);
    let repaired: Vec<_> = outcome
        .repaired
        .iter()
        .map(|one| one.source.clone())
        .collect();
    let upstream = |path: &str| RepairSource::Upstream {
        repository: RepoId::test("s"),
        path: RelPath::parse(path).unwrap(),
    };
    assert_eq!(repaired, [upstream(HELLO.0), upstream(OTHER.0)]);
    assert_eq!(outcome.requests, 2);
    let reasons = &outcome.unrepaired[0].reasons;
    assert!(
        reasons[0].contains("it has no evidence; a merge must be deleted and created again"),
        "{reasons:?}"
    );
}

#[test]
fn without_a_definition_there_is_no_upstream() {
    let scene = Scene::new();
    scene.put_state("unknown", &scene.state(&[ROOT, HELLO]));
    let outcome = scene.repair(&[scene.damage(HELLO.1)], &[]);
    let reason = "unknown is not configured, so that its upstream is not known";
    assert_eq!(outcome.unrepaired[0].reasons, [reason]);
}

#[test]
fn keys_that_are_known_are_written_again() {
    let scene = Scene::new();
    let key = include_bytes!("../../fixtures/openpgp/keyring.asc");
    let keyring = Keyring::parse(key, "key").unwrap();
    let binary = keyring.to_binary();
    let name = config::default_key_name(RepoFormat::Rpm, &RepoId::test("unknown"));
    let files = RepoFormat::Rpm.rules().key_files(&name, &keyring);
    let key = String::from_utf8(files[0].bytes.clone()).unwrap();
    let mut state = scene.state(&[ROOT, ("keys", &key)]);
    let Storage { pool, locks, .. } = &scene.storage;
    let stored = pool.add(locks, &binary).unwrap();
    state.keyring = Some(stored.object);
    scene.put_state("unknown", &state);
    let mut damage = scene.lose(&key);
    damage.uses.push(ObjectUse {
        repository: RepoId::test("unknown"),
        owner: Owner::State,
        path: name,
        role: Role::Key,
        package: None,
    });
    let outcome = scene.repair(&[damage], &[]);
    assert_eq!(outcome.repaired[0].source, RepairSource::Keys);
    assert!(scene.is_intact(&key));
}

#[test]
fn trees_are_mended_where_the_pool_is_right() {
    let scene = Scene::published();
    let tree = scene.at("www/latest");
    fs::remove_dir_all(tree.join("p")).unwrap();
    fs::remove_file(tree.join(PRIMARY.0)).unwrap();
    fs::write(tree.join(PRIMARY.0), "PRIMARY").unwrap();
    let damage = |path: &str| DamagedTreeFile {
        tree: tree.clone(),
        path: RelPath::parse(path).unwrap(),
    };
    // The last two are not wrong, and not what the tree shows.
    let damage = [HELLO.0, OTHER.0, PRIMARY.0, ROOT.0, "not/there"].map(damage);
    let outcome = scene.repair(&[], &damage);
    assert_eq!(outcome.trees[0].files, 3);
    assert!(outcome.trees[0].errors.is_empty());
    shows(&tree, &[ROOT, PRIMARY, HELLO, OTHER]);
    assert!(!tree.join("not").exists());
    let mode = fs::metadata(tree.join("p")).unwrap().mode() & 0o7777;
    assert_eq!(mode, 0o755);
}

/// Files that only earlier generations have; where both have one, the tree has the newer.
#[test]
fn retained_files_are_mended() {
    let scene = Scene::published();
    let tree = scene.at("www/latest");
    let new = [(ROOT.0, "new root"), (PRIMARY.0, "new primary"), OTHER];
    scene.put_state("r", &scene.state(&new));
    scene.publish("latest");
    shows(&tree, &[HELLO]);
    let damage = [
        scene.damage(HELLO.1),
        scene.damage(PRIMARY.1),
        scene.damage(ROOT.1),
    ];
    // The old index and root are not in the tree, and no state has them.
    let outcome = scene.repair(&damage, &[]);
    assert_eq!(outcome.repaired.len(), 1);
    let reasons = outcome.unrepaired.iter().map(|one| &*one.reasons[0]);
    let reasons: Vec<&str> = reasons.collect();
    assert_eq!(reasons[0], "no upstream and no published tree has it");
    assert!(reasons[1].starts_with("it was generated when it was published"));
    assert_eq!(outcome.trees[0].files, 1);
    shows(&tree, &new);
    shows(&tree, &[HELLO]);
    fs::remove_file(tree.join(HELLO.0)).unwrap();
    let outcome = scene.repair(&damage, &[]);
    assert_eq!(outcome.trees[0].files, 1);
    shows(&tree, &[HELLO]);
}

#[test]
fn a_tree_that_cannot_be_mended_does_not_stop_the_others() {
    let scene = Scene::published();
    let trees = [
        scene.at("www/latest"),
        scene.publish("second"),
        scene.publish("third"),
    ];
    fs::remove_dir_all(&trees[0]).unwrap();
    // A directory on the way became a link to somewhere else.
    fs::remove_dir_all(trees[1].join("p")).unwrap();
    std::os::unix::fs::symlink(scene.dir.path(), trees[1].join("p")).unwrap();
    let outcome = scene.repair(&[scene.damage(HELLO.1)], &[]);
    assert_eq!(outcome.repaired.len(), 1);
    let errors = outcome.trees.iter().map(|tree| tree.errors.len());
    assert_eq!(errors.collect::<Vec<_>>(), [1, 1, 0]);
    assert!(!trees[0].exists());
    assert!(!scene.at("hello.rpm").exists());
    shows(&trees[2], &[ROOT, PRIMARY, HELLO, OTHER]);
}

/// A killed run leaves its staging directory, and a record that names it.
#[test]
fn what_a_killed_run_left_is_removed() {
    let scene = Scene::published();
    let tree = scene.at("www/latest");
    let damage = scene.damage(HELLO.1);
    let staging = scene.at("www/.latest.chantal-staging");
    fs::create_dir(&staging).unwrap();
    let record = scene
        .storage
        .read(|reader| reader.tree(&tree))
        .unwrap()
        .unwrap();
    let metadata = fs::metadata(&staging).unwrap();
    let mut killed = record.clone();
    killed.leftover = record
        .directory
        .map(|directory| crate::store::records::DirectoryId {
            inode: metadata.ino(),
            born: None,
            ..directory
        });
    scene
        .storage
        .write(|writer| writer.put_tree(&tree, &killed))
        .unwrap();
    // Half of a copy, which is no file of the pool.
    fs::write(staging.join("0"), "the pack").unwrap();
    let outcome = scene.repair(&[damage], &[]);
    assert_eq!(outcome.trees[0].files, 1, "{outcome:?}");
    shows(&tree, &[ROOT, PRIMARY, HELLO, OTHER]);
}

/// Links to the pool are impossible there: the tree has copies.
#[test]
fn a_tree_on_another_file_system_gets_a_copy() {
    let scene = Scene::published();
    let Ok(elsewhere) = tempfile::tempdir_in("/dev/shm") else {
        return;
    };
    let device = |path: &Path| fs::metadata(path).unwrap().dev();
    if device(elsewhere.path()) == device(scene.dir.path()) {
        return;
    }
    let path = elsewhere.path().join("r");
    let tree = scene.publish(path.to_str().unwrap());
    assert_eq!(tree, path);
    fs::remove_file(tree.join(HELLO.0)).unwrap();
    fs::write(tree.join(HELLO.0), HELLO.1.to_uppercase()).unwrap();
    let outcome = scene.repair(&[scene.damage(HELLO.1)], &[]);
    let mended: Vec<_> = outcome.trees.iter().map(|tree| tree.files).collect();
    assert_eq!(mended, [1, 1]);
    shows(&tree, &[ROOT, PRIMARY, HELLO, OTHER]);
    let (copy, object) = (tree.join(HELLO.0), scene.object(HELLO.1));
    let [copy, object] = [copy, object].map(|path| fs::metadata(path).unwrap());
    assert_eq!(copy.mode() & 0o7777, 0o444);
    assert_eq!(copy.modified().unwrap(), object.modified().unwrap());
}
