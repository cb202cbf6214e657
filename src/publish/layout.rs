//! The files of a tree: those of its manifest, and those retained from earlier generations.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, btree_map, hash_map};
use std::ops::Bound;

use crate::digest::{ObjectId, ObjectRef};
use crate::format::compression::Compression;
use crate::manifest::Role;
use crate::rel_path::RelPath;
use crate::store::records::{Generation, TreeRecord};
use crate::store::{FileEntry, MissingPaths, Reader, Transaction};

/// Path -> file, in path order.
#[derive(Debug, Default)]
pub struct Layout {
    files: BTreeMap<RelPath, LayoutFile>,
}

/// A file of a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LayoutFile {
    pub content: ObjectRef,
    pub role: Role,
    pub generation: FileGeneration,
}

/// Which generation has a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileGeneration {
    Current,
    /// Only an earlier one.
    Earlier,
}

/// Passes the files of a manifest to a function.
type EachFile<'a> = dyn Fn(ObjectId, &mut dyn FnMut(FileEntry)) -> Transaction<()> + 'a;

impl Layout {
    /// The files of the manifest, and those of earlier generations that do not conflict with them.
    pub fn new(reader: &Reader, manifest: ObjectId, earlier: &[Generation]) -> Transaction<Self> {
        Self::promised(&whole(reader), manifest, earlier)
    }

    /// The part of [`Layout::new`] below a directory.
    pub fn below(
        reader: &Reader,
        directory: &RelPath,
        manifest: ObjectId,
        earlier: &[Generation],
    ) -> Transaction<Self> {
        Self::promised(&part(reader, directory), manifest, earlier)
    }

    /// The files of [`Layout::new`] that only earlier generations have. It does not know which of
    /// them are below a file of the current generation, or have the path of one of its directories.
    pub fn retained(
        reader: &Reader,
        manifest: ObjectId,
        earlier: &[Generation],
    ) -> Transaction<Self> {
        let mut layout = Self::default();
        let mut missing = MissingPaths::new(reader, [manifest])?;
        // By directory.
        let mut indexes: HashMap<Option<RelPath>, HashSet<String>> = HashMap::new();
        for generation in earlier {
            for file in missing.files_of(generation.manifest)? {
                let is_old_variant = file.role == Role::Index
                    && match indexes.entry(file.path.parent()) {
                        hash_map::Entry::Occupied(known) => known.into_mut(),
                        hash_map::Entry::Vacant(unread) => {
                            let names = index_names(reader, manifest, unread.key().as_ref())?;
                            unread.insert(names)
                        }
                    }
                    .contains(uncompressed(&file));
                if is_retained(file.role) && !is_old_variant && layout.fits(&file.path) {
                    layout.insert(file, FileGeneration::Earlier);
                }
            }
        }
        Ok(layout)
    }

    fn promised(
        files: &EachFile<'_>,
        manifest: ObjectId,
        earlier: &[Generation],
    ) -> Transaction<Self> {
        let mut layout = Self::default();
        // By uncompressed name.
        let indexes = RefCell::new(HashSet::new());
        layout.add(files, manifest, FileGeneration::Current, |_, file| {
            if file.role == Role::Index {
                indexes.borrow_mut().insert(uncompressed(file).to_owned());
            }
            true
        })?;
        let indexes = indexes.into_inner();
        for generation in earlier {
            let retained = FileGeneration::Earlier;
            layout.add(files, generation.manifest, retained, |layout, file| {
                // Compressed forms that the current index lacks are left out: they have old
                // content, and clients may prefer them.
                let is_old_variant =
                    file.role == Role::Index && indexes.contains(uncompressed(file));
                is_retained(file.role) && !is_old_variant && layout.fits(&file.path)
            })?;
        }
        Ok(layout)
    }

    /// Every path that chantal may have created in a recorded tree.
    pub fn of_record(reader: &Reader, record: &TreeRecord) -> Transaction<Self> {
        Self::possible(&whole(reader), record)
    }

    /// The part of [`Layout::of_record`] below a directory.
    pub fn of_record_below(
        reader: &Reader,
        directory: &RelPath,
        record: &TreeRecord,
    ) -> Transaction<Self> {
        Self::possible(&part(reader, directory), record)
    }

    fn possible(files: &EachFile<'_>, record: &TreeRecord) -> Transaction<Self> {
        let mut layout = Self::default();
        for manifest in record.manifests() {
            let generation = if Some(manifest) == record.manifest {
                FileGeneration::Current
            } else {
                FileGeneration::Earlier
            };
            layout.add(files, manifest, generation, |layout, file| {
                !layout.has(file.path.as_str())
            })?;
        }
        Ok(layout)
    }

