//! Publishing of small test manifests: retained files, foreign files, kills around the exchange.

use fs_err as fs;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::directory::{identity, staging_path};
use super::publication::publish_at;
use super::recover::recover;
use super::request::{OlderRootPolicy, Request, RootChoice, RootGenerator};
use super::root::GeneratedRoot;
use super::tree::{LockWait, LockedTree, pending};
use super::unpublish::unpublish;
use super::*;
use crate::digest::ObjectId;
use crate::manifest::{self, Entry, Role};
use crate::names::{RepoId, SnapshotName};
use crate::rel_path::RelPath;
use crate::repo_format::RepoFormat;
use crate::signing_key::ConfiguredKey;
use crate::storage::Storage;
use crate::store::records::{ObjectRecord, Staging, TreeRecord};

mod generated_roots;
mod in_place;

struct Scene {
    dir: tempfile::TempDir,
    storage: Storage,
}

impl Scene {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let storage = Storage::test(&dir.path().join("storage"));
        Self { dir, storage }
    }

    fn tree(&self) -> PathBuf {
        self.dir.path().join("www/latest")
    }

    fn put(&self, record: &TreeRecord) {
        let tree = self.tree();
        self.storage
            .write(|writer| writer.put_tree(&tree, record))
            .unwrap();
    }

    fn recover(&self, now: i64) -> Result<Option<TreeRecord>, PublishError> {
        let path = self.tree();
        recover(&LockedTree::lock_at(
            &self.storage,
            &path,
            LockWait::Configured,
            now,
        )?)
    }

    fn unpublish(&self) -> Result<Removal, PublishError> {
        let (fate, missing) = (RecordFate::Remove, MissingTree::Reject);
        unpublish(&self.storage, &self.tree(), fate, missing)
    }

    fn manifest(&self, files: &[(&str, &str)]) -> ObjectId {
        let entries = files
            .iter()
            .map(|(path, content)| {
                let stored = self
                    .storage
                    .pool
                    .add(&self.storage.locks, content.as_bytes())
                    .unwrap();
                Entry {
                    path: RelPath::parse(path).unwrap(),
                    object: stored.object,
                    size: stored.size,
                    role: if path.ends_with("root") {
                        Role::Root
                    } else if path.starts_with("pool/") {
                        Role::File
                    } else {
                        Role::Index
                    },
                    package: None,
                }
            })
            .collect();
        let built = manifest::build(entries).unwrap();
        self.storage
            .write(|writer| {
                for chunk in &built.chunks {
                    writer.put_object(
                        chunk.0,
                        ObjectRecord {
                            size: 0,
                            verified_at: 0,
                        },
                    )?;
                }
                writer.put_manifest(&built)
            })
            .unwrap();
        built.id
    }

    fn publish(&self, manifest: ObjectId, now: i64) -> Result<Outcome, PublishError> {
        let tree = self.tree();
        publish_at(
            &self.storage,
            Request {
                caller: Caller::Command,
                tree: &tree,
                repository: &RepoId::test("r"),
                snapshot: None,
                manifest,
                root: RootChoice::Verbatim { date: None },
                keep: Duration::from_secs(100),
                mode: PublishMode::IfChanged,
            },
            now,
        )
    }

    fn files(&self) -> Vec<String> {
        fn walk(dir: &Path, root: &Path, found: &mut Vec<String>) {
            for entry in fs::read_dir(dir).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    walk(&path, root, found);
                } else {
                    found.push(
                        path.strip_prefix(root)
                            .unwrap()
                            .to_str()
                            .unwrap()
                            .to_owned(),
                    );
                }
            }
        }
        let mut found = Vec::new();
        walk(&self.tree(), &self.tree(), &mut found);
        found.sort();
        found
    }
}

#[test]
fn files_of_earlier_generations_are_retained_without_their_roots() {
    let scene = Scene::new();
    let first = scene.manifest(&[("root", "1"), ("a/1", "a"), ("b", "b")]);
    let second = scene.manifest(&[("root", "2"), ("a/2", "a")]);
    let third = scene.manifest(&[("a/3", "a")]);
    scene.publish(first, 0).unwrap();
    assert_eq!(scene.publish(first, 5).unwrap(), Outcome::Unchanged);
    assert_eq!(
        scene.publish(second, 10).unwrap(),
        Outcome::Published(Summary {
            files: 2,
            copied: 0,
            earlier_generations: 1,
            root: GeneratedRoot::None,
            missing_features: BTreeSet::new(),
        })
    );
    assert_eq!(scene.files(), ["a/1", "a/2", "b", "root"]);
    assert_eq!(fs::read(scene.tree().join("root")).unwrap(), b"2");
    // The third has no root: an earlier one must not be retained.
    scene.publish(third, 50).unwrap();
    assert_eq!(scene.files(), ["a/1", "a/2", "a/3", "b"]);
    // The first expires a hundred seconds after it was replaced; the last one is always retained.
    scene.publish(first, 500).unwrap();
    assert_eq!(scene.files(), ["a/1", "a/3", "b", "root"]);
}

