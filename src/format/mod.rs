//! What a repository format is to the rest: bytes in, references out.
//!
//! A format says where the root stands, which indexes a trusted root names, and which files an index names. It
//! knows no network, no pool and no store, and it gets to parse nothing that was not verified: the root comes as
//! [`Trusted`], an index as a reader over bytes whose digest the root vouched for. Indexes are streamed; memory
//! does not grow with their text.

mod choose;
mod closure;
pub mod compression;
pub mod deb;
mod filter;
mod members;
mod regenerate;
mod root;
pub mod rpm;
mod yaml;

use std::cmp::Ordering;
use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::io::{self, BufRead, Read};

use crate::config::{Filters, FormatConfig};
use crate::digest::Digest;
use crate::exit::Exit;
use crate::manifest::Package;
use crate::openpgp::{Keyring, Passed, Trusted};
use crate::pool::exit_of_io;
use crate::rel_path::{RelPath, RelPathError};
use crate::repo_format::RepoFormat;
use crate::terminal::is_unsafe;

use compression::Compression;

pub use regenerate::{
    Chosen, Indexes, LeftOut, Listed, Packed, ReadBack, Regenerated, Sink, Source, Taken, Work,
    Written,
};
pub use root::{OwnKey, ValidUntil, root_text};

/// Which of two versions is newer; a [`Package::version`] is meant.
pub type VersionOrder = fn(&str, &str) -> Ordering;

/// What all repositories of a format have in common.
pub trait Format: Sync {
    fn kind(&self) -> RepoFormat;

    /// Selects everything that a root at this place names: the configuration that a stored state was made by may be gone.
    fn everything(&self, root: &RelPath) -> Box<dyn Selected>;

    fn version_order(&self) -> VersionOrder;

    /// The root among the files of a state that are roots or signatures of one.
    fn root_among(&self, paths: &mut dyn Iterator<Item = &RelPath>) -> Option<RootSource>;

    /// Whether clients ignore a root that is older than the one they know.
    fn compares_dates(&self) -> bool;

    /// When a root that lies somewhere was made, where clients compare that; `None` also for one that cannot be read.
    fn date_of(&self, source: &RootSource, bytes: &[u8]) -> Option<i64>;

    /// The root with another date.
    fn dated(&self, text: &[u8], date: i64, valid_until: ValidUntil) -> Vec<u8>;

    /// Reads a root of our own as clients will, before it is signed.
    fn read_back(&self, path: &RelPath, text: &[u8]) -> Result<(), FormatError>;

    /// Where the root's text stands by itself.
    fn plain(&self, source: &RootSource) -> RelPath;

    /// The signed forms that clients look for.
    fn forms(&self, source: &RootSource) -> Vec<RootSource>;

    /// What clients make of a signature that is a file of its own; `None` when nothing speaks against it.
    fn objection_to_signature(&self, _signature: &[u8]) -> Option<&'static str> {
        None
    }

    /// The trusted keys as this format's clients take them, at the top of a published tree. `name` is `publish.key_name`.
    fn key_files(&self, name: &RelPath, keyring: &Keyring) -> Vec<KeyFile>;

    /// Where our own key is published.
    fn own_keys(&self, key_name: &RelPath) -> Vec<OwnKey>;

    /// The client setting that accepts an unsigned root.
    fn unsigned_setting(&self) -> &'static str;

    /// Whether a root says what its repository is (suite, codename, origin, label), so that a merge can be called otherwise.
    fn has_identity(&self) -> bool {
        false
    }

    /// The root with other values of such fields.
    fn with_identity(&self, root: &[u8], _fields: &[(&str, &str)]) -> Vec<u8> {
        root.to_vec()
    }

    /// Whether the packages of these indexes lie beside the root. States of both kinds have no common place for their indexes.
    fn is_flat(&self, _indexes: &[Index]) -> bool {
        false
    }

    /// Whether a new state of several has the files of theirs that are no packages (installer images).
    fn carries_files(&self) -> bool {
        false
    }

    /// Whether a key file is about the signature beside it, and not about the repository.
    fn is_key_of_a_signature(&self, _path: &RelPath) -> bool {
        false
    }

    /// What a package says of itself, after its own digests were found right. A format whose packages have no signatures
    /// inside (apt's are vouched for by their index) is not asked.
    fn look_inside(&self, _package: &mut dyn Read) -> Result<Inside, PackageError> {
        Err(PackageError::NotSigned)
    }

    /// Why an index that is not parsed must not be mirrored, judged by its first bytes; `None` if it may be.
    fn objection_to(&self, _start: &[u8]) -> Option<&'static str> {
        None
    }
}

/// A repository of a format, as a selection takes it: everything that sync needs to know of it. All paths are relative to the
/// repository's URL.
pub trait Selected: Send + Sync {
    fn format(&self) -> &'static dyn Format;

    /// The selection as a text that changes exactly when the selection does: a state made by another one is not comparable.
    fn selection(&self) -> String;

