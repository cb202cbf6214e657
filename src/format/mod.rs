//! What a repository format is to the rest: bytes in, references out.
//!
//! A format says where the root stands, which indexes a trusted root names, and which files an
//! index names. It knows no network, no pool and no store, and it gets to parse nothing that was
//! not verified: the root comes as [`Trusted`], an index as a reader over bytes whose digest the
//! root vouched for. Indexes are streamed; memory does not grow with their text.

mod choose;
pub mod compression;
pub mod deb;
mod dependency_closure;
mod error;
mod filter;
mod index;
mod lines;
mod members;
mod package;
mod reasons;
mod regenerate;
mod root;
pub mod rpm;
mod version;
mod yaml;

use std::cmp::Ordering;
use std::collections::{BTreeSet, HashMap};
use std::io::{BufRead, Read};

use crate::config::{Filters, FormatConfig};
use crate::manifest::Package;
use crate::openpgp::{Keyring, Trusted};
use crate::rel_path::RelPath;
use crate::repo_format::RepoFormat;

use error::not_written;

pub use error::{FormatError, PackageError};
pub use index::{Index, IndexKind, Open, Presence, Reference, Variant};
pub use package::{Identity, PackageHeader};
pub use reasons::{AdvisoryRecord, ChangeReasons, PackageOrigin, ReadAdvisories, ReadOrigins};
pub use regenerate::{
    Chosen, ChosenFiles, Indexes, LeftOut, PackageChoice, ReadBack, Regenerated, Sink, Source,
    Work, Written,
};
pub use root::{Companion, KeyFile, OwnKey, Root, RootSource, ValidUntil, root_text};

/// Which of two versions is newer; a [`Package::version`] is meant.
pub type VersionOrder = fn(&str, &str) -> Ordering;

/// What all repositories of a format have in common.
pub trait Format: Sync {
    fn kind(&self) -> RepoFormat;

    /// Selects everything that a root at this place names: the configuration that a stored state
    /// was made by may be gone.
    fn everything(&self, root: &RelPath) -> Box<dyn Selected>;

    fn version_order(&self) -> VersionOrder;

    /// The root among the files of a state that are roots or signatures of one.
    fn root_among(&self, paths: &mut dyn Iterator<Item = &RelPath>) -> Option<RootSource>;

    /// Whether clients ignore a root that is older than the one they know.
    fn compares_dates(&self) -> bool;

    /// When a root that lies somewhere was made, where clients compare that; `None` also for one
    /// that cannot be read.
    fn date_of(&self, source: &RootSource, bytes: &[u8]) -> Option<i64>;

    /// The root with another date.
    fn dated(&self, text: &[u8], date: i64, valid_until: ValidUntil) -> Vec<u8>;

    /// Reads a root of our own as clients will, before it is signed.
    fn read_back(&self, path: &RelPath, text: &[u8]) -> Result<(), FormatError>;

    /// Where the root's text stands by itself.
    fn plain(&self, source: &RootSource) -> RelPath;

    /// The signed forms that clients look for.
    fn forms(&self, source: &RootSource) -> Vec<RootSource>;

    /// What clients make of a signature that is a file of its own; `None` when nothing speaks
    /// against it.
    fn reject_signature(&self, _signature: &[u8]) -> Option<&'static str> {
        None
    }

    /// The trusted keys as this format's clients take them, at the top of a published tree. `name`
    /// is `publish.key_name`.
    fn key_files(&self, name: &RelPath, keyring: &Keyring) -> Vec<KeyFile>;

    /// Where our own key is published.
    fn own_keys(&self, key_name: &RelPath) -> Vec<OwnKey>;

    /// The client setting that accepts an unsigned root.
    fn unsigned_setting(&self) -> &'static str;

    /// Whether a root says what its repository is (suite, codename, origin, label), so that a merge
    /// can be called otherwise.
    fn has_identity(&self) -> bool {
        false
    }

    /// The root with other values of such fields.
    fn with_identity(&self, root: &[u8], _fields: &[(&str, &str)]) -> Vec<u8> {
        root.to_vec()
    }

    /// Whether the packages of these indexes lie beside the root. States of both kinds have no
    /// common place for their indexes.
    fn is_flat(&self, _indexes: &[Index]) -> bool {
        false
    }

    /// Whether a state with new indexes keeps the files that are not packages: installer images do
    /// not depend on which packages there are, deltas do.
    fn carries_files(&self) -> bool {
        false
    }

    /// Whether a key file is about the signature beside it, and not about the repository.
    fn is_key_of_a_signature(&self, _path: &RelPath) -> bool {
        false
    }

    /// What a package says of itself, after its own digests were found right. A format whose
    /// packages have no signatures inside (apt's are vouched for by their index) is not asked.
    fn read_package_header(&self, _package: &mut dyn Read) -> Result<PackageHeader, PackageError> {
        Err(PackageError::NotSigned)
    }

    /// Where metadata says why packages changed.
    fn change_reasons(&self) -> ChangeReasons;

    /// Why an index that is not parsed must not be mirrored, judged by its first bytes; `None` if
    /// it may be.
    fn reject_opaque(&self, _start: &[u8]) -> Option<&'static str> {
        None
    }
}

