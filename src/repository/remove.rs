//! Removes a repository: its published trees, its records in the database, and its keys.
//!
//! Trees are removed first, then all records in one transaction, and the keys last: after a kill at
//! any point the repository is still known, and the next run completes the removal. If a tree
//! cannot be removed, because its disk is not mounted or it contains foreign files, the repository
//! is kept.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;

use crate::config::Config;
use crate::exit::Exit;
use crate::interrupt::Interrupted;
use crate::lock::LockError;
use crate::names::{RepoId, SnapshotName, known_names};
use crate::pool::exit_of_io;
use crate::publish::{
    MissingTree, RecordFate, RequestError, Unpublished, complete_interrupted, unpublish_tree,
};
use crate::snapshot::{self, NameUsage, Snapshot, join_paths};
use crate::storage::Storage;
use crate::store::records::{StateRecord, TreeRecord};
use crate::store::{Name, Reader, Store, StoreError, Transaction};
use crate::trust;

/// Whether the snapshots of a removed repository are deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SnapshotPolicy {
    Kept,
    Deleted(PublishedSnapshots),
}

/// Whether published snapshots can be deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PublishedSnapshots {
    Refused,
    Unpublished,
}

#[derive(Debug, thiserror::Error)]
pub enum RemoveError {
    #[error("{repository} is still configured ({})", file.display())]
    StillConfigured { repository: RepoId, file: PathBuf },
    #[error("cannot remove {repository}: {} is invalid and may define it", file.display())]
    MayBeConfigured { repository: RepoId, file: PathBuf },
    #[error("unknown repository {repository}{}", known_names(known))]
    Unknown {
        repository: RepoId,
        known: BTreeSet<RepoId>,
    },
    #[error("snapshots of {repository} are published at {}", join_paths(paths))]
    SnapshotsPublished {
        repository: RepoId,
        paths: Vec<PathBuf>,
    },
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Lock(#[from] LockError),
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl RemoveError {
    pub fn exit(&self) -> Exit {
        match self {
            Self::StillConfigured { .. }
            | Self::MayBeConfigured { .. }
            | Self::Unknown { .. }
            | Self::SnapshotsPublished { .. } => Exit::Usage,
            Self::Store(error) => error.exit(),
            Self::Lock(error) => error.exit(),
            Self::Interrupted(_) => Exit::Interrupted,
            Self::Io(error) => exit_of_io(error),
        }
    }
}

/// The removal of a repository.
pub struct RepositoryRemoval<'a> {
    config: &'a Config,
    repository: &'a RepoId,
    snapshot_policy: SnapshotPolicy,
}

/// Everything that belongs to the repository, and what is done with it.
#[derive(Debug)]
pub struct RemovalPlan {
    pub repository: RepoId,
    pub state: Option<StateRecord>,
    pub syncs: usize,
    pub snapshots: Vec<Snapshot>,
    pub snapshot_policy: SnapshotPolicy,
    /// The trees that are removed.
    pub trees: BTreeMap<PathBuf, TreeRecord>,
    /// The file of its trusted keys.
    pub keys: Option<PathBuf>,
    /// Objects that nothing needs after the removal, and their bytes.
    pub freed_objects: u64,
    pub freed_bytes: u64,
    /// Bytes that its kept snapshots need.
    pub kept_bytes: u64,
}

/// The result of removing a repository.
#[derive(Debug)]
pub struct RemovalOutcome {
    pub plan: RemovalPlan,
    pub unpublished: Vec<Unpublished>,
    /// Errors at trees that could not be removed. With any error, the repository is kept.
    pub errors: Vec<RequestError>,
}

impl<'a> RepositoryRemoval<'a> {
    /// Refuses a repository that is configured, or may be.
    pub fn new(
        config: &'a Config,
        repository: &'a RepoId,
        snapshot_policy: SnapshotPolicy,
    ) -> Result<Self, RemoveError> {
        if let Some(definition) = config.repository(repository) {
            return Err(RemoveError::StillConfigured {
                repository: repository.clone(),
                file: definition.file.clone(),
            });
        }
        if let Some(file) = config.may_be_about(repository) {
            return Err(RemoveError::MayBeConfigured {
                repository: repository.clone(),
                file: file.to_owned(),
            });
        }
        Ok(Self {
            config,
            repository,
            snapshot_policy,
        })
    }