    /// Which of the repositories at one URL it is; empty where there is only one.
    fn suite(&self) -> String;

    /// Where the root may stand, best first: the first one that the upstream has is the root.
    fn roots(&self) -> Vec<RootSource>;

    /// Files that belong beside the root and are mirrored when the upstream has them, though no digest vouches
    /// for them: they are published, never parsed.
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

    /// The packages that the selection takes. Reads no list of packages more often than it must: what it names is given back.
    fn choose(&self, indexes: &dyn Indexes) -> Result<Taken, FormatError>;

    /// Writes new indexes for the chosen packages of one or several states, and a root over them.
    fn regenerate(
        &self,
        sources: &[Source<'_>],
        sink: &mut dyn Sink,
    ) -> Result<Regenerated, FormatError>;

    /// Where packages of one name are no updates of each other: by package, the stream that it belongs to.
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

/// Unpacks one file of the index `name` for `read`, and holds what came out against what the root declares of it.
///
/// What `read` made of it counts only when the whole is good. Whatever `read` leaves unread is unpacked and proved as well.
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

/// A place where a root may stand, and how it is signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RootSource {
    /// A clear-signed file whose text is the root (`InRelease`).
    Inline { path: RelPath },
    /// A file with its signature beside it (`Release` and `Release.gpg`, `repomd.xml` and `repomd.xml.asc`).
    Detached { path: RelPath, signature: RelPath },
}

impl RootSource {
    pub fn path(&self) -> &RelPath {
        match self {
            Self::Inline { path } | Self::Detached { path, .. } => path,
        }
    }
}

/// A file beside the root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Companion {
    /// The root again, in another form (`Release` and `Release.gpg` beside `InRelease`). It is mirrored only
    /// when it says the same as the root and, if signatures are checked, is signed as well as the root is.
    SameRoot { path: RelPath, signature: RelPath },
    /// Something for clients (`repomd.xml.key`).
    Opaque { path: RelPath },
}

/// Trusted keys for clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyFile {
    pub path: RelPath,
    pub bytes: Vec<u8>,
}

/// What a root says, reduced to the repository's selection.
#[derive(Debug)]
pub struct Root {
    /// When the upstream made this state, in seconds since the epoch: `Date` of Release, the newest timestamp in repomd.
    pub date: Option<i64>,
    /// A number that grows with each state, where the format has one and the upstream uses it so.
    pub revision: Option<u64>,
    /// Until when it may be believed (`Valid-Until` of Release), in seconds since the epoch.
    pub valid_until: Option<i64>,
    /// What it says of that where it is not a date.
    pub unread_valid_until: Option<String>,
    pub indexes: Vec<Index>,
    /// For the user: oddities that do not stop a sync.
    pub warnings: Vec<String>,
}

/// One metadata file that the root names, with its alternatives.
#[derive(Clone, Debug)]
pub struct Index {
    /// For messages: the uncompressed path as the root names it (`main/binary-amd64/Packages`), or the data type (`primary`).
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
    /// The same again for other clients (`primary_db`, `primary_zck`): it may be missing where the one that it repeats is there.
    Twin,
    /// It is mirrored when it is there and not missed when it is not (`main/binary-amd64/Release`, which no client asks for).
    Optional,
}

/// What an index is to its format. `Opaque` ones name no further files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IndexKind {
    RpmPrimary,
    RpmPrestodelta,
    DebPackages,
    DebSources,
    /// `SHA256SUMS` of installer images.
    DebInstallerSums,
    Opaque,
}

impl IndexKind {
    pub const fn names_files(self) -> bool {
        !matches!(self, Self::Opaque)
    }

    pub const fn lists_packages(self) -> bool {
        matches!(
            self,
            Self::RpmPrimary | Self::DebPackages | Self::DebSources
        )
    }
}

