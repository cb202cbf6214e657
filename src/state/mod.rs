//! Reads the roots of stored states, and reads and writes their indexes.
//!
//! - Only objects of the state are read: the root ([`read_root`]) by its own digest, indexes by
//!   their digests in the root.
//! - To open a state ([`OpenState`]), its root is parsed again to find out what the files in the
//!   manifest are: nothing depends on the current configuration of the repository. For APT these
//!   are the indexes of all mirrored components and architectures.
//! - New indexes ([`PoolSink`]) are read back before anything refers to them.
//!
//! Diffs and merges open states. Publishing reads the root that it signs or gives a new date. Syncs
//! with filters read indexes from the pool and write new ones.

mod indexes;
mod new_indexes;
mod root;

use std::collections::{BTreeMap, HashMap};
use std::io::{self, BufRead};

use crate::digest::{Digest, ObjectId, ObjectRef};
use crate::exit::Exit;
use crate::format::{FormatError, Index, Root, Selected, Variant};
use crate::manifest::{Entry, Role};
use crate::openpgp::{Trusted, VerifyError};
use crate::pool::{Pool, exit_of_io};
use crate::rel_path::RelPath;
use crate::store::records::StateRecord;
use crate::store::{Store, StoreError};

pub use indexes::PooledIndexes;
pub use new_indexes::PoolSink;
pub use root::{RootError, read_root, root_source};

#[derive(Debug, thiserror::Error)]
pub enum StateError {
    #[error("manifest {manifest} has no root")]
    RootMissing { manifest: ObjectId },
    #[error("object {object} of {path} is missing from the pool or damaged")]
    ObjectMissing { path: RelPath, object: ObjectId },
    #[error(transparent)]
    Root(#[from] VerifyError),
    #[error(transparent)]
    Format(FormatError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl StateError {
    pub fn exit(&self) -> Exit {
        match self {
            Self::RootMissing { .. }
            | Self::ObjectMissing { .. }
            // It was verified and parsed when it was downloaded.
            | Self::Root(_)
            | Self::Format(_) => Exit::Damaged,
            Self::Store(error) => error.exit(),
            Self::Io(error) => exit_of_io(error),
        }
    }
}

impl From<FormatError> for StateError {
    fn from(error: FormatError) -> Self {
        match error {
            FormatError::ObjectDamaged { path, object } => Self::ObjectMissing { path, object },
            error => Self::Format(error),
        }
    }
}

impl From<RootError> for StateError {
    fn from(error: RootError) -> Self {
        match error {
            RootError::NotFound { manifest } => Self::RootMissing { manifest },
            RootError::ObjectMissing { path, object } => Self::ObjectMissing { path, object },
            RootError::Io(error) => Self::Io(error),
        }
    }
}

/// A state with its parsed root.
pub struct OpenState<'a> {
    /// Selects everything in the root.
    pub selected: Box<dyn Selected>,
    pub root: Trusted,
    /// The indexes in the manifest, each with its existing variants, the cheapest to read first.
    pub indexes: PooledIndexes<'a>,
}

impl<'a> OpenState<'a> {
    /// Opens a state from its manifest, which is read once.
    pub fn open(store: &Store, pool: &'a Pool, state: &StateRecord) -> Result<Self, StateError> {
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

    /// Opens a state from entries of its manifest that were already read, including the root.
    pub fn of_entries(
        pool: &'a Pool,
        state: &StateRecord,
        entries: &[Entry],
    ) -> Result<Self, StateError> {
        let entries: BTreeMap<&RelPath, &Entry> = entries
            .iter()
            .filter(|entry| is_metadata(entry))
            .map(|entry| (&entry.path, entry))
            .collect();
        let format = state.format.rules();
        let root = read_root(pool, state.manifest, entries.values().copied(), format)?;
        let selected = format.everything(root.source.path());
        let trusted = root.into_trusted()?;
        let Root { indexes, .. } = selected.open_root(&trusted)?;
        let mut objects = HashMap::new();
        let present = indexes.into_iter().filter_map(|mut index| {
            retain_present(&mut index, &entries, &mut objects);
            (!index.variants.is_empty()).then_some(index)
        });
        let present = present.collect();
        Ok(Self {
            selected,
            root: trusted,
            indexes: PooledIndexes::new(pool, present, objects),
        })
    }

    /// Passes the text of an index to `read`, whose result is used only if the text matches the
    /// root.
    pub fn read<T, E: From<FormatError>>(
        &self,
        index: &Index,
        read: impl FnOnce(&mut dyn BufRead) -> Result<T, E>,
    ) -> Result<T, E> {
        let variant = &index.variants[0];
        let object = self.object(variant);
        indexes::read_stored(self.indexes.pool, index, variant, object, read)
    }

    /// The objects of an index, one for each of its variants.
    pub fn objects(&self, index: &Index) -> Vec<ObjectId> {
        let variants = index.variants.iter();
        variants.map(|variant| self.object(variant)).collect()
    }

    fn object(&self, variant: &Variant) -> ObjectId {
        let present = self.indexes.objects.get(&variant.digest);
        present
            .expect("only variants that are there were kept")
            .object
    }
}

/// Keeps the variants of an index that are in the manifest, the cheapest to read first.
fn retain_present(
    index: &mut Index,
    entries: &BTreeMap<&RelPath, &Entry>,
    objects: &mut HashMap<Digest, ObjectRef>,
) {
    index.variants.retain(|variant| {
        let Some(entry) = entries.get(&variant.path) else {
            return false;
        };
        let declared = variant.digest.object_id();
        // Otherwise this path has a different file than the one in this root.
        let is_meant = declared.is_none_or(|declared| declared == entry.object);
        if is_meant {
            objects.insert(variant.digest, entry.content());
        }
        is_meant
    });
    index
        .variants
        .sort_by_key(|variant| variant.compression.cost_of_reading());
}

fn is_metadata(entry: &Entry) -> bool {
    matches!(entry.role, Role::Root | Role::Index)
}
