//! The steps of a repair: objects first, then the published trees that have them.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::PathBuf;

use super::context::RepairContext;
use super::error::RepairError;
use super::outcome::{Fate, MendedTree, RepairOutcome, RepairSource, Repaired, Unrepaired};
use super::places::{ObjectPlaces, Places};
use super::{fetch, keys, local, own};
use crate::check::{Damage, DamagedObject, Owner};
use crate::digest::{ObjectId, ObjectRef};
use crate::interrupt::Interrupt;
use crate::manifest::Role;
use crate::publish::{self, PublishError};
use crate::rel_path::RelPath;
use crate::storage::Storage;
use crate::sync::Workers;
use crate::time::now;

/// A file of a published tree that is damaged, missing or another one, although the pool has its
/// object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DamagedTreeFile {
    pub tree: PathBuf,
    pub path: RelPath,
}

/// Replaces damaged objects, and mends the published trees that have them or other damage. The
/// caller shares the storage with other runs.
pub fn repair(
    context: RepairContext<'_>,
    damaged: &[DamagedObject],
    tree_files: &[DamagedTreeFile],
) -> Result<RepairOutcome, RepairError> {
    let storage = context.storage;
    let wanted: HashSet<ObjectId> = damaged.iter().map(|damaged| damaged.object).collect();
    let places = Places::find(storage, &wanted)?;
    let mut objects = Objects::new(damaged);
    objects.restore(context, &places)?;
    objects.record(storage)?;
    let mut outcome = objects.into_outcome(&places, damaged);
    let repaired = outcome.repaired.iter().map(|one| one.damaged.object);
    let mut trees = mend_trees(storage, &places, repaired, tree_files)?;
    // Trees that need what was not repaired are listed there.
    let unrepaired = outcome.unrepaired.iter().map(|one| one.damaged.object);
    let unrepaired: HashSet<ObjectId> = unrepaired.collect();
    for tree in &mut trees {
        tree.errors.retain(|error| match error {
            PublishError::ObjectMissing { object, .. } => !unrepaired.contains(object),
            _ => true,
        });
    }
    trees.retain(|tree| tree.files > 0 || !tree.errors.is_empty());
    outcome.trees = trees;
    Ok(outcome)
}

/// The damaged objects, and what was found for them.
struct Objects<'d> {
    damaged: Vec<&'d DamagedObject>,
    sources: HashMap<ObjectId, RepairSource>,
    reasons: HashMap<ObjectId, Vec<String>>,
    requests: u64,
    bytes: u64,
}

impl<'d> Objects<'d> {
    fn new(damaged: &'d [DamagedObject]) -> Self {
        let mut seen = HashSet::new();
        let damaged = damaged.iter();
        Self {
            damaged: damaged.filter(|one| seen.insert(one.object)).collect(),
            sources: HashMap::new(),
            reasons: HashMap::new(),
            requests: 0,
            bytes: 0,
        }
    }