/// A repository of a format, as a selection takes it: everything that sync needs to know of it. All
/// paths are relative to the repository's URL.
pub trait Selected: Send + Sync {
    fn format(&self) -> &'static dyn Format;

    /// The selection as a text that changes exactly when the selection does: a state made by
    /// another one is not comparable.
    fn selection(&self) -> String;

    /// Which of the repositories at one URL it is; empty where there is only one.
    fn suite(&self) -> String;

    /// Where the root may stand, best first: the first one that the upstream has is the root.
    fn roots(&self) -> Vec<RootSource>;

    /// Files that belong beside the root and are mirrored when the upstream has them, though no
    /// digest vouches for them: they are published, never parsed.
    fn companions(&self, root: &RootSource) -> Vec<Companion>;

    /// Parses a root and chooses from it what this repository's selection needs.
    fn open_root(&self, root: &Trusted) -> Result<Root, FormatError>;

    /// Streams the files that an index names. `text` is the index without its compression.
    ///
    /// An error of `each` ends the reading and is passed on.
    fn read_index(
        &self,
        index: &Index,
        text: &mut dyn BufRead,
        each: &mut dyn FnMut(Reference) -> Result<(), FormatError>,
    ) -> Result<(), FormatError>;

    /// Chooses the packages of this selection. What the lists of packages name is given back, so
    /// that they need not be read again.
    fn choose(&self, indexes: &dyn Indexes) -> Result<PackageChoice, FormatError>;

    /// Writes new indexes for the chosen packages of one or several states, and a root over them.
    fn regenerate(
        &self,
        sources: &[Source<'_>],
        sink: &mut dyn Sink,
    ) -> Result<Regenerated, FormatError>;

    /// Where packages of one name are no updates of each other: by package, the stream that it
    /// belongs to.
    fn streams(&self, _indexes: &dyn Indexes) -> Result<HashMap<Package, String>, FormatError> {
        Ok(HashMap::new())
    }

    /// Wished architectures that no package has, given the architectures that packages do have.
    fn unmatched_architectures(&self, seen: &BTreeSet<String>) -> Vec<String>;
}

impl RepoFormat {
    /// What its repositories have in common.
    pub fn rules(self) -> &'static dyn Format {
        match self {
            Self::Apt => &deb::AptFormat,
            Self::Rpm => &rpm::RpmFormat,
        }
    }
}

/// A configured repository.
pub fn select(config: &FormatConfig, filters: &Filters) -> Result<Box<dyn Selected>, FormatError> {
    Ok(match config {
        FormatConfig::Apt(apt) => Box::new(deb::Apt::new(deb::Selection {
            distribution: apt.distribution.to_string(),
            components: apt.components.clone(),
            architectures: apt.architectures.clone(),
            sources: apt.sources,
            udebs: apt.udebs,
            installer: apt.installer,
            filters: filters.clone(),
        })?),
        FormatConfig::Rpm(rpm) => Box::new(rpm::Rpm::new(rpm::Selection {
            architectures: rpm.architectures.clone(),
            sources: rpm.sources,
            filters: filters.clone(),
        })),
    })
}

/// Unpacks one file of the index `name` for `read`, and holds what came out against what the root
/// declares of it.
///
/// What `read` made of it counts only when the whole is good. Whatever `read` leaves unread is
/// unpacked and proved as well.
pub fn read_text<T, E: From<FormatError>>(
    name: &str,
    variant: &Variant,
    packed: impl BufRead,
    read: impl FnOnce(&mut dyn BufRead) -> Result<T, E>,
) -> Result<T, E> {
    if let Some((_, suffix)) = compression::split_foreign(variant.path.as_str()) {
        let error = FormatError::Compression {
            file: variant.path.to_string(),
            name: name.to_owned(),
            found: vec![suffix.to_owned()],
        };
        return Err(error.into());
    }
    let opened = compression::IndexText::open(variant.compression, variant.open, packed);
    let mut text = opened.map_err(|source| FormatError::Read {
        file: name.to_owned(),
        source,
    })?;
    let made = read(&mut text)?;
    text.verify()
        .map_err(|error| FormatError::malformed(name, error.to_string()))?;
    Ok(made)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_format_orders_versions() {
        let newer =
            |format: RepoFormat, a: &str, b: &str| format.rules().version_order()(a, b).is_gt();
        for format in [RepoFormat::Apt, RepoFormat::Rpm] {
            assert!(newer(format, "1.10-1", "1.9-2"));
            assert!(newer(format, "1:0.1-1", "1.9-2"));
        }
        // Only dpkg tells separators apart.
        assert!(newer(RepoFormat::Apt, "1+a", "1a"));
        assert!(!newer(RepoFormat::Rpm, "1+a", "1a"));
    }
}
