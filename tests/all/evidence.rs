//! What proves a state later: the upstream's root and indexes that a filtered one was chosen from,
//! and the trusted keys.

use std::collections::BTreeSet;
use std::fs;

use redb::{Database, ReadableDatabase as _, TableDefinition};
use serde_json::Value;

use crate::kit::keys::Key;
use crate::kit::mirror::Mirror;
use crate::kit::upstream::{Checksum, Package, Upstream};

const REPOSITORIES: TableDefinition<&str, &[u8]> = TableDefinition::new("repository_to_record");
const SNAPSHOTS: TableDefinition<(&str, &str), &[u8]> = TableDefinition::new("snapshot_to_record");
const CLEANUP: [&str; 2] = ["db", "cleanup"];

fn two_packages(upstream: Upstream) -> Upstream {
    upstream
        .package(Package::new("taken", "1.0-1"))
        .package(Package::new("left", "1.0-1"))
}

/// A record without its check.
fn record(row: &[u8]) -> Value {
    let start = row.windows(2).position(|pair| pair == b"{\"").unwrap();
    serde_json::from_slice(&row[start..]).unwrap()
}

fn state(mirror: &Mirror) -> Value {
    let database = Database::open(mirror.chantal.data().join("chantal.redb")).unwrap();
    let transaction = database.begin_read().unwrap();
    let table = transaction.open_table(REPOSITORIES).unwrap();
    let row = table.get("r").unwrap().unwrap();
    record(row.value())["state"].clone()
}

/// The object of the keyring that `r` was synced with.
pub fn keyring(mirror: &Mirror) -> String {
    state(mirror)["keyring"].as_str().unwrap().to_owned()
}

fn state_of_snapshot(mirror: &Mirror, name: &str) -> Value {
    let database = Database::open(mirror.chantal.data().join("chantal.redb")).unwrap();
    let transaction = database.begin_read().unwrap();
    let table = transaction.open_table(SNAPSHOTS).unwrap();
    let row = table.get(("r", name)).unwrap().unwrap();
    record(row.value())["state"].clone()
}

fn objects(mirror: &Mirror) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for directory in fs::read_dir(mirror.chantal.data().join("pool/sha256")).unwrap() {
        for file in fs::read_dir(directory.unwrap().path()).unwrap() {
            names.insert(file.unwrap().file_name().into_string().unwrap());
        }
    }
    names
}

/// The files of the upstream that say which packages there are: its roots, and the lists of
/// packages in at least one form.
#[track_caller]
fn proves(mirror: &Mirror, objects: &BTreeSet<String>) {
    let digest = |path: &str| Checksum::Sha256.hex(mirror.built.tree.bytes(path));
    let roots: &[&str] = match mirror.upstream.kind() {
        "apt" => &["dists/stable/InRelease"],
        _ => &["repodata/repomd.xml", "repodata/repomd.xml.asc"],
    };
    for root in roots {
        assert!(objects.contains(&digest(root)), "{root}");
    }
    let is_list = |path: &&str| path.contains("Packages") || path.contains("primary.xml");
    let lists: Vec<&str> = mirror
        .built
        .tree
        .paths()
        .into_iter()
        .filter(is_list)
        .collect();
    assert!(
        lists.iter().any(|path| objects.contains(&digest(path))),
        "{lists:?}"
    );
}

#[test]
fn a_filtered_state_keeps_what_it_was_chosen_from() {
    for upstream in Upstream::both() {
        let mut mirror = Mirror::of(two_packages(upstream))
            .defined(|repository| repository.more("filters:\n  exclude: [left]\n"));
        mirror.sync().exits(0);
        let first = state(&mirror);
        assert!(first["evidence"].is_string(), "{first:#}");
        mirror.run(&CLEANUP).succeeds();
        let kept = objects(&mirror);
        proves(&mirror, &kept);
        let keyring = first["keyring"].as_str().unwrap();
        assert!(kept.contains(keyring));
        mirror.snapshot("s");
        assert_eq!(state_of_snapshot(&mirror, "s"), first);

        // A later state has evidence of its own; the first one's stays as long as the snapshot
        // does.
        let old = mirror.built.tree.clone();
        mirror.next(|upstream| upstream.replace(Package::new("taken", "2.0-1")));
        mirror.sync().exits(0);
        mirror.run(&CLEANUP).succeeds();
        proves(&mirror, &objects(&mirror));
        let digest = |path: &str| Checksum::Sha256.hex(old.bytes(path));
        let root = digest(&mirror.upstream.root());
        assert!(objects(&mirror).contains(&root));
        let delete = ["snapshot", "delete", "--name", "s"];
        mirror.run(&delete).succeeds();
        mirror.run(&CLEANUP).succeeds();
        assert!(!objects(&mirror).contains(&root));
        // No tree shows the evidence.
        assert!(!mirror.tree().paths().contains(&"repodata/repomd.xml.asc"));
    }
}

/// The manifest of an unfiltered state is its own evidence.
#[test]
fn an_unfiltered_state_needs_the_keys_only() {
    for upstream in Upstream::both() {
        let mirror = Mirror::of(two_packages(upstream)).synced();
        let state = state(&mirror);
        assert!(state["evidence"].is_null(), "{state:#}");
        let root = &state["roots"][0];
        assert_eq!(root["path"], mirror.upstream.root().as_str());
        assert_eq!(root["signed_by"][0], Key::archive().fingerprint());
        mirror.run(&CLEANUP).succeeds();
        let keyring = state["keyring"].as_str().unwrap();
        let object = mirror.chantal.data().join("pool/sha256");
        let bytes = fs::read(object.join(&keyring[..2]).join(keyring)).unwrap();
        // A binary keyring as gpgv takes it.
        assert_eq!(bytes[0] & 0x80, 0x80);
        mirror.is_published();
    }
}

#[test]
fn without_keys_there_is_no_keyring() {
    for upstream in Upstream::both() {
        let mirror = Mirror::of(two_packages(upstream.unsigned()))
            .defined(crate::kit::chantal::Repository::unsigned)
            .synced();
        let state = state(&mirror);
        assert!(state["keyring"].is_null(), "{state:#}");
        assert!(state["roots"][0]["signed_by"].is_null(), "{state:#}");
    }
}