/// One file of an index.
#[derive(Clone, Debug)]
pub struct Variant {
    pub path: RelPath,
    /// Further paths under which clients ask for the same bytes (`by-hash/SHA256/...`), strongest digest first.
    /// The upstream is asked for the first of them before `path`: its content cannot change mid-sync.
    pub by_hash: Vec<RelPath>,
    /// What the root declares of the file as it is transferred: SHA-256 if it is among the digests, else the strongest.
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

/// In bytes: several times what the longest real names and versions have.
const WORD_LIMIT: usize = 512;

impl Package {
    /// Each part is one short word: they end up in manifests, tables and messages.
    pub fn new(
        file: &str,
        name: &str,
        version: &str,
        architecture: &str,
    ) -> Result<Self, FormatError> {
        for (what, word) in [
            ("name", name),
            ("version", version),
            ("architecture", architecture),
        ] {
            let is_word = !word.is_empty()
                && word.len() <= WORD_LIMIT
                && !word.contains(|c: char| is_unsafe(c) || c.is_whitespace());
            if !is_word {
                let start: String = word.chars().take(60).collect();
                let name: String = name.chars().take(60).collect();
                return Err(FormatError::malformed(
                    file,
                    format!(
                        "package {name:?} has the {what} {start:?}, which is not one short word"
                    ),
                ));
            }
        }
        Ok(Self {
            name: name.to_owned(),
            version: version.to_owned(),
            architecture: architecture.to_owned(),
        })
    }
}

#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    /// The text is not what this kind of file must be.
    #[error("{file}: {what}")]
    Malformed { file: String, what: String },
    #[error("{file}: {named_by} names a path that cannot be mirrored: {source}")]
    Path {
        file: String,
        /// The package or field that names the path.
        named_by: String,
        source: RelPathError,
    },
    /// Only digests that cannot be trusted, or none.
    #[error(
        "{file}: {named_by} has no digest that can be trusted (sha256, sha384 or sha512; rpm also sha1)"
    )]
    NoDigest { file: String, named_by: String },
    /// The root lacks what the configuration asks for.
    #[error("{file} has no {what} {wanted:?}, only: {}", available.join(", "))]
    NotThere {
        file: String,
        /// `component`, `architecture`, ...
        what: &'static str,
        wanted: String,
        available: Vec<String>,
    },
    /// The place for new indexes cannot be written.
    #[error("{file} cannot be written: {source}")]
    Write {
        file: String,
        source: std::io::Error,
    },
    /// What was written is not what is read from where it is stored.
    #[error("{file}: what was written cannot be read back: {what}")]
    ReadBack { file: String, what: String },
    /// The index is there only in compressions that are not read.
    #[error("{file}: {name} is there only as {}: that compression is not supported (gz, xz, bz2, zst and none are)", found.join(", "))]
    Compression {
        file: String,
        name: String,
        /// `.lzma`
        found: Vec<String>,
    },
    #[error("{file}: {source}")]
    Read {
        file: String,
        source: std::io::Error,
    },
}

impl FormatError {
    pub fn exit(&self) -> Exit {
        match self {
            Self::Write { source, .. } => exit_of_io(source),
            // A fault of chantal itself.
            Self::ReadBack { .. } => Exit::Other,
            // As a wrong suite is, which is not found.
            Self::NotThere { .. }
            | Self::Compression { .. }
            | Self::Malformed { .. }
            | Self::Path { .. }
            | Self::NoDigest { .. }
            | Self::Read { .. } => Exit::Refused,
        }
    }
}

/// What a package says of itself.
#[derive(Debug)]
pub struct Inside {
    pub identity: Identity,
    /// Those that cover all of it.
    pub signatures: Vec<Passed>,
}

/// Which package it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub name: String,
    pub version: String,
    /// What an index may call its architecture, the most usual first.
    pub architectures: Vec<String>,
}

impl Identity {
    /// Whether it is the package that an index says it is.
    pub fn is(&self, package: &Package) -> bool {
        self.name == package.name
            && self.version == package.version
            && self.architectures.contains(&package.architecture)
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let architecture = self.architectures.first().map_or("", String::as_str);
        write!(f, "{} {} ({architecture})", self.name, self.version)
    }
}

/// Why a package is not what it says of itself. The messages follow the package's name.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    #[error("it is not an RPM package: {0}")]
    NotAPackage(&'static str),
    #[error("its signature header is broken: {0}")]
    SignatureHeader(String),
    #[error("its header is broken: {0}")]
    Header(String),
    #[error("its payload is broken: {0}")]
    Payload(String),
    #[error("its header or its payload is broken: {0}")]
    HeaderOrPayload(String),
    #[error("it is not signed")]
    NotSigned,
    #[error("only its header is signed, which has no digest of the payload that can be trusted")]
    PayloadNotSigned,
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// What goes wrong when a new index is written.
fn not_written(file: &str, source: io::Error) -> FormatError {
    FormatError::Write {
        file: file.to_owned(),
        source,
    }
}

impl FormatError {
    /// What it means for a file that was just written: what is wrong with it, chantal has done.
    pub fn of_written(self) -> Self {
        let what = match &self {
            Self::Malformed { what, .. } => what.clone(),
            Self::Read { source, .. } if self.is_about_content() => source.to_string(),
            Self::ReadBack { .. } | Self::Read { .. } | Self::Write { .. } => return self,
            Self::Path { .. }
            | Self::NoDigest { .. }
            | Self::NotThere { .. }
            | Self::Compression { .. } => self.to_string(),
        };
        match self {
            Self::Malformed { file, .. }
            | Self::Read { file, .. }
            | Self::ReadBack { file, .. }
            | Self::Write { file, .. }
            | Self::Path { file, .. }
            | Self::NoDigest { file, .. }
            | Self::NotThere { file, .. }
            | Self::Compression { file, .. } => Self::ReadBack { file, what },
        }
    }

    fn malformed(file: &str, what: impl Into<String>) -> Self {
        Self::Malformed {
            file: file.to_owned(),
            what: what.into(),
        }
    }
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
