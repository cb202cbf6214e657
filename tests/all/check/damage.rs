//! Objects that are damaged: each is found, with everything that needs it.

use std::fs;

use serde_json::Value;

use super::{
    CHECK, QUICK, bad, each, flip, good, is_package, object, object_named, overwrite, scene, two,
};
use crate::kit::chantal::Repository;
use crate::kit::mirror::{Mirror, beside};
use crate::kit::upstream::{Package, Upstream};

/// The only damaged object, and the owners, paths and packages that it affects.
#[track_caller]
fn only(result: &Value, damage: &str) -> Vec<String> {
    let damaged = result["damaged_objects"].as_array().unwrap();
    assert_eq!(damaged.len(), 1, "{result:#}");
    assert_eq!(damaged[0]["damage"], damage, "{result:#}");
    let affects = damaged[0]["affects"].as_array().unwrap().iter();
    affects
        .map(|file| {
            let text = |key: &str| file[key].as_str().unwrap_or("-").to_owned();
            format!(
                "{}/{} {} {}",
                text("owner"),
                text("snapshot"),
                text("role"),
                text("path")
            )
        })
        .collect()
}

/// A path of the upstream that ends so.
fn path_of(mirror: &Mirror, end: &str) -> String {
    let paths = mirror.built.tree.paths().into_iter();
    let mut found = paths.filter(|path| path.ends_with(end));
    found.next().unwrap().to_owned()
}

fn package(mirror: &Mirror, name: &str) -> String {
    let mut paths = mirror.built.tree.paths().into_iter();
    let found = paths.find(|path| path.contains(name) && is_package(path));
    found.unwrap().to_owned()
}

#[test]
fn a_flipped_bit_in_a_package_is_found_by_reading_it() {
    for upstream in Upstream::both() {
        let mirror = scene(upstream);
        let path = package(&mirror, "hello");
        let file = object(&mirror, mirror.built.tree.bytes(&path));
        flip(&file);
        // Its size is the same, and no proof reads packages.
        good(&mirror.chantal, &QUICK);
        let result = bad(&mirror.chantal, &CHECK);
        assert_eq!(
            only(&result, "digest"),
            [
                format!("state/- package {path}"),
                format!("snapshot/s package {path}")
            ]
        );
        let affected = &result["damaged_objects"][0]["affects"][0];
        let package = affected["package"].as_str().unwrap();
        assert!(package.starts_with("hello 1.0-1 "), "{package}");
        // The chain is good: only this object is not.
        assert_eq!(result["states"][0]["verdict"], "proved");
        assert_eq!(result["states"][0]["damaged_objects"], 1);
        let output = mirror.run(&CHECK).exits(5);
        let line = format!("  affects: r: {package} ({path}) in the current state, snapshot s\n");
        assert!(output.stdout.contains(&line), "{output:?}");
        assert!(
            output.stderr.starts_with("error: 1 problem found\nhint: "),
            "{output:?}"
        );
    }
}

#[test]
fn what_is_missing_or_truncated_is_found_without_reading() {
    for upstream in Upstream::both() {
        let mirror = scene(upstream);
        let path = package(&mirror, "hello");
        let file = object(&mirror, mirror.built.tree.bytes(&path));
        let bytes = fs::read(&file).unwrap();
        overwrite(&file, &bytes[1..]);
        let result = bad(&mirror.chantal, &QUICK);
        assert_eq!(only(&result, "size").len(), 2);
        fs::remove_file(&file).unwrap();
        let result = bad(&mirror.chantal, &QUICK);
        assert_eq!(only(&result, "missing").len(), 2);
        let snapshot = ["db", "check", "--quick", "--snapshot", "s"];
        // Everything that it affects is named, also beyond what was checked.
        assert_eq!(only(&bad(&mirror.chantal, &snapshot), "missing").len(), 2);
    }
}

/// What the chain of a state consists of is always read.
#[test]
fn a_flipped_bit_in_a_chain_is_always_found() {
    for upstream in Upstream::both() {
        let ends: &[&str] = match upstream.kind() {
            "apt" => &["InRelease", "Release.gpg", "binary-amd64/Packages.gz"],
            _ => &["repomd.xml", "repomd.xml.asc", "primary.xml.gz"],
        };
        for end in ends {
            let mirror = scene(upstream.clone());
            let path = path_of(&mirror, end);
            flip(&object(&mirror, mirror.built.tree.bytes(&path)));
            for args in [&CHECK[..], &QUICK[..]] {
                let result = bad(&mirror.chantal, args);
                let uses = only(&result, "digest");
                assert!(uses.iter().any(|found| found.ends_with(&path)), "{uses:?}");
                assert!(uses.iter().any(|found| found.starts_with("snapshot/s ")));
                for state in result["states"].as_array().unwrap() {
                    assert_eq!(state["verdict"], "failed", "{end}: {result:#}");
                    assert_eq!(state["problems"][0]["kind"], "damaged", "{end}: {result:#}");
                }
            }
        }
    }
}

