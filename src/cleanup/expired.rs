//! Expired generations of published trees: the plan finds them, applying it removes them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use crate::config::Config;
use crate::digest::ObjectId;
use crate::publish::{self, RequestError};
use crate::storage::Storage;
use crate::store::records::TreeRecord;
use crate::store::{Name, Reader, Store, StoreError};
use crate::time::now;

/// For each tree, the manifests of the expired generations.
#[derive(Debug, Default)]
pub struct Expired(BTreeMap<PathBuf, BTreeSet<ObjectId>>);

impl Expired {
    pub fn find(store: &Store, config: &Config) -> Result<Self, StoreError> {
        let now = now();
        let trees = present_trees(store)?.into_iter().map(|(path, tree)| {
            let keep = config.keep(&tree.repository);
            (path, publish::expired_generations(&tree, keep, now))
        });
        Ok(Self(trees.filter(|(_, found)| !found.is_empty()).collect()))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn paths(&self) -> impl Iterator<Item = &PathBuf> {
        self.0.keys()
    }

    /// Whether the manifest is only needed by an expired generation of this tree.
    pub fn contains(&self, name: &Name, manifest: ObjectId) -> bool {
        match name {
            Name::Tree { path, .. } => {
                let expired = self.0.get(path);
                expired.is_some_and(|manifests| manifests.contains(&manifest))
            }
            Name::State { .. } | Name::Snapshot { .. } | Name::Transfer(_) => false,
        }
    }

    /// Publishes the trees again without these generations. A tree that cannot be published keeps
    /// its generations and is dropped from the list.
    pub fn remove(
        &mut self,
        storage: &Storage,
        config: &Config,
    ) -> Result<Vec<RequestError>, StoreError> {
        let mut errors = Vec::new();
        if self.is_empty() {
            return Ok(errors);
        }
        let trees = storage.read(Reader::trees)?;
        self.0.retain(|path, _| {
            let Some(tree) = trees.get(path) else {
                return false;
            };
            let keep = config.keep(&tree.repository);
            match publish::remove_expired_generations(storage, path, tree, keep) {
                Ok(()) => true,
                Err(error) => {
                    errors.push(error);
                    false
                }
            }
        });
        Ok(errors)
    }
}

/// Trees on disks that are not mounted are skipped and keep everything.
fn present_trees(store: &Store) -> Result<BTreeMap<PathBuf, TreeRecord>, StoreError> {
    let mut trees = store.read(Reader::trees)?;
    trees.retain(|path, tree| {
        tree.manifest.is_some() && publish::is_missing(path, tree).is_ok_and(|missing| !missing)
    });
    Ok(trees)
}
