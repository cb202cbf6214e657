//! Published trees: files that are missing, replaced or foreign, and trees that are not there.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{CHECK, QUICK, bad, flip, good, is_package, object, scene};
use crate::kit::mirror::Mirror;
use crate::kit::tree::{Tree, inodes};
use crate::kit::upstream::{Package, Upstream};

/// The only finding in a tree: what it is, and the path.
#[track_caller]
fn only(result: &Value) -> (String, String) {
    let trees = result["trees"].as_array().unwrap();
    assert_eq!(trees.len(), 1, "{result:#}");
    assert_eq!(
        result["damaged_objects"].as_array().unwrap().len(),
        0,
        "{result:#}"
    );
    let text = |key: &str| trees[0][key].as_str().unwrap_or("-").to_owned();
    (text("damage"), text("path"))
}

/// A package in the tree, relative to it.
fn package(mirror: &Mirror) -> PathBuf {
    let mut paths = inodes(&mirror.published()).into_keys();
    paths.find(|path| is_package(path)).unwrap().into()
}

/// A copy in place of the link, as where a file system allows no more links.
fn unlink(file: &Path) {
    let bytes = fs::read(file).unwrap();
    fs::remove_file(file).unwrap();
    fs::write(file, bytes).unwrap();
    fs::set_permissions(file, fs::Permissions::from_mode(0o444)).unwrap();
}

#[test]
fn foreign_files_are_found_everywhere() {
    for upstream in Upstream::both() {
        let mirror = scene(upstream);
        let directory = package(&mirror).parent().unwrap().to_owned();
        let deep = directory.join("notes.txt");
        fs::write(mirror.published().join(&deep), "x").unwrap();
        let expected = ("foreign".to_owned(), deep.display().to_string());
        assert_eq!(only(&bad(&mirror.chantal, &QUICK)), expected);
        let output = mirror.run(&CHECK).exits(5);
        let line = format!(
            "[dir]/www/r/latest/{}: a file that chantal did not publish\n",
            deep.display()
        );
        assert!(output.stdout.contains(&line), "{output:?}");
        // A repair never removes it, so it is not what to do.
        for command in [&CHECK[..], &["db", "check", "--repair"]] {
            let output = mirror.run(command).exits(5);
            let advice = "hint: move files out of the trees that chantal did not publish there\n";
            assert!(output.stderr.ends_with(advice), "{output:?}");
        }
        fs::remove_file(mirror.published().join(&deep)).unwrap();
        fs::create_dir_all(mirror.published().join("empty/one")).unwrap();
        let expected = ("foreign".to_owned(), "empty/one".to_owned());
        assert_eq!(only(&bad(&mirror.chantal, &QUICK)), expected);
    }
}

#[test]
fn a_link_that_is_in_no_manifest_is_found() {
    let mirror = scene(Upstream::deb());
    let package = mirror.published().join(package(&mirror));
    fs::hard_link(&package, mirror.published().join("again.deb")).unwrap();
    let expected = ("unlisted".to_owned(), "again.deb".to_owned());
    assert_eq!(only(&bad(&mirror.chantal, &QUICK)), expected);
}

#[test]
fn missing_and_replaced_files_are_found() {
    for upstream in Upstream::both() {
        let mirror = scene(upstream);
        let path = package(&mirror);
        let (file, shown) = (mirror.published().join(&path), path.display().to_string());
        let find = |args: &[&str]| only(&bad(&mirror.chantal, args));
        let bytes = fs::read(&file).unwrap();

        fs::remove_file(&file).unwrap();
        assert_eq!(find(&QUICK), ("missing".to_owned(), shown.clone()));
        // As an editor or a copying program leaves it.
        fs::write(&file, &bytes).unwrap();
        assert_eq!(find(&QUICK), ("writable".to_owned(), shown.clone()));
        fs::write(&file, &bytes[1..]).unwrap();
        assert_eq!(find(&QUICK), ("size".to_owned(), shown.clone()));
        fs::remove_file(&file).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", &file).unwrap();
        assert_eq!(find(&QUICK), ("not_a_file".to_owned(), shown.clone()));
        mirror.run(&["publish", "--repo-id", "r"]).exits(0);
        good(&mirror.chantal, &CHECK);
        // An empty directory is lost with nothing in it; one with files is somebody else's.
        for content in [None, Some("notes")] {
            fs::remove_file(&file).unwrap();
            fs::create_dir(&file).unwrap();
            if let Some(name) = content {
                fs::write(file.join(name), "").unwrap();
            }
            let repair = mirror.run(&["db", "check", "--repair"]);
            if let Some(name) = content {
                repair.exits(5).mentions("Is a directory");
                fs::remove_file(file.join(name)).unwrap();
                mirror.run(&["db", "check", "--repair"]).exits(0);
            } else {
                repair.exits(0);
            }
            good(&mirror.chantal, &CHECK);
        }
    }
}

