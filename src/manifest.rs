//! Manifests: immutable, canonical lists of what a repository's published tree holds.
//!
//! A manifest lists every published path with its object, size and role, and for packages their
//! name, version and architecture. Entries are sorted by path and cut into chunks; a chunk is named
//! by the SHA-256 of its encoding, a manifest is the list of its chunks and is named by the SHA-256
//! of that list. Equal content therefore has an equal name, and two manifests that differ in one
//! entry share all chunks but one.
//!
//! # Encoding
//!
//! `varint` is LEB128, unsigned, at most 10 bytes, never longer than needed. `text` is a varint
//! length and UTF-8.
//!
//! - chunk: `chantal chunk 2\n`, then for each entry: varint length of the prefix that its path
//!   shares with the path before it in this chunk, text rest of the path, 32 bytes object, varint
//!   size, one byte role, and for packages text name, text version, text architecture.
//! - manifest: `chantal manifest 2\n`, then for each chunk: 32 bytes digest, varint entries, varint
//!   packages, varint bytes.
//!
//! A chunk ends after an entry whose path has a SHA-256 that begins with four zero bits (every 16th
//! on average), and after [`CHUNK_ENTRIES_MAX`] entries at the latest. So the end of a chunk
//! depends only on that entry's path, and a change moves no other boundary.
//!
//! Version 1 differs in the version number, and its chunks end where the SHA-256 begins with eight
//! zero bits (every 256th). It is still read, but written only to find out whether anything
//! changed. Small chunks cost a longer list and save more: daily snapshots of 63,440 packages of
//! which every day 1 % get another version, spread at random, take 1.27 GB in a year with chunks of
//! 256 and 0.44 GB with chunks of 16, all of them compressed as the store does.

use std::fmt;

use crate::digest::{ObjectId, ObjectRef};
use crate::rel_path::{RelPath, RelPathError};

/// The encoding of a manifest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Version {
    One,
    #[default]
    Two,
}

impl Version {
    const ALL: [Self; 2] = [Self::One, Self::Two];

    const fn chunk_magic(self) -> &'static [u8] {
        match self {
            Self::One => b"chantal chunk 1\n",
            Self::Two => b"chantal chunk 2\n",
        }
    }

    const fn manifest_magic(self) -> &'static [u8] {
        match self {
            Self::One => b"chantal manifest 1\n",
            Self::Two => b"chantal manifest 2\n",
        }
    }

    /// Whether a chunk ends after the entry with this path.
    fn ends_chunk(self, path: &RelPath) -> bool {
        let first = ObjectId::of(path.as_str().as_bytes()).0[0];
        match self {
            Self::One => first == 0,
            Self::Two => first < 16,
        }
    }

    /// The version of these bytes, and the bytes after the version line.
    fn of(bytes: &[u8], magic: fn(Self) -> &'static [u8]) -> Option<(Self, &[u8])> {
        let mut all = Self::ALL.into_iter();
        all.find_map(|version| Some((version, bytes.strip_prefix(magic(version))?)))
    }
}

/// Limits the memory for reading one chunk.
pub const CHUNK_ENTRIES_MAX: usize = 4096;

/// The role of a published file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Authenticates everything else: `InRelease`, `repomd.xml` and their signatures.
    Root,
    /// Metadata that the root names.
    Index,
    Package,
    /// Named by an index, but not a package: installer images, deltas.
    File,
    /// A key for clients: the upstream's own, or the trusted ones that chantal adds. No digest
    /// covers it.
    Key,
}

impl Role {
    const fn code(self) -> u8 {
        match self {
            Self::Root => 0,
            Self::Index => 1,
            Self::Package => 2,
            Self::File => 3,
            Self::Key => 4,
        }
    }

    const fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            0 => Self::Root,
            1 => Self::Index,
            2 => Self::Package,
            3 => Self::File,
            4 => Self::Key,
            _ => return None,
        })
    }
}

/// The name, version and architecture of a package.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Package {
    pub name: String,
    /// As the format writes it in full: `1:2.3-4` in both formats, the epoch left out when it is 0.
    pub version: String,
    /// `amd64`, `x86_64`, `all`, `noarch`; sources are [`Package::SOURCE`] (apt) and `src` (rpm).
    pub architecture: String,
}

impl Package {
    /// The architecture of a source package that consists of several files.
    pub const SOURCE: &str = "source";

    /// Whether other packages, or other versions of this one, may have some of its files too.
    pub fn may_share_files(&self) -> bool {
        self.architecture == Self::SOURCE
    }
}

impl fmt::Display for Package {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.name, self.version, self.architecture)
    }
}

/// One published file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub path: RelPath,
    pub object: ObjectId,
    /// In bytes.
    pub size: u64,
    pub role: Role,
    /// Present exactly for [`Role::Package`].
    pub package: Option<Package>,
}

impl Entry {
    /// A file that is not a package.
    pub fn new(path: RelPath, content: ObjectRef, role: Role) -> Self {
        Self {
            path,
            object: content.object,
            size: content.size,
            role,
            package: None,
        }
    }

