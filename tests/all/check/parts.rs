//! `--read-data`: a part each night, until everything was read.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{bad, flip, good, is_package, object, scene};
use crate::kit::mirror::Mirror;
use crate::kit::upstream::{Package, Upstream};

fn hashed(result: &Value) -> u64 {
    result["files_hashed"].as_u64().unwrap()
}

fn many(upstream: Upstream) -> Mirror {
    let upstream = (0..20).fold(upstream, |upstream, number| {
        upstream.package(Package::new(&format!("p{number}"), "1.0-1"))
    });
    scene(upstream)
}

/// The last object that is read is damaged: without memory it would never be found.
#[test]
fn what_was_read_is_remembered() {
    for upstream in Upstream::both() {
        let mirror = many(upstream);
        let part = ["db", "check", "--read-data", "25%"];
        let total = good(&mirror.chantal, &["db", "check"])["files_hashed"]
            .as_u64()
            .unwrap();
        let mut damaged = BTreeSet::new();
        let paths: Vec<String> = mirror
            .built
            .tree
            .paths()
            .into_iter()
            .map(str::to_owned)
            .collect();
        let packages = paths.iter().filter(|path| is_package(path));
        for path in packages {
            flip(&object(&mirror, mirror.built.tree.bytes(path)));
        }
        let mut read = 0;
        for _ in 0..5 {
            let result = bad(&mirror.chantal, &part);
            assert!(hashed(&result) < total, "{result:#}");
            read += hashed(&result);
            let objects = result["damaged_objects"].as_array().unwrap();
            damaged.extend(objects.iter().map(|object| object["object"].to_string()));
        }
        assert!(read >= total / 2, "{read} of {total}");
        // Damaged objects are not recorded as verified: they are found again every time.
        assert!(!damaged.is_empty());
        let result = bad(&mirror.chantal, &["db", "check"]);
        assert_eq!(result["damaged_objects"].as_array().unwrap().len(), 22);
    }
}

#[test]
fn half_and_half_are_everything() {
    let mirror = many(Upstream::deb());
    let half = ["db", "check", "--read-data", "50%"];
    let all = good(&mirror.chantal, &["db", "check"]);
    let (first, second) = (good(&mirror.chantal, &half), good(&mirror.chantal, &half));
    let bytes = |result: &Value| result["bytes_hashed"].as_u64().unwrap();
    assert!(bytes(&first) * 2 >= bytes(&all), "{first:#}");
    assert!(hashed(&first) < hashed(&all));
    assert!(bytes(&first) + bytes(&second) >= bytes(&all));
    assert!(hashed(&first) + hashed(&second) >= hashed(&all));
    assert_eq!(first["depth"], "part");
}

#[test]
fn numbered_parts_are_everything_together() {
    let mirror = many(Upstream::rpm());
    let all = hashed(&good(&mirror.chantal, &["db", "check"]));
    let parts = ["1/3", "2/3", "3/3"].map(|part| {
        hashed(&good(
            &mirror.chantal,
            &["db", "check", "--read-data", part],
        ))
    });
    assert_eq!(parts.iter().sum::<u64>(), all);
    assert!(parts.iter().all(|part| *part < all), "{parts:?}");
    let size = ["db", "check", "--read-data", "1K"];
    assert!(hashed(&good(&mirror.chantal, &size)) < all);
    for bad in ["0/3", "4/3", "0%", "x", "5"] {
        mirror.run(&["db", "check", "--read-data", bad]).exits(2);
    }
}
