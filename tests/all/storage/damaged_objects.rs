//! Objects of the pool in which a byte has flipped, or that are gone: what reads them notices. A
//! sync downloads them again; what has no network says which they are, and blames no upstream.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use crate::kit::chantal::Repository;
use crate::kit::mirror::Mirror;
use crate::kit::tree::Tree;
use crate::kit::upstream::{Checksum, Package, Upstream};

const REFRESH: [&str; 5] = ["repo", "sync", "--repo-id", "r", "--refresh"];
const HINT: &str =
    "hint: `chantal db check --repair` finds all damaged files, and gets them again where it can\n";

fn upstreams() -> [Upstream; 3] {
    [
        Upstream::deb(),
        Upstream::rpm(),
        Upstream::rpm().with_rpm(|rpm| rpm.checksum = Checksum::Sha512),
    ]
    .map(|upstream| {
        upstream
            .package(Package::new("hello", "1.0-1"))
            .package(Package::new("other", "1.0-1"))
    })
}

fn object(mirror: &Mirror, bytes: &[u8]) -> PathBuf {
    let hex = Checksum::Sha256.hex(bytes);
    let pool = mirror.chantal.data().join("pool/sha256");
    pool.join(&hex[..2]).join(hex)
}

/// Flips a bit in the middle of the file itself, as a bad disk does: published trees have it too.
fn flip(mirror: &Mirror, bytes: &[u8]) {
    let file = object(mirror, bytes);
    let mut damaged = bytes.to_vec();
    damaged[bytes.len() / 2] ^= 1;
    fs::set_permissions(&file, PermissionsExt::from_mode(0o644)).unwrap();
    fs::write(&file, damaged).unwrap();
}

/// The indexes of an upstream that the pool has, with their paths.
fn indexes(mirror: &Mirror, upstream: &Tree) -> Vec<(String, Vec<u8>)> {
    let files = upstream.iter().filter(|(path, bytes)| {
        let is_root = path.contains("Release") || path.contains("repomd.xml");
        let is_metadata = path.starts_with("dists/") || path.starts_with("repodata/");
        is_metadata && !is_root && !path.contains("by-hash") && object(mirror, bytes).exists()
    });
    let files: Vec<_> = files
        .map(|(path, bytes)| (path.to_owned(), bytes.to_vec()))
        .collect();
    assert!(files.len() >= 2, "{:?}", upstream.paths());
    files
}

fn is_intact(mirror: &Mirror, bytes: &[u8]) -> bool {
    fs::read(object(mirror, bytes)).is_ok_and(|found| found == bytes)
}

/// With and without filters: the indexes are published, or new ones are generated from them.
#[test]
fn a_sync_downloads_damaged_indexes_again() {
    let filters: fn(Repository) -> Repository =
        |repository| repository.more("filters: {exclude: [other]}\n");
    for upstream in upstreams() {
        for define in [|repository| repository, filters] {
            let mirror = Mirror::of(upstream.clone()).defined(define);
            mirror.sync().exits(0);
            let indexes = indexes(&mirror, &mirror.built.tree);
            for (_, bytes) in &indexes {
                flip(&mirror, bytes);
            }
            mirror.server.clear_log();
            let stderr = mirror.run(&REFRESH).exits(0).stderr;
            for (path, bytes) in &indexes {
                let name = object(&mirror, bytes);
                let name = name.file_name().unwrap().to_str().unwrap();
                let warning = format!("{name} is damaged (its sha256 is ");
                assert!(stderr.contains(&warning), "{path}: {stderr}");
                assert!(is_intact(&mirror, bytes), "{path}");
            }
            mirror.run(&REFRESH).exits(0);
            let requests = mirror.server.requests().len();
            mirror.server.clear_log();
            mirror.run(&REFRESH).exits(0);
            assert!(mirror.server.requests().len() < requests);
        }
    }
}

