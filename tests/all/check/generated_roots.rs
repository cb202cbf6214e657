//! Roots that are generated once for all places of a state: the same bytes everywhere, and proved
//! also where no tree shows them.

use std::fs;

use serde_json::json;

use super::{CHECK, QUICK, bad, each, flip, good, object, two};
use crate::kit::mirror::Mirror;
use crate::kit::tree::Tree;
use crate::kit::upstream::{Package, Upstream};
use crate::storage::damage::{Json, flip_value};

const PUBLISH: [&str; 3] = ["publish", "--repo-id", "r"];
const ELSEWHERE: [&str; 5] = ["publish", "--repo-id", "r", "--to", "www/x"];
const ROOTS: Json<(&[u8; 32], &str, &str)> = redb::TableDefinition::new("source_to_generated_root");

/// A filtered state that is published, with a signing key.
fn filtered(upstream: Upstream) -> Mirror {
    let mirror = Mirror::of(two(upstream))
        .defined(|repository| repository.more("filters:\n  exclude: [other]\n"));
    mirror.run(&["config", "keygen"]).exits(0);
    mirror.sync().exits(0);
    mirror
}

fn elsewhere(mirror: &Mirror) -> Tree {
    Tree::read(&mirror.chantal.dir().join("www/x"))
}

/// A file that only the generated root has: the `repomd.xml` itself is that of the state.
fn signed_root(mirror: &Mirror) -> &'static str {
    match mirror.upstream.kind() {
        "apt" => "dists/stable/InRelease",
        _ => "repodata/repomd.xml.asc",
    }
}

#[test]
fn all_places_of_a_state_have_the_same_bytes() {
    for upstream in Upstream::both() {
        let mut mirror = filtered(upstream);
        let first = mirror.tree();
        mirror.run(&PUBLISH).exits(0);
        mirror.run(&ELSEWHERE).exits(0);
        mirror.tree().assert_same(&first);
        elsewhere(&mirror).assert_same(&first);
        mirror.next(|upstream| upstream.replace(Package::new("hello", "2.0-1")));
        mirror.sync().exits(0);
        mirror.run(&ELSEWHERE).exits(0);
        let root = signed_root(&mirror);
        assert_ne!(mirror.tree().bytes(root), first.bytes(root));
        assert_eq!(mirror.tree().bytes(root), elsewhere(&mirror).bytes(root));
        mirror.run(&["db", "cleanup"]).exits(0);
        good(&mirror.chantal, &CHECK);
    }
}

#[test]
fn a_root_that_no_tree_shows_is_proved_or_forgotten() {
    for upstream in Upstream::both() {
        let mirror = filtered(upstream);
        let tree = mirror.tree();
        mirror.run(&["unpublish", "--repo-id", "r"]).exits(0);
        mirror.run(&["db", "cleanup"]).exits(0);
        let result = good(&mirror.chantal, &CHECK);
        let states = result["states"].as_array().unwrap();
        assert_eq!(states.len(), 2, "{result:#}");
        assert_eq!(states[1]["generated_root"], true);
        // The upstream's key, and ours.
        assert_eq!(states[1]["signed_by"].as_array().unwrap().len(), 2);
        let text = mirror.run(&QUICK).succeeds().stdout;
        assert!(
            text.contains("\nr (generated root): proved to the evidence, "),
            "{text}"
        );

        let mut file = object(&mirror, tree.bytes(signed_root(&mirror)));
        for is_lost in [true, false] {
            if is_lost {
                fs::remove_file(&file).unwrap();
            } else {
                mirror.run(&ELSEWHERE).exits(0);
                file = object(&mirror, elsewhere(&mirror).bytes(signed_root(&mirror)));
                mirror.run(&["unpublish", "--path", "www/x"]).exits(0);
                flip(&file);
            }
            let result = bad(&mirror.chantal, &CHECK);
            assert_eq!(
                each(&result["states"], "verdict")[1],
                "failed",
                "{result:#}"
            );
            assert_ne!(
                each(&result["states"], "verdict")[0],
                "failed",
                "{result:#}"
            );
            let affects = &result["damaged_objects"][0]["affects"];
            assert_eq!(each(affects, "owner"), ["generated_root"], "{result:#}");
            let repair = [&CHECK[..], &["--repair"]].concat();
            let repaired = mirror.run(&repair).exits(0).stdout;
            let line = "forgot 1 generated root that no published tree shows: ";
            assert!(repaired.contains(line), "{repaired}");
            let result = good(&mirror.chantal, &CHECK);
            assert_eq!(each(&result["states"], "repository"), ["r"]);
        }
        mirror.run(&ELSEWHERE).exits(0);
        good(&mirror.chantal, &CHECK);
    }
}

#[test]
fn damaged_rows_are_found() {
    let mirror = filtered(Upstream::deb());
    let store = mirror.chantal.data().join("chantal.redb");
    flip_value(ROOTS, |_| String::new())(&store);
    let result = bad(&mirror.chantal, &QUICK);
    assert_eq!(
        result["database"][0]["table"],
        json!("source_to_generated_root")
    );
    let publish = mirror.run(&PUBLISH).exits(5);
    assert!(
        publish
            .stderr
            .contains("table source_to_generated_root, key "),
        "{publish:?}"
    );
}
