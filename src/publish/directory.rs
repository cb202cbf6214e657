//! Directories: identity, creation with fixed modes, removal.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, UNIX_EPOCH};

use std::os::unix::fs::{MetadataExt, PermissionsExt};

use fs_err as fs;
use rustix::fs::Timespec;

use super::error::PublishError;
use crate::kill_points;
use crate::regular_file::{is_absent, named};
use crate::rel_path::RelPath;
use crate::store::records::DirectoryId;

/// The identity of a directory; `None` if it does not exist.
pub fn identity(path: &Path) -> io::Result<Option<DirectoryId>> {
    let metadata = match fs::symlink_metadata(path) {
        Err(error) if is_absent(&error) => return Ok(None),
        metadata => metadata?,
    };
    let born = metadata.created().ok();
    let born = born.and_then(|born| born.duration_since(UNIX_EPOCH).ok());
    let file_system = rustix::fs::statvfs(path).map_or(0, |stat| stat.f_fsid);
    Ok(Some(DirectoryId {
        device: metadata.dev(),
        inode: metadata.ino(),
        born: born.and_then(|born| i64::try_from(born.as_nanos()).ok()),
        file_system,
    }))
}

/// A hidden directory next to the tree. The name is fixed, so that the next run finds it after a
/// kill.
pub fn staging_path(tree: &Path) -> Result<PathBuf, PublishError> {
    let name = tree.file_name().ok_or_else(|| PublishError::NoFileName {
        path: tree.to_owned(),
    })?;
    let mut staging = std::ffi::OsString::from(".");
    staging.push(name);
    staging.push(".chantal-staging");
    Ok(tree.with_file_name(staging))
}

/// The clock of modification times ticks more often than this.
const CLOCK_TICK: Duration = Duration::from_millis(20);

/// Sets the modification time of a tree to the current time of its file system, and returns it. It
/// is later than the modification times of everything that was changed before.
pub fn settle(tree: &Path) -> io::Result<i64> {
    let directory = fs::File::open(tree)?;
    let started = Instant::now();
    let changed_at = touch(&directory)?;
    loop {
        std::thread::sleep(Duration::from_millis(1));
        let settled_at = touch(&directory)?;
        // FAT stores full seconds.
        if settled_at > changed_at || started.elapsed() > CLOCK_TICK {
            return Ok(settled_at);
        }
    }
}

/// Sets the modification time of a tree to what [`settle`] has returned, because the record still
/// describes the tree: directories below that were changed since are known by their own times. Only
/// the owner may set it; the files of other trees are compared by the next run.
pub fn restore_time(tree: &Path, settled_at: i64) -> io::Result<()> {
    let second = 1_000_000_000;
    let time = Timespec {
        tv_sec: settled_at.div_euclid(second),
        tv_nsec: settled_at.rem_euclid(second),
    };
    match set_times(&fs::File::open(tree)?, time) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        set => set,
    }
}

fn touch(directory: &fs::File) -> io::Result<i64> {
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: rustix::fs::UTIME_NOW,
    };
    set_times(directory, now)?;
    Ok(modified_at(&directory.metadata()?))
}

fn set_times(directory: &fs::File, time: Timespec) -> io::Result<()> {
    let times = rustix::fs::Timestamps {
        last_access: time,
        last_modification: time,
    };
    let set = rustix::fs::futimens(directory.file(), &times);
    set.map_err(|error| named(directory.path())(error.into()))
}

/// The modification time in nanoseconds since the epoch.
pub fn modified_at(metadata: &std::fs::Metadata) -> i64 {
    let seconds = metadata.mtime().saturating_mul(1_000_000_000);
    seconds.saturating_add(metadata.mtime_nsec())
}

/// Makes all changes of a tree durable.
pub fn flush(tree: &Path) -> io::Result<()> {
    let synced = rustix::fs::syncfs(fs::File::open(tree)?.file());
    synced.map_err(|error| named(tree)(error.into()))
}

pub fn is_empty(path: &Path) -> io::Result<bool> {
    Ok(fs::symlink_metadata(path)?.is_dir() && fs::read_dir(path)?.next().is_none())
}

const DIRECTORY_MODE: u32 = 0o755;

/// Creates a directory that the user of a web server can enter, whatever the umask.
pub fn make_directory(path: &Path) -> io::Result<()> {
    fs::create_dir(path)?;
    if fs::symlink_metadata(path)?.mode() & 0o7777 == DIRECTORY_MODE {
        return Ok(());
    }
    match fs::set_permissions(path, PermissionsExt::from_mode(DIRECTORY_MODE)) {
        // File systems without modes: how they show them is a mount option.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        set => set,
    }
}

/// Creates the parents of a tree, readable for a web server whatever the umask.
pub fn make_parents(tree: &Path) -> io::Result<()> {
    let Some(parent) = tree.parent().filter(|parent| !parent.exists()) else {
        return Ok(());
    };
    make_parents(parent)?;
    match make_directory(parent) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

/// Creates the missing directories above a file in a tree. Nothing is written through a symbolic
/// link.
pub fn make_parents_below(tree: &Path, file: &RelPath) -> io::Result<()> {
    let mut missing = Vec::new();
    let mut next = file.parent();
    while let Some(directory) = next {
        let path = directory.below(tree);
        match fs::symlink_metadata(&path) {
            Ok(found) if found.is_dir() => {}
            Ok(_) => {
                let why = format!("{} is not a directory", path.display());
                return Err(io::Error::new(io::ErrorKind::NotADirectory, why));
            }
            Err(error) if is_absent(&error) => missing.push(path),
            Err(error) => return Err(error),
        }
        next = directory.parent();
    }
    missing
        .iter()
        .rev()
        .try_for_each(|path| make_directory(path))
}

/// Removes a directory with its contents, if it exists.
pub fn remove(path: &Path) -> io::Result<()> {
    kill_points::reach("remove a directory");
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}
