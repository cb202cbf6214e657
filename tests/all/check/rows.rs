//! Rows of the database that are damaged: each is a finding, and the rest is still checked.

use std::fs;

use super::{QUICK, bad, each, good, scene};
use crate::kit::upstream::{Checksum, Upstream};
use crate::storage::damage::{
    ALIASES, CHUNKS, MANIFESTS, OBJECTS, PACKAGES, REPOSITORIES, SNAPSHOTS, SYNCS, TREES,
    VALIDATORS, flip_value,
};

#[test]
fn every_table_is_read() {
    let mirror = scene(Upstream::rpm().with_rpm(|rpm| rpm.checksum = Checksum::Sha512));
    let store = mirror.chantal.data().join("chantal.redb");
    let before = fs::read(&store).unwrap();
    let none = |_: &[u8]| String::new();
    let check = |table: &str, damage: &dyn Fn(&std::path::Path) -> String| {
        fs::write(&store, &before).unwrap();
        damage(&store);
        let result = bad(&mirror.chantal, &QUICK);
        assert!(
            each(&result["database"], "table").contains(&table),
            "{result:#}"
        );
        assert_eq!(
            result["damaged_objects"].as_array().unwrap().len(),
            0,
            "{result:#}"
        );
        let output = mirror.run(&QUICK).exits(5);
        let line = format!("database: table {table}, key ");
        assert!(output.stdout.contains(&line), "{output:?}");
    };
    check("repository_to_record", &flip_value(REPOSITORIES, none));
    check("snapshot_to_record", &flip_value(SNAPSHOTS, none));
    check("tree_to_record", &flip_value(TREES, none));
    check("sync_to_record", &flip_value(SYNCS, none));
    check("origin_to_validator", &flip_value(VALIDATORS, none));
    check("package_to_record", &flip_value(PACKAGES, none));
    check("manifest_to_chunks", &flip_value(MANIFESTS, none));
    check("chunk_to_entries", &flip_value(CHUNKS, none));
    check("object_to_checked_record", &flip_value(OBJECTS, none));
    check("digest_to_checked_object", &flip_value(ALIASES, none));
    fs::write(&store, &before).unwrap();
    good(&mirror.chantal, &QUICK);
}

/// What needs it is named, and what does not is still proved.
#[test]
fn a_damaged_chunk_affects_what_needs_it() {
    let mut mirror = scene(Upstream::rpm());
    mirror.next(|upstream| {
        upstream.replace(crate::kit::upstream::Package::new("hello", "2.0-1"));
    });
    mirror.sync().exits(0);
    let store = mirror.chantal.data().join("chantal.redb");
    flip_value(CHUNKS, |_| String::new())(&store);
    let result = bad(&mirror.chantal, &QUICK);
    let row = &result["database"][0];
    assert_eq!(row["table"], "chunk_to_entries");
    let affects = row["affects"].as_array().unwrap();
    assert!(!affects.is_empty(), "{result:#}");
    let states = result["states"].as_array().unwrap();
    for (name, index) in [("r", 0), ("r/s", 1)] {
        let is_affected = affects.iter().any(|affected| affected == name);
        let verdict = if is_affected { "failed" } else { "proved" };
        assert_eq!(states[index]["verdict"], verdict, "{name}: {result:#}");
    }
}
