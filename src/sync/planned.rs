//! The plan of a sync: what the new state needs, and what has to be downloaded.

use std::collections::{BTreeMap, HashMap};

use super::error::SyncError;
use crate::digest::{Digest, ObjectRef};
use crate::format::{Chosen, Index, Reference};
use crate::manifest::Entry;
use crate::names::RepoId;
use crate::pool::{Held, Pool};
use crate::rel_path::RelPath;
use crate::state::PooledIndexes;
use crate::upstream::UpstreamError;

/// The contents of a new state except for its root, and which of them are in the pool.
#[derive(Debug)]
pub struct SyncPlan {
    /// The date in the root; seconds since the epoch.
    pub root_date: Option<i64>,
    /// The expiry date in the root.
    pub root_valid_until: Option<i64>,
    /// The revision in the root, if it has one.
    pub root_revision: Option<u64>,
    /// Indexes with their published paths. They are already in the pool.
    pub indexes: Vec<Entry>,
    /// Packages and other files that the indexes list, sorted by path.
    pub files: Vec<Reference>,
    /// The objects of `files` that are in the pool.
    pub known: HashMap<Digest, ObjectRef>,
    /// The selected packages, for which new indexes are generated; `None` if the indexes of the
    /// upstream are mirrored.
    pub chosen: Option<Chosen>,
    /// The indexes of the upstream, which may list more than the selected packages.
    pub upstream: FetchedIndexes,
    pub warnings: Vec<String>,
}

/// The indexes of a root and their downloaded files.
#[derive(Debug)]
pub struct FetchedIndexes {
    pub all: Vec<Index>,
    /// The files that are in the pool, by their digest in the root.
    pub objects: HashMap<Digest, ObjectRef>,
    /// Variants that differ from what the root declares, although others have the same content: the
    /// reasons by path.
    pub missing: BTreeMap<String, String>,
}

impl FetchedIndexes {
    /// A reader for these indexes.
    pub fn pooled<'a>(&self, pool: &'a Pool) -> PooledIndexes<'a> {
        PooledIndexes::new(pool, self.all.clone(), self.objects.clone())
    }
}

/// The amount of data that is left to download.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Missing {
    /// Number of different contents; also the number of requests if nothing fails.
    pub files: u64,
    /// Bytes as declared in the metadata.
    pub bytes: u64,
    /// Bytes that interrupted downloads already have.
    pub held: u64,
}

impl Missing {
    pub fn of(wants: &[WantedFile], repository: &RepoId, held: &Held) -> Self {
        let mut missing = Self {
            files: wants.len() as u64,
            bytes: 0,
            held: 0,
        };
        for want in wants {
            let size = want.size.unwrap_or(0);
            let held = held.of(want.digest, repository).min(size);
            // Declared sizes can have any value: their sum may overflow.
            missing.bytes = missing.bytes.saturating_add(size);
            missing.held = missing.held.saturating_add(held);
        }
        missing
    }

    /// Bytes that are still to be downloaded and need space.
    pub fn remaining(&self) -> u64 {
        self.bytes.saturating_sub(self.held)
    }
}

impl SyncPlan {
    pub fn packages(&self) -> u64 {
        let packages = self.files.iter().filter(|file| file.package.is_some());
        packages.count() as u64
    }

    /// The files to download, each content once.
    pub fn wanted_files(&self) -> Vec<WantedFile> {
        let is_new = |file: &&Reference| !self.known.contains_key(&file.digest);
        // The first file, which is used in messages and requested first, and the other paths with
        // the same content.
        let mut by_digest: HashMap<Digest, (&Reference, Vec<&Reference>)> = HashMap::new();
        for file in self.files.iter().filter(is_new) {
            let Some((first, others)) = by_digest.get_mut(&file.digest) else {
                by_digest.insert(file.digest, (file, Vec::new()));
                continue;
            };
            // Content that is a package at any path is checked as a package.
            let is_better = first.package.is_none() && file.package.is_some();
            others.push(if is_better {
                std::mem::replace(first, file)
            } else {
                file
            });
        }
        let want = |file: &Reference| {
            let (first, others) = by_digest.get(&file.digest)?;
            let places = std::iter::once(file).chain(others.iter().copied());
            std::ptr::eq(*first, file).then(|| WantedFile {
                what: describe(file),
                places: places.map(|file| file.path.clone()).collect(),
                digest: file.digest,
                size: file.size,
                kind: match file.package {
                    Some(_) => FileKind::Package,
                    None => FileKind::Other,
                },
            })
        };
        self.files.iter().filter_map(want).collect()
    }

    pub fn missing(&self, repository: &RepoId, held: &Held) -> Missing {
        Missing::of(&self.wanted_files(), repository, held)
    }
}

/// For messages.
pub fn describe(file: &Reference) -> String {
    match &file.package {
        Some(package) => format!(
            "package {} {} ({})",
            package.name, package.version, package.architecture
        ),
        None => file.path.to_string(),
    }
}

/// A file to download.
#[derive(Debug)]
pub struct WantedFile {
    /// For messages.
    pub what: String,
    /// The paths where the upstream may have it; the next one is tried if it is missing.
    pub places: Vec<RelPath>,
    pub digest: Digest,
    /// Size in bytes, as declared.
    pub size: Option<u64>,
    pub kind: FileKind,
}

/// Whether a file is a package.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    Package,
    Other,
}

pub fn download_error(what: &str, source: UpstreamError) -> SyncError {
    SyncError::Download {
        what: what.to_owned(),
        source,
    }
}
