//! The content of a manifest, as a proof needs it: metadata as it is, and a small record for each
//! of the other files, whose number is large.

use std::collections::HashMap;

use crate::digest::{ObjectId, ObjectRef};
use crate::format::Reference;
use crate::manifest::{Entry, Package, Role};
use crate::rel_path::RelPath;
use crate::store::StoreError;

use super::source::ProofSource;

/// Stands for a path: its digest, cut to what cannot be forged.
pub type PathId = [u8; 16];

/// The entries of one manifest.
#[derive(Default)]
pub struct Contents {
    pub roots: Vec<Entry>,
    pub indexes: Vec<Entry>,
    pub keys: Vec<Entry>,
    pub files: Listing,
    pub packages: u64,
}

/// The files that indexes must list.
#[derive(Default)]
pub struct Listing(HashMap<PathId, ListedFile>);

pub struct ListedFile {
    pub content: ObjectRef,
    pub is_package: bool,
    /// The start of the digest of its package.
    package: Option<u64>,
    pub listed: Listed,
}

/// Whether an index lists a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Listed {
    No,
    /// As another package.
    AsOther,
    Yes,
    /// With another content, which was reported.
    Reported,
}

impl Contents {
    pub fn read(source: &dyn ProofSource, manifest: ObjectId) -> Result<Self, StoreError> {
        let mut contents = Self::default();
        source.each_entry(manifest, &mut |entry| match entry.role {
            Role::Root => contents.roots.push(entry),
            Role::Index => contents.indexes.push(entry),
            Role::Key => contents.keys.push(entry),
            Role::Package | Role::File => {
                contents.packages += u64::from(entry.role == Role::Package);
                contents.files.add(&entry);
            }
        })?;
        Ok(contents)
    }
}

impl Listing {
    pub fn add(&mut self, entry: &Entry) {
        let file = ListedFile {
            content: entry.content(),
            is_package: entry.role == Role::Package,
            package: entry.package.as_ref().map(package_id),
            listed: Listed::No,
        };
        self.0.insert(path_id(&entry.path), file);
    }

    pub fn find(&mut self, path: &RelPath) -> Option<&mut ListedFile> {
        self.0.get_mut(&path_id(path))
    }

    pub fn all(&self) -> impl Iterator<Item = &ListedFile> {
        self.0.values()
    }

    /// Forgets what indexes list.
    pub fn reset(&mut self) {
        for file in self.0.values_mut() {
            file.listed = Listed::No;
        }
    }
}

impl ListedFile {
    /// An index lists it with this content.
    pub fn note(&mut self, reference: &Reference) {
        let package = reference.package.as_ref().map(package_id);
        let listed = if self.package.is_none() || package == self.package {
            Listed::Yes
        } else {
            Listed::AsOther
        };
        self.listed = self.listed.max(listed);
    }
}

fn path_id(path: &RelPath) -> PathId {
    let digest = ObjectId::of(path.as_str().as_bytes()).0;
    let mut id = PathId::default();
    id.copy_from_slice(&digest[..16]);
    id
}

fn package_id(package: &Package) -> u64 {
    let digest = ObjectId::of(package.to_string().as_bytes()).0;
    let mut id = [0; 8];
    id.copy_from_slice(&digest[..8]);
    u64::from_le_bytes(id)
}
