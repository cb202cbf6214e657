//! What is checked: everything, or the states, snapshots and trees of some names.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use crate::digest::ObjectId;
use crate::names::{RepoId, SnapshotName};
use crate::storage::Storage;
use crate::store::StoreError;
use crate::store::records::{RepositoryRecord, SnapshotRecord, TreeRecord};

/// The chosen names; with none of them, everything.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// With all their snapshots.
    pub repositories: BTreeSet<RepoId>,
    pub snapshots: BTreeSet<(RepoId, SnapshotName)>,
}

/// All records that can be read.
pub struct Records {
    pub repositories: BTreeMap<RepoId, RepositoryRecord>,
    pub snapshots: BTreeMap<(RepoId, SnapshotName), SnapshotRecord>,
    pub trees: BTreeMap<PathBuf, TreeRecord>,
}

impl Scope {
    pub fn is_everything(&self) -> bool {
        self.repositories.is_empty() && self.snapshots.is_empty()
    }

    pub fn has_state(&self, repository: &RepoId) -> bool {
        self.is_everything() || self.repositories.contains(repository)
    }

    pub fn has_snapshot(&self, repository: &RepoId, name: &SnapshotName) -> bool {
        self.has_state(repository) || self.snapshots.contains(&(repository.clone(), name.clone()))
    }

    pub fn has_tree(&self, tree: &TreeRecord) -> bool {
        match &tree.snapshot {
            None => self.has_state(&tree.repository),
            Some(name) => self.has_snapshot(&tree.repository, name),
        }
    }
}

impl Records {
    /// Rows that cannot be read are left out; the check of the database reports them.
    pub fn read(storage: &Storage) -> Result<Self, StoreError> {
        storage.read(|reader| {
            Ok(Self {
                repositories: reader.intact_repositories()?,
                snapshots: reader.intact_snapshots()?,
                trees: reader.intact_trees()?,
            })
        })
    }

    pub fn within(mut self, scope: &Scope) -> Self {
        self.repositories.retain(|id, _| scope.has_state(id));
        self.snapshots
            .retain(|(id, name), _| scope.has_snapshot(id, name));
        self.trees.retain(|_, tree| scope.has_tree(tree));
        self
    }

    /// Every manifest that they need, with what needs it.
    pub fn manifests(&self) -> Vec<(String, ObjectId)> {
        let mut all = Vec::new();
        for (id, record) in &self.repositories {
            let manifests = record.state.manifests();
            all.extend(manifests.map(|manifest| (id.to_string(), manifest)));
        }
        for ((id, name), record) in &self.snapshots {
            let manifests = record.state.manifests();
            all.extend(manifests.map(|manifest| (format!("{id}/{name}"), manifest)));
        }
        for (path, tree) in &self.trees {
            // Of earlier generations only some files are needed.
            let manifests = tree.manifest.into_iter().chain(tree.staged());
            all.extend(manifests.map(|manifest| (path.display().to_string(), manifest)));
        }
        all
    }

    /// The keyrings that states were synced with.
    pub fn keyrings(&self) -> BTreeSet<ObjectId> {
        let states = self.repositories.values().map(|record| &record.state);
        let states = states.chain(self.snapshots.values().map(|record| &record.state));
        states.filter_map(|state| state.keyring).collect()
    }
}
