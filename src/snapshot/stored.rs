//! The indexes of a state that is stored, read again.
//!
//! The state's root is parsed anew and says what the files in the manifest are: nothing depends on how the repository is
//! configured now, or whether it still is. For APT that are the indexes of all components and architectures that were mirrored.
//!
//! Only what the state names is read: the root by its own digest, indexes by the digests that the root declares.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read};

use crate::digest::ObjectId;
use crate::exit::Exit;
use crate::format::compression::Compression;
use crate::format::{self, FormatError, Index, Root, Selected, Variant};
use crate::manifest::{Entry, Role};
use crate::openpgp::{Trusted, VerifyError};
use crate::pool::{BUFFER, Pool, exit_of_io};
use crate::rel_path::RelPath;
use crate::store::records::StateRecord;
use crate::store::{Store, StoreError};

/// Twice what the largest roots have that a sync takes.
const ROOT_LIMIT: u64 = 64 << 20;

#[derive(Debug, thiserror::Error)]
pub enum StoredError {
    #[error("manifest {manifest} of a state has no root")]
    RootMissing { manifest: ObjectId },
    #[error("{path}: object {object} is not in the pool, or damaged")]
    ObjectMissing { path: RelPath, object: ObjectId },
    #[error(transparent)]
    Root(#[from] VerifyError),
    #[error(transparent)]
    Format(#[from] FormatError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl StoredError {
    pub fn exit(&self) -> Exit {
        match self {
            Self::RootMissing { .. }
            | Self::ObjectMissing { .. }
            // It was verified and read when it came.
            | Self::Root(_)
            | Self::Format(_) => Exit::Damaged,
            Self::Store(error) => error.exit(),
            Self::Io(error) => exit_of_io(error),
        }
    }
}

/// A state with what its root says.
pub struct StoredState {
    /// Selects everything that the root names.
    pub selected: Box<dyn Selected>,
    pub root: Trusted,
    /// Those that the manifest has.
    pub indexes: Vec<StoredIndex>,
}

/// An index of which at least one variant is in the manifest.
pub struct StoredIndex {
    /// With the variants that are there and no others, the one that is the cheapest to read first.
    pub index: Index,
    /// What each of these variants is in the pool.
    pub objects: Vec<ObjectId>,
}

impl StoredState {
    /// Of the whole manifest, which is read once.
    pub fn open(store: &Store, pool: &Pool, state: &StateRecord) -> Result<Self, StoredError> {
        let entries = store.read(|reader| {
            let mut entries = Vec::new();
            reader.each_entry(state.manifest, &mut |entry| {
                if is_metadata(&entry) {
                    entries.push(entry);
                }
                Ok(())
            })?;
            Ok(entries)
        })?;
        Self::of_entries(pool, state, &entries)
    }

    /// Of those entries of its manifest that were read already; the root must be among them.
    pub fn of_entries(
        pool: &Pool,
        state: &StateRecord,
        entries: &[Entry],
    ) -> Result<Self, StoredError> {
        let entries: BTreeMap<&RelPath, &Entry> = entries
            .iter()
            .filter(|entry| is_metadata(entry))
            .map(|entry| (&entry.path, entry))
            .collect();
        // Over new indexes it is not the one that came from the upstream.
        let roots = entries.values().filter(|entry| entry.role == Role::Root);
        let rules = state.format.rules();
        let root = rules
            .root_among(&mut roots.map(|entry| &entry.path))
            .and_then(|source| entries.get(source.path()))
            .ok_or(StoredError::RootMissing {
                manifest: state.manifest,
            })?;
        let selected = rules.everything(&root.path);
        let trusted = read_root(pool, root, selected.as_ref())?;
        let Root { indexes, .. } = selected.open_root(&trusted)?;
        Ok(Self {
            selected,
            root: trusted,
            indexes: indexes
                .into_iter()
                .filter_map(|index| StoredIndex::among(&entries, index))
                .collect(),
        })
    }
}

impl StoredIndex {
    fn among(entries: &BTreeMap<&RelPath, &Entry>, mut index: Index) -> Option<Self> {
        let mut present: Vec<(Variant, ObjectId)> = index
            .variants
            .drain(..)
            .filter_map(|variant| {
                let entry = entries.get(&variant.path)?;
                let declared = variant.digest.object_id();
                // What stands there is not what this root means.
                if declared.is_some_and(|declared| declared != entry.object) {
                    return None;
                }
                Some((variant, entry.object))
            })
            .collect();
        present.sort_by_key(|(variant, _)| cost_of_reading(variant.compression));
        let objects: Vec<ObjectId> = present.iter().map(|(_, object)| *object).collect();
        index.variants = present.into_iter().map(|(variant, _)| variant).collect();
        (!objects.is_empty()).then_some(Self { index, objects })
    }

    /// Gives the uncompressed text to `read`, whose result counts only when the text is what the root declares.
    pub fn read<T, E: From<FormatError> + From<StoredError>>(
        &self,
        pool: &Pool,
        read: impl FnOnce(&mut dyn BufRead) -> Result<T, E>,
    ) -> Result<T, E> {
        let variant = &self.index.variants[0];
        let file = open(pool, &variant.path, self.objects[0])?;
        let packed = BufReader::with_capacity(BUFFER, file);
        format::read_text(&self.index.name, variant, packed, read)
    }
}

fn is_metadata(entry: &Entry) -> bool {
    matches!(entry.role, Role::Root | Role::Index)
}

const fn cost_of_reading(compression: Compression) -> u8 {
    match compression {
        Compression::Plain => 0,
        Compression::Zstd => 1,
        Compression::Gzip => 2,
        Compression::Xz => 3,
        Compression::Bzip2 => 4,
    }
}

fn open(pool: &Pool, path: &RelPath, object: ObjectId) -> Result<fs_err::File, StoredError> {
    if pool.size_of(object)?.is_none() {
        let path = path.clone();
        return Err(StoredError::ObjectMissing { path, object });
    }
    Ok(pool.open_object(object)?)
}

fn read_root(pool: &Pool, root: &Entry, selected: &dyn Selected) -> Result<Trusted, StoredError> {
    let mut bytes = Vec::new();
    let file = open(pool, &root.path, root.object)?;
    file.take(ROOT_LIMIT).read_to_end(&mut bytes)?;
    if ObjectId::of(&bytes) != root.object {
        return Err(StoredError::ObjectMissing {
            path: root.path.clone(),
            object: root.object,
        });
    }
    let is_inline = selected
        .roots()
        .iter()
        .any(|source| matches!(source, format::RootSource::Inline { path } if *path == root.path));
    if is_inline {
        Ok(Trusted::of_state_inline(&bytes, root.path.as_str())?)
    } else {
        Ok(Trusted::of_state(bytes))
    }
}
