//! Detects whether a path may be on a disk that is not mounted.
//!
//! - A parent of the path is a mount point in `/etc/fstab` that is not mounted.
//! - The path does not exist and its nearest parent is empty: that directory may be an unmounted
//!   mount point.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

use fs_err as fs;

use crate::config::real;

/// The mount point above `path` that is listed in `/etc/fstab` but not mounted, if there is one.
pub fn unmounted_above(path: &Path) -> io::Result<Option<PathBuf>> {
    let fstab = match fs::read("/etc/fstab") {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        fstab => fstab?,
    };
    let mountinfo = fs::read("/proc/self/mountinfo")?;
    let written = unmounted_parent(path, &fstab, &mountinfo);
    // The path may contain symbolic links.
    Ok(written.or_else(|| unmounted_parent(&real(path), &fstab, &mountinfo)))
}

/// The same for the contents of both files.
fn unmounted_parent(path: &Path, fstab: &[u8], mountinfo: &[u8]) -> Option<PathBuf> {
    let mounted: Vec<PathBuf> = fields(mountinfo, 4).collect();
    fields(fstab, 1).find(|mount_point| {
        mount_point.is_absolute()
            && mount_point != Path::new("/")
            && path.starts_with(mount_point)
            && !mounted.contains(mount_point)
            // The path in fstab may contain symbolic links.
            && mount_point
                .canonicalize()
                .map_or(true, |real| !mounted.contains(&real))
    })
}

/// One column of a table, as paths. The callers skip `none` and `swap`, which are not absolute.
fn fields(table: &[u8], column: usize) -> impl Iterator<Item = PathBuf> {
    table
        .split(|byte| *byte == b'\n')
        .map(<[u8]>::trim_ascii_start)
        .filter(|line| !line.starts_with(b"#"))
        .filter_map(move |line| {
            line.split(u8::is_ascii_whitespace)
                .filter(|word| !word.is_empty())
                .nth(column)
        })
        .map(|word| PathBuf::from(OsString::from_vec(unescape(word))))
}

/// Both files escape spaces and backslashes in octal (`\040`).
fn unescape(word: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(word.len());
    let mut rest = word;
    while let Some((first, after)) = rest.split_first() {
        let escaped = (*first == b'\\')
            .then(|| after.get(..3))
            .flatten()
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        bytes.push(escaped.unwrap_or(*first));
        rest = if escaped.is_some() {
            &after[3..]
        } else {
            after
        };
    }
    bytes
}

/// The nearest existing directory above `path`, if it is empty except for `own_paths`.
pub fn empty_parent(path: &Path, own_paths: &[&Path]) -> io::Result<Option<PathBuf>> {
    for parent in path.ancestors().skip(1) {
        match fs::symlink_metadata(parent) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            found => found?,
        };
        return Ok(is_empty(parent, own_paths)?.then(|| parent.to_owned()));
    }
    Ok(None)
}

/// Whether a directory is empty except for `own_paths` and their parents.
pub fn is_empty(directory: &Path, own_paths: &[&Path]) -> io::Result<bool> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if !own_paths.iter().any(|own| own.starts_with(&path)) {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FSTAB: &[u8] = b"# <file system> <mount point> <type> <options> <dump> <pass>\n\
        UUID=1 / ext4 errors=remount-ro 0 1\n\
        \t/dev/sdb1\t/mnt/disk \text4 defaults,noauto 0 2\n\
        /dev/sdc1 /mnt/my\\040disk/ xfs defaults 0 2\n\
        #/dev/sdd1 /mnt/commented ext4 defaults 0 2\n\
        /dev/sde none swap sw 0 0\n\
        /dev/sdf swap swap sw 0 0\n\
        server:/export /srv/www nfs4 _netdev 0 0\n\
        broken\n";
    const MOUNTINFO: &[u8] = b"29 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n\
        40 29 0:50 / /srv/www rw shared:9 - nfs4 server:/export rw\n";

    #[test]
    fn mount_points_of_fstab_above_a_path_must_be_mounted() {
        let missing = |path: &str| {
            unmounted_parent(Path::new(path), FSTAB, MOUNTINFO)
                .map(|path| path.display().to_string())
        };
        let missing = |path: &str| missing(path).unwrap_or_default();
        assert_eq!(missing("/mnt/disk"), "/mnt/disk");
        assert_eq!(missing("/mnt/disk/chantal/pool"), "/mnt/disk");
        assert_eq!(missing("/mnt/my disk/chantal"), "/mnt/my disk/");
        for path in [
            "/",
            "/mnt",
            "/mnt/disk2/chantal",
            "/mnt/commented/chantal",
            "/var/lib/chantal",
            "/srv/www/chantal",
            "/none",
            "/swap",
        ] {
            assert_eq!(missing(path), "", "{path}");
        }
        let mounted = [
            MOUNTINFO,
            b"41 29 8:17 / /mnt/disk rw - ext4 /dev/sdb1 rw\n\
              42 29 8:33 / /mnt/my\\040disk rw - xfs /dev/sdc1 rw\n",
        ]
        .concat();
        for path in ["/mnt/disk/chantal", "/mnt/my disk/chantal"] {
            assert_eq!(unmounted_parent(Path::new(path), FSTAB, &mounted), None);
        }
        assert_eq!(
            unmounted_parent(Path::new("/mnt/disk"), b"", MOUNTINFO),
            None
        );
    }

    #[test]
    fn octal_escapes() {
        for (written, meant) in [
            (&b"/a\\040b\\134c\\011"[..], &b"/a b\\c\t"[..]),
            (b"/a\\04", b"/a\\04"),
            (b"\\", b"\\"),
            (b"\\999", b"\\999"),
        ] {
            assert_eq!(unescape(written), meant);
        }
    }

    #[test]
    fn the_nearest_existing_parent() {
        let dir = tempfile::tempdir().unwrap();
        let mount_point = dir.path().join("disk");
        fs::create_dir(&mount_point).unwrap();
        let path = mount_point.join("a/b/c");
        let found = |own_paths: &[&Path]| empty_parent(&path, own_paths).unwrap();
        assert_eq!(found(&[]).as_deref(), Some(&*mount_point));
        let log = mount_point.join("log/chantal.log");
        fs::create_dir(mount_point.join("log")).unwrap();
        assert_eq!(found(&[]), None);
        assert_eq!(found(&[&log]).as_deref(), Some(&*mount_point));
        fs::write(mount_point.join("file"), b"").unwrap();
        assert_eq!(found(&[&log]), None);
    }
}
