//! A whole check: the database, the proofs, the pool, the trees, then what is to be read.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::config::Config;
use crate::digest::{ObjectId, ObjectRef};
use crate::progress::Progress;
use crate::storage::Storage;
use crate::store::{RowDamage, Table};
use crate::threads;

use super::error::CheckError;
use super::finding::{Damage, DamagedObject};
use super::hashing::{HashJob, HashTarget, HashTotals, hash_all};
use super::objects::{DamagedRows, PresentObject, find_objects, needed_objects};
use super::proofs::{Proved, prove_all};
use super::scope::{Records, Scope};
use super::subset::Subset;
use super::tree_finding::TreeFinding;
use super::trees::{CopiedFile, CopyPlace, PoolInodes, check_tree, named, of_copy};
use super::uses::find_uses;

/// Which files are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// Only what the proofs need: roots, signatures, keys and indexes.
    Quick,
    Part(Subset),
    Full,
}

/// What a check found.
#[derive(Debug, Default)]
pub struct CheckOutcome {
    /// In the order of their ids.
    pub damaged: Vec<DamagedObject>,
    pub proofs: Vec<Proved>,
    pub trees: Vec<TreeFinding>,
    pub rows: DamagedRows,
    pub notes: Vec<String>,
    /// The objects that states, snapshots and trees in scope need.
    pub objects: u64,
    pub hashed: HashTotals,
}

impl CheckOutcome {
    /// The number of findings. A proof that fails only because of damage counts once more.
    pub fn findings(&self) -> usize {
        let failed = self.proofs.iter().filter(|proved| !proved.proof.is_good());
        self.damaged.len() + self.trees.len() + self.rows.len() + failed.count()
    }
}

/// Checks the storage, without changing anything but the times when objects were verified.
pub fn check(
    storage: &Storage,
    config: &Config,
    scope: &Scope,
    depth: Depth,
    progress: &Progress,
) -> Result<CheckOutcome, CheckError> {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let workers = threads::pool("check", cores)?;
    let mut outcome = CheckOutcome {
        rows: damaged_rows(storage)?,
        ..CheckOutcome::default()
    };
    let all = Records::read(storage)?;
    let notes = &mut outcome.notes;
    outcome.proofs = prove_all(storage, config, &all, scope, &workers, notes)?;
    storage.interrupt.check()?;
    let records = Records::read(storage)?.within(scope);
    let needed = needed_objects(storage, &records, &mut outcome.rows)?;
    outcome.objects = needed.len() as u64;
    let (present, missing) = find_objects(&storage.pool, &needed, &workers);
    // Otherwise everything would be missing.
    storage.pool.check()?;
    let mut damaged: BTreeMap<ObjectId, (u64, Damage)> = BTreeMap::new();
    let mut add = |(content, damage): (ObjectRef, Damage)| {
        let size = needed.get(&content.object).copied().unwrap_or(content.size);
        damaged.entry(content.object).or_insert((size, damage));
    };
    missing.into_iter().for_each(&mut add);
    for proved in &outcome.proofs {
        proved.proof.damaged.iter().copied().for_each(&mut add);
    }
    let copies = check_trees(storage, &records, &present, &mut outcome)?;
    let jobs = jobs(storage, &records, depth, &present, copies)?;
    let hashed = hash_all(storage, jobs, &workers, progress)?;
    outcome.hashed = hashed.totals;
    if let Some(error) = hashed.unrecorded {
        let note = format!("it was not recorded which objects were verified: {error}");
        outcome.notes.push(note);
    }
    storage.pool.check()?;
    let trees: Vec<_> = records.trees.iter().collect();
    for (job, damage) in hashed.damaged {
        match job.target {
            HashTarget::Object { .. } => add((job.expected, damage)),
            HashTarget::Copy { tree, file } => {
                let (path, record) = trees[tree];
                let finding = vec![(of_copy(damage), Some(file.into()))];
                outcome.trees.extend(named(path, record, finding));
            }
        }
    }
    outcome.damaged = with_uses(storage, damaged)?;
    Ok(outcome)
}

