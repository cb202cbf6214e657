//! `db check --repair`: what is damaged is got again wherever it can be had, and every published
//! tree is mended.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;

use super::{CHECK, each, flip, good, is_package, object, object_named, overwrite, scene, two};
use crate::kit::chantal::Chantal;
use crate::kit::mirror::Mirror;
use crate::kit::tree::{Tree, inodes};
use crate::kit::upstream::{Checksum, Package, Upstream};

const REPAIR: [&str; 3] = ["db", "check", "--repair"];

/// The files of all objects in the pool.
fn objects(chantal: &Chantal) -> Vec<PathBuf> {
    let pool = chantal.data().join("pool");
    let all = Tree::read(&pool.join("sha256"));
    let names = all
        .paths()
        .into_iter()
        .map(|path| pool.join("sha256").join(path));
    names.collect()
}

/// A state `r` and its snapshot `s`, both published.
fn published(mirror: Mirror) -> (Mirror, Tree) {
    let to = ["publish", "--snapshot-name", "s", "--to", "www/s"];
    mirror.run(&to).exits(0);
    let www = Tree::read(&mirror.chantal.dir().join("www"));
    (mirror, www)
}

#[track_caller]
fn is_mended(mirror: &Mirror, www: &Tree) {
    Tree::read(&mirror.chantal.dir().join("www")).assert_same(www);
    good(&mirror.chantal, &CHECK);
}

#[track_caller]
fn repair(mirror: &Mirror, code: i32) -> Value {
    let args = [&REPAIR[..], &["--format", "json"]].concat();
    mirror.run(&args).exits(code).json()["repair"].clone()
}

#[test]
fn everything_is_damaged_at_once() {
    for upstream in Upstream::both() {
        let (mirror, www) = published(scene(upstream));
        let objects = objects(&mirror.chantal);
        for file in &objects {
            flip(file);
        }
        mirror.server.clear_log();
        let result = repair(&mirror, 0);
        let repaired = result["repaired"].as_array().unwrap();
        assert_eq!(repaired.len(), objects.len(), "{result:#}");
        let mut sources: BTreeMap<&str, u64> = BTreeMap::new();
        let mut bytes = 0;
        for one in repaired {
            let source = one["from"]["type"].as_str().unwrap();
            *sources.entry(source).or_default() += 1;
            if source == "upstream" {
                bytes += one["bytes"].as_u64().unwrap();
            }
        }
        // The keys are known here; everything else costs its bytes and one request.
        assert!(
            sources["trusted_keys"] >= 1 && sources.len() == 2,
            "{sources:?}"
        );
        assert_eq!(result["requests"], sources["upstream"]);
        assert_eq!(mirror.server.requests().len() as u64, sources["upstream"]);
        assert_eq!(result["bytes_downloaded"], bytes);
        assert_eq!(result["trees"].as_array().unwrap().len(), 2);
        is_mended(&mirror, &www);
        mirror.run(&REPAIR).succeeds();
    }
}

#[test]
fn filtered_states_are_repaired_with_their_evidence() {
    for upstream in Upstream::both() {
        let upstream = two(upstream);
        let mirror = Mirror::of(upstream)
            .defined(|repository| repository.more("filters: {exclude: [other]}\n"));
        mirror.sync().exits(0);
        let before = Tree::read(&mirror.published());
        for file in objects(&mirror.chantal) {
            flip(&file);
        }
        let output = mirror.run(&[&REPAIR[..], &["--format", "json"]].concat());
        let damaged = output.json()["damaged_objects"].as_array().unwrap().len();
        let result = output.json()["repair"].clone();
        let left = result["not_repaired"].as_array().unwrap();
        // Only the root that was generated for the tree cannot be made again.
        let of_tree = |one: &Value| {
            let reason = one["reasons"][0].as_str().unwrap();
            reason.starts_with("it was generated when it was published")
        };
        assert!(left.iter().all(of_tree), "{result:#}");
        if left.is_empty() {
            Tree::read(&mirror.published()).assert_same(&before);
        }
        let is_generated = |one: &Value| one["from"]["type"] == "generated";
        let repaired = result["repaired"].as_array().unwrap();
        assert!(repaired.iter().any(is_generated), "{result:#}");
        assert_eq!(repaired.len() + left.len(), damaged);
        let recreate = ["publish", "--repo-id", "r", "--recreate"];
        mirror.run(&recreate).exits(0);
        // What is published now is good, and no tree has the old root any more.
        let args = [&CHECK[..], &["--format", "json"]].concat();
        let after = mirror.run(&args).json();
        let verdicts = each(&after["states"], "verdict");
        assert!(!verdicts.contains(&"failed"), "{after:#}");
        assert!(after["trees"].as_array().unwrap().is_empty(), "{after:#}");
        assert_eq!(after["good"], true, "{after:#}");
    }
}

