//! Decides what is published where: which state, path and root, and which requests are rejected.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::error::RequestError;
use super::publication::{Outcome, publish};
use super::request::{Caller, OlderRootPolicy, PublishMode, Request, RootChoice, RootGenerator};
use super::root::GeneratedRoot;
use crate::config::{self, Config, PackageCheck};
use crate::names::{RepoId, SnapshotName};
use crate::repo_format::RepoFormat;
use crate::signing_key::ConfiguredKey;
use crate::storage::Storage;
use crate::store::records::{SnapshotRecord, StateRecord, TreeRecord};
use crate::store::{Reader, StoreError};
use crate::time::now;

/// Publishes states and snapshots of one storage.
#[derive(Clone, Copy)]
pub struct Publisher<'a> {
    pub storage: &'a Storage,
    pub config: &'a Config,
    pub key: &'a ConfiguredKey<'a>,
    pub caller: Caller,
    pub mode: PublishMode,
}

/// Where to publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination<'a> {
    /// The path in the configuration of the repository.
    Configured,
    /// Another path, which is absolute.
    Path(&'a Path),
}

/// The result of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    pub path: PathBuf,
    pub format: RepoFormat,
    pub outcome: Outcome,
    /// When the upstream's root expired, in seconds since the epoch, if it has and clients see
    /// that.
    pub expired: Option<i64>,
}

/// A state and its repository.
#[derive(Clone, Copy)]
struct Content<'a> {
    repository: &'a RepoId,
    /// `None` for the repository's current state.
    snapshot: Option<&'a SnapshotName>,
    state: &'a StateRecord,
    older: OlderRootPolicy,
}

impl Publisher<'_> {
    /// Publishes a repository's current state.
    pub fn state(
        &self,
        repository: &RepoId,
        destination: Destination<'_>,
    ) -> Result<Published, RequestError> {
        let definition = self.config.repository(repository);
        let (path, older) = match destination {
            Destination::Path(path) => {
                self.reject_conflicting_path(path)?;
                (path, OlderRootPolicy::Redate)
            }
            Destination::Configured => {
                let path = definition.and_then(|found| found.publish.latest_path.as_deref());
                let path = path.ok_or_else(|| RequestError::NoLatestPath {
                    repository: repository.clone(),
                })?;
                // A state that `--allow-rollback` accepted is published here, although clients
                // ignore it.
                (path, OlderRootPolicy::Accept)
            }
        };
        let record = self
            .storage
            .read(|reader| reader.repository(repository))?
            .ok_or_else(|| RequestError::NeverSynced {
                repository: repository.clone(),
            })?;
        self.warn_of_unverified(repository, repository.as_str(), &record.state);
        let content = Content {
            repository,
            snapshot: None,
            state: &record.state,
            older,
        };
        self.publish(content, path)
    }

    /// Publishes a snapshot.
    pub fn snapshot(
        &self,
        repository: &RepoId,
        name: &SnapshotName,
        record: &SnapshotRecord,
        destination: Destination<'_>,
    ) -> Result<Published, RequestError> {
        let path =
            match destination {
                Destination::Path(path) => {
                    self.reject_conflicting_path(path)?;
                    path.to_owned()
                }
                Destination::Configured => snapshot_path(self.config, repository, name)
                    .ok_or_else(|| RequestError::NoSnapshotsPath {
                        repository: repository.clone(),
                    })?,
            };
        // A merge does not record which keys signed its packages: its sources do.
        if record.merged_from.is_empty() {
            let what = format!("{repository}/{name}");
            self.warn_of_unverified(repository, &what, &record.state);
        }
        let content = Content {
            repository,
            snapshot: Some(name),
            state: &record.state,
            older: OlderRootPolicy::Redate,
        };
        self.publish(content, &path)
    }

    fn publish(&self, content: Content<'_>, path: &Path) -> Result<Published, RequestError> {
        let Content {
            repository, state, ..
        } = content;
        let format = state.format.rules();
        let key_name = match self.config.repository(repository) {
            Some(definition) => definition.publish.key_name.clone(),
            None => config::default_key_name(state.format, repository),
        };
        let generator = RootGenerator {
            format,
            key: self.key,
            key_name: &key_name,
        };
        let root = if state.regenerated {
            RootChoice::Generated(generator)
        } else {
            RootChoice::Upstream {
                date: state.date().filter(|_| format.compares_dates()),
                generator,
                older: content.older,
            }
        };
        let request = Request {
            caller: self.caller,
            tree: path,
            repository,
            snapshot: content.snapshot,
            manifest: state.manifest,
            root,
            keep: self.config.keep(repository),
            mode: self.mode,
        };
        let outcome = publish(self.storage, request)
            .map_err(|source| RequestError::failed(repository, source))?;
        let has_generated_root = match &outcome {
            Outcome::Published(summary) => summary.root != GeneratedRoot::None,
            Outcome::Unchanged | Outcome::Skipped => false,
        };
        // A generated root of a snapshot has no expiry date.
        let has_validity = !has_generated_root || content.snapshot.is_none();
        let expired = state
            .valid_until()
            .filter(|until| has_validity && *until <= now());
        Ok(Published {
            path: path.to_owned(),
            format: state.format,
            outcome,
            expired,
        })
    }

    /// Otherwise an administrator who has enabled gpgcheck since the sync would assume that the
    /// packages were verified. `what` is the repository or the snapshot.
    fn warn_of_unverified(&self, repository: &RepoId, what: &str, state: &StateRecord) {
        let definition = self.config.repository(repository);
        let check = definition.and_then(config::Repository::package_check);
        if check == Some(PackageCheck::Required) && !state.has_verified_packages() {
            log::warn!(
                "{what}: package signatures were not verified: it was synced without gpgcheck"
            );
        }
    }

    /// Trees may be replaced as a whole, so they cannot be nested. A tree is not replaced either if an
    /// unusable repository definition may publish it.
    fn reject_conflicting_path(&self, path: &Path) -> Result<(), RequestError> {
        let trees = trees_on_disk(self.storage)?;
        let owner = trees.get(path).map(|record| &record.repository);
        if let Some(file) = owner.and_then(|owner| self.config.may_be_about(owner)) {
            return Err(RequestError::UnusableDefinition {
                path: path.to_owned(),
                file: file.to_owned(),
            });
        }
        let overlaps = |other: &&PathBuf| {
            *other != path && (path.starts_with(other) || other.starts_with(path))
        };
        match trees.keys().find(overlaps) {
            Some(other) => Err(RequestError::Overlap {
                path: path.to_owned(),
                other: other.clone(),
            }),
            None => Ok(()),
        }
    }
}

