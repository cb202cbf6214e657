//! Files in a tree that no recorded generation has: foreign files, or files that chantal published
//! and the store does not record.
//!
//! After the store was restored from a backup, trees may be newer than it. Their files are links to
//! objects of the pool, or copies of them: nothing is lost if such a tree is replaced, and
//! rejecting it would make every sync fail.

use std::collections::HashSet;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use fs_err as fs;

use super::directory::is_empty;
use super::error::PublishError;
use super::layout::Layout;
use crate::pool::Pool;
use crate::storage::Storage;

/// Files besides the recorded ones. Foreign files are an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExtraFiles {
    None,
    PoolFiles,
}

/// Fails if there are foreign files in the tree: an administrator may have put them there, and the
/// exchange would delete them.
pub fn reject_foreign_files(
    storage: &Storage,
    tree: &Path,
    known: &Layout,
) -> Result<ExtraFiles, PublishError> {
    reject_foreign_files_below(storage, tree, tree, known)
}

/// The same for a directory of the tree.
pub fn reject_foreign_files_below(
    storage: &Storage,
    tree: &Path,
    directory: &Path,
    known: &Layout,
) -> Result<ExtraFiles, PublishError> {
    let mut pool = PoolFiles::new(&storage.pool);
    let mut foreign: Vec<PathBuf> = Vec::new();
    let mut extra_files = ExtraFiles::None;
    let mut directories = vec![directory.to_owned()];
    while let Some(directory) = directories.pop() {
        storage.interrupt.check()?;
        for entry in fs::read_dir(&directory)? {
            let entry = entry?;
            let path = entry.path();
            let relative = path.strip_prefix(tree).ok().and_then(Path::to_str);
            if entry.file_type()?.is_dir() {
                let is_ours = relative.is_some_and(|relative| known.has_directory(relative));
                if !is_ours && is_empty(&path)? {
                    foreign.push(path);
                } else {
                    directories.push(path);
                }
            } else if !relative.is_some_and(|relative| known.has(relative)) {
                if pool.contains(&path)? {
                    extra_files = ExtraFiles::PoolFiles;
                } else {
                    foreign.push(path);
                }
            }
        }
    }
    foreign.sort();
    match foreign.first() {
        None => Ok(extra_files),
        Some(first) => Err(PublishError::ForeignFiles {
            tree: tree.to_owned(),
            first: first.clone(),
            count: foreign.len(),
        }),
    }
}

/// Whether all files of a directory without a record are from the pool. False if it is empty.
pub fn holds_only_pool_files(storage: &Storage, directory: &Path) -> Result<bool, PublishError> {
    match reject_foreign_files(storage, directory, &Layout::default()) {
        Ok(extra_files) => Ok(extra_files == ExtraFiles::PoolFiles),
        Err(PublishError::ForeignFiles { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Recognises files of the pool.
struct PoolFiles<'a> {
    pool: &'a Pool,
    /// Device and inode of every object, read when first needed.
    objects: Option<HashSet<(u64, u64)>>,
}

impl<'a> PoolFiles<'a> {
    fn new(pool: &'a Pool) -> Self {
        Self {
            pool,
            objects: None,
        }
    }

    /// Whether the file is a link to an object, or a read-only copy of one.
    fn contains(&mut self, path: &Path) -> Result<bool, PublishError> {
        let metadata = fs::symlink_metadata(path)?;
        // Published files are read-only, so writable files need not be hashed.
        if !metadata.is_file() || metadata.permissions().mode() & 0o222 != 0 {
            return Ok(false);
        }
        let objects = match self.objects.take() {
            Some(objects) => objects,
            None => self.pool.inodes()?,
        };
        let is_link = objects.contains(&(metadata.dev(), metadata.ino()));
        self.objects = Some(objects);
        Ok(is_link || self.pool.has_copy_of(path)?)
    }
}
