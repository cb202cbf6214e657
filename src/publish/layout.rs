//! The files of a tree: those of its manifest, and those retained from earlier generations.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashSet};

use crate::digest::{ObjectId, ObjectRef};
use crate::format::compression::Compression;
use crate::manifest::{Entry, Role};
use crate::store::records::{Generation, TreeRecord};
use crate::store::{Reader, Transaction};

/// Path -> object, in path order.
#[derive(Debug, Default)]
pub struct Layout {
    files: BTreeMap<String, ObjectRef>,
    retained: u64,
}

impl Layout {
    /// The files of the manifest, and those of earlier generations that do not conflict with them.
    pub fn new(reader: &Reader, manifest: ObjectId, earlier: &[Generation]) -> Transaction<Self> {
        let mut layout = Self::default();
        // By uncompressed name.
        let indexes = RefCell::new(HashSet::new());
        layout.add(reader, manifest, |_, entry| {
            if entry.role == Role::Index {
                indexes.borrow_mut().insert(uncompressed(entry).to_owned());
            }
            true
        })?;
        let indexes = indexes.into_inner();
        let current = layout.len();
        for generation in earlier {
            layout.add(reader, generation.manifest, |layout, entry| {
                // Compressed forms that the current index lacks are left out: they have old
                // content, and clients may prefer them.
                let is_old_variant =
                    entry.role == Role::Index && indexes.contains(uncompressed(entry));
                is_retained(entry) && !is_old_variant && layout.fits(entry.path.as_str())
            })?;
        }
        layout.retained = (layout.len() - current) as u64;
        Ok(layout)
    }

    /// Every path that chantal may have created in a recorded tree.
    pub fn of_record(reader: &Reader, record: &TreeRecord) -> Transaction<Self> {
        let mut layout = Self::default();
        let earlier = record.earlier.iter().map(|generation| generation.manifest);
        for manifest in record.manifest.into_iter().chain(earlier) {
            layout.add(reader, manifest, |_, _| true)?;
        }
        Ok(layout)
    }

    fn add(
        &mut self,
        reader: &Reader,
        manifest: ObjectId,
        matches: impl Fn(&Self, &Entry) -> bool,
    ) -> Transaction<()> {
        reader.each_entry(manifest, &mut |entry| {
            if matches(self, &entry) {
                let path = entry.path.as_str().to_owned();
                self.files.insert(path, entry.content());
            }
            Ok(())
        })
    }

    pub fn files(&self) -> impl Iterator<Item = (&str, ObjectRef)> {
        self.files
            .iter()
            .map(|(path, stored)| (path.as_str(), *stored))
    }

    pub fn has(&self, path: &str) -> bool {
        self.files.contains_key(path)
    }

    /// Whether there are files below this path.
    pub fn has_directory(&self, path: &str) -> bool {
        let below = format!("{path}/");
        self.files
            .range(below.clone()..)
            .next()
            .is_some_and(|(next, _)| next.starts_with(&below))
    }

    pub fn len(&self) -> usize {
        self.files.len()
    }

    /// The number of files that only earlier generations have.
    pub fn retained(&self) -> u64 {
        self.retained
    }

    /// Whether the path is free: it does not exist, is no directory, and none of its parents is a
    /// file.
    fn fits(&self, path: &str) -> bool {
        if self.has(path) {
            return false;
        }
        let through_file = path
            .match_indices('/')
            .any(|(end, _)| self.has(&path[..end]));
        !self.has_directory(path) && !through_file
    }
}

fn uncompressed(entry: &Entry) -> &str {
    Compression::split(entry.path.as_str()).0
}

/// Roots and keys that the upstream has removed must not seem current.
fn is_retained(entry: &Entry) -> bool {
    match entry.role {
        Role::Index | Role::Package | Role::File => true,
        Role::Root | Role::Key => false,
    }
}
