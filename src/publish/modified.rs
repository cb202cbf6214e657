//! Finds what others have changed in a tree since its last run, without reading its files.
//!
//! - A directory whose modification time is before the end of that run has the same names as then.
//! - A file that is a link to an object of the pool has at least two links.

use std::collections::BTreeSet;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use fs_err as fs;
use rayon::iter::ParallelIterator as _;
use rayon::slice::ParallelSlice as _;

use super::directory::modified_at;
use super::error::PublishError;
use super::layout::{FileGeneration, Layout};
use super::stage::{in_parallel, present};
use super::tree::LockedTree;
use crate::digest::ObjectRef;
use crate::manifest::ChunkRef;
use crate::regular_file::is_absent;
use crate::rel_path::RelPath;
use crate::store::records::TreeRecord;
use crate::store::{Reader, TransactionError};
use crate::threads::lock;

/// FAT stores modification times with this resolution, and they have no fraction of a second. In
/// nanoseconds.
const COARSE_TICK: i64 = 2_000_000_000;
/// How many chunks a thread takes at a time.
const CHUNKS: usize = 64;

/// Whether these directories have exactly the recorded files. One that was removed has modified the
/// directory above it.
pub fn are_as_recorded(
    tree: &LockedTree<'_>,
    record: &TreeRecord,
    directories: &BTreeSet<RelPath>,
) -> Result<bool, PublishError> {
    let mut modified = Vec::new();
    for directory in directories {
        tree.storage.interrupt.check()?;
        if is_modified(&directory.below(tree.path), record.settled_at)? {
            modified.push(directory.clone());
        }
    }
    have_recorded_files(tree, record, modified)
}

/// Whether every file of the tree is the recorded one, and there are no other files. A missing
/// object is an error.
pub fn is_as_recorded(tree: &LockedTree<'_>, record: &TreeRecord) -> Result<bool, PublishError> {
    let Some(manifest) = record.manifest else {
        return Ok(false);
    };
    let comparison = Comparison {
        tree,
        record,
        pool: std::fs::metadata(tree.storage.pool.root())?.dev(),
        modified: Mutex::default(),
    };
    let is_good = tree.storage.read(|reader| {
        let chunks = reader.manifest(manifest)?.chunks;
        let retained = Layout::retained(reader, manifest, &record.earlier)?;
        let found = comparison.are_good(reader, &chunks);
        match found.and_then(|good| Ok(good && comparison.are_retained_good(&retained)?)) {
            Err(Failure::Store(error)) => Err(error),
            Err(Failure::Tree(error)) => Ok(Err(error)),
            Ok(good) => Ok(Ok(good)),
        }
    })?;
    let modified = comparison.modified.into_inner();
    let modified = modified.unwrap_or_else(PoisonError::into_inner);
    Ok(is_good? && have_recorded_files(tree, record, modified)?)
}

/// A comparison of all files of a tree.
struct Comparison<'a> {
    tree: &'a LockedTree<'a>,
    record: &'a TreeRecord,
    /// The device of the pool.
    pool: u64,
    /// Directories that were modified since the last run.
    modified: Mutex<Vec<RelPath>>,
}

enum Failure {
    Store(TransactionError),
    Tree(PublishError),
}

impl From<TransactionError> for Failure {
    fn from(error: TransactionError) -> Self {
        Self::Store(error)
    }
}

impl<E: Into<PublishError>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Tree(error.into())
    }
}