#[test]
fn a_flipped_bit_in_the_keys_is_always_found() {
    for upstream in Upstream::both() {
        let mirror = scene(upstream);
        let args = ["repo", "show", "--repo-id", "r", "--format", "json"];
        mirror.run(&args).exits(0);
        let keyring = crate::evidence::keyring(&mirror);
        let file = object_named(&mirror.chantal, &keyring);
        // Of apt's key file the bytes are the same.
        let is_published = mirror.upstream.kind() == "apt";
        flip(&file);
        for args in [&CHECK[..], &QUICK[..]] {
            let result = bad(&mirror.chantal, args);
            let uses = only(&result, "digest");
            assert!(
                uses.contains(&"keyring/- key keyring".to_owned()),
                "{uses:?}"
            );
            assert!(
                uses.contains(&"keyring/s key keyring".to_owned()),
                "{uses:?}"
            );
            assert_eq!(uses.len() > 2, is_published, "{uses:?}");
            assert_eq!(result["states"][0]["verdict"], "failed");
        }
    }
}

/// The upstream's indexes that a state was chosen from, and the new ones.
#[test]
fn damaged_evidence_is_found() {
    for upstream in Upstream::both() {
        let mirror = Mirror::of(two(upstream))
            .defined(|repository| repository.more("filters:\n  exclude: [other]\n"));
        mirror.sync().exits(0);
        let end = if mirror.upstream.kind() == "apt" {
            "InRelease"
        } else {
            "repomd.xml"
        };
        let path = path_of(&mirror, end);
        let file = object(&mirror, mirror.built.tree.bytes(&path));
        let bytes = fs::read(&file).unwrap();
        flip(&file);
        let result = bad(&mirror.chantal, &QUICK);
        assert_eq!(only(&result, "digest"), [format!("evidence/- root {path}")]);
        overwrite(&file, &bytes);

        let tree = mirror.published();
        let mut paths = crate::kit::tree::inodes(&tree).into_keys();
        let is_list = |path: &String| path.ends_with("Packages.gz") || path.contains("primary.xml");
        let index = paths.find(is_list).unwrap();
        flip(&tree.join(&index));
        let result = bad(&mirror.chantal, &QUICK);
        let uses = only(&result, "digest");
        assert!(uses.contains(&format!("state/- index {index}")), "{uses:?}");
        assert_eq!(result["states"][0]["verdict"], "failed");
    }
}

/// An object of several repositories is named once, with all of them.
#[test]
fn an_object_of_two_repositories_is_one_finding() {
    let upstream = Upstream::rpm();
    let mirror = scene(upstream.clone());
    let (_, _server) = beside(
        &mirror.chantal,
        "b",
        &two(upstream),
        Repository::unpublished,
    );
    mirror.run(&["repo", "sync", "--repo-id", "b"]).exits(0);
    let path = package(&mirror, "hello");
    fs::remove_file(object(&mirror, mirror.built.tree.bytes(&path))).unwrap();
    let result = bad(&mirror.chantal, &CHECK);
    assert_eq!(only(&result, "missing").len(), 3);
    let affects = &result["damaged_objects"][0]["affects"];
    assert_eq!(each(affects, "repository"), ["b", "r", "r"]);
}

/// Something else than a file, and a file that cannot be opened.
#[test]
fn what_cannot_be_read_is_damage_too() {
    use std::os::unix::fs::PermissionsExt as _;

    let mirror = scene(Upstream::deb());
    let path = package(&mirror, "hello");
    let file = object(&mirror, mirror.built.tree.bytes(&path));
    if rustix::process::geteuid().is_root() {
        println!("skipped: nothing is unreadable for root");
    } else {
        fs::set_permissions(&file, fs::Permissions::from_mode(0o000)).unwrap();
        let result = bad(&mirror.chantal, &CHECK);
        only(&result, "unreadable");
    }
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    only(&bad(&mirror.chantal, &CHECK), "missing");
}

/// Healing the pool also heals the trees that have the bad bytes, also those of snapshots.
#[test]
fn a_healed_pool_is_good_again() {
    let mirror = scene(Upstream::rpm().package(Package::new("third", "1.0-1")));
    let publish = ["publish", "--snapshot-name", "s", "--to", "www/s"];
    mirror.run(&publish).exits(0);
    let path = package(&mirror, "third");
    let file = object(&mirror, mirror.built.tree.bytes(&path));
    flip(&file);
    bad(&mirror.chantal, &CHECK);
    fs::remove_file(&file).unwrap();
    let synced = mirror.sync_with(&["--refresh"]).exits(0);
    synced.mentions("www/s: damaged files replaced: 1\n");
    good(&mirror.chantal, &CHECK);
}
