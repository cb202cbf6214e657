//! Compares what exists at the path of a tree with its record.
//!
//! An empty mount point looks like a path where nothing was published. The store tells the
//! difference: it records the identity of the published directory ([`DirectoryId`]), and the file
//! systems of neighbouring trees.

use std::io;
use std::path::{Path, PathBuf};

use fs_err as fs;

use super::directory::{identity, is_empty, modified_at};
use super::error::PublishError;
use super::foreign_files::{ExtraFiles, holds_only_pool_files, reject_foreign_files};
use super::layout::Layout;
use super::request::{PreparedRequest, PublishMode};
use super::tree::LockedTree;
use crate::manifest::Role;
use crate::mounts;
use crate::regular_file::is_absent;
use crate::state::root_source;
use crate::storage::Storage;
use crate::store::records::{DirectoryId, TreeRecord};

/// What exists at the path and may be replaced.
pub enum Existing {
    /// Nothing; with the record of the path, if there is one.
    Nothing(Option<TreeRecord>),
    /// The recorded tree.
    Published(TreeRecord),
    /// Files that chantal published and that do not match the record.
    Unrecorded(Option<TreeRecord>),
}

pub struct Inspection {
    pub existing: Existing,
    pub extra_files: ExtraFiles,
}

/// The state of a path, without comparing files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathState {
    /// The path is empty or does not exist, and no tree is missing there.
    Free,
    /// It was published and does not exist.
    Missing,
    /// The recorded directory, with its current identity.
    Recorded(DirectoryId),
    /// Another directory than the recorded one.
    OtherDirectory(DirectoryId),
    /// A directory that is not empty, where nothing was published.
    Unrecorded,
}

/// Inspects a tree, and fails if it must not be replaced. A directory that was moved or restored is
/// adopted.
pub fn inspect(
    tree: &LockedTree<'_>,
    prepared: &PreparedRequest<'_>,
    record: Option<TreeRecord>,
) -> Result<Inspection, PublishError> {
    let mode = prepared.request.mode;
    let nothing = |record| Inspection {
        existing: Existing::Nothing(record),
        extra_files: ExtraFiles::None,
    };
    match (path_state(tree.path, record.as_ref())?, record) {
        (PathState::Missing, record) if mode == PublishMode::RecreateMissing => Ok(nothing(record)),
        (PathState::Missing, _) => Err(PublishError::TreeMissing {
            path: tree.path.to_owned(),
        }),
        (PathState::Free, record) => {
            if mode != PublishMode::RecreateMissing {
                reject_unmounted_path(tree.storage, tree.path)?;
            }
            Ok(nothing(record))
        }
        (PathState::Recorded(here), Some(record)) => check_recorded(tree, prepared, record, here),
        (PathState::OtherDirectory(here), Some(record)) => check_moved(tree, record, here),
        (_, record) => check_unrecorded(tree, prepared, record),
    }
}

pub fn path_state(tree: &Path, record: Option<&TreeRecord>) -> Result<PathState, PublishError> {
    // An interrupted first run has `staging` but no `manifest`. If neither of its directories
    // exists, they may be on a disk that is not mounted, exchanged or not.
    let shown = record.filter(|record| record.manifest.is_some() || record.staging.is_some());
    match fs::symlink_metadata(tree) {
        Err(error) if is_absent(&error) => {
            return Ok(match shown {
                Some(_) => PathState::Missing,
                None => PathState::Free,
            });
        }
        Err(error) => return Err(error.into()),
        Ok(metadata) if metadata.is_symlink() => {
            return Err(PublishError::SymbolicLink {
                path: tree.to_owned(),
            });
        }
        Ok(metadata) if metadata.is_dir() => {}
        Ok(_) => {
            return Err(PublishError::Occupied {
                path: tree.to_owned(),
            });
        }
    }
    let here = identity(tree)?.ok_or_else(|| PublishError::TreeMissing {
        path: tree.to_owned(),
    })?;
    let recorded = shown.and_then(|record| record.directory);
    let is_recorded = recorded.map(|recorded| recorded.is_same(here));
    Ok(match (shown.is_some(), is_empty(tree)?) {
        // An empty directory may be a mount point, unless it is the directory of the tree itself,
        // which was emptied.
        (true, true) if is_recorded != Some(true) => PathState::Missing,
        (_, true) => PathState::Free,
        (true, false) if is_recorded == Some(false) => PathState::OtherDirectory(here),
        (true, false) => PathState::Recorded(here),
        (false, false) => PathState::Unrecorded,
    })
}

