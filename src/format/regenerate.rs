//! What a format needs to write new indexes for a choice of packages, and what it gives back.
//!
//! Indexes are rewritten by streaming those of the sources and copying the chosen packages' own
//! bytes (a stanza, an element): no field is lost. Equal input gives equal output.
//!
//! What is written is read back before a root names it, and so is the root. An index that only
//! describes packages and that no reader can take (an advisory with a typo in its markup) is left
//! out: a filter or a merge can do without it, and so can clients. What says which packages there
//! are, and which of them belong to a module, is never left out.

use std::cell::Cell;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::io::{self, BufRead, Write};

use super::compression::Compression;
use super::{FormatError, Index, Reference, Variant};
use crate::digest::ObjectRef;
use crate::manifest::Package;
use crate::rel_path::RelPath;

/// The packages that are taken, by the paths that their index gives.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Chosen {
    /// With the new path of those that cannot stay where they are.
    paths: HashMap<RelPath, Option<RelPath>>,
    /// Names and versions of APT source packages: several of them may share a file, and not all be
    /// taken.
    sources: HashSet<(String, String)>,
    records: Option<u64>,
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

    /// Sets how many records of the lists of packages name a chosen path; several may name one.
    pub fn with_records(self, records: u64) -> Self {
        Self {
            records: Some(records),
            ..self
        }
    }

    /// `None` where they were not counted.
    pub fn records(&self) -> Option<u64> {
        self.records
    }
}

/// What a selection takes of a repository.
#[derive(Debug, Default)]
pub struct PackageChoice {
    /// `None` where the upstream's own indexes are right. With filters they never are, even if
    /// nothing is left out: the signer must not change with what the upstream happens to have.
    pub chosen: Option<Chosen>,
    /// What the lists of packages name of that; `None` where they were not read.
    pub listed: Option<ChosenFiles>,
    /// For the user: what the choice lacks.
    pub warnings: Vec<String>,
}

/// What lists of packages name.
#[derive(Debug, Default)]
pub struct ChosenFiles {
    /// The files of the chosen packages. Where one path is named in several ways it is there
    /// several times, the first one first.
    pub files: Vec<Reference>,
    /// Of all packages, chosen or not.
    pub architectures: BTreeSet<String>,
}

/// The indexes of one state: those that are there, and their texts.
pub trait Indexes {
    fn all(&self) -> &[Index];

    /// The variants that are there, the one to read first in front. Empty when there is none.
    fn present<'a>(&self, index: &'a Index) -> Vec<(&'a Variant, ObjectRef)>;

    /// From now on an index is read from another of its variants than the one that was read so far;
    /// false where it has no other.
    fn set_aside(&self, index: &Index) -> bool;

    /// Whether the files of an index are still what was stored. False where that cannot be told.
    fn is_intact(&self, index: &Index) -> bool;

    /// Gives the uncompressed text of an index to `work`, and proves it against the root's
    /// declaration.
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

/// A text that was stored, without and with compression.
#[derive(Clone, Debug)]
pub struct Written {
    /// What the text itself is.
    pub open: ObjectRef,
    /// In the order that was asked for.
    pub packed: Vec<(Compression, ObjectRef)>,
}

/// Writes a text; given to a [`Sink`].
pub type Work<'w> = &'w mut dyn FnMut(&mut dyn Write) -> Result<(), FormatError>;

/// Reads a text; given to a [`Sink`].
pub type ReadBack<'r> = &'r mut dyn FnMut(&mut dyn BufRead) -> Result<(), FormatError>;

/// Where new indexes are stored.
pub trait Sink {
    /// Stores what `work` writes, once in each of these compressions. Each file is unpacked again
    /// from where it is stored and compared with what was written, and `read_back` reads its text.
    fn store(
        &mut self,
        codecs: &[Compression],
        work: Work<'_>,
        read_back: ReadBack<'_>,
    ) -> Result<Written, FormatError>;
}

/// An index that new metadata does not have, because no reader can take it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// The number of the source that it belongs to.
    pub source: usize,
    /// The type in repomd.xml, or the uncompressed path in Release.
    pub name: String,
    /// What is wrong with it.
    pub reason: String,
}