    /// Plans the removal. It is an error if the repository is unknown, or if a snapshot that would
    /// be deleted is published and this is refused. `store` is `None` if there is no storage.
    pub fn plan(&self, store: Option<&Store>) -> Result<RemovalPlan, RemoveError> {
        let id = self.repository;
        let Some(store) = store else {
            return Err(self.unknown(BTreeSet::new()));
        };
        let keys = trust::file_of(&self.config.storage, id)?;
        let known = store.read(Reader::known_repositories)?;
        if keys.is_none() && !known.contains(id) {
            return Err(self.unknown(known));
        }
        let plan = store.read(|reader| RemovalPlan::of(reader, id, self.snapshot_policy, keys))?;
        let showing: Vec<PathBuf> = plan
            .trees
            .iter()
            .filter(|(_, tree)| tree.snapshot.is_some())
            .map(|(path, _)| path.clone())
            .collect();
        let may_be_published =
            self.snapshot_policy == SnapshotPolicy::Deleted(PublishedSnapshots::Unpublished);
        if !showing.is_empty() && !may_be_published {
            return Err(RemoveError::SnapshotsPublished {
                repository: id.clone(),
                paths: showing,
            });
        }
        Ok(plan)
    }

    /// Removes the repository, unless one of its trees cannot be removed.
    pub fn apply(
        &self,
        storage: &Storage,
        absent: MissingTree,
    ) -> Result<RemovalOutcome, RemoveError> {
        let id = self.repository;
        let _lock = storage.locks.repository(id)?;
        complete_interrupted(storage, id)?;
        let plan = self.plan(Some(&storage.store))?;
        let (mut unpublished, mut errors) = (Vec::new(), Vec::new());
        for (path, tree) in &plan.trees {
            storage.interrupt.check()?;
            match unpublish_tree(storage, path, tree, RecordFate::Remove, absent) {
                Ok(tree) => unpublished.push(tree),
                Err(error) => errors.push(error),
            }
        }
        // The objects of a tree that is still published are kept only because of these records.
        if errors.is_empty() {
            storage.write(|writer| {
                writer.remove_repository(id)?;
                if plan.deletes_snapshots() {
                    for snapshot in &plan.snapshots {
                        writer.remove_snapshot(&snapshot.repository, &snapshot.name)?;
                    }
                }
                Ok(())
            })?;
            storage.locks.check()?;
            trust::forget(&self.config.storage, id)?;
        }
        Ok(RemovalOutcome {
            plan,
            unpublished,
            errors,
        })
    }

    fn unknown(&self, known: BTreeSet<RepoId>) -> RemoveError {
        RemoveError::Unknown {
            repository: self.repository.clone(),
            known,
        }
    }
}

impl RemovalPlan {
    fn of(
        reader: &Reader,
        id: &RepoId,
        snapshot_policy: SnapshotPolicy,
        keys: Option<PathBuf>,
    ) -> Transaction<Self> {
        let repository = id;
        let is_removed = |owner: &RepoId, snapshot: Option<&SnapshotName>| {
            owner == repository && (snapshot.is_none() || snapshot_policy != SnapshotPolicy::Kept)
        };
        let mut trees = reader.trees()?;
        trees.retain(|_, tree| is_removed(&tree.repository, tree.snapshot.as_ref()));
        let is_removed_name = |name: &Name| match name {
            Name::State { repository } => is_removed(repository, None),
            Name::Snapshot { repository, name } => is_removed(repository, Some(name)),
            Name::Tree { path, .. } => trees.contains_key(path),
            Name::Transfer(_) => false,
        };
        let freed = snapshot::exclusive_usage(reader, |name| {
            if is_removed_name(name) {
                NameUsage::Counted
            } else {
                NameUsage::Kept
            }
        })?;
        let kept = snapshot::exclusive_usage(reader, |name| match name {
            Name::Snapshot { repository: of, .. } if of == repository && !is_removed_name(name) => {
                NameUsage::Counted
            }
            _ => NameUsage::Ignored,
        })?;
        Ok(Self {
            repository: id.clone(),
            state: reader.repository(repository)?.map(|record| record.state),
            syncs: reader.history(repository, usize::MAX)?.len(),
            snapshots: snapshot::list(reader, Some(repository))?,
            snapshot_policy,
            trees,
            keys,
            freed_objects: freed.own_objects,
            freed_bytes: freed.own_bytes,
            kept_bytes: kept.bytes,
        })
    }

    pub fn deletes_snapshots(&self) -> bool {
        self.snapshot_policy != SnapshotPolicy::Kept
    }
}

impl RemovalOutcome {
    /// Whether the repository was removed completely.
    pub fn is_complete(&self) -> bool {
        self.errors.is_empty()
    }
}