    pub fn content(&self) -> ObjectRef {
        ObjectRef {
            object: self.object,
            size: self.size,
        }
    }
}

/// The totals of a chunk or a manifest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    pub entries: u64,
    pub packages: u64,
    /// Sum over all paths: an object published under two paths counts twice.
    pub bytes: u64,
}

impl Totals {
    /// The totals of the entries of a chunk.
    pub fn of(entries: &[Entry]) -> Self {
        let mut totals = Self::default();
        for entry in entries {
            totals.entries += 1;
            totals.packages += u64::from(entry.package.is_some());
            totals.bytes = totals.bytes.saturating_add(entry.size);
        }
        totals
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkRef {
    pub id: ObjectId,
    pub totals: Totals,
}

/// The list of chunks; the entries are in the chunks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    pub version: Version,
    pub chunks: Vec<ChunkRef>,
}

/// A new manifest with its encoded chunks.
#[derive(Debug)]
pub struct Built {
    pub id: ObjectId,
    pub manifest: Manifest,
    pub chunks: Vec<(ObjectId, Vec<u8>)>,
}

#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    #[error("{path} is listed twice with different content: object {first} and object {second}")]
    TwoContents {
        path: RelPath,
        first: ObjectId,
        second: ObjectId,
    },
    #[error("{path} is a file, but also a directory in {below}")]
    FileAndDirectory { path: String, below: RelPath },
    #[error("invalid manifest, or an unsupported version: {0}")]
    Malformed(&'static str),
    #[error("invalid path in a manifest: {0}")]
    Path(#[from] RelPathError),
}

/// Builds the canonical manifest of these entries, which may be in any order.
///
/// Listing the same file twice is fine; two contents for one path, or a path below a file, are
/// errors.
pub fn build(entries: Vec<Entry>) -> Result<Built, ManifestError> {
    build_as(Version::Two, entries)
}

/// As [`build`], in a given version.
pub fn build_as(version: Version, mut entries: Vec<Entry>) -> Result<Built, ManifestError> {
    entries.sort_by(|a, b| a.path.cmp(&b.path));
    for pair in entries.windows(2) {
        if pair[0].path == pair[1].path && pair[0].object != pair[1].object {
            return Err(ManifestError::TwoContents {
                path: pair[0].path.clone(),
                first: pair[0].object,
                second: pair[1].object,
            });
        }
    }
    entries.dedup_by(|a, b| a.path == b.path);
    refuse_files_as_directories(&entries)?;

    let mut manifest = Manifest {
        version,
        chunks: Vec::new(),
    };
    let mut chunks = Vec::new();
    let mut start = 0;
    for (index, entry) in entries.iter().enumerate() {
        let length = index + 1 - start;
        if version.ends_chunk(&entry.path)
            || length == CHUNK_ENTRIES_MAX
            || index + 1 == entries.len()
        {
            let (chunk, encoded) = encode_chunk(version, &entries[start..=index]);
            // Two chunks of one manifest are never equal: their paths differ.
            manifest.chunks.push(chunk);
            chunks.push((chunk.id, encoded));
            start = index + 1;
        }
    }
    Ok(Built {
        id: ObjectId::of(&manifest.encode()),
        manifest,
        chunks,
    })
}

fn refuse_files_as_directories(sorted: &[Entry]) -> Result<(), ManifestError> {
    let mut checked: Option<&str> = None;
    for entry in sorted {
        let path = entry.path.as_str();
        let parent = path.rsplit_once('/').map(|(parent, _)| parent);
        if parent.is_none() || parent == checked {
            continue;
        }
        for (end, _) in path.match_indices('/') {
            let ancestor = &path[..end];
            if sorted
                .binary_search_by(|other| other.path.as_str().cmp(ancestor))
                .is_ok()
            {
                return Err(ManifestError::FileAndDirectory {
                    path: ancestor.to_owned(),
                    below: entry.path.clone(),
                });
            }
        }
        checked = parent;
    }
    Ok(())
}

fn encode_chunk(version: Version, entries: &[Entry]) -> (ChunkRef, Vec<u8>) {
    let mut out = version.chunk_magic().to_vec();
    let mut previous = "";
    for entry in entries {
        let path = entry.path.as_str();
        let shared = shared_prefix(previous, path);
        put_varint(&mut out, shared as u64);
        put_text(&mut out, &path[shared..]);
        out.extend_from_slice(&entry.object.0);
        put_varint(&mut out, entry.size);
        out.push(entry.role.code());
        if let Some(package) = &entry.package {
            put_text(&mut out, &package.name);
            put_text(&mut out, &package.version);
            put_text(&mut out, &package.architecture);
        }
        previous = path;
    }
    let id = ObjectId::of(&out);
    let totals = Totals::of(entries);
    (ChunkRef { id, totals }, out)
}

/// In bytes, at a character boundary of both.
fn shared_prefix(a: &str, b: &str) -> usize {
    a.char_indices()
        .zip(b.chars())
        .find(|((_, x), y)| x != y)
        .map_or(a.len().min(b.len()), |((index, _), _)| index)
}

/// Reads a chunk back, and checks that these entries have no other encoding: equal content must
/// have an equal name. The chunk boundaries are not checked: that would require a digest of each
/// path.
pub fn decode_chunk(bytes: &[u8]) -> Result<Vec<Entry>, ManifestError> {
    let (_, mut rest) =
        Version::of(bytes, Version::chunk_magic).ok_or(ManifestError::Malformed("not a chunk"))?;
    let mut entries: Vec<Entry> = Vec::new();
    while !rest.is_empty() {
        // Paths share prefixes, so an entry can take a hundred times the memory of its encoding.
        if entries.len() == CHUNK_ENTRIES_MAX {
            return Err(ManifestError::Malformed("a chunk has too many entries"));
        }
        let shared = usize::try_from(varint(&mut rest)?)
            .map_err(|_| ManifestError::Malformed("a path is too long"))?;
        let tail = text(&mut rest)?;
        let previous = entries.last().map_or("", |entry| entry.path.as_str());
        let head = previous.get(..shared).ok_or(ManifestError::Malformed(
            "the shared prefix of a path is too long",
        ))?;
        let written = format!("{head}{tail}");
        if shared != shared_prefix(previous, &written) {
            return Err(ManifestError::Malformed(
                "the shared prefix of a path is too short",
            ));
        }
        let path = RelPath::parse(&written)?;
        if path.as_str() != written {
            return Err(ManifestError::Malformed("a path is not normalized"));
        }
        if entries.last().is_some_and(|previous| previous.path >= path) {
            return Err(ManifestError::Malformed("paths are not sorted"));
        }
        let object = ObjectId(
            take(&mut rest, 32)?
                .try_into()
                .expect("32 bytes were taken"),
        );
        let size = varint(&mut rest)?;
        let role = Role::from_code(take(&mut rest, 1)?[0])
            .ok_or(ManifestError::Malformed("unknown role"))?;
        let package = match role {
            Role::Package => Some(Package {
                name: text(&mut rest)?.to_owned(),
                version: text(&mut rest)?.to_owned(),
                architecture: text(&mut rest)?.to_owned(),
            }),
            Role::Root | Role::Index | Role::File | Role::Key => None,
        };
        entries.push(Entry {
            path,
            object,
            size,
            role,
            package,
        });
    }
    Ok(entries)
}

impl Manifest {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = self.version.manifest_magic().to_vec();
        for chunk in &self.chunks {
            out.extend_from_slice(&chunk.id.0);
            put_varint(&mut out, chunk.totals.entries);
            put_varint(&mut out, chunk.totals.packages);
            put_varint(&mut out, chunk.totals.bytes);
        }
        out
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, ManifestError> {
        let (version, mut rest) = Version::of(bytes, Version::manifest_magic)
            .ok_or(ManifestError::Malformed("not a manifest"))?;
        let mut chunks = Vec::new();
        while !rest.is_empty() {
            let id = ObjectId(
                take(&mut rest, 32)?
                    .try_into()
                    .expect("32 bytes were taken"),
            );
            let totals = Totals {
                entries: varint(&mut rest)?,
                packages: varint(&mut rest)?,
                bytes: varint(&mut rest)?,
            };
            chunks.push(ChunkRef { id, totals });
        }
        Ok(Self { version, chunks })
    }

    pub fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        for chunk in &self.chunks {
            totals.entries = totals.entries.saturating_add(chunk.totals.entries);
            totals.packages = totals.packages.saturating_add(chunk.totals.packages);
            totals.bytes = totals.bytes.saturating_add(chunk.totals.bytes);
        }
        totals
    }
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    put_varint(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

fn varint(rest: &mut &[u8]) -> Result<u64, ManifestError> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let byte = take(rest, 1)?[0];
        let bits = u64::from(byte & 0x7f);
        if shift == 63 && bits > 1 {
            break;
        }
        value |= bits << shift;
        if byte < 0x80 {
            if byte == 0 && shift > 0 {
                return Err(ManifestError::Malformed("a number is longer than needed"));
            }
            return Ok(value);
        }
    }
    Err(ManifestError::Malformed("a number is truncated"))
}

fn text<'a>(rest: &mut &'a [u8]) -> Result<&'a str, ManifestError> {
    let length = usize::try_from(varint(rest)?)
        .map_err(|_| ManifestError::Malformed("a text is too long"))?;
    std::str::from_utf8(take(rest, length)?)
        .map_err(|_| ManifestError::Malformed("a text is not UTF-8"))
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Result<&'a [u8], ManifestError> {
    let (taken, after) = rest
        .split_at_checked(length)
        .ok_or(ManifestError::Malformed("truncated data"))?;
    *rest = after;
    Ok(taken)
}

#[cfg(test)]
mod tests;
