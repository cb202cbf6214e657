//! What a new state needs, and what of it is to be downloaded.

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

/// What a new state consists of beside its root, and what of it is not in the pool yet.
#[derive(Debug)]
pub struct SyncPlan {
    /// When the upstream made its root, as it says itself; seconds since the epoch.
    pub root_date: Option<i64>,
    /// Until when that root is valid, as it says itself.
    pub root_valid_until: Option<i64>,
    /// Its number among the upstream's states, if it has one.
    pub root_revision: Option<u64>,
    /// Indexes, with the paths that they are published under. They are in the pool already.
    pub indexes: Vec<Entry>,
    /// Packages and other files that indexes name, in path order.
    pub files: Vec<Reference>,
    /// What the pool holds of `files`.
    pub known: HashMap<Digest, ObjectRef>,
    /// The packages that the selection takes, for which new indexes are made; `None` where the upstream's own are mirrored.
    pub chosen: Option<Chosen>,
    /// The upstream's indexes, which may list more than what is chosen.
    pub upstream: FetchedIndexes,
    pub warnings: Vec<String>,
}

/// The indexes of a root, as far as the upstream has their files.
#[derive(Debug)]
pub struct FetchedIndexes {
    pub all: Vec<Index>,
    /// The files that are in the pool, by what the root declares of them.
    pub objects: HashMap<Digest, ObjectRef>,
    /// The files that the upstream has otherwise than the root declares, where others have the same content: by path, what is
    /// wrong with them.
    pub missing: BTreeMap<String, String>,
}

impl FetchedIndexes {
    /// To be read.
    pub fn pooled<'a>(&self, pool: &'a Pool) -> PooledIndexes<'a> {
        PooledIndexes::new(pool, self.all.clone(), self.objects.clone())
    }
}

/// What is left to download.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Missing {
    /// Different contents, which is also the number of requests if nothing fails.
    pub files: u64,
    /// As declared.
    pub bytes: u64,
    /// Of these, what interrupted downloads have already.
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
            // Declared sizes: any two of them may be more than a number holds.
            missing.bytes = missing.bytes.saturating_add(size);
            missing.held = missing.held.saturating_add(held);
        }
        missing
    }

    /// Bytes that are still to come, and need room.
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
        // The one that is told of and asked for first, and where else the content should be.
        let mut by_digest: HashMap<Digest, (&Reference, Vec<&Reference>)> = HashMap::new();
        for file in self.files.iter().filter(is_new) {
            let Some((first, others)) = by_digest.get_mut(&file.digest) else {
                by_digest.insert(file.digest, (file, Vec::new()));
                continue;
            };
            // Whatever else it is called: content that is a package anywhere is checked as one.
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

/// A content to download.
#[derive(Debug)]
pub struct WantedFile {
    /// For messages.
    pub what: String,
    /// Where the upstream may have it; the next one is asked when it is not at the one before.
    pub places: Vec<RelPath>,
    pub digest: Digest,
    /// In bytes, as declared.
    pub size: Option<u64>,
    pub kind: FileKind,
}

/// What a file is once it is there.
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
