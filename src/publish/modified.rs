//! Finds what others have changed in a tree since its last run, without looking at every file: a
//! directory whose modification time is before the end of that run has the same names as then.

use std::collections::BTreeSet;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::error::PublishError;
use super::layout::Layout;
use super::tree::LockedTree;
use crate::regular_file::is_absent;
use crate::rel_path::RelPath;
use crate::store::records::TreeRecord;

/// Modification times come from a clock that ticks up to this often. In nanoseconds.
const CLOCK_TICK: i64 = 20_000_000;
/// FAT stores modification times with this resolution, and they have no fraction of a second.
const COARSE_CLOCK_TICK: i64 = 2_000_000_000;

/// Whether these directories have exactly the recorded files, as far as can be seen without reading
/// files. A directory that does not exist has no files.
pub fn are_as_recorded(
    tree: &LockedTree<'_>,
    record: &TreeRecord,
    directories: &BTreeSet<RelPath>,
) -> Result<bool, PublishError> {
    let mut modified = Vec::new();
    for directory in directories {
        tree.storage.interrupt.check()?;
        if is_modified(&directory.below(tree.path), record.settled_at)? {
            modified.push(directory);
        }
    }
    let Some(manifest) = record.manifest.filter(|_| !modified.is_empty()) else {
        return Ok(modified.is_empty());
    };
    let (promised, possible) = tree.storage.read(|reader| {
        let promised = Layout::new(reader, manifest, &record.earlier)?;
        Ok((promised, Layout::of_record(reader, record)?))
    })?;
    for directory in modified {
        if !has_recorded_files(tree, directory, &promised, &possible)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Every directory of the tree.
pub fn all_directories(
    tree: &LockedTree<'_>,
    record: &TreeRecord,
) -> Result<BTreeSet<RelPath>, PublishError> {
    let mut directories = BTreeSet::new();
    let Some(manifest) = record.manifest else {
        return Ok(directories);
    };
    let layout = tree
        .storage
        .read(|reader| Layout::new(reader, manifest, &record.earlier))?;
    for (path, _) in layout.files() {
        add_parents(path, &mut directories);
    }
    Ok(directories)
}

/// Adds the directories above a path.
pub fn add_parents(path: &RelPath, directories: &mut BTreeSet<RelPath>) {
    let mut above = path.parent();
    while let Some(directory) = above {
        above = directory.parent();
        if !directories.insert(directory) {
            return;
        }
    }
}

fn is_modified(directory: &Path, settled_at: Option<i64>) -> io::Result<bool> {
    let found = match std::fs::symlink_metadata(directory) {
        Err(error) if is_absent(&error) => return Ok(true),
        found => found?,
    };
    let tick = match found.mtime_nsec() {
        0 => COARSE_CLOCK_TICK,
        _ => CLOCK_TICK,
    };
    let modified = super::directory::modified_at(&found);
    Ok(!found.is_dir() || settled_at.is_none_or(|settled| modified >= settled - tick))
}

/// Compares the names in a directory with the record, and its files with the objects by inode or,
/// if they are copies, by size.
fn has_recorded_files(
    tree: &LockedTree<'_>,
    directory: &RelPath,
    promised: &Layout,
    possible: &Layout,
) -> Result<bool, PublishError> {
    let top = directory.below(tree.path);
    let entries = match std::fs::read_dir(&top) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(!promised.has_directory(directory.as_str()));
        }
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => return Ok(false),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let path = name.to_str().and_then(|name| directory.join(name).ok());
        let Some(path) = path else {
            return Ok(false);
        };
        let is_ours = if entry.file_type()?.is_dir() {
            possible.has_directory(path.as_str())
        } else {
            possible.has(path.as_str())
        };
        if !is_ours {
            return Ok(false);
        }
    }
    for (path, file) in promised.files_in(directory) {
        if !super::update::is_link_or_copy(tree, &path.below(tree.path), file.content)? {
            return Ok(false);
        }
    }
    Ok(true)
}
