//! The indexes in a root, and the files in an index.

use super::compression::{Compression, Open};
use crate::digest::Digest;
use crate::manifest::Package;
use crate::rel_path::RelPath;

/// One metadata file in the root, with its variants.
#[derive(Clone, Debug)]
pub struct Index {
    /// For messages: the uncompressed path in the root (`main/binary-amd64/Packages`), or the data
    /// type (`primary`).
    pub name: String,
    pub kind: IndexKind,
    /// The same content with different compression, the preferred one first. Never empty.
    pub variants: Vec<Variant>,
    pub presence: Presence,
}

impl Index {
    /// The name of the index of which this is another form.
    pub fn repeats(&self) -> Option<&str> {
        let name = match self.name.as_str() {
            "group" => Some("group_gz"),
            name => name.rsplit_once('_').map(|(name, _)| name),
        };
        name.filter(|_| self.presence == Presence::Twin)
    }
}

/// Whether the upstream must have an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// At least one variant is required: roots often list variants that do not exist.
    AnyVariant,
    /// Another form for other clients (`primary_db`, `primary_zck`): it may be missing if the
    /// original exists.
    Twin,
    /// It is mirrored if it exists and ignored if not (`main/binary-amd64/Release`, which clients
    /// do not request).
    Optional,
}

/// What an index lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IndexKind {
    /// Packages (`Packages`, primary).
    Packages,
    /// Source packages, if they have a separate list (`Sources`).
    Sources,
    /// Files that are not packages (`SHA256SUMS` of installer images, deltas in prestodelta).
    OtherFiles,
    /// No files: it is mirrored unchanged.
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
    /// Further paths of the same bytes (`by-hash/SHA256/...`), strongest digest first. The first
    /// one is requested before `path`, because its content cannot change during a sync.
    pub by_hash: Vec<RelPath>,
    /// The digest of the compressed file: SHA-256 if the root has it, otherwise the strongest.
    pub digest: Digest,
    /// Another digest in the root: clients check all of them.
    pub also: Option<Digest>,
    /// In bytes, as transferred.
    pub size: Option<u64>,
    pub compression: Compression,
    /// Size and digest of the uncompressed content.
    pub open: Open,
}

/// A file in an index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    pub path: RelPath,
    /// A strong digest from the index: SHA-256 if it has it.
    pub digest: Digest,
    /// In bytes; some indexes do not contain it.
    pub size: Option<u64>,
    /// `None` for a file that is not a package (an installer image, a delta).
    pub package: Option<Package>,
}
