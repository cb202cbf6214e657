//! What a format needs to write new indexes for a choice of packages, and what it gives back.
//!
//! Indexes are rewritten by streaming those of the sources and copying the chosen packages' own bytes (a stanza, an
//! element): no field is lost. Equal input gives equal output.

use std::collections::{HashMap, HashSet};
use std::io::{BufRead, Write};

use super::compression::Compression;
use super::{FormatError, Index, Variant};
use crate::digest::ObjectId;
use crate::manifest::Package;
use crate::rel_path::RelPath;

/// The packages that are taken, by the paths that their index gives.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Chosen {
    /// With the new path of those that cannot stay where they are.
    paths: HashMap<RelPath, Option<RelPath>>,
    /// Names and versions of APT source packages: several of them may share a file, and not all be taken.
    sources: HashSet<(String, String)>,
}

impl Chosen {
    pub fn take(&mut self, path: RelPath) {
        self.paths.insert(path, None);
    }

    /// Takes a package that gets another path. All files of a source package move to one directory.
    pub fn move_to(&mut self, path: RelPath, place: RelPath) {
        self.paths.insert(path, Some(place));
    }

    /// Notes that a package is taken, whatever its files.
    pub fn note(&mut self, package: &Package) {
        if package.architecture == "source" {
            let source = (package.name.clone(), package.version.clone());
            self.sources.insert(source);
        }
    }

    /// Whether a file is taken, and for the sake of this package.
    pub fn has_of(&self, path: &RelPath, package: &Package) -> bool {
        let is_noted = || {
            let source = (package.name.clone(), package.version.clone());
            self.sources.contains(&source)
        };
        self.has(path) && (package.architecture != "source" || is_noted())
    }

    /// Takes what another choice does.
    pub fn extend(&mut self, other: Self) {
        self.paths.extend(other.paths);
        self.sources.extend(other.sources);
    }

    pub fn has(&self, path: &RelPath) -> bool {
        self.paths.contains_key(path)
    }

    /// The new path of a package that is taken and moves.
    pub fn moved(&self, path: &RelPath) -> Option<&RelPath> {
        self.paths.get(path)?.as_ref()
    }

    pub fn len(&self) -> usize {
        self.paths.len()
    }
}

/// What a selection takes of a repository.
#[derive(Debug, Default)]
pub struct Taken {
    /// `None` where the upstream's own indexes are right. With filters they never are, even if nothing is left out: the signer must
    /// not change with what the upstream happens to have.
    pub chosen: Option<Chosen>,
    /// For the user: what the choice lacks.
    pub warnings: Vec<String>,
}

/// The indexes of one state: those that are there, and their texts.
pub trait Indexes {
    fn all(&self) -> &[Index];

    /// The variants that are there, the one to read first in front. Empty when there is none.
    fn present<'a>(&self, index: &'a Index) -> Vec<(&'a Variant, Packed)>;

    /// Gives the uncompressed text of an index to `work`, and proves it against the root's declaration.
    fn read(
        &self,
        index: &Index,
        work: &mut dyn FnMut(&mut dyn BufRead) -> Result<(), FormatError>,
    ) -> Result<(), FormatError>;
}

/// A state of which packages are taken into new indexes.
#[derive(Clone, Copy)]
pub struct Source<'a> {
    /// The text of its root.
    pub root: &'a [u8],
    pub indexes: &'a dyn Indexes,
    pub chosen: &'a Chosen,
}

/// Bytes in the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packed {
    pub object: ObjectId,
    /// In bytes.
    pub size: u64,
}

/// A text that was stored, without and with compression.
#[derive(Clone, Debug)]
pub struct Written {
    /// What the text itself is.
    pub open: Packed,
    /// In the order that was asked for.
    pub packed: Vec<(Compression, Packed)>,
}

/// Writes a text; given to a [`Sink`].
pub type Work<'w> = &'w mut dyn FnMut(&mut dyn Write) -> Result<(), FormatError>;

/// Where new indexes are stored.
pub trait Sink {
    /// Stores what `work` writes, once in each of these compressions.
    fn store(&mut self, codecs: &[Compression], work: Work<'_>) -> Result<Written, FormatError>;
}

/// New indexes, and a root over them that nobody has signed yet.
#[derive(Debug)]
pub struct Regenerated {
    pub indexes: Vec<(RelPath, Packed)>,
    pub root_path: RelPath,
    pub root: Vec<u8>,
}