#[test]
fn what_the_upstream_lost_is_listed_and_put_aside() {
    for upstream in Upstream::both() {
        let (mirror, www) = published(scene(upstream));
        let upstream = mirror.built.tree.clone();
        let paths = upstream.paths().into_iter();
        let mut packages = paths.filter(|path| path.contains("hello") && is_package(path));
        let path = packages.next().unwrap().to_owned();
        let bytes = upstream.bytes(&path).to_vec();
        mirror.server.edit(|tree| tree.remove(&path));
        let file = object(&mirror, &bytes);
        flip(&file);
        let hex = Checksum::Sha256.hex(&bytes);
        let aside = mirror.chantal.data().join("pool/damaged").join(&hex);
        let hint =
            "hint: `chantal db check --repair` gets damaged and missing files again where it can\n";
        mirror.run(&["db", "check"]).exits(5).mentions(hint);
        let output = mirror.run(&REPAIR).exits(5);
        let stdout = output.stdout;
        assert!(!output.stderr.contains(hint), "{}", output.stderr);
        assert!(
            output
                .stderr
                .contains("hint: restore objects that were not repaired")
        );
        let lines = [
            format!("not repaired: object {hex} ("),
            "), moved to ".to_owned(),
            format!("{path}: not found\n"),
            "  affects: r: hello 1.0-1 ".to_owned(),
            format!("({path}) in the current state, snapshot s\n"),
            "  published in [dir]/www/s\n".to_owned(),
        ];
        for line in lines {
            assert!(stdout.contains(&line), "no {line:?} in {stdout}");
        }
        assert!(aside.exists() && !file.exists());
        // It is not published any more.
        let again = ["publish", "--snapshot-name", "s", "--to", "www/again"];
        mirror
            .run(&again)
            .exits(5)
            .mentions("is missing from the pool");
        mirror.run(&["db", "cleanup"]).exits(0);
        assert!(aside.exists());

        mirror.server.swap(upstream);
        repair(&mirror, 0);
        is_mended(&mirror, &www);
        assert!(aside.exists());
        let cleanup = mirror.run(&["db", "cleanup"]).exits(0);
        assert!(!aside.exists());
        cleanup.mentions("removed 1 damaged object (");
        is_mended(&mirror, &www);
    }
}

/// The pool is right; nothing is downloaded.
#[test]
fn files_of_trees_are_replaced() {
    for upstream in Upstream::both() {
        let (mirror, www) = published(scene(upstream));
        let tree = mirror.published();
        let files: Vec<PathBuf> = inodes(&tree).keys().map(|path| tree.join(path)).collect();
        fs::remove_file(&files[0]).unwrap();
        let bytes = fs::read(&files[1]).unwrap();
        fs::remove_file(&files[1]).unwrap();
        fs::write(&files[1], vec![b'x'; bytes.len()]).unwrap();
        let directories = fs::read_dir(&tree)
            .unwrap()
            .map(|entry| entry.unwrap().path());
        let mut directories = directories.filter(|path| path.is_dir());
        fs::remove_dir_all(directories.next().unwrap()).unwrap();
        let before = inodes(&mirror.chantal.dir().join("www/s"));
        mirror.server.clear_log();
        let result = repair(&mirror, 0);
        assert!(
            result["trees"][0]["files"].as_u64().unwrap() >= 3,
            "{result:#}"
        );
        assert!(mirror.server.requests().is_empty());
        assert_eq!(
            inodes(&mirror.chantal.dir().join("www/s")).len(),
            before.len()
        );
        is_mended(&mirror, &www);
    }
}