/// New indexes, and a root over them that nobody has signed yet.
#[derive(Debug)]
pub struct Regenerated {
    pub indexes: Vec<(RelPath, ObjectRef)>,
    pub root_path: RelPath,
    pub root: Vec<u8>,
    pub left_out: Vec<LeftOut>,
}

/// What becomes of a new index when one of the indexes that it is written from cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OnUnreadable {
    Refuse,
    LeaveOut,
}

/// The indexes of several sources that one new index is written from, with the numbers of their
/// sources.
pub(super) struct Inputs<'i> {
    sources: &'i [Source<'i>],
    pub(super) all: Vec<(usize, &'i Index)>,
    /// The index that could not be read.
    failed: Cell<Option<(usize, &'i Index)>>,
}

impl<'i> Inputs<'i> {
    pub(super) fn new(sources: &'i [Source<'i>], all: Vec<(usize, &'i Index)>) -> Self {
        Self {
            sources,
            all,
            failed: Cell::new(None),
        }
    }

    pub(super) fn source(&self, number: usize) -> &'i Source<'i> {
        &self.sources[number]
    }

    /// Gives the uncompressed text of one of them to `work`.
    pub(super) fn read(
        &self,
        number: usize,
        index: &'i Index,
        work: &mut dyn FnMut(&mut dyn BufRead) -> Result<(), FormatError>,
    ) -> Result<(), FormatError> {
        let read = self.sources[number].indexes.read(index, work);
        read.inspect_err(|_| self.failed.set(Some((number, index))))
    }

    /// Makes a new index with `write`; what cannot be read is left out of it or refused. `None`
    /// when nothing is left to read.
    pub(super) fn written<T>(
        &mut self,
        unreadable: OnUnreadable,
        left_out: &mut Vec<LeftOut>,
        mut write: impl FnMut(&Self) -> Result<T, FormatError>,
    ) -> Result<Option<T>, FormatError> {
        while !self.all.is_empty() {
            self.failed.set(None);
            let error = match write(self) {
                Ok(written) => return Ok(Some(written)),
                Err(error) => error,
            };
            let Some(failed) = self.failed.get() else {
                return Err(error);
            };
            let (number, index) = failed;
            let indexes = self.sources[number].indexes;
            if !error.is_about_content() || !indexes.is_intact(index) {
                return Err(error);
            }
            if indexes.set_aside(index) {
                continue;
            }
            if unreadable == OnUnreadable::Refuse {
                return Err(error);
            }
            left_out.extend(LeftOut::of(number, &error));
            self.all.retain(|(other, _)| *other != number);
        }
        Ok(None)
    }
}

impl LeftOut {
    /// `None` for an error that is not about an index.
    fn of(source: usize, error: &FormatError) -> Option<Self> {
        let (name, reason) = match error {
            FormatError::Malformed { file, what } => (file.clone(), what.clone()),
            FormatError::Read { file, source } => (file.clone(), source.to_string()),
            FormatError::Compression { name, found, .. } => (
                name.clone(),
                format!("{} is not supported", found.join(", ")),
            ),
            _ => return None,
        };
        Some(Self {
            source,
            name,
            reason,
        })
    }
}

impl FormatError {
    /// Whether an index is not what it should be, and not the reading of its file has failed.
    pub fn is_about_content(&self) -> bool {
        match self {
            Self::Malformed { .. } | Self::Compression { .. } => true,
            // What decoders make of bytes that they cannot unpack. Errors of the system have other
            // kinds.
            Self::Read { source, .. } => matches!(
                source.kind(),
                io::ErrorKind::InvalidData
                    | io::ErrorKind::InvalidInput
                    | io::ErrorKind::UnexpectedEof
                    | io::ErrorKind::OutOfMemory
                    | io::ErrorKind::Other
            ),
            _ => false,
        }
    }
}

/// Compares how many records a new index has with how many were written.
pub(super) fn expect_records(name: &str, written: u64, read: u64) -> Result<(), FormatError> {
    if written == read {
        return Ok(());
    }
    Err(FormatError::ReadBack {
        file: name.to_owned(),
        what: format!("{written} records written, {read} read"),
    })
}
