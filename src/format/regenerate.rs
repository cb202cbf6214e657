//! Types for writing new indexes of chosen packages.
//!
//! Indexes are rewritten by streaming those of the sources and copying the chosen packages' own
//! bytes (a stanza, an element): no field is lost. Equal input gives equal output.
//!
//! New indexes and roots are read back before they are used. An index that only describes packages
//! and cannot be read (an advisory with invalid markup) is omitted: filters, merges and clients
//! work without it. Indexes that list packages or modules are never omitted.

use std::cell::Cell;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::io::{self, BufRead, Write};

use super::compression::Compression;
use super::error::FormatError;
use super::index::{Index, Reference, Variant};
use crate::digest::ObjectRef;
use crate::manifest::Package;
use crate::rel_path::RelPath;

/// The chosen packages, by path in their index.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Chosen {
    /// With the new path if it has to change.
    paths: HashMap<RelPath, Option<RelPath>>,
    /// Names and versions of APT source packages: several of them may share a file, and not all may
    /// be chosen.
    sources: HashSet<(String, String)>,
    records: Option<u64>,
}

impl Chosen {
    pub fn take(&mut self, path: RelPath) {
        self.paths.insert(path, None);
    }

    /// Adds a package with another path. All files of a source package move to one directory.
    pub fn move_to(&mut self, path: RelPath, place: RelPath) {
        self.paths.insert(path, Some(place));
    }

    /// Marks a package as chosen, independent of its files.
    pub fn note(&mut self, package: &Package) {
        if package.may_share_files() {
            let source = (package.name.clone(), package.version.clone());
            self.sources.insert(source);
        }
    }

    /// Whether a file is chosen as part of this package.
    pub fn has_of(&self, path: &RelPath, package: &Package) -> bool {
        let is_noted = || {
            let source = (package.name.clone(), package.version.clone());
            self.sources.contains(&source)
        };
        self.has(path) && (!package.may_share_files() || is_noted())
    }

    /// Adds the packages of another choice.
    pub fn extend(&mut self, other: Self) {
        self.paths.extend(other.paths);
        self.sources.extend(other.sources);
    }

    pub fn has(&self, path: &RelPath) -> bool {
        self.paths.contains_key(path)
    }

    /// The new path of a chosen package.
    pub fn moved(&self, path: &RelPath) -> Option<&RelPath> {
        self.paths.get(path)?.as_ref()
    }

    pub fn len(&self) -> usize {
        self.paths.len()
    }

    /// Sets the number of records with a chosen path; several may have the same path.
    pub fn with_records(self, records: u64) -> Self {
        Self {
            records: Some(records),
            ..self
        }
    }

    /// `None` if they were not counted.
    pub fn records(&self) -> Option<u64> {
        self.records
    }
}

/// The packages of a selection.
#[derive(Debug, Default)]
pub struct PackageChoice {
    /// `None` if the indexes of the upstream are used. With filters they never are, even if nothing
    /// is excluded, so that the signer does not depend on the content of the upstream.
    pub chosen: Option<Chosen>,
    /// The files in the lists of packages; `None` if they were not read.
    pub listed: Option<ChosenFiles>,
    /// Warnings about missing packages, for the user.
    pub warnings: Vec<String>,
}

/// The files in lists of packages.
#[derive(Debug, Default)]
pub struct ChosenFiles {
    /// The files of the chosen packages. A path with different entries is included several times,
    /// in order.
    pub files: Vec<Reference>,
    /// Of all packages, chosen or not.
    pub architectures: BTreeSet<String>,
}

/// The existing indexes of one state, and their texts.
pub trait Indexes {
    fn all(&self) -> &[Index];

    /// The existing variants, the preferred one first.
    fn present<'a>(&self, index: &'a Index) -> Vec<(&'a Variant, ObjectRef)>;

    /// Switches an index to another variant; returns false if there is none.
    fn set_aside(&self, index: &Index) -> bool;

    /// Passes the uncompressed text of an index to `work`, and verifies it against the root. A file
    /// that is damaged here is [`FormatError::ObjectDamaged`], whatever `work` returns.
    fn read(
        &self,
        index: &Index,
        work: &mut dyn FnMut(&mut dyn BufRead) -> Result<(), FormatError>,
    ) -> Result<(), FormatError>;
}

/// A state whose packages are copied into new indexes.
#[derive(Clone, Copy)]
pub struct Source<'a> {
    /// The text of its root.
    pub root: &'a [u8],
    pub indexes: &'a dyn Indexes,
    pub chosen: &'a Chosen,
}

/// A stored text, uncompressed and compressed.
#[derive(Clone, Debug)]
pub struct Written {
    /// The uncompressed text.
    pub open: ObjectRef,
    /// In the requested order.
    pub packed: Vec<(Compression, ObjectRef)>,
}

/// Writes a text; passed to a [`Sink`].
pub type Work<'w> = &'w mut dyn FnMut(&mut dyn Write) -> Result<(), FormatError>;

/// Reads a text; passed to a [`Sink`].
pub type ReadBack<'r> = &'r mut dyn FnMut(&mut dyn BufRead) -> Result<(), FormatError>;

/// Stores new indexes.
pub trait Sink {
    /// Stores the output of `work` in each of these compression formats. Each stored file is
    /// decompressed and compared with the original, and `read_back` parses the text.
    fn store(
        &mut self,
        codecs: &[Compression],
        work: Work<'_>,
        read_back: ReadBack<'_>,
    ) -> Result<Written, FormatError>;
}

/// An index that is omitted in new metadata because it cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// The number of its source.
    pub source: usize,
    /// The type in repomd.xml, or the uncompressed path in Release.
    pub name: String,
    /// The problem.
    pub reason: String,
}

/// New indexes and their unsigned root.
#[derive(Debug)]
pub struct Regenerated {
    pub indexes: Vec<(RelPath, ObjectRef)>,
    pub root_path: RelPath,
    pub root: Vec<u8>,
    pub left_out: Vec<LeftOut>,
}

/// What to do if one of the source indexes of a new index cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OnUnreadable {
    Refuse,
    LeaveOut,
}

/// The source indexes of one new index, with the numbers of their sources.
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

    /// Passes the uncompressed text of one index to `work`.
    pub(super) fn read(
        &self,
        number: usize,
        index: &'i Index,
        work: &mut dyn FnMut(&mut dyn BufRead) -> Result<(), FormatError>,
    ) -> Result<(), FormatError> {
        let read = self.sources[number].indexes.read(index, work);
        read.inspect_err(|_| self.failed.set(Some((number, index))))
    }

    /// Creates a new index with `write`; indexes that cannot be read are omitted or refused. `None`
    /// if none is left.
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
            if !error.is_about_content() {
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
    /// Whether the content of an index is invalid, as opposed to a failed read.
    pub fn is_about_content(&self) -> bool {
        match self {
            Self::Malformed { .. } | Self::Compression { .. } => true,
            // The error kinds of decoders for invalid data. I/O errors have other kinds.
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

/// Checks that a new index has as many records as were written.
pub(super) fn expect_records(name: &str, written: u64, read: u64) -> Result<(), FormatError> {
    if written == read {
        return Ok(());
    }
    Err(FormatError::ReadBack {
        file: name.to_owned(),
        what: format!("{written} records written, {read} read"),
    })
}
