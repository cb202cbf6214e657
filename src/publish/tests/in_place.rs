//! Updates of a published tree in place.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt as _;

use super::*;

/// Files outside the metadata of these manifests, and their metadata in `dists`.
fn manifest_with(scene: &Scene, root: &str, pool: &[(&str, &str)]) -> ObjectId {
    let metadata = [("dists/s/root", root), ("dists/s/index", root)];
    scene.manifest(&[&metadata[..], pool].concat())
}

fn inode(path: &Path) -> u64 {
    fs::symlink_metadata(path).unwrap().ino()
}

#[test]
fn only_the_directory_of_the_metadata_is_exchanged() {
    let scene = Scene::new();
    let tree = scene.tree();
    let (kept, old, new) = (("pool/a/1", "1"), ("pool/b/1", "1"), ("pool/c/2", "2"));
    let first = manifest_with(&scene, "1", &[kept, old]);
    let second = manifest_with(&scene, "2", &[kept, new]);
    let third = manifest_with(&scene, "3", &[kept, new]);
    scene.publish(first, 0).unwrap();
    let before = ["", "pool/a", "dists/s"].map(|path| inode(&tree.join(path)));
    let published = scene.publish(second, 10).unwrap();
    let expected = Outcome::Published(Summary {
        files: 4,
        copied: 0,
        earlier_generations: 1,
        root: GeneratedRoot::None,
        missing_features: BTreeSet::new(),
    });
    assert_eq!(published, expected);
    let after = ["", "pool/a", "dists/s"].map(|path| inode(&tree.join(path)));
    assert_eq!(before[..2], after[..2]);
    assert_ne!(before[2], after[2]);
    let files = [
        "dists/s/index",
        "dists/s/root",
        "pool/a/1",
        "pool/b/1",
        "pool/c/2",
    ];
    assert_eq!(scene.files(), files);
    assert_eq!(fs::read(tree.join("dists/s/root")).unwrap(), b"2");
    // The first generation expires, with its directory.
    scene.publish(third, 200).unwrap();
    assert!(!tree.join("pool/b").exists());
    assert_eq!(inode(&tree), after[0]);
}

#[test]
fn expired_files_are_removed_without_a_change() {
    let scene = Scene::new();
    let manifests = ["1", "2", "3"].map(|root| {
        let path = format!("pool/{root}");
        manifest_with(&scene, root, &[(&path, root)])
    });
    for (manifest, now) in manifests.into_iter().zip([0, 10, 20]) {
        scene.publish(manifest, now).unwrap();
    }
    let pool = || {
        let mut files = scene.files();
        files.retain(|file| file.starts_with("pool/"));
        files
    };
    assert_eq!(scene.publish(manifests[2], 50).unwrap(), Outcome::Unchanged);
    assert_eq!(pool(), ["pool/1", "pool/2", "pool/3"]);
    assert_eq!(
        scene.publish(manifests[2], 150).unwrap(),
        Outcome::Unchanged
    );
    assert_eq!(pool(), ["pool/2", "pool/3"]);
    let record = scene.storage.read(|reader| reader.tree(&scene.tree()));
    assert!(record.unwrap().unwrap().unfinished.is_empty());
}

/// What cannot be added and removed one by one is exchanged as a whole.
#[test]
fn changes_that_need_an_exchange_of_the_whole_tree() {
    let unchanged = ("pool/a", "a");
    for (before, after) in [
        // Other content.
        (("pool/b", "1"), ("pool/b", "2")),
        // A file becomes a directory, and the other way round.
        (("pool/b", "1"), ("pool/b/c", "1")),
        (("pool/b/c", "1"), ("pool/b", "1")),
        // A key at the top; here any metadata.
        (("pool/b", "1"), ("key", "1")),
    ] {
        let scene = Scene::new();
        scene
            .publish(manifest_with(&scene, "1", &[unchanged, before]), 0)
            .unwrap();
        let tree = inode(&scene.tree());
        let next = manifest_with(&scene, "2", &[unchanged, after]);
        scene.publish(next, 10).unwrap();
        assert_ne!(inode(&scene.tree()), tree, "{after:?}");
        let content = fs::read_to_string(scene.tree().join(after.0)).unwrap();
        assert_eq!(content, after.1);
    }
}

