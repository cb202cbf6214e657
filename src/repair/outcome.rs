//! What a repair did.

use std::collections::BTreeSet;
use std::path::PathBuf;

use crate::check::DamagedObject;
use crate::names::RepoId;
use crate::publish::PublishError;
use crate::rel_path::RelPath;

/// The result of a repair.
#[derive(Debug, Default)]
pub struct RepairOutcome {
    pub repaired: Vec<Repaired>,
    pub unrepaired: Vec<Unrepaired>,
    /// Published trees in which files were replaced, or could not be.
    pub trees: Vec<MendedTree>,
    /// Generated roots that no tree shows, and that were forgotten.
    pub forgotten_roots: u64,
    /// Requests made to upstreams, and bytes received from them.
    pub requests: u64,
    pub bytes_downloaded: u64,
}

/// A damaged object that is right again.
#[derive(Debug)]
pub struct Repaired {
    pub damaged: DamagedObject,
    pub source: RepairSource,
}

/// Where the bytes of an object were found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RepairSource {
    /// In the pool: another run has replaced it.
    Pool,
    /// In a file of a published tree.
    Tree(PathBuf),
    /// In a download that was complete, but not stored.
    Partial(PathBuf),
    /// Made from the trusted keys that are known here.
    Keys,
    /// Generated again.
    Evidence,
    Upstream {
        repository: RepoId,
        /// The first of its paths there.
        path: RelPath,
    },
}

/// A damaged object without a replacement.
#[derive(Debug)]
pub struct Unrepaired {
    pub damaged: DamagedObject,
    /// Why it was not found anywhere. Never empty.
    pub reasons: Vec<String>,
    pub fate: Fate,
    /// Published trees that need it. They keep a damaged file.
    pub trees: BTreeSet<PathBuf>,
}

/// What became of the file of a damaged object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It does not exist.
    Missing,
    /// It still has its name.
    Kept,
    PutAside(PathBuf),
}

/// A published tree with damaged files.
#[derive(Debug)]
pub struct MendedTree {
    pub path: PathBuf,
    /// Number of files that were replaced.
    pub files: u64,
    pub errors: Vec<PublishError>,
}