/// Handles the recorded directory. Its files are compared only if it was modified since the last
/// run: the store may be older than the tree, or the run was interrupted.
fn check_recorded(
    tree: &LockedTree<'_>,
    prepared: &PreparedRequest<'_>,
    record: TreeRecord,
    here: DirectoryId,
) -> Result<Inspection, PublishError> {
    let modified_at = modified_at(&fs::symlink_metadata(tree.path)?);
    let settled_at = record.settled_at;
    let published = |existing| Inspection {
        existing,
        extra_files: ExtraFiles::None,
    };
    if record.directory.is_some() && settled_at == Some(modified_at) {
        return adopt(tree, record, here, settled_at).map(published);
    }
    let is_done = prepared.request.mode == PublishMode::IfChanged && prepared.is_shown_by(&record);
    let comparison = match settled_at {
        Some(_) if !is_done => Comparison::Content,
        // Written by an older version, or nothing is going to change: every sync comes here while
        // there is a foreign file at the top.
        _ => Comparison::Size,
    };
    let is_complete = is_complete(tree.storage, tree.path, &record, comparison)?;
    if is_done && is_complete {
        return adopt(tree, record, here, settled_at).map(published);
    }
    let extra_files = find_extra_files(tree.storage, tree.path, &record)?;
    if is_complete && extra_files == ExtraFiles::None {
        return adopt(tree, record, here, Some(modified_at)).map(published);
    }
    log::debug!(
        "{}: files differ from those that were published last: publishing it again",
        tree.path.display()
    );
    Ok(Inspection {
        existing: Existing::Unrecorded(Some(record)),
        // Its root may not be the recorded one.
        extra_files: ExtraFiles::PoolFiles,
    })
}

/// Takes the directory for the recorded tree.
fn adopt(
    tree: &LockedTree<'_>,
    record: TreeRecord,
    here: DirectoryId,
    settled_at: Option<i64>,
) -> Result<Existing, PublishError> {
    // Otherwise it is recorded for the first time, or the device number of its disk has changed.
    let is_recorded = record.directory == Some(here) && record.settled_at == settled_at;
    let adopted = TreeRecord {
        directory: Some(here),
        settled_at,
        ..record
    };
    if !is_recorded {
        tree.put_record(&adopted)?;
    }
    Ok(Existing::Published(adopted))
}

/// Handles a directory that was restored from a backup, copied or moved: its files are compared
/// before it is adopted.
fn check_moved(
    tree: &LockedTree<'_>,
    record: TreeRecord,
    here: DirectoryId,
) -> Result<Inspection, PublishError> {
    let extra_files = find_extra_files(tree.storage, tree.path, &record)?;
    // On file systems without ids and creation times (NFS), the device number changes with each
    // mount: only the inode can be compared.
    let is_likely = record
        .directory
        .is_some_and(|known| known.inode == here.inode && known.born.or(here.born).is_none());
    let comparison = if is_likely {
        Comparison::Size
    } else {
        Comparison::Content
    };
    let is_whole = extra_files == ExtraFiles::None
        && is_complete(tree.storage, tree.path, &record, comparison)?;
    if extra_files == ExtraFiles::None && !(is_likely && is_whole) {
        log::warn!(
            "{}: not the directory that chantal published (restored from a backup?): {}",
            tree.path.display(),
            if is_whole {
                "all files match, tree adopted"
            } else {
                "files differ, publishing it again"
            }
        );
    }
    let existing = if is_whole {
        let settled_at = modified_at(&fs::symlink_metadata(tree.path)?);
        adopt(tree, record, here, Some(settled_at))?
    } else {
        Existing::Unrecorded(Some(record))
    };
    Ok(Inspection {
        existing,
        extra_files,
    })
}

