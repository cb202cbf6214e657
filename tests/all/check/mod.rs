//! `chantal db check`: what is good is proved, and what is not is found with everything that it
//! affects.

mod clean;
mod damage;
mod generated_roots;
mod keys;
mod parts;
mod repair;
mod rows;
mod trees;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::kit::chantal::Chantal;
use crate::kit::mirror::Mirror;
use crate::kit::upstream::{Checksum, Package, Upstream};

pub const CHECK: [&str; 2] = ["db", "check"];
pub const QUICK: [&str; 3] = ["db", "check", "--quick"];

/// Two packages, synced and published, with a snapshot `s`.
fn scene(upstream: Upstream) -> Mirror {
    let mirror = Mirror::of(two(upstream)).synced();
    mirror.snapshot("s");
    mirror
}

fn two(upstream: Upstream) -> Upstream {
    upstream
        .package(Package::new("hello", "1.0-1"))
        .package(Package::new("other", "1.0-1"))
}

/// The result of a check that finds nothing.
#[track_caller]
fn good(chantal: &Chantal, args: &[&str]) -> Value {
    let args = [args, &["--format", "json"]].concat();
    let result = chantal.run(&args).succeeds().json();
    assert_eq!(result["good"], true, "{result:#}");
    result
}

/// The result of a check that finds something.
#[track_caller]
fn bad(chantal: &Chantal, args: &[&str]) -> Value {
    let args = [args, &["--format", "json"]].concat();
    let output = chantal.run(&args).exits(5);
    assert!(output.stderr.contains(" found\nhint: "), "{output:?}");
    let result = output.json();
    assert_eq!(result["good"], false, "{result:#}");
    result
}

/// The verdicts by name: `r`, `r/s`, or the path of a tree.
fn verdicts(chantal: &Chantal, result: &Value) -> Vec<String> {
    let states = result["states"].as_array().unwrap().iter();
    states
        .map(|state| {
            let text = |key: &str| state[key].as_str().map(ToOwned::to_owned);
            let name = match (text("tree"), text("snapshot")) {
                (Some(tree), _) => chantal.shown(&tree),
                (None, Some(snapshot)) => format!("r/{snapshot}"),
                (None, None) => "r".to_owned(),
            };
            format!("{name}: {}", text("verdict").unwrap())
        })
        .collect()
}

/// The file of the object with these bytes.
fn object(mirror: &Mirror, bytes: &[u8]) -> PathBuf {
    object_named(&mirror.chantal, &Checksum::Sha256.hex(bytes))
}

fn object_named(chantal: &Chantal, hex: &str) -> PathBuf {
    let pool = chantal.data().join("pool/sha256");
    pool.join(&hex[..2]).join(hex)
}

/// Puts other bytes into a file, in place: all its links have them.
fn overwrite(path: &Path, bytes: &[u8]) {
    let mode = fs::metadata(path).unwrap().permissions();
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(path, bytes).unwrap();
    fs::set_permissions(path, mode).unwrap();
}

/// Flips a bit in the middle of a file.
fn flip(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    overwrite(path, &bytes);
}

fn is_package(path: &str) -> bool {
    [".deb", ".rpm"].iter().any(|end| path.ends_with(end))
}

/// The strings under a key of each element.
fn each<'v>(list: &'v Value, key: &str) -> Vec<&'v str> {
    let list = list.as_array().unwrap().iter();
    list.map(|element| element[key].as_str().unwrap_or_default())
        .collect()
}