/// The path of a snapshot according to the configuration of its repository.
pub fn snapshot_path(config: &Config, repository: &RepoId, name: &SnapshotName) -> Option<PathBuf> {
    let snapshots_path = &config.repository(repository)?.publish.snapshots_path;
    Some(snapshots_path.as_ref()?.join(name.as_str()))
}

/// Whether no tree was ever published at this path, for example because the run was killed. False
/// for an unpublished path.
pub fn was_never_published(storage: &Storage, path: &Path) -> Result<bool, StoreError> {
    let record = storage.read(|reader| reader.tree(path))?;
    Ok(record.is_none_or(|record| record.wanted && record.manifest.is_none()))
}

/// Removes the expired generations of a tree, and what interrupted runs have left in it.
pub fn remove_expired_generations(
    storage: &Storage,
    path: &Path,
    tree: &TreeRecord,
    keep: Duration,
) -> Result<(), RequestError> {
    let Some(manifest) = tree.manifest else {
        return Ok(());
    };
    let request = Request {
        caller: Caller::Sync,
        tree: path,
        repository: &tree.repository,
        snapshot: tree.snapshot.as_ref(),
        manifest,
        // Keeps the current root, even if it was generated.
        root: RootChoice::Verbatim { date: None },
        keep,
        mode: PublishMode::IfChanged,
    };
    publish(storage, request)
        .map(drop)
        .map_err(|source| RequestError::failed(&tree.repository, source))
}

/// Published trees that exist, or may exist, on disk.
pub fn trees_on_disk(storage: &Storage) -> Result<BTreeMap<PathBuf, TreeRecord>, StoreError> {
    let mut trees = storage.read(Reader::trees)?;
    trees.retain(|_, tree| tree.is_on_disk());
    Ok(trees)
}

/// Selects published trees.
#[derive(Clone, Copy, Debug)]
pub enum TreeSelection<'a> {
    /// The tree at this path; `written` is the path before symbolic links were resolved.
    Path { path: &'a Path, written: &'a Path },
    Snapshot {
        repository: &'a RepoId,
        name: &'a SnapshotName,
    },
    /// The trees that show the state of the repository, not a snapshot.
    State { repository: &'a RepoId },
}

impl TreeSelection<'_> {
    pub fn select<'t>(
        &self,
        trees: &'t BTreeMap<PathBuf, TreeRecord>,
    ) -> Result<Vec<(&'t PathBuf, &'t TreeRecord)>, RequestError> {
        let chosen = |matches: &dyn Fn(&TreeRecord) -> bool| {
            trees.iter().filter(|(_, tree)| matches(tree)).collect()
        };
        Ok(match *self {
            Self::Path { path, written } => {
                let found = trees.get_key_value(path);
                let found = found.or_else(|| trees.get_key_value(written));
                vec![found.ok_or_else(|| RequestError::NotPublished {
                    path: path.to_owned(),
                })?]
            }
            Self::Snapshot { repository, name } => {
                chosen(&|tree| tree.is_of_snapshot(repository, name))
            }
            Self::State { repository } => {
                chosen(&|tree| tree.repository == *repository && tree.snapshot.is_none())
            }
        })
    }
}