/// At any moment: what is published has no foreign files and no half ones, and the next run ends
/// the work.
#[test]
fn killed_while_it_repairs() {
    for upstream in Upstream::both() {
        let (mirror, www) = published(scene(upstream));
        let good_bytes: Vec<(PathBuf, Vec<u8>)> = objects(&mirror.chantal)
            .into_iter()
            .map(|file| (file.clone(), fs::read(&file).unwrap()))
            .collect();
        let mut kills = 0;
        for round in 0..14 {
            for (file, _) in &good_bytes {
                flip(file);
            }
            let mut command = mirror.chantal.command(&REPAIR);
            command.stdout(Stdio::null()).stderr(Stdio::null());
            let mut running = command.spawn().unwrap();
            std::thread::sleep(Duration::from_millis(20 + round * 23));
            // It may have ended.
            let _ = running.kill();
            kills += u32::from(running.wait().unwrap().signal() == Some(9));
            let after = Tree::read(&mirror.chantal.dir().join("www"));
            let published = |path: &&str| !path.contains(".chantal-staging/");
            let paths: Vec<&str> = after.paths().into_iter().filter(published).collect();
            assert_eq!(paths, www.paths());
            mirror.run(&REPAIR).exits(0);
            is_mended(&mirror, &www);
            for (file, bytes) in &good_bytes {
                assert_eq!(&fs::read(file).unwrap(), bytes);
            }
        }
        assert!(kills > 0);
    }
}

/// Without a definition its upstream is not known, but the trees of others may have it.
#[test]
fn a_copy_in_a_tree_is_enough() {
    let (mirror, www) = published(scene(Upstream::rpm()));
    let mut paths = mirror.built.tree.paths().into_iter();
    let path = paths.rfind(|path| is_package(path)).unwrap();
    let bytes = mirror.built.tree.bytes(path);
    let copy = mirror.chantal.dir().join("www/s").join(path);
    fs::remove_file(&copy).unwrap();
    fs::write(&copy, bytes).unwrap();
    fs::remove_file(mirror.chantal.config().join("repos.d/r.yaml")).unwrap();
    overwrite(
        &object_named(&mirror.chantal, &Checksum::Sha256.hex(bytes)),
        b"x",
    );
    mirror.server.clear_log();
    let result = repair(&mirror, 0);
    assert_eq!(result["repaired"][0]["from"]["type"], "published_tree");
    assert!(mirror.server.requests().is_empty());
    is_mended(&mirror, &www);
}

/// One that cannot be replaced as it is must not keep the others damaged.
#[test]
fn a_directory_in_place_of_an_object_is_moved_away() {
    let (mirror, www) = published(scene(Upstream::deb()));
    let files = objects(&mirror.chantal);
    for file in &files[1..] {
        flip(file);
    }
    for round in 1..=2 {
        fs::remove_file(&files[0]).unwrap();
        fs::create_dir(&files[0]).unwrap();
        fs::write(files[0].join("notes"), "").unwrap();
        repair(&mirror, 0);
        is_mended(&mirror, &www);
        let name = files[0].file_name().unwrap().to_str().unwrap();
        let aside = format!("pool/damaged/{name}.directory-{round}/notes");
        assert!(mirror.chantal.data().join(aside).exists());
    }
}

