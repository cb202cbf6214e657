//! Updates a published tree in place: adds new files, exchanges the directory of the metadata, and
//! removes what is no longer retained.
//!
//! ```text
//! 1. record    the manifest as unfinished, the staged directory
//! 2. add       new files, which no client knows yet
//! 3. exchange  the directory of the metadata: from here on clients see the new generation
//! 4. record    the new generation; files to be removed as unfinished
//! 5. remove    files that outlived their retention
//! 6. record    that nothing is unfinished
//! 7. remove    the previous directory
//! ```
//!
//! After a kill between 1 and 4, [`super::recover`] finds out from the identity of the directory
//! whether it was exchanged. Files of an unfinished manifest are known as ours: the next update
//! keeps those that it needs and removes the others.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use fs_err as fs;

use super::changes::TreeChanges;
use super::directory::{
    self, identity, is_empty, make_directory, make_parents_below, modified_at, remove,
};
use super::error::PublishError;
use super::exchange;
use super::recover;
use super::stage::{Created, FileMaker, PreviousFiles, may_be_copy};
use super::tree::{LockedTree, pending};
use crate::digest::{ObjectId, ObjectRef};
use crate::kill_points;
use crate::regular_file::{self, is_absent};
use crate::rel_path::RelPath;
use crate::store::records::{DirectoryId, TreeRecord};

/// The result of an update.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Updated {
    Done(Created),
    /// The tree has other files than its record says. It was not changed.
    Obstructed,
}

/// Makes the tree of `before` what `next` describes.
pub fn update(
    tree: &LockedTree<'_>,
    before: &TreeRecord,
    next: &TreeRecord,
    changes: &TreeChanges,
) -> Result<Updated, PublishError> {
    let update = Update {
        tree,
        before,
        next,
        changes,
        maker: FileMaker::new(tree, PreviousFiles::recorded(before)),
        modified_at: modified_at(&fs::symlink_metadata(tree.path)?),
    };
    let mut added = Vec::new();
    let exchanged = update
        .add_and_exchange(&mut added)
        .inspect_err(|_| update.undo(&added))?;
    if exchanged == Exchanged::Obstructed {
        update.undo(&added);
        return Ok(Updated::Obstructed);
    }
    update.record_and_remove()?;
    Ok(Updated::Done(update.maker.created()))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Exchanged {
    Done,
    Obstructed,
}

struct Update<'a> {
    tree: &'a LockedTree<'a>,
    before: &'a TreeRecord,
    next: &'a TreeRecord,
    changes: &'a TreeChanges,
    maker: FileMaker<'a>,
    /// The modification time of the tree.
    modified_at: i64,
}