/// Reads every row of the database.
fn damaged_rows(storage: &Storage) -> Result<DamagedRows, CheckError> {
    let mut rows = DamagedRows::new();
    for table in Table::ALL {
        storage.interrupt.check()?;
        let damaged = match storage.read(|reader| reader.damaged_rows(table)) {
            Ok(damaged) => damaged,
            Err(error) => vec![RowDamage::of(error)?],
        };
        for damage in damaged {
            rows.entry(damage).or_default();
        }
    }
    Ok(rows)
}

/// Compares the trees, and returns the files that are no links to the pool, by tree.
fn check_trees(
    storage: &Storage,
    records: &Records,
    present: &[PresentObject],
    outcome: &mut CheckOutcome,
) -> Result<Vec<Vec<CopiedFile>>, CheckError> {
    let pool = PoolInodes::new(storage, present);
    let mut copies = Vec::new();
    for (path, record) in &records.trees {
        let files = check_tree(storage, path, record, &pool)?;
        outcome.trees.extend(named(path, record, files.findings));
        let about_tree = |note: String| format!("{}: {note}", path.display());
        outcome
            .notes
            .extend(files.notes.into_iter().map(about_tree));
        copies.push(files.copies);
    }
    Ok(copies)
}

/// The files to hash.
fn jobs(
    storage: &Storage,
    records: &Records,
    depth: Depth,
    present: &[PresentObject],
    copies: Vec<Vec<CopiedFile>>,
) -> Result<Vec<HashJob>, CheckError> {
    let verified_at = match depth {
        Depth::Quick => HashMap::new(),
        Depth::Full | Depth::Part(_) => verified_at(storage, present)?,
    };
    let time = |object| verified_at.get(&object).copied();
    let chosen: Option<HashSet<ObjectId>> = match depth {
        Depth::Part(subset) => {
            let objects = present.iter().map(|found| found.content);
            let objects: Vec<_> = objects
                .map(|content| (content, time(content.object)))
                .collect();
            Some(subset.choose(&objects))
        }
        Depth::Quick => Some(HashSet::new()),
        Depth::Full => None,
    };
    let is_chosen = |object| {
        chosen
            .as_ref()
            .is_none_or(|chosen| chosen.contains(&object))
    };
    let objects = present
        .iter()
        .filter(|found| is_chosen(found.content.object));
    let mut jobs: Vec<HashJob> = objects
        .map(|found| HashJob {
            path: storage.pool.object_path(found.content.object),
            expected: found.content,
            inode: found.inode,
            target: HashTarget::Object {
                verified_at: time(found.content.object),
            },
        })
        .collect();
    for (tree, (path, copies)) in records.trees.keys().zip(copies).enumerate() {
        let copies = copies.into_iter();
        let copies = copies
            .filter(|copy| copy.place == CopyPlace::BesidePool || is_chosen(copy.content.object));
        jobs.extend(copies.map(|copy| HashJob {
            path: path.join(&copy.path),
            expected: copy.content,
            inode: copy.inode,
            target: HashTarget::Copy {
                tree,
                file: copy.path,
            },
        }));
    }
    Ok(jobs)
}

/// When the objects were verified last, as far as the database knows.
fn verified_at(
    storage: &Storage,
    present: &[PresentObject],
) -> Result<HashMap<ObjectId, i64>, CheckError> {
    let read = storage.read(|reader| {
        let mut times = HashMap::new();
        for found in present {
            let object = found.content.object;
            // A damaged row was reported; the object is verified again.
            if let Ok(Some(record)) = reader.object(object) {
                times.insert(object, record.verified_at);
            }
        }
        Ok(times)
    });
    match read {
        Ok(times) => Ok(times),
        Err(error) => {
            RowDamage::of(error)?;
            Ok(HashMap::new())
        }
    }
}

/// Finds out what the damaged objects affect, in the whole storage.
fn with_uses(
    storage: &Storage,
    damaged: BTreeMap<ObjectId, (u64, Damage)>,
) -> Result<Vec<DamagedObject>, CheckError> {
    if damaged.is_empty() {
        return Ok(Vec::new());
    }
    let records = Records::read(storage)?;
    let objects = damaged.keys().copied().collect();
    let mut uses = find_uses(storage, &records, &objects)?;
    let damaged = damaged.into_iter();
    Ok(damaged
        .map(|(object, (size, damage))| DamagedObject {
            object,
            size,
            damage,
            uses: uses.remove(&object).unwrap_or_default(),
        })
        .collect())
}