#[test]
fn foreign_files_are_kept() {
    let scene = Scene::new();
    let manifest = scene.manifest(&[("root", "1")]);
    fs::create_dir_all(scene.tree()).unwrap();
    fs::write(scene.tree().join("thesis.tex"), "years of work").unwrap();
    assert!(matches!(
        scene.publish(manifest, 0),
        Err(PublishError::Occupied { .. })
    ));
    assert_eq!(scene.files(), ["thesis.tex"]);

    fs::remove_file(scene.tree().join("thesis.tex")).unwrap();
    // An empty directory may be replaced.
    scene.publish(manifest, 0).unwrap();
    fs::write(scene.tree().join("index.html"), "hand-made").unwrap();
    let next = scene.manifest(&[("root", "2")]);
    let error = scene.publish(next, 1).unwrap_err();
    assert!(
        matches!(error, PublishError::ForeignFiles { count: 1, .. }),
        "{error}"
    );
    assert_eq!(scene.files(), ["index.html", "root"]);
}

#[test]
fn recovery_from_a_kill_around_the_exchange() {
    let scene = Scene::new();
    let first = scene.manifest(&[("root", "1"), ("a", "a")]);
    let second = scene.manifest(&[("root", "2")]);
    let tree = scene.tree();
    let staging = staging_path(&tree).unwrap();
    for (shown, exchanged) in [(first, false), (first, true)] {
        scene.publish(shown, 0).unwrap();
        // What a killed run leaves: a record with the staging directory, before or after the
        // exchange.
        fs::create_dir_all(&staging).unwrap();
        fs::write(staging.join("root"), "2").unwrap();
        let directory = identity(&staging).unwrap().unwrap();
        let mut record = scene
            .storage
            .read(|reader| reader.tree(&tree))
            .unwrap()
            .unwrap();
        record.staging = Some(Staging {
            manifest: second,
            source: None,
            root_key: None,
            snapshot: None,
            earlier: Some(Vec::new()),
            part: None,
            directory,
        });
        scene.put(&record);
        if exchanged {
            exchange::exchange(&staging, &tree).unwrap();
        }
        let outcome = scene.publish(second, 2).unwrap();
        assert_eq!(outcome == Outcome::Unchanged, exchanged);
        assert_eq!(fs::read(tree.join("root")).unwrap(), b"2");
        assert!(!staging.exists());
    }
}

/// Otherwise deleting the snapshot would leave the tree, and removing the repository would remove
/// the tree of a snapshot that is kept.
#[test]
fn recovery_records_the_snapshot_that_a_killed_run_has_published() {
    let name = SnapshotName::parse("s").unwrap();
    let scene = Scene::new();
    let [first, second] = ["1", "2"].map(|root| scene.manifest(&[("root", root)]));
    let tree = scene.tree();
    let staging = staging_path(&tree).unwrap();
    let read = || scene.storage.read(|reader| reader.tree(&tree)).unwrap();
    // The first publishing at this path, and another one at a path that shows the state.
    for before in [None, Some(first)] {
        if let Some(state) = before {
            scene.unpublish().unwrap();
            scene.publish(state, 0).unwrap();
        }
        let record = read();
        fs::create_dir_all(&staging).unwrap();
        fs::write(staging.join("root"), "2").unwrap();
        let next = TreeRecord {
            snapshot: Some(name.clone()),
            manifest: Some(second),
            ..record
                .clone()
                .unwrap_or_else(|| TreeRecord::new(RepoId::test("r")))
        };
        let directory = identity(&staging).unwrap();
        let killed = pending(record.as_ref(), &next, directory);
        assert!(killed.is_of_snapshot(&killed.repository, &name));
        scene.put(&killed);
        exchange::exchange(&staging, &tree).unwrap();
        complete_interrupted(&scene.storage, &RepoId::test("other")).unwrap();
        assert_eq!(read().unwrap(), killed);
        complete_interrupted(&scene.storage, &killed.repository).unwrap();
        let recovered = read().unwrap();
        assert_eq!(recovered.snapshot.as_ref(), Some(&name));
        assert_eq!(recovered.manifest, Some(second));
    }
}

