//! A disk of its own: a file behind a loop device, with a file system that can be mounted and
//! unmounted.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Unmounted when dropped, however often it was mounted.
pub struct Disk {
    image: PathBuf,
    at: PathBuf,
    /// The type to mount it as, if that is not found out.
    through: Option<&'static str>,
}

impl Disk {
    /// Makes a file system of this kind (`ext4`, `xfs`, `btrfs`, `exfat`) in `image` and mounts it at
    /// `at`.
    pub fn new(kind: &str, image: &Path, at: &Path) -> Self {
        fs::create_dir_all(at).unwrap();
        // xfs wants 300 MB; what is not written takes no space.
        let file = fs::File::create(image).unwrap();
        file.set_len(400 << 20).unwrap();
        let mut mkfs = Command::new(format!("mkfs.{kind}"));
        let is_exfat = kind == "exfat";
        if !is_exfat {
            mkfs.arg("-q");
        }
        done(mkfs.arg(image));
        let disk = Self {
            image: image.to_owned(),
            at: at.to_owned(),
            // Not every kernel has exFAT.
            through: is_exfat.then_some("exfat-fuse"),
        };
        disk.mount();
        disk
    }

    pub fn mount(&self) {
        self.mount_with("loop");
    }

    pub fn mount_read_only(&self) {
        self.mount_with("loop,ro");
    }

    fn mount_with(&self, options: &str) {
        let mut mount = Command::new("mount");
        if let Some(through) = self.through {
            mount.args(["-t", through]);
        }
        done(mount.args(["-o", options]).arg(&self.image).arg(&self.at));
    }

    pub fn unmount(&self) {
        done(Command::new("umount").arg(&self.at));
    }

    /// As a disk that is pulled out: files that are open stay readable, the path leads to the mount
    /// point.
    pub fn pull_out(&self) {
        done(Command::new("umount").arg("--lazy").arg(&self.at));
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("--lazy").arg(&self.at).output());
    }
}

/// An ISO image that is mounted through FUSE, which needs no loop device and no ISO 9660 in the
/// kernel. Unmounted when dropped.
pub struct Iso {
    at: PathBuf,
}

impl Iso {
    pub fn mount(image: &Path, at: &Path) -> Self {
        fs::create_dir_all(at).unwrap();
        done(Command::new("fuseiso").arg(image).arg(at));
        Self { at: at.to_owned() }
    }
}

impl Drop for Iso {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("--lazy").arg(&self.at).output());
    }
}

/// Runs a program, which must succeed.
#[track_caller]
pub fn done(command: &mut Command) {
    command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    let output = command
        .output()
        .unwrap_or_else(|e| panic!("{command:?}: {e}"));
    assert!(output.status.success(), "{command:?}: {output:?}");
}