/// ext4 allows 65,000 links: further files are copies. They are few, and read by every check.
#[test]
fn a_copy_beside_the_pool_is_read() {
    for upstream in Upstream::both() {
        let mirror = scene(upstream);
        let path = package(&mirror);
        let file = mirror.published().join(&path);
        let before = good(&mirror.chantal, &CHECK);
        unlink(&file);
        let after = good(&mirror.chantal, &CHECK);
        let files = |result: &Value| result["files_hashed"].as_u64().unwrap();
        assert_eq!(files(&after), files(&before) + 1);
        flip(&file);
        let expected = ("digest".to_owned(), path.display().to_string());
        assert_eq!(only(&bad(&mirror.chantal, &QUICK)), expected);
        assert_eq!(only(&bad(&mirror.chantal, &CHECK)), expected);
        // A part of all objects is all of them.
        let part = ["db", "check", "--read-data", "100%"];
        assert_eq!(only(&bad(&mirror.chantal, &part)), expected);
    }
}

#[test]
fn a_tree_on_another_file_system_is_proved_by_its_bytes() {
    let shared = tempfile::Builder::new()
        .prefix("chantal-check-")
        .tempdir_in("/dev/shm");
    let Ok(shared) = shared else {
        return println!("skipped: there is no /dev/shm");
    };
    for upstream in Upstream::both() {
        let mirror = scene(upstream);
        let device = |path: &Path| fs::metadata(path).unwrap().dev();
        if device(shared.path()) == device(mirror.chantal.dir()) {
            return println!("skipped: /dev/shm is no other file system");
        }
        let tree = shared.path().join(mirror.upstream.kind());
        let to = tree.to_str().unwrap();
        mirror
            .run(&["publish", "--repo-id", "r", "--to", to])
            .exits(0);
        good(&mirror.chantal, &QUICK);
        good(&mirror.chantal, &CHECK);
        let path = package(&mirror);
        flip(&tree.join(&path));
        good(&mirror.chantal, &QUICK);
        let expected = ("digest".to_owned(), path.display().to_string());
        assert_eq!(only(&bad(&mirror.chantal, &CHECK)), expected);
        mirror.run(&["unpublish", "--path", to]).exits(0);
    }
}

#[test]
fn a_tree_that_is_not_there_is_found() {
    let mirror = scene(Upstream::rpm());
    let tree = mirror.published();
    let aside = mirror.www("aside");
    fs::rename(&tree, &aside).unwrap();
    let missing = ("tree_missing".to_owned(), "-".to_owned());
    assert_eq!(only(&bad(&mirror.chantal, &QUICK)), missing);
    let output = mirror.run(&QUICK).exits(5);
    let line = "[dir]/www/r/latest: the published tree is missing: is its file system mounted?\n";
    assert!(output.stdout.contains(line), "{output:?}");
    // As a mount point without its disk.
    fs::create_dir(&tree).unwrap();
    assert_eq!(only(&bad(&mirror.chantal, &QUICK)), missing);
    fs::remove_dir(&tree).unwrap();
    fs::write(&tree, "x").unwrap();
    let other = ("not_a_directory".to_owned(), "-".to_owned());
    assert_eq!(only(&bad(&mirror.chantal, &QUICK)), other);
    fs::remove_file(&tree).unwrap();
    fs::rename(&aside, &tree).unwrap();
    good(&mirror.chantal, &CHECK);
}