impl Update<'_> {
    /// `added` gets the files that are created in the tree.
    fn add_and_exchange(&self, added: &mut Vec<PathBuf>) -> Result<Exchanged, PublishError> {
        let (tree, changes) = (self.tree, self.changes);
        let staged = match &changes.exchanged {
            None => None,
            Some((directory, _)) => {
                make_directory(&tree.staging)?;
                let staging = identity(&tree.staging)?;
                let staging = staging.ok_or_else(|| PublishError::NoFileName {
                    path: tree.staging.clone(),
                })?;
                Some((directory, staging))
            }
        };
        if staged.is_some() || !changes.added.is_empty() {
            tree.put_record(&self.unfinished(staged))?;
        }
        for (path, content) in &changes.added {
            if self.add(path, *content, added)? == Exchanged::Obstructed {
                return Ok(Exchanged::Obstructed);
            }
        }
        if let Some((directory, files)) = &changes.exchanged {
            self.maker.fill(&tree.staging, Some(directory), files)?;
        }
        self.maker.flush(tree.path)?;
        tree.check_lock()?;
        if let Some((directory, _)) = &changes.exchanged {
            exchange::exchange(&tree.staging, &directory.below(tree.path))?;
        }
        Ok(Exchanged::Done)
    }

    /// The record while files are added.
    fn unfinished(&self, staged: Option<(&RelPath, DirectoryId)>) -> TreeRecord {
        let mut record = match staged {
            None => self.before.clone(),
            Some((part, directory)) => {
                let mut record = pending(Some(self.before), self.next, Some(directory));
                if let Some(staging) = &mut record.staging {
                    staging.part = Some(part.clone());
                }
                record.changing_in_place = self.before.settled_at == Some(self.modified_at);
                record
            }
        };
        if let Some(manifest) = self
            .next
            .manifest
            .filter(|_| !self.changes.added.is_empty())
            && !record.unfinished.contains(&manifest)
        {
            record.unfinished.push(manifest);
        }
        record
    }

    /// Adds a file to the tree. One from an interrupted run may exist.
    fn add(
        &self,
        path: &RelPath,
        content: ObjectRef,
        added: &mut Vec<PathBuf>,
    ) -> Result<Exchanged, PublishError> {
        let target = path.below(self.tree.path);
        match fs::symlink_metadata(&target) {
            Ok(_) if self.is_left(&target, content)? => return Ok(Exchanged::Done),
            // A foreign file, a directory, or a file below a file.
            Ok(_) => return Ok(Exchanged::Obstructed),
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
                return Ok(Exchanged::Obstructed);
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
        if let Some(directory) = path.parent()
            && !self.is_own_directory(&directory, added)?
        {
            return Ok(Exchanged::Obstructed);
        }
        added.push(target.clone());
        match make_parents_below(self.tree.path, path) {
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
                return Ok(Exchanged::Obstructed);
            }
            made => made?,
        }
        self.maker.make(path, content, &target)?;
        Ok(Exchanged::Done)
    }

    /// Whether a directory does not exist yet, or is the one that the tree has at this path: on
    /// another file system than the pool's, it may be one with another name (upper and lower case).
    fn is_own_directory(
        &self,
        directory: &RelPath,
        added: &[PathBuf],
    ) -> Result<bool, PublishError> {
        let storage = self.tree.storage;
        let path = directory.below(self.tree.path);
        let found = match std::fs::symlink_metadata(&path) {
            Err(error) if is_absent(&error) => return Ok(true),
            found => found?,
        };
        if found.dev() == fs::symlink_metadata(storage.pool.root())?.dev()
            || added.iter().any(|file| file.starts_with(&path))
        {
            return Ok(true);
        }
        for manifest in self.before.manifests() {
            let files = storage.read(|reader| reader.files_below(manifest, directory))?;
            if !files.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether an interrupted run has left this file: a link to the object or a copy of it.
    fn is_left(&self, target: &Path, content: ObjectRef) -> io::Result<bool> {
        let pool = &self.tree.storage.pool;
        pool.has_same_content(content.object, target)
    }

    /// Removes what was created, and restores the record. Errors are only logged: the record says
    /// that the files may be there.
    fn undo(&self, added: &[PathBuf]) {
        let removed = added.iter().try_for_each(|file| {
            regular_file::remove(file)?;
            remove_empty_parents(self.tree.path, file)
        });
        match removed {
            Ok(()) => recover::clean_up_failed(self.tree, Some(self.before)),
            Err(error) => {
                log::warn!("{error}");
                recover::clean_up_failed(self.tree, Some(&self.unfinished(None)));
            }
        }
    }

    fn record_and_remove(&self) -> Result<(), PublishError> {
        let (tree, changes) = (self.tree, self.changes);
        let next = TreeRecord {
            directory: self.before.directory,
            unfinished: self.expired(),
            leftover: match changes.exchanged {
                Some(_) => identity(&tree.staging)?,
                None => None,
            },
            settled_at: Some(directory::settle(tree.path)?),
            changing_in_place: !changes.removed.is_empty(),
            ..self.next.clone()
        };
        directory::flush(tree.path)?;
        tree.put_record(&next)?;
        let removed = self.remove_files();
        if removed.is_ok() && !changes.removed.is_empty() {
            tree.put_record(&TreeRecord {
                unfinished: Vec::new(),
                changing_in_place: false,
                settled_at: Some(directory::settle(tree.path)?),
                ..next
            })?;
        }
        // Last: it tells the next run that nothing else has changed the tree since.
        if changes.exchanged.is_some() {
            remove(&tree.staging)?;
        }
        removed
    }

    fn remove_files(&self) -> Result<(), PublishError> {
        for (path, content) in &self.changes.removed {
            self.tree.storage.interrupt.check()?;
            remove_file(self.tree, path, *content)?;
        }
        Ok(())
    }

    /// The manifests with files that are to be removed.
    fn expired(&self) -> Vec<ObjectId> {
        if self.changes.removed.is_empty() {
            return Vec::new();
        }
        recover::other_manifests(self.before.manifests().collect(), self.next)
    }
}

/// Removes a file that the tree does not need any more, and its directories if they are empty. A
/// file that is not ours is kept.
fn remove_file(
    tree: &LockedTree<'_>,
    path: &RelPath,
    content: ObjectRef,
) -> Result<(), PublishError> {
    let target = path.below(tree.path);
    kill_points::reach("remove a file");
    if is_published(tree, &target, content)? {
        fs::remove_file(&target)?;
    } else if std::fs::symlink_metadata(&target).is_ok() {
        log::warn!(
            "{} is not the file that chantal published: kept",
            target.display()
        );
        return Ok(());
    }
    Ok(remove_empty_parents(tree.path, &target)?)
}

/// Whether a file exists and is what chantal published there, even if it was damaged since: like all
/// published files it is read-only. File systems without modes show all files as writable.
fn is_published(tree: &LockedTree<'_>, target: &Path, content: ObjectRef) -> io::Result<bool> {
    let found = match std::fs::symlink_metadata(target) {
        Err(error) if is_absent(&error) => return Ok(false),
        found => found?,
    };
    let pool = fs::symlink_metadata(tree.storage.pool.root())?.dev();
    let object = std::fs::symlink_metadata(tree.storage.pool.object_path(content.object));
    let is_link =
        object.is_ok_and(|object| (object.dev(), object.ino()) == (found.dev(), found.ino()));
    let is_read_only = found.is_file() && found.mode() & 0o222 == 0;
    Ok(is_link || is_read_only || may_be_copy(&found, content, pool))
}

/// Removes the directories above a file, up to the first one that is not empty.
fn remove_empty_parents(tree: &Path, file: &Path) -> io::Result<()> {
    let above = file.ancestors().skip(1);
    for directory in above.take_while(|directory| *directory != tree) {
        match std::fs::symlink_metadata(directory) {
            Err(error) if is_absent(&error) => continue,
            _ => {}
        }
        if !is_empty(directory)? {
            break;
        }
        fs::remove_dir(directory)?;
    }
    Ok(())
}
