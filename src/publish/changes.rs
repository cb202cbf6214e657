//! Plans the update of a published tree: which files are added and removed, and which directory is
//! exchanged because clients must see its changes together.
//!
//! Only the parts of manifests that differ are read: of the current generation and the next one, and
//! of one that expires and those that are kept. So the cost does not grow with their number.

use std::collections::{BTreeMap, BTreeSet};

use super::layout::{Layout, is_retained};
use crate::digest::{ObjectId, ObjectRef};
use crate::manifest::Role;
use crate::rel_path::RelPath;
use crate::store::records::{Generation, TreeRecord};
use crate::store::{FileEntry, MissingPaths, Reader, Transaction};

/// The changes of a tree.
#[derive(Debug)]
pub struct TreeChanges {
    /// The directory with the changed metadata and all of its files. `None` if files are only added
    /// and removed.
    pub exchanged: Option<(RelPath, Layout)>,
    /// New files outside that directory. Those that an earlier generation or an interrupted run has
    /// left may already exist.
    pub added: Vec<(RelPath, ObjectRef)>,
    /// Files outside that directory that may exist and are not in the tree any more.
    pub removed: BTreeMap<RelPath, ObjectRef>,
}

/// Path -> file.
type Files = BTreeMap<RelPath, FileEntry>;

impl TreeChanges {
    /// The changes from a recorded tree to `manifest` with the files of `earlier` generations, which
    /// the tree has by now. `None` if only an exchange of the whole tree makes them visible in one
    /// step.
    pub fn plan(
        reader: &Reader,
        record: &TreeRecord,
        manifest: ObjectId,
        earlier: &[Generation],
    ) -> Transaction<Option<Self>> {
        let Some(shown) = record.manifest else {
            return Ok(None);
        };
        let (before, after) = reader.differing_files(shown, manifest)?;
        let [before, after] = [before, after].map(by_path);
        let exchanged = match common_directory(&before, &after) {
            Exchange::None => None,
            Exchange::WholeTree => return Ok(None),
            Exchange::Directory(directory) => {
                let files = Layout::below(reader, &directory, manifest, earlier)?;
                Some((directory, files))
            }
        };
        let is_outside = |path: &RelPath| {
            let exchanged = exchanged.as_ref();
            exchanged.is_none_or(|(directory, _)| !is_below(path, directory))
        };
        let is_new = |path: &RelPath| is_outside(path) && !before.contains_key(path);
        let added = after.into_values().filter(|file| is_new(&file.path));
        let added = added.map(|file| (file.path, file.content)).collect();

        let kept = earlier.iter().map(|generation| generation.manifest);
        let kept: BTreeSet<ObjectId> = kept.chain([manifest]).collect();
        let expired: BTreeSet<ObjectId> = record.manifests().collect();
        let mut removed = BTreeMap::new();
        let mut missing = None;
        for expired in expired.difference(&kept) {
            let missing = match &mut missing {
                Some(missing) => missing,
                unread => unread.insert(MissingPaths::new(reader, kept.iter().copied())?),
            };
            let files = missing.files_of(*expired)?.into_iter();
            let files = files.filter(|file| is_retained(file.role) && is_outside(&file.path));
            removed.extend(files.map(|file| (file.path, file.content)));
        }
        Ok(Some(Self {
            exchanged,
            added,
            removed,
        }))
    }
}

fn by_path(files: Vec<FileEntry>) -> Files {
    let files = files.into_iter();
    files.map(|file| (file.path.clone(), file)).collect()
}

/// The directory that contains everything that clients must see together.
enum Exchange {
    None,
    Directory(RelPath),
    WholeTree,
}

/// Of files that get other content, and metadata that comes or goes.
fn common_directory(before: &Files, after: &Files) -> Exchange {
    let changed = after.iter().filter(|(path, file)| {
        before
            .get(*path)
            .map_or(is_metadata(file), |there| there.content != file.content)
    });
    let gone = before
        .iter()
        .filter(|(path, file)| is_metadata(file) && !after.contains_key(*path));
    let mut common: Option<RelPath> = None;
    for (path, _) in changed.chain(gone) {
        let directory = match common {
            None => path.parent(),
            Some(common) => nearest_above(&common, path),
        };
        match directory {
            None => return Exchange::WholeTree,
            found => common = found,
        }
    }
    common.map_or(Exchange::None, Exchange::Directory)
}

/// The directory itself, or the nearest one above it that contains the path. `None` for the top.
fn nearest_above(directory: &RelPath, path: &RelPath) -> Option<RelPath> {
    let mut above = Some(directory.clone());
    while let Some(directory) = above {
        if is_below(path, &directory) {
            return Some(directory);
        }
        above = directory.parent();
    }
    None
}

fn is_below(path: &RelPath, directory: &RelPath) -> bool {
    let rest = path.as_str().strip_prefix(directory.as_str());
    rest.is_some_and(|rest| rest.starts_with('/'))
}

fn is_metadata(file: &FileEntry) -> bool {
    match file.role {
        Role::Root | Role::Index | Role::Key => true,
        Role::Package | Role::File => false,
    }
}
