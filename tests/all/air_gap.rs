//! A transfer from one host to another, on a directory that cannot be written.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::kit::air_gap::{AirGap, assert_names_fit_fat};
use crate::kit::tree::{Tree, inodes};
use crate::kit::upstream::{Package, Upstream};

/// The directories below a path with their modes and times of modification.
fn directories(top: &Path) -> BTreeMap<PathBuf, (u32, i64, i64)> {
    let mut found = BTreeMap::new();
    let mut left = vec![top.to_owned()];
    while let Some(directory) = left.pop() {
        let meta = fs::metadata(&directory).unwrap();
        for entry in fs::read_dir(&directory).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                left.push(entry.path());
            }
        }
        found.insert(directory, (meta.mode(), meta.mtime(), meta.mtime_nsec()));
    }
    found
}

fn set_mode(top: &Path, directory: u32, file: u32) {
    let directories = directories(top).into_keys();
    for path in directories {
        fs::set_permissions(&path, PermissionsExt::from_mode(directory)).unwrap();
        for entry in fs::read_dir(&path).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_file() {
                fs::set_permissions(entry.path(), PermissionsExt::from_mode(file)).unwrap();
            }
        }
    }
}

#[test]
fn a_medium_is_only_read_by_status_verify_list_and_import() {
    for upstream in Upstream::both() {
        let upstream = upstream
            .package(Package::new("hello", "1:1.0~rc1-1"))
            .package(Package::new("Hello", "1.0+b1-1"));
        let gap = AirGap::of(upstream);
        let medium = gap.medium("medium");
        gap.export(&medium);
        assert_names_fit_fat(&medium);
        // Root may write all the same: nothing changes, though.
        set_mode(&medium, 0o555, 0o444);
        let before = (Tree::read(&medium), inodes(&medium), directories(&medium));

        gap.status(&medium).succeeds();
        gap.verify(&medium).succeeds();
        let list = ["media", "list", medium.to_str().unwrap()];
        gap.importer.run(&list).succeeds();
        for _ in 0..2 {
            gap.import(&medium);
            gap.is_published();
        }

        let after = (Tree::read(&medium), inodes(&medium), directories(&medium));
        after.0.assert_same(&before.0);
        assert_eq!(after.1, before.1);
        assert_eq!(after.2, before.2);
        gap.is_intact();
        // To be removed by others than root.
        set_mode(&medium, 0o755, 0o644);
    }
}

/// Only publishing failed: nothing is copied again.
#[test]
fn what_was_imported_but_not_published_is_published_by_the_next_import() {
    for upstream in Upstream::both() {
        let gap = AirGap::of(upstream.package(Package::new("hello", "1.0-1")));
        let medium = gap.medium("medium");
        gap.export(&medium);
        let import = AirGap::import_arguments(&medium);
        let occupied = gap.importer.write("www", "");
        let failed = gap.importer.run(&import);
        assert!(!failed.status.success(), "{failed:?}");
        let failed = failed.mentions("confirm outside by typing: ");
        fs::remove_file(occupied).unwrap();

        let published = gap.importer.run(&import).succeeds();
        let published = published.mentions("  imported before\n  r: 1 package");
        gap.is_published();
        let code = |said: &str| said.lines().last().map(str::to_owned);
        assert_eq!(code(&published.stdout), code(&failed.stdout));
        let nothing = gap.importer.run(&import).succeeds();
        nothing.mentions("  imported before: nothing to do\n");
    }
}
