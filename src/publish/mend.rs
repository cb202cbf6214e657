//! Replaces damaged and missing files of a published tree.
//!
//! The same bytes were promised at these paths, so nothing is exchanged: the good file is linked or
//! copied next to the tree and renamed over the damaged one. A client sees one or the other. A run
//! that is killed leaves its files only in the staging directory, which the next run removes.

use std::collections::BTreeSet;
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt};
use std::path::{Path, PathBuf};

use fs_err as fs;
use rustix::io::Errno;

use super::directory::{
    identity, is_empty, make_directory, make_parents_below, modified_at, remove, restore_time,
};
use super::error::PublishError;
use super::existing::is_missing;
use super::foreign_files::{ExtraFiles, reject_foreign_files};
use super::layout::{Layout, LayoutFile};
use super::recover::recover;
use super::tree::{LockWait, LockedTree};
use crate::digest::{ObjectId, ObjectRef};
use crate::kill_points;
use crate::manifest::Role;
use crate::pool::Pool;
use crate::regular_file::named;
use crate::rel_path::RelPath;
use crate::storage::Storage;
use crate::store::records::TreeRecord;

/// What was done to a tree.
#[derive(Debug, Default)]
pub struct Mended {
    /// Number of files that were replaced.
    pub files: u64,
    /// Errors at single files; the others were replaced.
    pub errors: Vec<PublishError>,
}

/// Compares the files of a tree at these paths with the objects of the pool, and replaces those that
/// are damaged or missing. Paths at which the tree shows nothing by now are ignored.
pub fn mend_files(
    storage: &Storage,
    path: &Path,
    files: &BTreeSet<RelPath>,
) -> Result<Mended, PublishError> {
    let tree = LockedTree::lock(storage, path, LockWait::Extended)?;
    let Some(record) = recover(&tree)? else {
        return Ok(Mended::default());
    };
    let Some(manifest) = record.manifest else {
        return Ok(Mended::default());
    };
    if is_missing(path, &record)? {
        return Err(PublishError::TreeMissing {
            path: path.to_owned(),
        });
    }
    let layout = storage.read(|reader| Layout::new(reader, manifest, &record.earlier))?;
    reject_other_generation(storage, path, &record, &layout)?;
    let mut damaged = Vec::new();
    for file in files {
        let Some(LayoutFile { content, .. }) = layout.get(file.as_str()) else {
            continue;
        };
        storage.interrupt.check()?;
        // A file that cannot be read is not right.
        if !is_right(&storage.pool, content.object, &file.below(path)).unwrap_or(false) {
            damaged.push((file, *content));
        }
    }
    if damaged.is_empty() {
        return Ok(Mended::default());
    }
    let modified_at = modified_at(&fs::symlink_metadata(path)?);
    let settled_at = record.settled_at.filter(|known| *known == modified_at);
    make_directory(&tree.staging)?;
    // So that the next run recognises what is left if this run is killed.
    tree.put_record(&TreeRecord {
        leftover: identity(&tree.staging)?,
        changing_in_place: settled_at.is_some(),
        ..record.clone()
    })?;
    let mended = replace_all(&tree, &damaged);
    // Without the lock, the staging directory may belong to another run.
    tree.check_lock()?;
    // Before the staging directory is removed: a run that is killed in between must leave one or
    // the other.
    if let Some(settled_at) = settled_at {
        restore_time(path, settled_at)?;
    }
    remove(&tree.staging)?;
    tree.put_record(&record)?;
    mended
}