/// One at a time: whichever is damaged, a refresh succeeds, and blames no one.
#[test]
fn one_damaged_or_missing_index() {
    for upstream in upstreams() {
        let mirror = Mirror::of(upstream).synced();
        for (path, bytes) in indexes(&mirror, &mirror.built.tree) {
            flip(&mirror, &bytes);
            let stderr = mirror.run(&REFRESH).exits(0).stderr;
            let is_noticed = stderr.contains("getting it again");
            assert_eq!(is_noticed, is_intact(&mirror, &bytes), "{path}: {stderr}");
            fs::remove_file(object(&mirror, &bytes)).unwrap();
            mirror
                .run(&REFRESH)
                .exits(0)
                .mentions("is missing or damaged: getting it again");
            assert!(is_intact(&mirror, &bytes), "{path}");
        }
    }
}

/// A dry run changes nothing in the pool, and works.
#[test]
fn a_dry_run_reads_damaged_indexes_from_the_upstream() {
    for upstream in Upstream::both() {
        let mirror = Mirror::of(upstream.package(Package::new("hello", "1.0-1"))).synced();
        let indexes = indexes(&mirror, &mirror.built.tree);
        for (_, bytes) in &indexes {
            flip(&mirror, bytes);
        }
        mirror
            .run(&[&REFRESH[..], &["--dry-run"]].concat())
            .exits(0);
        for (path, bytes) in &indexes {
            assert!(!is_intact(&mirror, bytes), "{path}");
        }
        mirror.run(&REFRESH).exits(0);
    }
}

/// What is damaged is not used because there is nothing else.
#[test]
fn indexes_that_the_upstream_lost_as_well() {
    for upstream in Upstream::both() {
        let mirror = Mirror::of(upstream.package(Package::new("hello", "1.0-1"))).synced();
        let indexes = indexes(&mirror, &mirror.built.tree);
        mirror.server.edit(|tree| {
            let is_index = |path: &str| indexes.iter().any(|(index, _)| index == path);
            tree.retain(|path| !is_index(path) && !path.contains("by-hash"));
        });
        for (_, bytes) in &indexes {
            flip(&mirror, bytes);
        }
        let stderr = mirror.run(&REFRESH).exits(4).stderr;
        assert!(stderr.contains("getting it again"), "{stderr}");
    }
}

/// Whatever object of the metadata is damaged: exit 5 and its name, or it was not needed.
#[test]
fn comparing_merging_and_publishing_say_which_object_is_damaged() {
    for upstream in upstreams() {
        let mut mirror = Mirror::of(upstream).synced();
        mirror.snapshot("old");
        let old = mirror.built.tree.clone();
        mirror.next(|upstream| upstream.replace(Package::new("hello", "2.0-1")));
        mirror.sync().exits(0);
        let commands: [&[&str]; 3] = [
            &["snapshot", "diff", "--from", "old", "--to", "r"],
            &[
                "snapshot", "merge", "--source", "old", "--source", "r", "--name", "merged",
            ],
            &["publish", "--snapshot-name", "old", "--to", "www/old"],
        ];
        let mut noticed = [0, 0, 0];
        let roots = old.iter().filter(|(path, bytes)| {
            let is_root = path.ends_with("InRelease") || path.ends_with("repomd.xml");
            is_root && object(&mirror, bytes).exists()
        });
        let mut all = indexes(&mirror, &old);
        all.extend(roots.map(|(path, bytes)| (path.to_owned(), bytes.to_vec())));
        for (path, bytes) in all {
            let hex = Checksum::Sha256.hex(&bytes);
            for (command, noticed) in commands.iter().zip(&mut noticed) {
                flip(&mirror, &bytes);
                let output = mirror.run(command);
                fs::write(object(&mirror, &bytes), &bytes).unwrap();
                if output.status.code() == Some(0) {
                    if command[1] == "merge" {
                        let delete = ["snapshot", "delete", "--name", "merged"];
                        mirror.run(&delete).exits(0);
                    }
                    continue;
                }
                *noticed += 1;
                let stderr = output.exits(5).stderr;
                let error = format!("object {hex} of {path} is missing from the pool or damaged\n");
                assert!(stderr.contains(&error), "{path}, {command:?}: {stderr}");
                assert!(stderr.ends_with(HINT), "{path}, {command:?}: {stderr}");
            }
        }
        let [compared, merged, _] = noticed;
        assert!(compared > 0 && merged > 1, "{noticed:?}");
    }
}