#[test]
fn foreign_files_are_found_where_the_tree_changes() {
    let scene = Scene::new();
    let tree = scene.tree();
    let files = |root, version| {
        let path = format!("pool/b/{version}");
        manifest_with(&scene, root, &[("pool/a/1", "1"), (&path, version)])
    };
    scene.publish(files("1", "1"), 0).unwrap();
    let next = files("2", "2");
    for foreign in ["index.html", "dists/s/index.html", "pool/b/index.html"] {
        let foreign = tree.join(foreign);
        fs::write(&foreign, "hand-made").unwrap();
        let error = scene.publish(next, 10).unwrap_err();
        assert!(
            matches!(error, PublishError::ForeignFiles { count: 1, .. }),
            "{error}"
        );
        assert_eq!(fs::read(tree.join("dists/s/root")).unwrap(), b"1");
        fs::remove_file(foreign).unwrap();
    }
    // It is not in the way, and not lost.
    scene.publish(files("3", "3"), 10).unwrap();
    let foreign = tree.join("pool/a/index.html");
    fs::write(&foreign, "hand-made").unwrap();
    scene.publish(files("4", "4"), 20).unwrap();
    assert!(foreign.exists());
}

/// A run was killed while it added files, and then another manifest is published.
#[test]
fn files_of_an_interrupted_run_are_removed() {
    let scene = Scene::new();
    let tree = scene.tree();
    let first = manifest_with(&scene, "1", &[("pool/a", "a")]);
    let killed = manifest_with(&scene, "2", &[("pool/a", "a"), ("pool/b", "b")]);
    let third = manifest_with(&scene, "3", &[("pool/a", "a"), ("pool/c", "c")]);
    scene.publish(first, 0).unwrap();
    let top = inode(&tree);
    let mut record = scene
        .storage
        .read(|reader| reader.tree(&tree))
        .unwrap()
        .unwrap();
    record.unfinished.push(killed);
    scene.put(&record);
    let object = scene.storage.pool.object_path(ObjectId::of(b"b"));
    fs::hard_link(object, tree.join("pool/b")).unwrap();
    // Its objects are needed until then.
    let names = scene.storage.read(crate::store::Reader::names).unwrap();
    assert!(names.iter().any(|(_, manifest)| *manifest == killed));
    scene.publish(third, 10).unwrap();
    assert_eq!(inode(&tree), top);
    let files = ["dists/s/index", "dists/s/root", "pool/a", "pool/c"];
    assert_eq!(scene.files(), files);
}

/// The store was restored from a backup: the tree is newer, in the same directory.
#[test]
fn a_tree_that_is_newer_than_the_store_is_noticed() {
    let scene = Scene::new();
    let tree = scene.tree();
    let read = || {
        let record = scene.storage.read(|reader| reader.tree(&tree)).unwrap();
        record.unwrap()
    };
    let [first, second] = ["1", "2"].map(|root| {
        let path = format!("pool/{root}");
        manifest_with(&scene, root, &[("pool/a", "a"), (&path, root)])
    });
    scene.publish(first, 0).unwrap();
    let backup = read();
    scene.publish(second, 10).unwrap();
    assert_eq!(read().directory, backup.directory);
    scene.put(&backup);
    // According to the store, the tree already shows it.
    scene.publish(first, 20).unwrap();
    assert_eq!(fs::read(tree.join("dists/s/root")).unwrap(), b"1");
    assert_eq!(scene.publish(first, 21).unwrap(), Outcome::Unchanged);
}
