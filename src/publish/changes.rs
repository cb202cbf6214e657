//! Plans the update of a published tree: which files are added and removed, and which directory is
//! exchanged because clients must see its changes together.
//!
//! Only the parts of manifests that differ are read.

use std::collections::{BTreeMap, BTreeSet};

use super::layout::{FileGeneration, Layout, LayoutFile, is_retained};
use crate::digest::{ObjectId, ObjectRef};
use crate::manifest::Role;
use crate::rel_path::RelPath;
use crate::store::records::{Generation, TreeRecord};
use crate::store::{Reader, Transaction};

/// The changes of a tree.
#[derive(Debug)]
pub struct TreeChanges {
    /// The directory with the changed metadata and all of its files. `None` if files are only added
    /// and removed.
    pub exchanged: Option<(RelPath, Layout)>,
    /// New files outside that directory. Files of an interrupted run may already exist.
    pub added: Vec<(RelPath, ObjectRef)>,
    /// Files outside that directory that may exist and are not in the tree any more.
    pub removed: BTreeMap<RelPath, ObjectRef>,
    /// Number of files in the tree after that, and how many of these only earlier generations have.
    pub files: u64,
    pub retained: u64,
}

impl TreeChanges {
    /// The changes from a recorded tree to `manifest` with the files of `earlier` generations.
    /// `None` if only an exchange of the whole tree makes them visible in one step.
    pub fn plan(
        reader: &Reader,
        record: &TreeRecord,
        manifest: ObjectId,
        earlier: &[Generation],
    ) -> Transaction<Option<Self>> {
        let Some(shown) = record.manifest else {
            return Ok(None);
        };
        let next = [manifest].into_iter();
        let next = next.chain(earlier.iter().map(|generation| generation.manifest));
        let manifests: BTreeSet<ObjectId> = record.manifests().chain(next).collect();
        let differing = reader.differing_files(&manifests)?;
        let before = Layout::differing(&differing, shown, &record.earlier)?;
        let after = Layout::differing(&differing, manifest, earlier)?;
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
        let outside = |layout: &Layout| {
            let files = layout.files().filter(|(path, _)| is_outside(path));
            let files = files.map(|(path, file)| (path.clone(), *file));
            files.collect::<Vec<_>>()
        };
        let after_outside = outside(&after);
        let is_new = |path: &RelPath| !before.has(path.as_str());
        let added = after_outside.iter().filter(|(path, _)| is_new(path));
        let added = added.map(|(path, file)| (path.clone(), file.content));
        let added = added.collect();

        let mut removed: BTreeMap<RelPath, ObjectRef> = BTreeMap::new();
        for manifest in &record.unfinished {
            let files = differing.of(*manifest);
            let files = files.filter(|file| is_retained(file.role) && is_outside(&file.path));
            removed.extend(files.map(|file| (file.path.clone(), file.content)));
        }
        let before_outside = outside(&before).into_iter();
        removed.extend(before_outside.map(|(path, file)| (path, file.content)));
        removed.retain(|path, _| !after.has(path.as_str()));

        let retained = after_outside.iter().map(|(_, file)| file);
        let retained = retained.filter(|file| file.generation == FileGeneration::Earlier);
        let retained_inside = exchanged.as_ref().map_or(0, |(_, files)| files.retained());
        let retained = retained.count() as u64 + retained_inside;
        let files = reader.manifest(manifest)?.totals().entries + retained;
        Ok(Some(Self {
            exchanged,
            added,
            removed,
            files,
            retained,
        }))
    }
}

/// The directory that contains everything that clients must see together.
enum Exchange {
    None,
    Directory(RelPath),
    WholeTree,
}

/// Metadata that is new, changed or no longer valid, and files that get other content.
fn common_directory(before: &Layout, after: &Layout) -> Exchange {
    let changed = after.files().filter(|(path, file)| {
        let there = before.get(path.as_str());
        there.is_some_and(|there| there.content != file.content)
            || there.is_none() && is_metadata(file)
    });
    let invalid = before
        .files()
        .filter(|(path, file)| !is_retained(file.role) && !after.has(path.as_str()));
    let mut common: Option<RelPath> = None;
    for (path, _) in changed.chain(invalid) {
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

fn is_metadata(file: &LayoutFile) -> bool {
    match file.role {
        Role::Root | Role::Index | Role::Key => true,
        Role::Package | Role::File => false,
    }
}