/// A root that chantal signed, with another signature.
#[test]
fn a_generated_root_is_verified() {
    for upstream in Upstream::both() {
        let mirror = Mirror::of(super::two(upstream))
            .defined(|repository| repository.more("filters:\n  exclude: [other]\n"));
        mirror.run(&["config", "keygen"]).exits(0);
        mirror.sync().exits(0);
        good(&mirror.chantal, &QUICK);
        let signature = if mirror.upstream.kind() == "apt" {
            "dists/stable/Release.gpg"
        } else {
            "repodata/repomd.xml.asc"
        };
        flip(&mirror.published().join(signature));
        let result = bad(&mirror.chantal, &QUICK);
        let damaged = &result["damaged_objects"][0];
        assert_eq!(damaged["damage"], "digest", "{result:#}");
        assert_eq!(damaged["affects"][0]["owner"], "tree", "{result:#}");
        assert_eq!(damaged["affects"][0]["path"], signature, "{result:#}");
        // The state itself is good.
        assert_eq!(result["states"][0]["verdict"], "proved_to_evidence");
        assert_eq!(result["states"][1]["verdict"], "failed");
    }
}

/// A place that shows an earlier state with a root of its own: a cleanup leaves what it was made for.
#[test]
fn a_generated_root_of_an_earlier_state_is_verified() {
    for upstream in Upstream::both() {
        let mut mirror = Mirror::of(super::two(upstream))
            .defined(|repository| repository.more("filters:\n  exclude: [other]\n"));
        mirror.run(&["config", "keygen"]).exits(0);
        mirror.sync().exits(0);
        let to = ["publish", "--repo-id", "r", "--to", "www/to"];
        mirror.run(&to).exits(0);
        mirror.next(|upstream| upstream.replace(Package::new("hello", "2.0-1")));
        mirror.sync().exits(0);
        mirror.run(&["db", "cleanup"]).exits(0);
        let result = good(&mirror.chantal, &CHECK);
        let states = result["states"].as_array().unwrap();
        let tree = states.iter().find(|state| {
            state["tree"]
                .as_str()
                .is_some_and(|tree| tree.ends_with("/to"))
        });
        let notes = &tree.unwrap()["notes"];
        assert_eq!(
            *notes,
            serde_json::json!(["unproved: an earlier state, whose evidence is not stored"])
        );
    }
}

/// Whoever damages a file at the top of a tree changes its modification time as well.
#[test]
fn a_replaced_root_at_the_top_is_mended() {
    let mirror = scene(Upstream::deb().with_deb(|deb| deb.flat = Some("./".to_owned())));
    for root in ["Release", "InRelease"] {
        let file = mirror.published().join(root);
        let good_bytes = fs::read(&file).unwrap();
        fs::remove_file(&file).unwrap();
        fs::write(&file, &good_bytes[1..]).unwrap();
        mirror.run(&["db", "check", "--repair"]).exits(0);
        assert_eq!(fs::read(&file).unwrap(), good_bytes);
        good(&mirror.chantal, &CHECK);
    }
}

/// The database was restored from a backup: the tree is newer. Mending single files of its metadata
/// would mix two generations.
#[test]
fn a_repair_does_not_mix_generations() {
    for upstream in Upstream::both() {
        let mut mirror = scene(upstream);
        let store = mirror.chantal.data().join("chantal.redb");
        let backup = fs::read(&store).unwrap();
        mirror.next(|upstream| upstream.replace(Package::new("hello", "2.0-1")));
        mirror.sync().exits(0);
        fs::write(&store, backup).unwrap();
        let before = Tree::read(&mirror.published());
        for depth in [&QUICK[..], &CHECK] {
            let repair = [depth, &["--repair"]].concat();
            let output = mirror.run(&repair).exits(5);
            // A quick check may not see that the metadata differs.
            let is_said = output
                .stdout
                .contains("older database restored from a backup?");
            assert!(depth == QUICK || is_said, "{output:?}");
            Tree::read(&mirror.published()).assert_same(&before);
        }
        mirror.sync().exits(0);
        // It warns of the older database.
        mirror.run(&CHECK).exits(0);
    }
}

/// Roots of earlier generations are in no tree any more: losing them harms no one.
#[test]
fn a_root_that_no_tree_has_any_more_is_not_missed() {
    for upstream in Upstream::both() {
        let mut mirror = scene(upstream);
        mirror.run(&["snapshot", "delete", "--name", "s"]).exits(0);
        let root = mirror.upstream.root();
        let old = object(&mirror, mirror.built.tree.bytes(&root));
        mirror.next(|upstream| upstream.replace(Package::new("hello", "2.0-1")));
        mirror.sync().exits(0);
        fs::remove_file(old).unwrap();
        good(&mirror.chantal, &CHECK);
    }
}