/// A package that only the previous generation has, and nobody else any more: the next generations
/// must reach clients without it, and what is left of it is removed.
#[test]
fn a_lost_file_of_an_earlier_generation_holds_nothing_up() {
    let flat = Upstream::deb().with_deb(|deb| deb.flat = Some("./".to_owned()));
    for upstream in [Upstream::deb(), flat, Upstream::rpm()] {
        let mut mirror = Mirror::of(super::two(upstream))
            .defined(|repository| repository.keep("0s"))
            .synced();
        let (path, bytes) = hello_of(&mirror);
        let moves_on = |mirror: &mut Mirror, version: &str| {
            mirror.next(|upstream| upstream.replace(Package::new("hello", version)));
            mirror.sync_with(&["-q"]).exits(0);
            let tree = mirror.tree();
            for (path, bytes) in mirror.built.mirrored().iter() {
                assert_eq!(tree.bytes(path), bytes, "{path}");
            }
        };
        moves_on(&mut mirror, "2.0-1");
        overwrite(
            &object_named(&mirror.chantal, &Checksum::Sha256.hex(&bytes)),
            b"cut",
        );
        mirror.run(&REPAIR).exits(5).mentions("not repaired");
        let recreate = ["publish", "--repo-id", "r", "--recreate"];
        let recreated = mirror.run(&recreate).exits(0);
        let warning = format!("{path} of an earlier generation is left out: ");
        assert!(recreated.stderr.contains(&warning), "{recreated:?}");
        moves_on(&mut mirror, "3.0-1");
        moves_on(&mut mirror, "4.0-1");
        assert!(mirror.tree().find(&path).is_none());
        mirror.run(&["db", "check"]).exits(0);
    }
}

/// The same where the damaged file is still in the tree.
#[test]
fn a_damaged_file_of_an_expired_generation_is_removed() {
    let mut mirror = Mirror::of(super::two(Upstream::deb()))
        .defined(|repository| repository.keep("0s"))
        .synced();
    let (path, bytes) = hello_of(&mirror);
    mirror.next(|upstream| upstream.replace(Package::new("hello", "2.0-1")));
    mirror.sync().exits(0);
    overwrite(
        &object_named(&mirror.chantal, &Checksum::Sha256.hex(&bytes)),
        b"cut",
    );
    mirror.run(&REPAIR).exits(5);
    for version in ["3.0-1", "4.0-1"] {
        mirror.next(|upstream| upstream.replace(Package::new("hello", version)));
        let said = mirror.sync().exits(0);
        assert!(!said.stderr.contains("kept"), "{said:?}");
    }
    assert!(mirror.tree().find(&path).is_none());
    mirror.run(&["db", "check"]).exits(0);
}

/// Our own key, alone or with those of the upstream, beside a generated root.
#[test]
fn key_files_of_the_signing_key_are_made_again() {
    for upstream in Upstream::both() {
        let mirror = Mirror::of(super::two(upstream))
            .defined(|repository| repository.more("filters:\n  exclude: [other]\n"));
        mirror.run(&["config", "keygen"]).exits(0);
        mirror.sync().exits(0);
        let www = Tree::read(&mirror.chantal.dir().join("www"));
        let keys = match mirror.upstream.kind() {
            "apt" => &["r-archive-key.gpg", "r-archive-key.asc"][..],
            // `repodata/repomd.xml.key` is the same object.
            _ => &["RPM-GPG-KEY-r-mirror"],
        };
        for key in keys {
            flip(&mirror.published().join(key));
        }
        mirror.server.clear_log();
        let result = repair(&mirror, 0);
        assert_eq!(
            result["repaired"][0]["from"]["type"], "trusted_keys",
            "{result:#}"
        );
        is_mended(&mirror, &www);
    }
}

/// The path and bytes of the package `hello` at the upstream.
fn hello_of(mirror: &Mirror) -> (String, Vec<u8>) {
    let tree = &mirror.built.tree;
    let mut paths = tree.paths().into_iter();
    let path = paths.find(|path| path.contains("hello") && is_package(path));
    let path = path.unwrap();
    (path.to_owned(), tree.bytes(path).to_vec())
}
