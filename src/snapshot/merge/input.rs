//! The sources of a merge.

use std::collections::{HashMap, HashSet};

use super::error::MergeError;
use crate::digest::ObjectId;
use crate::format::{FormatError, Indexes, Selected};
use crate::manifest::{Entry, Package};
use crate::rel_path::RelPath;
use crate::snapshot::states::State;
use crate::state::{OpenState, PooledIndexes, StateError};
use crate::storage::Storage;

/// An opened source.
pub struct Input<'a> {
    pub name: String,
    pub stored: OpenState<'a>,
    /// The entries of the manifest by path.
    pub entries: HashMap<RelPath, Entry>,
    /// Every package, once for each of its files.
    pub packages: Vec<(Package, RelPath)>,
    pub streams: HashMap<Package, String>,
}

impl<'a> Input<'a> {
    pub fn open(storage: &'a Storage, state: &State) -> Result<Self, MergeError> {
        let name = state.full_name();
        let entries = storage.read(|reader| reader.entries(state.record.manifest))?;
        let stored = OpenState::of_entries(&storage.pool, &state.record, &entries);
        let stored = stored.map_err(|source| MergeError::Stored {
            state: name.clone(),
            source,
        })?;
        let by_path = entries.into_iter().map(|entry| (entry.path.clone(), entry));
        let entries: HashMap<RelPath, Entry> = by_path.collect();
        let failed = |error| match error {
            FormatError::ObjectDamaged { .. } => MergeError::Stored {
                state: name.clone(),
                source: error.into(),
            },
            error => error.into(),
        };
        let streams = stored.selected.streams(&stored.indexes).map_err(failed)?;
        let packages = listed_packages(stored.selected.as_ref(), &stored.indexes);
        let packages = packages.map_err(failed)?;
        Ok(Self {
            name,
            stored,
            entries,
            packages,
            streams,
        })
    }

    pub fn read(
        &self,
        storage: &Storage,
        path: &RelPath,
        object: ObjectId,
    ) -> Result<Vec<u8>, MergeError> {
        let bytes = storage.pool.read_small(object)?;
        bytes.ok_or_else(|| MergeError::Stored {
            state: self.name.clone(),
            source: StateError::ObjectMissing {
                path: path.clone(),
                object,
            },
        })
    }

    pub fn stream(&self, package: &Package) -> &str {
        self.streams.get(package).map_or("", String::as_str)
    }
}

/// The packages in the indexes, each file once. A manifest has only one of several packages that
/// share a file.
fn listed_packages(
    selected: &dyn Selected,
    indexes: &PooledIndexes<'_>,
) -> Result<Vec<(Package, RelPath)>, FormatError> {
    let mut packages = Vec::new();
    let mut seen: HashSet<(Package, RelPath)> = HashSet::new();
    for index in indexes
        .all
        .iter()
        .filter(|index| index.kind.lists_packages())
    {
        // Packages for all architectures are listed in the index of each architecture.
        let is_repeated = indexes
            .all
            .iter()
            .filter(|other| other.kind == index.kind)
            .count()
            > 1;
        indexes.read(index, &mut |text| {
            selected.read_index(index, text, &mut |reference| {
                let Some(package) = reference.package else {
                    return Ok(());
                };
                let file = (package, reference.path);
                if !is_repeated || seen.insert(file.clone()) {
                    packages.push(file);
                }
                Ok(())
            })
        })?;
    }
    Ok(packages)
}
