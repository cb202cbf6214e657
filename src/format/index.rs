//! Indexes that a root names, and the files that they name.

use super::compression::Compression;
use crate::digest::Digest;
use crate::manifest::Package;
use crate::rel_path::RelPath;

/// One metadata file that the root names, with its alternatives.
#[derive(Clone, Debug)]
pub struct Index {
    /// For messages: the uncompressed path as the root names it (`main/binary-amd64/Packages`), or
    /// the data type (`primary`).
    pub name: String,
    pub kind: IndexKind,
    /// The same content under several compressions, the one to read first. Never empty.
    pub variants: Vec<Variant>,
    pub presence: Presence,
}

impl Index {
    /// The name of the index that this one repeats in another form.
    pub fn repeats(&self) -> Option<&str> {
        let name = match self.name.as_str() {
            "group" => Some("group_gz"),
            name => name.rsplit_once('_').map(|(name, _)| name),
        };
        name.filter(|_| self.presence == Presence::Twin)
    }
}

/// How much of an index the upstream must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// At least one variant: roots often list variants that no server has.
    AnyVariant,
    /// The same again for other clients (`primary_db`, `primary_zck`): it may be missing where the
    /// one that it repeats is there.
    Twin,
    /// It is mirrored when it is there and not missed when it is not (`main/binary-amd64/Release`,
    /// which no client asks for).
    Optional,
}

/// What an index lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IndexKind {
    /// Packages (`Packages`, primary).
    Packages,
    /// Source packages, where they have a list of their own (`Sources`).
    Sources,
    /// Files that are not packages (`SHA256SUMS` of installer images, deltas in prestodelta).
    OtherFiles,
    /// No files: it is mirrored as it is.
    Opaque,
}

impl IndexKind {
    pub const fn names_files(self) -> bool {
        !matches!(self, Self::Opaque)
    }

    pub const fn lists_packages(self) -> bool {
        matches!(self, Self::Packages | Self::Sources)
    }
}

/// One file of an index.
#[derive(Clone, Debug)]
pub struct Variant {
    pub path: RelPath,
    /// Further paths under which clients ask for the same bytes (`by-hash/SHA256/...`), strongest
    /// digest first. The upstream is asked for the first of them before `path`: its content cannot
    /// change mid-sync.
    pub by_hash: Vec<RelPath>,
    /// What the root declares of the file as it is transferred: SHA-256 if it is among the digests,
    /// else the strongest.
    pub digest: Digest,
    /// Another one that the root declares: clients check each.
    pub also: Option<Digest>,
    /// In bytes, as transferred.
    pub size: Option<u64>,
    pub compression: Compression,
    /// What the root declares of the uncompressed bytes.
    pub open: Open,
}

/// Declared digest and size in bytes of uncompressed content, as far as they are declared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Open {
    pub digest: Option<Digest>,
    pub also: Option<Digest>,
    pub size: Option<u64>,
}

/// A file that an index names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    pub path: RelPath,
    /// Of the digests that the index declares and that can be trusted, SHA-256 if it is among them.
    pub digest: Digest,
    /// In bytes; some indexes do not say.
    pub size: Option<u64>,
    /// `None` for a file that is not a package (an installer image, a delta).
    pub package: Option<Package>,
}