/// Handles a directory that the store does not record: either the store was restored from an older
/// backup, or the directory is foreign.
fn check_unrecorded(
    tree: &LockedTree<'_>,
    prepared: &PreparedRequest<'_>,
    record: Option<TreeRecord>,
) -> Result<Inspection, PublishError> {
    let has_root = match prepared.format() {
        Some(format) => root_source(&tree.storage.store, prepared.request.manifest, format)?
            .is_some_and(|source| source.path().below(tree.path).is_file()),
        None => false,
    };
    if !has_root || !holds_only_pool_files(tree.storage, tree.path)? {
        return Err(PublishError::Occupied {
            path: tree.path.to_owned(),
        });
    }
    log::warn!(
        "{}: tree not found in the database (older database restored from a backup?): all files \
         are in the pool, tree adopted",
        tree.path.display()
    );
    Ok(Inspection {
        existing: Existing::Unrecorded(record),
        extra_files: ExtraFiles::PoolFiles,
    })
}

pub fn find_extra_files(
    storage: &Storage,
    tree: &Path,
    record: &TreeRecord,
) -> Result<ExtraFiles, PublishError> {
    let known = storage.read(|reader| Layout::of_record(reader, record))?;
    let extra_files = reject_foreign_files(storage, tree, &known)?;
    if extra_files == ExtraFiles::PoolFiles {
        log::warn!(
            "{}: contains files of the pool that the database does not list (older database \
             restored from a backup?): tree adopted",
            tree.display()
        );
    }
    Ok(extra_files)
}

/// How files are compared that are not hard links to the pool. Roots are always read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    Size,
    Content,
}

/// Whether every file of the recorded tree exists.
fn is_complete(
    storage: &Storage,
    tree: &Path,
    record: &TreeRecord,
    comparison: Comparison,
) -> Result<bool, PublishError> {
    let Some(manifest) = record.manifest else {
        return Ok(false);
    };
    let layout = storage.read(|reader| Layout::new(reader, manifest, &record.earlier))?;
    for (path, file) in layout.files() {
        storage.interrupt.check()?;
        let path = path.below(tree);
        let comparison = match file.role {
            Role::Root => Comparison::Content,
            _ => comparison,
        };
        let is_there = match comparison {
            Comparison::Size => fs::symlink_metadata(&path)
                .is_ok_and(|found| found.is_file() && found.len() == file.content.size),
            Comparison::Content => storage.pool.has_same_content(file.content.object, &path)?,
        };
        if !is_there {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Fails if the path may be on a disk that is not mounted. There is no record that would show it,
/// but `/etc/fstab` may list the disk, or neighbouring trees may be missing that were published on
/// another file system than the one that exists there now.
fn reject_unmounted_path(storage: &Storage, tree: &Path) -> Result<(), PublishError> {
    if let Some(mount_point) = mounts::unmounted_above(tree)? {
        return Err(PublishError::NotMounted {
            path: tree.to_owned(),
            mount_point,
        });
    }
    let Some(above) = nearest_directory(tree) else {
        return Ok(());
    };
    let Some(here) = identity(&above)? else {
        return Ok(());
    };
    let trees = storage.read(crate::store::Reader::trees)?;
    let next = |path: &Path| {
        path.strip_prefix(&above)
            .ok()?
            .components()
            .next()
            .map(|first| above.join(first))
    };
    for (path, record) in trees {
        let is_beside = path != tree
            && (path.parent() == tree.parent() || next(&path) == next(tree))
            && nearest_directory(&path).as_ref() == Some(&above);
        let is_elsewhere = record.manifest.is_some()
            && record
                .directory
                .is_some_and(|directory| !directory.is_on_file_system_of(here));
        if is_beside && is_elsewhere && fs::symlink_metadata(&path).is_err() {
            return Err(PublishError::NeighbourMissing {
                path: tree.to_owned(),
                neighbour: path,
            });
        }
    }
    Ok(())
}

/// The nearest existing directory above a path.
fn nearest_directory(path: &Path) -> Option<PathBuf> {
    path.ancestors()
        .skip(1)
        .find(|above| fs::symlink_metadata(above).is_ok())
        .map(Path::to_owned)
}

/// Whether a published tree is missing, for commands that only report it.
pub fn is_missing(tree: &Path, record: &TreeRecord) -> io::Result<bool> {
    match path_state(tree, Some(record)) {
        Ok(path_state) => Ok(path_state == PathState::Missing),
        Err(PublishError::Io(error)) => Err(error),
        Err(_) => Ok(false),
    }
}