    fn add(
        &mut self,
        files: &EachFile<'_>,
        manifest: ObjectId,
        generation: FileGeneration,
        matches: impl Fn(&Self, &FileEntry) -> bool,
    ) -> Transaction<()> {
        files(manifest, &mut |file| {
            if matches(self, &file) {
                self.insert(file, generation);
            }
        })
    }

    fn insert(&mut self, file: FileEntry, generation: FileGeneration) {
        let FileEntry {
            path,
            content,
            role,
        } = file;
        let file = LayoutFile {
            content,
            role,
            generation,
        };
        self.files.insert(path, file);
    }

    pub fn files(&self) -> impl Iterator<Item = (&RelPath, &LayoutFile)> {
        self.files.iter()
    }

    pub fn get(&self, path: &str) -> Option<&LayoutFile> {
        self.files.get(path)
    }

    pub fn has(&self, path: &str) -> bool {
        self.files.contains_key(path)
    }

    /// Whether there are files below this path.
    pub fn has_directory(&self, path: &str) -> bool {
        let below = format!("{path}/");
        self.from(&below)
            .next()
            .is_some_and(|(next, _)| next.as_str().starts_with(&below))
    }

    /// The files in a directory, without those in directories below it.
    pub fn files_in<'l>(
        &'l self,
        directory: &RelPath,
    ) -> impl Iterator<Item = (&'l RelPath, &'l LayoutFile)> {
        let below = format!("{directory}/");
        let start = below.len();
        self.from(&below)
            .take_while(move |(path, _)| path.as_str().starts_with(&below))
            .filter(move |(path, _)| !path.as_str()[start..].contains('/'))
    }

    /// The names of the directories in a directory.
    pub fn directories_in(&self, directory: &RelPath) -> BTreeSet<&str> {
        let below = format!("{directory}/");
        let files = self.from(&below).map(|(path, _)| path.as_str());
        let names = files.map_while(|path| path.strip_prefix(&below));
        names
            .filter_map(|name| Some(name.split_once('/')?.0))
            .collect()
    }

    fn from(&self, start: &str) -> btree_map::Range<'_, RelPath, LayoutFile> {
        let range = (Bound::Included(start), Bound::Unbounded);
        self.files.range::<str, _>(range)
    }

    pub fn len(&self) -> usize {
        self.files.len()
    }

    /// Whether the path is free: it does not exist, is no directory, and none of its parents is a
    /// file.
    fn fits(&self, path: &RelPath) -> bool {
        let path = path.as_str();
        if self.has(path) {
            return false;
        }
        let through_file = path
            .match_indices('/')
            .any(|(end, _)| self.has(&path[..end]));
        !self.has_directory(path) && !through_file
    }
}

fn whole(reader: &Reader) -> impl Fn(ObjectId, &mut dyn FnMut(FileEntry)) -> Transaction<()> {
    |manifest, each| {
        reader.each_entry(manifest, &mut |entry| {
            each(entry.into());
            Ok(())
        })
    }
}

fn part<'a>(
    reader: &'a Reader,
    directory: &'a RelPath,
) -> impl Fn(ObjectId, &mut dyn FnMut(FileEntry)) -> Transaction<()> + 'a {
    |manifest, each| {
        let files = reader.files_below(manifest, directory)?;
        files.into_iter().for_each(each);
        Ok(())
    }
}

/// The uncompressed names of the indexes of a manifest in a directory, or at the top.
fn index_names(
    reader: &Reader,
    manifest: ObjectId,
    directory: Option<&RelPath>,
) -> Transaction<HashSet<String>> {
    let mut names = HashSet::new();
    let mut add = |file: FileEntry| {
        if file.role == Role::Index {
            names.insert(uncompressed(&file).to_owned());
        }
    };
    match directory {
        Some(directory) => part(reader, directory)(manifest, &mut add)?,
        None => whole(reader)(manifest, &mut add)?,
    }
    Ok(names)
}

fn uncompressed(file: &FileEntry) -> &str {
    Compression::split(file.path.as_str()).0
}

/// Roots and keys that the upstream has removed must not seem current.
pub fn is_retained(role: Role) -> bool {
    match role {
        Role::Index | Role::Package | Role::File => true,
        Role::Root | Role::Key => false,
    }
}