/// Fails if the tree may show another generation than the recorded one, because the store was
/// restored from a backup: metadata of several generations must never be mixed, and an older root
/// must not come back. In a tree that was not changed since, a root that differs is damaged. So is
/// one that no generation has, in a tree that has no files of other generations either.
fn reject_other_generation(
    storage: &Storage,
    path: &Path,
    record: &TreeRecord,
    layout: &Layout,
) -> Result<(), PublishError> {
    let modified_at = modified_at(&fs::symlink_metadata(path)?);
    if record.settled_at == Some(modified_at) {
        return Ok(());
    }
    let roots = layout.files().filter(|(_, file)| file.role == Role::Root);
    let mut differing = None;
    for (root, file) in roots {
        let root = root.below(path);
        let is_file = fs::symlink_metadata(&root).is_ok_and(|root| root.is_file());
        if !is_file || storage.pool.has_same_content(file.content.object, &root)? {
            continue;
        }
        if storage.pool.has_copy_of(&root)? {
            return Err(other_generation(path, root));
        }
        differing = Some(root);
    }
    let Some(root) = differing else {
        return Ok(());
    };
    let known = storage.read(|reader| Layout::of_record(reader, record))?;
    match reject_foreign_files(storage, path, &known) {
        Ok(ExtraFiles::None) | Err(PublishError::ForeignFiles { .. }) => Ok(()),
        Ok(ExtraFiles::PoolFiles) => Err(other_generation(path, root)),
        Err(error) => Err(error),
    }
}

fn other_generation(path: &Path, root: PathBuf) -> PublishError {
    PublishError::OtherGeneration {
        path: path.to_owned(),
        root,
    }
}

/// Whether a file is a link to the object or a copy of it. Where links are possible, copies are
/// read-only.
fn is_right(pool: &Pool, object: ObjectId, file: &Path) -> io::Result<bool> {
    if !pool.has_same_content(object, file)? {
        return Ok(false);
    }
    let found = fs::symlink_metadata(file)?;
    let stored = fs::symlink_metadata(pool.object_path(object))?;
    let is_writable = found.mode() & 0o222 != 0;
    Ok(found.dev() != stored.dev() || found.ino() == stored.ino() || !is_writable)
}

fn replace_all(
    tree: &LockedTree<'_>,
    files: &[(&RelPath, ObjectRef)],
) -> Result<Mended, PublishError> {
    let mut mended = Mended::default();
    for (number, (file, content)) in files.iter().enumerate() {
        tree.storage.interrupt.check()?;
        tree.check_lock()?;
        let good = tree.staging.join(number.to_string());
        match replace(tree, file, *content, &good) {
            Ok(()) => mended.files += 1,
            Err(error) => mended.errors.push(error),
        }
    }
    Ok(mended)
}

/// `good` is a free path in the staging directory.
fn replace(
    tree: &LockedTree<'_>,
    file: &RelPath,
    content: ObjectRef,
    good: &Path,
) -> Result<(), PublishError> {
    let pool = &tree.storage.pool;
    let object = content.object;
    if pool.size_of(object)? != Some(content.size) || !pool.is_intact(object)? {
        return Err(PublishError::ObjectMissing {
            path: file.to_string(),
            object,
        });
    }
    link_or_copy(pool, object, good)?;
    make_parents_below(tree.path, file)?;
    kill_points::reach("mend a file");
    let path = file.below(tree.path);
    match fs::rename(good, &path) {
        // A directory with files is kept: chantal did not create it.
        Err(error) if error.kind() == io::ErrorKind::IsADirectory && is_empty(&path)? => {
            fs::remove_dir(&path)?;
            Ok(fs::rename(good, &path)?)
        }
        renamed => Ok(renamed?),
    }
}

fn link_or_copy(pool: &Pool, object: ObjectId, target: &Path) -> io::Result<()> {
    let source = pool.object_path(object);
    let Err(error) = std::fs::hard_link(&source, target) else {
        return Ok(());
    };
    match Errno::from_io_error(&error) {
        // Another file system, one without links, too many links, or the file of another user.
        Some(Errno::XDEV | Errno::OPNOTSUPP | Errno::NOSYS | Errno::MLINK | Errno::PERM) => {}
        _ => return Err(named(target)(error)),
    }
    fs::copy(&source, target)?;
    fs::set_permissions(target, PermissionsExt::from_mode(0o444))?;
    let copy = fs::File::open(target)?;
    // Clients compare Last-Modified.
    copy.file()
        .set_modified(fs::metadata(&source)?.modified()?)?;
    copy.sync_all()
}
