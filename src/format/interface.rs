//! What a format provides ([`Format`]), and a repository with its selection ([`Selected`]).

use std::cmp::Ordering;
use std::collections::{BTreeSet, HashMap};
use std::io::{BufRead, Read};

use crate::manifest::Package;
use crate::openpgp::{Keyring, Trusted};
use crate::rel_path::RelPath;
use crate::repo_format::RepoFormat;

use super::error::{FormatError, PackageError};
use super::index::{Index, Reference};
use super::package::PackageHeader;
use super::reasons::ChangeReasons;
use super::regenerate::{Indexes, PackageChoice, Regenerated, Sink, Source};
use super::root::{Companion, KeyFile, OwnKey, Root, RootSource, ValidUntil};

/// Compares two versions ([`Package::version`]).
pub type VersionOrder = fn(&str, &str) -> Ordering;

/// What all repositories of a format have in common.
pub trait Format: Sync {
    fn kind(&self) -> RepoFormat;

    /// Selects everything in a root at this path, for stored states, whose configuration may have
    /// changed.
    fn everything(&self, root: &RelPath) -> Box<dyn Selected>;

    fn version_order(&self) -> VersionOrder;

    /// The root among the files of a state that are roots or signatures of one.
    fn root_among(&self, paths: &mut dyn Iterator<Item = &RelPath>) -> Option<RootSource>;

    /// Whether clients ignore a root that is older than the one they have.
    fn compares_dates(&self) -> bool;

    /// The date of an existing root, if clients compare it; also `None` if it cannot be read.
    fn date_of(&self, source: &RootSource, bytes: &[u8]) -> Option<i64>;

    /// The root with another date.
    fn dated(&self, text: &[u8], date: i64, valid_until: ValidUntil) -> Vec<u8>;

    /// Parses a generated root like a client, before it is signed.
    fn read_back(&self, path: &RelPath, text: &[u8]) -> Result<(), FormatError>;

    /// The path of the unsigned root.
    fn plain(&self, source: &RootSource) -> RelPath;

    /// The signed forms that clients request.
    fn forms(&self, source: &RootSource) -> Vec<RootSource>;

    /// Why clients reject a detached signature; `None` if they accept it.
    fn reject_signature(&self, _signature: &[u8]) -> Option<&'static str> {
        None
    }

    /// The key files for clients of this format, at the top of a published tree. `name` is
    /// `publish.key_name`.
    fn key_files(&self, name: &RelPath, keyring: &Keyring) -> Vec<KeyFile>;

    /// The paths of chantal's own key.
    fn own_keys(&self, key_name: &RelPath) -> Vec<OwnKey>;

    /// The client setting that accepts an unsigned root.
    fn unsigned_setting(&self) -> &'static str;

    /// Whether a root contains an identity (suite, codename, origin, label), which a merge can
    /// change.
    fn has_identity(&self) -> bool {
        false
    }

    /// The root with other values of these fields.
    fn with_identity(&self, root: &[u8], _fields: &[(&str, &str)]) -> Vec<u8> {
        root.to_vec()
    }

    /// Whether it is a flat repository. Flat and other states cannot be merged.
    fn is_flat(&self, _indexes: &[Index]) -> bool {
        false
    }

    /// Whether a state with new indexes keeps files that are not packages: installer images are
    /// independent of the packages, deltas are not.
    fn carries_files(&self) -> bool {
        false
    }

    /// Whether a key file belongs to a signature, and not to the repository.
    fn is_key_of_a_signature(&self, _path: &RelPath) -> bool {
        false
    }

    /// Parses a package and verifies its digests. Not used for formats whose packages are not
    /// signed themselves (apt).
    fn read_package_header(&self, _package: &mut dyn Read) -> Result<PackageHeader, PackageError> {
        Err(PackageError::NotSigned)
    }

    /// Where metadata says why packages changed.
    fn change_reasons(&self) -> ChangeReasons;

    /// Why an index that is not parsed must not be mirrored, according to its first bytes; `None`
    /// if it may be.
    fn reject_opaque(&self, _start: &[u8]) -> Option<&'static str> {
        None
    }
}

/// A repository with its selection: everything that a sync needs to know. All paths are relative to
/// the URL of the repository.
pub trait Selected: Send + Sync {
    fn format(&self) -> &'static dyn Format;

    /// The selection as a text, to detect changes: states of different selections are not
    /// comparable.
    fn selection(&self) -> String;

    /// Identifies the repository at its URL; empty if there is only one.
    fn suite(&self) -> String;

    /// Possible roots, preferred first: the first one that exists is used.
    fn roots(&self) -> Vec<RootSource>;

    /// Files next to the root that are mirrored if they exist, although no digest covers them: they
    /// are published, never parsed.
    fn companions(&self, root: &RootSource) -> Vec<Companion>;

    /// Parses a root and chooses from it what this repository's selection needs.
    fn open_root(&self, root: &Trusted) -> Result<Root, FormatError>;

    /// Streams the files in an index. `text` is the uncompressed index.
    ///
    /// Stops at an error of `each`.
    fn read_index(
        &self,
        index: &Index,
        text: &mut dyn BufRead,
        each: &mut dyn FnMut(Reference) -> Result<(), FormatError>,
    ) -> Result<(), FormatError>;

    /// Chooses the packages of this selection. Returns the files in the lists of packages, so that
    /// they need not be read again.
    fn choose(&self, indexes: &dyn Indexes) -> Result<PackageChoice, FormatError>;

    /// Writes new indexes for the chosen packages of one or several states, and a root over them.
    fn regenerate(
        &self,
        sources: &[Source<'_>],
        sink: &mut dyn Sink,
    ) -> Result<Regenerated, FormatError>;

    /// The streams by package, for packages of one name that are not updates of each other.
    fn streams(&self, _indexes: &dyn Indexes) -> Result<HashMap<Package, String>, FormatError> {
        Ok(HashMap::new())
    }

    /// The selected architectures that no package has.
    fn unmatched_architectures(&self, seen: &BTreeSet<String>) -> Vec<String>;
}