#[test]
fn a_symbolic_link_is_rejected() {
    let scene = Scene::new();
    let manifest = scene.manifest(&[("root", "1")]);
    fs::create_dir_all(scene.dir.path().join("www")).unwrap();
    fs::create_dir_all(scene.dir.path().join("elsewhere")).unwrap();
    std::os::unix::fs::symlink(scene.dir.path().join("elsewhere"), scene.tree()).unwrap();
    assert!(matches!(
        scene.publish(manifest, 0),
        Err(PublishError::SymbolicLink { .. })
    ));
}

/// The run that recovers from a kill is killed itself while it removes the previous tree.
#[test]
fn recovery_from_a_kill_during_recovery() {
    let scene = Scene::new();
    let first = scene.manifest(&[("root", "1")]);
    let second = scene.manifest(&[("root", "2")]);
    scene.publish(first, 0).unwrap();
    let tree = scene.tree();
    let staging = staging_path(&tree).unwrap();
    scene.publish(second, 10).unwrap();
    let mut record = scene
        .storage
        .read(|reader| reader.tree(&tree))
        .unwrap()
        .unwrap();
    // Killed right after the exchange: the previous tree is at the staging path.
    let directory = identity(&tree).unwrap().unwrap();
    record.manifest = Some(first);
    record.leftover = None;
    record.staging = Some(Staging {
        manifest: second,
        source: None,
        root_key: None,
        snapshot: None,
        earlier: None,
        part: None,
        directory,
    });
    scene.put(&record);
    for name in ["a", "b"] {
        fs::create_dir_all(staging.join(name)).unwrap();
        fs::write(staging.join(name).join("old"), "1").unwrap();
    }
    // The recovering run is killed after it has updated the record, when half of the previous tree
    // is removed.
    let recovered = scene.recover(20).unwrap().unwrap();
    assert!(recovered.staging.is_none() && !staging.exists());
    let recorded = scene
        .storage
        .read(|reader| reader.tree(&tree))
        .unwrap()
        .unwrap();
    assert!(
        recorded.leftover.is_some(),
        "the next run would take the remaining files for foreign ones"
    );
}

#[test]
fn recovery_from_a_kill_during_removal() {
    let scene = Scene::new();
    let manifest = scene.manifest(&[("root", "1"), ("a", "a")]);
    let tree = scene.tree();
    let staging = staging_path(&tree).unwrap();
    let record = || {
        scene
            .storage
            .store
            .read(|reader| reader.tree(&tree))
            .unwrap()
    };
    let leave = |steps: u8| {
        scene.publish(manifest, 0).unwrap();
        let mut left = record().unwrap();
        left.leftover = identity(&tree).unwrap();
        scene.put(&left);
        if steps >= 1 {
            fs::rename(&tree, &staging).unwrap();
        }
        if steps >= 2 {
            left.forget_content();
            scene.put(&left);
        }
        if steps >= 3 {
            fs::remove_dir_all(&staging).unwrap();
        }
    };
    for steps in 0..=3 {
        leave(steps);
        scene.unpublish().unwrap();
        assert_eq!(record(), None, "after {steps} steps");
        assert!(!tree.exists() && !staging.exists(), "after {steps} steps");
    }
    for steps in 0..=3 {
        leave(steps);
        scene.publish(manifest, 2).unwrap();
        assert_eq!(scene.files(), ["a", "root"], "after {steps} steps");
        scene.unpublish().unwrap();
    }
    // The staging directory is on the same disk, which is not mounted.
    leave(0);
    let unmounted = scene.dir.path().join("unmounted");
    fs::rename(tree.parent().unwrap(), &unmounted).unwrap();
    assert!(matches!(
        scene.unpublish(),
        Err(PublishError::TreeMissing { .. })
    ));
    fs::rename(&unmounted, tree.parent().unwrap()).unwrap();
    scene.unpublish().unwrap();
}