    /// The objects that were not found yet.
    fn wanted(&self) -> Vec<&'d DamagedObject> {
        let damaged = self.damaged.iter().copied();
        damaged
            .filter(|damaged| !self.sources.contains_key(&damaged.object))
            .collect()
    }

    /// Looks everywhere. Files on this machine come before the upstreams: the digest proves them
    /// just as well, and they cost no traffic, which may be billed or not be possible at all.
    fn restore(&mut self, context: RepairContext<'_>, places: &Places) -> Result<(), RepairError> {
        let storage = context.storage;
        for damaged in &self.damaged {
            storage.interrupt.check()?;
            if storage.pool.is_intact(damaged.object)? {
                self.sources.insert(damaged.object, RepairSource::Pool);
            }
        }
        let transfers: Interrupt = storage.interrupt.part();
        let workers = Workers {
            pool: context.workers,
            transfers: &transfers,
        };
        let found = local::restore(storage, workers, places, &self.wanted())?;
        self.sources.extend(found);
        let wanted = self.wanted();
        let keys = wanted.iter().filter(|damaged| may_be_keys(damaged));
        let keys: HashSet<ObjectId> = keys.map(|damaged| damaged.object).collect();
        if !keys.is_empty() {
            let found = keys::restore(context, &keys)?;
            self.sources.extend(found);
        }
        let fetched = fetch::fetch(context, places, &self.wanted())?;
        self.sources.extend(fetched.sources);
        self.reasons.extend(fetched.reasons);
        self.requests += fetched.requests;
        self.bytes += fetched.bytes;
        // Last, because the evidence may have been damaged as well.
        let generated = self.wanted().into_iter().map(|damaged| damaged.object);
        let generated = generated.filter(|object| {
            let places = places.of(*object);
            places.is_some_and(ObjectPlaces::is_generated)
        });
        let generated: HashSet<ObjectId> = generated.collect();
        if !generated.is_empty() {
            let found = own::restore(storage, &generated)?;
            self.sources.extend(found.sources);
            for (object, reasons) in found.reasons {
                self.reasons.entry(object).or_default().extend(reasons);
            }
        }
        Ok(())
    }

    /// Makes the objects durable, and records that their digests were computed. Downloads recorded
    /// their own.
    fn record(&self, storage: &Storage) -> Result<(), RepairError> {
        let is_new = |damaged: &&&DamagedObject| {
            let source = self.sources.get(&damaged.object);
            !matches!(source, None | Some(RepairSource::Upstream { .. }))
        };
        let new = self.damaged.iter().filter(is_new);
        let new: Vec<ObjectRef> = new
            .map(|damaged| ObjectRef {
                object: damaged.object,
                size: damaged.size,
            })
            .collect();
        if new.is_empty() {
            return Ok(());
        }
        storage.pool.flush()?;
        Ok(storage.remember(|writer| writer.put_objects(&new, now()))?)
    }

    fn into_outcome(mut self, places: &Places, damaged: &[DamagedObject]) -> RepairOutcome {
        let mut outcome = RepairOutcome {
            requests: self.requests,
            bytes_downloaded: self.bytes,
            ..RepairOutcome::default()
        };
        let mut seen = HashSet::new();
        for damaged in damaged.iter().filter(|damaged| seen.insert(damaged.object)) {
            let object = damaged.object;
            if let Some(source) = self.sources.remove(&object) {
                outcome.repaired.push(Repaired {
                    damaged: damaged.clone(),
                    source,
                });
                continue;
            }
            let found = places.of(object);
            let mut reasons = self.reasons.remove(&object).unwrap_or_default();
            if reasons.is_empty() {
                reasons.push(reason(damaged, found).to_owned());
            }
            let trees = found.map(|found| found.trees.keys().cloned());
            outcome.unrepaired.push(Unrepaired {
                damaged: damaged.clone(),
                reasons,
                fate: match damaged.damage {
                    Damage::Missing => Fate::Missing,
                    _ => Fate::Kept,
                },
                trees: trees.into_iter().flatten().collect(),
            });
        }
        outcome
    }
}

/// Why nothing has an object that was not even looked for elsewhere.
fn reason(damaged: &DamagedObject, places: Option<&ObjectPlaces>) -> &'static str {
    let is_root = places.is_some_and(|places| {
        places.is_generated() && places.roles.contains(&Role::Root) && !places.trees.is_empty()
    });
    if is_root {
        "it was generated when it was published: `chantal publish` with --recreate generates a new \
         one"
    } else if may_be_keys(damaged) {
        "the trusted keys have changed since then"
    } else {
        "no upstream and no published tree has it"
    }
}

fn may_be_keys(damaged: &DamagedObject) -> bool {
    let mut uses = damaged.uses.iter();
    uses.any(|one| one.role == Role::Key || matches!(one.owner, Owner::Keyring(_)))
}

/// Mends the trees that have the old files of objects that were stored again.
pub fn mend_trees_of(
    storage: &Storage,
    replaced: &BTreeSet<ObjectId>,
) -> Result<Vec<MendedTree>, RepairError> {
    let places = Places::find(storage, &replaced.iter().copied().collect())?;
    mend_trees(storage, &places, replaced.iter().copied(), &[])
}

/// Compares the trees that have repaired objects, and mends them and those with other damage.
fn mend_trees(
    storage: &Storage,
    places: &Places,
    repaired: impl Iterator<Item = ObjectId>,
    tree_files: &[DamagedTreeFile],
) -> Result<Vec<MendedTree>, RepairError> {
    let mut files: BTreeMap<PathBuf, BTreeSet<RelPath>> = BTreeMap::new();
    for object in repaired {
        let trees = places.of(object).into_iter();
        for (tree, paths) in trees.flat_map(|places| &places.trees) {
            let of_tree = files.entry(tree.clone()).or_default();
            of_tree.extend(paths.iter().cloned());
        }
    }
    for file in tree_files {
        let of_tree = files.entry(file.tree.clone()).or_default();
        of_tree.insert(file.path.clone());
    }
    let mut trees = Vec::new();
    for (path, files) in files {
        storage.interrupt.check()?;
        let (files, errors) = match publish::mend_files(storage, &path, &files) {
            Ok(mended) => (mended.files, mended.errors),
            Err(PublishError::Interrupted(error)) => return Err(error.into()),
            Err(error) => (0, vec![error]),
        };
        if files > 0 || !errors.is_empty() {
            trees.push(MendedTree {
                path,
                files,
                errors,
            });
        }
    }
    Ok(trees)
}
