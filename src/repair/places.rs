//! Where objects may be found: paths in published trees, and paths on upstreams. All manifests are
//! searched, and every chunk is read once, however many of them have it.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::PathBuf;

use crate::digest::ObjectId;
use crate::manifest::{Entry, Role};
use crate::names::{RepoId, SnapshotName};
use crate::rel_path::RelPath;
use crate::storage::Storage;
use crate::store::records::{SnapshotRecord, StateRecord};
use crate::store::{Reader, StoreError, Transaction};

/// The places of the wanted objects.
#[derive(Debug, Default)]
pub struct Places(HashMap<ObjectId, ObjectPlaces>);

/// The places of one object.
#[derive(Clone, Debug, Default)]
pub struct ObjectPlaces {
    /// Published trees that show it or retain it, with its paths in them.
    pub trees: BTreeMap<PathBuf, BTreeSet<RelPath>>,
    /// Paths on upstreams, those to request first at the beginning.
    pub upstreams: BTreeMap<RepoId, Vec<RelPath>>,
    pub roles: BTreeSet<Role>,
}

impl ObjectPlaces {
    /// Whether it is metadata that no upstream has: it was generated here.
    pub fn is_generated(&self) -> bool {
        let is_metadata = |role: &Role| matches!(role, Role::Root | Role::Index);
        self.upstreams.is_empty() && self.roles.iter().any(is_metadata)
    }
}

/// What a manifest is to be searched for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Holder {
    /// All of its files are those of the upstream.
    Verbatim(RepoId),
    /// Its roots and indexes were generated.
    Filtered(RepoId),
    /// As above, and the paths of packages may differ from those on the upstreams of the sources.
    Merged(BTreeSet<RepoId>),
    Tree {
        path: PathBuf,
        repository: RepoId,
    },
}

impl Places {
    pub fn find(storage: &Storage, wanted: &HashSet<ObjectId>) -> Result<Self, StoreError> {
        storage.read(|reader| {
            let mut of_chunk: BTreeMap<ObjectId, BTreeSet<Holder>> = BTreeMap::new();
            for (manifest, holders) in holders(reader)? {
                for chunk in reader.manifest(manifest)?.chunks {
                    let known = of_chunk.entry(chunk.id).or_default();
                    known.extend(holders.iter().cloned());
                }
            }
            let mut exact = Self::default();
            let mut guessed = Self::default();
            for (chunk, holders) in of_chunk {
                for entry in reader.chunk(chunk)? {
                    if wanted.contains(&entry.object) {
                        for holder in &holders {
                            exact.add(&entry, holder, &mut guessed);
                        }
                    }
                }
            }
            exact.append(guessed);
            Ok(exact)
        })
    }

    pub fn of(&self, object: ObjectId) -> Option<&ObjectPlaces> {
        self.0.get(&object)
    }

    fn add(&mut self, entry: &Entry, holder: &Holder, guessed: &mut Self) {
        let place = |places: &mut Self, repository: &RepoId| {
            let places = places.0.entry(entry.object).or_default();
            let paths = places.upstreams.entry(repository.clone()).or_default();
            if !paths.contains(&entry.path) {
                paths.push(entry.path.clone());
            }
        };
        let is_metadata = matches!(entry.role, Role::Root | Role::Index);
        let places = self.0.entry(entry.object).or_default();
        places.roles.insert(entry.role);
        match holder {
            Holder::Tree { path, repository } => {
                let paths = places.trees.entry(path.clone()).or_default();
                paths.insert(entry.path.clone());
                if !is_metadata {
                    place(guessed, repository);
                }
            }
            Holder::Verbatim(repository) => place(self, repository),
            Holder::Filtered(repository) if !is_metadata => place(self, repository),
            Holder::Merged(repositories) if !is_metadata => {
                for repository in repositories {
                    place(guessed, repository);
                }
            }
            Holder::Filtered(_) | Holder::Merged(_) => {}
        }
    }

    /// Adds places that are less likely.
    fn append(&mut self, guessed: Self) {
        for (object, places) in guessed.0 {
            let known = self.0.entry(object).or_default();
            for (repository, paths) in places.upstreams {
                let known = known.upstreams.entry(repository).or_default();
                let new = paths.into_iter().filter(|path| !known.contains(path));
                let new: Vec<RelPath> = new.collect();
                known.extend(new);
            }
        }
        for places in self.0.values_mut() {
            for paths in places.upstreams.values_mut() {
                // A path with the digest in it has the right bytes or none.
                paths.sort_by_key(|path| !path.as_str().contains("/by-hash/"));
            }
        }
    }
}

/// Every manifest, and what it is searched for.
fn holders(reader: &Reader) -> Transaction<BTreeMap<ObjectId, BTreeSet<Holder>>> {
    let mut all: BTreeMap<ObjectId, BTreeSet<Holder>> = BTreeMap::new();
    let mut add = |manifest: ObjectId, holder: Holder| {
        all.entry(manifest).or_default().insert(holder);
    };
    let mut add_state = |repository: &RepoId, state: &StateRecord| {
        let holder = if state.regenerated {
            Holder::Filtered(repository.clone())
        } else {
            Holder::Verbatim(repository.clone())
        };
        add(state.manifest, holder);
        if let Some(evidence) = state.evidence {
            add(evidence, Holder::Verbatim(repository.clone()));
        }
    };
    for (repository, record) in reader.repositories()? {
        add_state(&repository, &record.state);
    }
    let snapshots = reader.snapshots()?;
    let mut others = Vec::new();
    for ((repository, _), record) in &snapshots {
        if record.merged_from.is_empty() {
            add_state(repository, &record.state);
        } else {
            let mut sources = BTreeSet::new();
            add_sources(&snapshots, record, &mut BTreeSet::new(), &mut sources);
            others.push((record.state.manifest, Holder::Merged(sources)));
        }
    }
    for (path, tree) in reader.trees()? {
        for manifest in tree.promised() {
            let (path, repository) = (path.clone(), tree.repository.clone());
            others.push((manifest, Holder::Tree { path, repository }));
        }
    }
    for (manifest, holder) in others {
        add(manifest, holder);
    }
    Ok(all)
}

/// Adds the repositories from which the packages of a merge were downloaded.
fn add_sources(
    snapshots: &BTreeMap<(RepoId, SnapshotName), SnapshotRecord>,
    merge: &SnapshotRecord,
    seen: &mut BTreeSet<String>,
    sources: &mut BTreeSet<RepoId>,
) {
    for (name, source) in merge.sources() {
        let Some(source) = source.filter(|_| seen.insert(name.clone())) else {
            continue;
        };
        let key = source
            .snapshot
            .map(|name| (source.repository.clone(), name));
        match key.and_then(|key| snapshots.get(&key)) {
            Some(merge) if !merge.merged_from.is_empty() => {
                add_sources(snapshots, merge, seen, sources);
            }
            _ => {
                sources.insert(source.repository);
            }
        }
    }
}
