//! Transfers on the file systems of real media: written, unmounted, and imported from a read-only
//! mount.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::kit::air_gap::{AirGap, assert_names_fit_fat, transfer_folder};
use crate::kit::disk::{Disk, Iso, done};
use crate::kit::tree::{Tree, inodes};
use crate::kit::upstream::{Package, Upstream};

const KINDS: [&str; 4] = ["ext4", "xfs", "btrfs", "exfat"];

/// Two packages that FAT would mix up, were objects not named by their digests, and one of a
/// megabyte.
fn gap(upstream: Upstream) -> AirGap {
    let big: Vec<u8> = (0..1_u32 << 18).flat_map(u32::to_be_bytes).collect();
    let upstream = upstream
        .package(Package::new("hello", "1:1.0~rc1-1"))
        .package(Package::new("Hello", "1.0+b1-1"))
        .package(Package::new("big", "1.0-1").file(&big));
    AirGap::of(upstream)
}

/// A read-only medium is complete, good, imported, and as before after that.
#[track_caller]
fn is_imported(gap: &AirGap, medium: &Path, written: &Tree) {
    Tree::read(medium).assert_same(written);
    let before = inodes(medium);
    gap.status(medium).succeeds().mentions(": complete\n");
    gap.verify(medium).succeeds().mentions(": all verified\n");
    gap.import(medium);
    gap.is_published();
    gap.is_intact();
    assert_eq!(inodes(medium), before);
}

#[test]
#[ignore = "slow: .ci/slow"]
fn a_transfer_is_imported_from_a_disk() {
    for kind in KINDS {
        for upstream in Upstream::both() {
            let gap = gap(upstream);
            let dir = gap.exporter.chantal.dir().to_owned();
            let medium = dir.join("medium");
            let disk = Disk::new(kind, &dir.join("image"), &medium);
            let exported = gap.export(&medium);
            let read_back = exported["read_back"].as_str().unwrap();
            println!("{kind}, {}: {read_back}", gap.exporter.upstream.kind());
            assert!(["from_medium", "not_proved"].contains(&read_back));
            // btrfs keeps small files in its metadata, which stays in memory.
            if ["ext4", "xfs"].contains(&kind) {
                assert_eq!(read_back, "from_medium", "{kind}");
            }
            let written = Tree::read(&medium);
            disk.unmount();
            disk.mount_read_only();
            is_imported(&gap, &medium, &written);
            disk.unmount();
        }
    }
}

/// An image of FAT32, which mtools reads and writes: not every kernel has it.
struct FatImage {
    image: PathBuf,
}

impl FatImage {
    fn new(image: PathBuf) -> Self {
        let file = std::fs::File::create(&image).unwrap();
        file.set_len(100 << 20).unwrap();
        let made = Self { image };
        done(made.mtool("mformat").args(["-F", "::"]));
        made
    }

    fn mtool(&self, name: &str) -> Command {
        let mut command = Command::new(name);
        command.arg("-i").arg(&self.image);
        command
    }

    fn write(&self, folder: &Path) {
        done(self.mtool("mcopy").arg("-s").arg(folder).arg("::"));
    }

    fn read(&self, name: &str, to: &Path) {
        let from = format!("::{name}");
        done(self.mtool("mcopy").args(["-s", "-n", &from]).arg(to));
    }
}

#[test]
#[ignore = "slow: .ci/slow"]
fn a_transfer_is_imported_after_a_copy_to_fat32() {
    for upstream in Upstream::both() {
        let gap = gap(upstream);
        let (written, read) = (gap.medium("written"), gap.medium("read"));
        gap.export(&written);
        assert_names_fit_fat(&written);
        let image = FatImage::new(gap.exporter.chantal.dir().join("image"));
        let folder = transfer_folder(&written).unwrap();
        image.write(&folder);
        image.read(folder.file_name().unwrap().to_str().unwrap(), &read);
        is_imported(&gap, &read, &Tree::read(&written));
    }
}

#[test]
#[ignore = "slow: .ci/slow"]
fn a_transfer_is_imported_from_an_iso() {
    for upstream in Upstream::both() {
        let gap = gap(upstream);
        let written = gap.medium("written");
        gap.export(&written);
        let image = gap.exporter.chantal.dir().join("image.iso");
        let mut xorriso = Command::new("xorriso");
        xorriso.args(["-as", "mkisofs", "-R", "-J", "-iso-level", "3", "-o"]);
        done(xorriso.arg(&image).arg(&written));
        let medium = gap.medium("medium");
        let _mounted = Iso::mount(&image, &medium);
        is_imported(&gap, &medium, &Tree::read(&written));
    }
}