impl Comparison<'_> {
    /// Compares the files of the current generation.
    fn are_good(&self, reader: &Reader, chunks: &[ChunkRef]) -> Result<bool, Failure> {
        let is_good = |chunks: &[ChunkRef]| {
            self.tree.storage.interrupt.check()?;
            let mut directory = None;
            for chunk in chunks {
                for entry in reader.chunk(chunk.id)? {
                    if !self.is_good(&entry.path, entry.content(), &mut directory)? {
                        return Ok(false);
                    }
                }
            }
            Ok(true)
        };
        let is_bad = |found: &Result<bool, Failure>| !matches!(found, Ok(true));
        let files: u64 = chunks.iter().map(|chunk| chunk.totals.entries).sum();
        let first_bad = in_parallel(usize::try_from(files).unwrap_or(usize::MAX), |threads| {
            Ok::<_, Failure>(match threads {
                None => chunks.chunks(CHUNKS).map(is_good).find(is_bad),
                Some(threads) => {
                    threads.install(|| chunks.par_chunks(CHUNKS).map(is_good).find_any(is_bad))
                }
            })
        })?;
        first_bad.unwrap_or(Ok(true))
    }

    fn are_retained_good(&self, retained: &Layout) -> Result<bool, PublishError> {
        let mut directory = None;
        for (path, file) in retained.files() {
            match self.is_good(path, file.content, &mut directory) {
                Ok(true) => {}
                Ok(false) | Err(PublishError::ObjectMissing { .. }) => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// Compares a file, and adds its directory to the modified ones if it is. `directory` is the
    /// one of the last file.
    fn is_good(
        &self,
        path: &RelPath,
        content: ObjectRef,
        directory: &mut Option<RelPath>,
    ) -> Result<bool, PublishError> {
        let parent = path.parent();
        if let Some(parent) = &parent
            && *directory != Some(parent.clone())
            && is_modified(&parent.below(self.tree.path), self.record.settled_at)?
        {
            lock(&self.modified).push(parent.clone());
        }
        *directory = parent;
        let file = path.below(self.tree.path);
        match std::fs::symlink_metadata(&file) {
            Ok(found) if found.is_file() && found.len() == content.size => {
                let is_linked = found.dev() == self.pool && found.nlink() > 1;
                let is_copy = found.dev() != self.pool;
                Ok(is_linked || is_copy || is_object(self.tree, path, content)?)
            }
            _ => Ok(false),
        }
    }
}

/// Whether a file is the object, or has its content. A missing object is an error.
fn is_object(
    tree: &LockedTree<'_>,
    path: &RelPath,
    content: ObjectRef,
) -> Result<bool, PublishError> {
    let pool = &tree.storage.pool;
    present(
        tree.storage,
        path,
        content,
        &pool.object_path(content.object),
    )?;
    Ok(pool.has_same_content(content.object, &path.below(tree.path))?)
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
        Err(error) if is_absent(&error) => return Ok(false),
        found => found?,
    };
    let tick = match found.mtime_nsec() {
        0 => COARSE_TICK,
        _ => 0,
    };
    let is_older = settled_at.is_some_and(|settled| modified_at(&found) < settled - tick);
    Ok(!found.is_dir() || !is_older)
}

/// Whether directories have the recorded files and no others.
fn have_recorded_files(
    tree: &LockedTree<'_>,
    record: &TreeRecord,
    directories: Vec<RelPath>,
) -> Result<bool, PublishError> {
    let Some(manifest) = record.manifest.filter(|_| !directories.is_empty()) else {
        return Ok(directories.is_empty());
    };
    let (promised, possible) = tree.storage.read(|reader| {
        let promised = Layout::new(reader, manifest, &record.earlier)?;
        Ok((promised, Layout::of_record(reader, record)?))
    })?;
    for directory in BTreeSet::from_iter(directories) {
        if !has_recorded_files(tree, &directory, &promised, &possible)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn has_recorded_files(
    tree: &LockedTree<'_>,
    directory: &RelPath,
    promised: &Layout,
    possible: &Layout,
) -> Result<bool, PublishError> {
    let top = directory.below(tree.path);
    if !fs::symlink_metadata(&top)?.is_dir() {
        return Ok(false);
    }
    for entry in fs::read_dir(&top)? {
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
    for below in promised.directories_in(directory) {
        if !top.join(below).is_dir() {
            return Ok(false);
        }
    }
    for (path, file) in promised.files_in(directory) {
        let is_good = match is_object(tree, path, file.content) {
            // The whole tree is published without it.
            Err(PublishError::ObjectMissing { .. })
                if file.generation == FileGeneration::Earlier =>
            {
                false
            }
            is_good => is_good?,
        };
        if !is_good {
            return Ok(false);
        }
    }
    Ok(true)
}
