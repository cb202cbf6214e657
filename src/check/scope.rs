//! What is checked: everything, or the states, snapshots and trees of some names.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use crate::digest::ObjectId;
use crate::names::{RepoId, SnapshotName};
use crate::storage::Storage;
use crate::store::StoreError;
use crate::store::records::{
    GeneratedRootKey, GeneratedRootRecord, RepositoryRecord, SnapshotRecord, TreeRecord,
};

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
    pub generated_roots: BTreeMap<GeneratedRootKey, GeneratedRootRecord>,
}

/// A stored root that no tree shows.
#[derive(Clone, Copy)]
pub struct UnpublishedRoot<'a> {
    pub key: &'a GeneratedRootKey,
    pub record: &'a GeneratedRootRecord,
    pub owner: RootOwner<'a>,
}

/// What needs the manifest that a root was generated for.
#[derive(Clone, Copy)]
pub enum RootOwner<'a> {
    State(&'a RepoId, &'a RepositoryRecord),
    Snapshot(&'a RepoId, &'a SnapshotName, &'a SnapshotRecord),
    /// It shows an earlier state.
    Tree(&'a TreeRecord),
}

impl<'a> RootOwner<'a> {
    pub fn repository(self) -> &'a RepoId {
        match self {
            Self::State(repository, _) | Self::Snapshot(repository, _, _) => repository,
            Self::Tree(tree) => &tree.repository,
        }
    }

    pub fn snapshot(self) -> Option<&'a SnapshotName> {
        match self {
            Self::State(..) => None,
            Self::Snapshot(_, name, _) => Some(name),
            Self::Tree(tree) => tree.snapshot.as_ref(),
        }
    }
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
                generated_roots: reader.intact_generated_roots()?,
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

    /// The stored roots in scope that no tree shows: those of trees are proved with them. What
    /// nothing needs any more is removed by the next cleanup.
    pub fn unpublished_roots(&self, scope: &Scope) -> Vec<UnpublishedRoot<'_>> {
        let is_shown = |root: &GeneratedRootRecord| {
            let mut trees = self.trees.values().filter(|tree| scope.has_tree(tree));
            trees.any(|tree| tree.manifest == Some(root.manifest))
        };
        let roots = self.generated_roots.iter();
        roots
            .filter(|(_, record)| !is_shown(record))
            .filter_map(|(key, record)| {
                let owner = self.owner_of(key.source, scope)?;
                Some(UnpublishedRoot { key, record, owner })
            })
            .collect()
    }

    fn owner_of(&self, source: ObjectId, scope: &Scope) -> Option<RootOwner<'_>> {
        let states = self.repositories.iter();
        let mut states = states.filter(|(id, _)| scope.has_state(id));
        if let Some((id, record)) = states.find(|(_, record)| record.state.manifest == source) {
            return Some(RootOwner::State(id, record));
        }
        let snapshots = self.snapshots.iter();
        let mut snapshots = snapshots.filter(|((id, name), _)| scope.has_snapshot(id, name));
        let found = snapshots.find(|(_, record)| record.state.manifest == source);
        if let Some(((id, name), record)) = found {
            return Some(RootOwner::Snapshot(id, name, record));
        }
        let mut trees = self.trees.values().filter(|tree| scope.has_tree(tree));
        let tree = trees.find(|tree| tree.source == Some(source))?;
        Some(RootOwner::Tree(tree))
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
        for root in self.unpublished_roots(&Scope::default()) {
            let name = match root.owner.snapshot() {
                Some(name) => format!("{}/{name}", root.owner.repository()),
                None => root.owner.repository().to_string(),
            };
            all.push((
                format!("the generated root of {name}"),
                root.record.manifest,
            ));
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