#[test]
fn an_interrupted_first_publishing_can_be_unpublished() {
    let scene = Scene::new();
    let manifest = scene.manifest(&[("root", "1")]);
    let tree = scene.tree();
    let staging = staging_path(&tree).unwrap();
    for is_unmounted in [false, true] {
        scene.publish(manifest, 0).unwrap();
        let directory = identity(&tree).unwrap().unwrap();
        let mut record = scene
            .storage
            .read(|reader| reader.tree(&tree))
            .unwrap()
            .unwrap();
        record.manifest = None;
        record.staging = Some(Staging {
            source: None,
            root_key: None,
            snapshot: None,
            manifest,
            earlier: None,
            part: None,
            directory,
        });
        scene.put(&record);
        if is_unmounted {
            // Only the disk could tell whether it was exchanged.
            fs::remove_dir_all(&tree).unwrap();
            assert!(matches!(
                scene.unpublish(),
                Err(PublishError::TreeMissing { .. })
            ));
        } else {
            fs::rename(&tree, &staging).unwrap();
            scene.unpublish().unwrap();
            assert!(!staging.exists());
        }
    }
}

/// The run that recovers from a killed first publishing is killed before or after it removes the
/// staging directory: nothing was ever published, so nothing is missing.
#[test]
fn recovery_from_a_kill_during_recovery_of_a_first_publishing() {
    for is_removed in [false, true] {
        let scene = Scene::new();
        let manifest = scene.manifest(&[("root", "1")]);
        let tree = scene.tree();
        let staging = staging_path(&tree).unwrap();
        let record = || {
            scene
                .storage
                .store
                .read(|reader| reader.tree(&tree))
                .unwrap()
        };
        scene.publish(manifest, 0).unwrap();
        let mut killed = record().unwrap();
        fs::rename(&tree, &staging).unwrap();
        killed.manifest = None;
        killed.directory = None;
        killed.leftover = identity(&staging).unwrap();
        scene.put(&killed);
        if is_removed {
            fs::remove_dir_all(&staging).unwrap();
        }
        let recovered = scene.recover(1).unwrap();
        assert!(recovered.is_none() && record().is_none() && !staging.exists());
        scene.publish(manifest, 2).unwrap();
        assert_eq!(scene.files(), ["root"]);
    }
}

/// A root was generated while the clock was ahead: clients reject it, and later roots must not need
/// a date in that year.
#[test]
fn later_roots_need_no_date_in_the_future() {
    let scene = Scene::new();
    let tree = scene.tree();
    let (first, second) = (
        scene.manifest(&[("root", "1")]),
        scene.manifest(&[("root", "2")]),
    );
    let key_name = RelPath::parse("key").unwrap();
    let no_key = ConfiguredKey::none();
    let year_2040 = 2_208_988_800;
    let show = |manifest, date, now| {
        let generator = RootGenerator {
            format: RepoFormat::Apt.rules(),
            key: &no_key,
            key_name: &key_name,
        };
        let request = Request {
            caller: Caller::Command,
            tree: &tree,
            repository: &RepoId::test("r"),
            snapshot: None,
            manifest,
            root: RootChoice::Upstream {
                date: Some(date),
                generator,
                older: OlderRootPolicy::Redate,
            },
            keep: Duration::ZERO,
            mode: PublishMode::Always,
        };
        publish_at(&scene.storage, request, now)
    };
    show(first, year_2040, year_2040).unwrap();
    assert!(matches!(
        show(second, year_2040 - 1, year_2040),
        Err(PublishError::RootTooOld { .. })
    ));
    show(second, 1000, 1001).unwrap();
    assert!(matches!(
        show(first, 999, 1002),
        Err(PublishError::RootTooOld { .. })
    ));
}

/// The run that publishes an unpublished tree again is killed after the exchange: later syncs
/// publish it too.
#[test]
fn a_tree_that_is_published_again_is_wanted_again() {
    let scene = Scene::new();
    let manifest = scene.manifest(&[("root", "1")]);
    let tree = scene.tree();
    let record = || {
        scene
            .storage
            .store
            .read(|reader| reader.tree(&tree))
            .unwrap()
    };
    scene.publish(manifest, 0).unwrap();
    unpublish(&scene.storage, &tree, RecordFate::Keep, MissingTree::Reject).unwrap();
    let before = record().unwrap();
    assert!(!before.wanted && !before.is_on_disk());
    scene.publish(manifest, 1).unwrap();
    let shown = record().unwrap();
    let directory = shown.directory.unwrap();
    let killed = pending(Some(&before), &shown, Some(directory));
    scene.put(&killed);
    let recovered = scene.recover(1).unwrap().unwrap();
    assert!(recovered.wanted && recovered.manifest == Some(manifest));
    assert_eq!(scene.files(), ["root"]);
}
