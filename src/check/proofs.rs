//! Proves every state, snapshot and published tree in scope.

use std::path::{Path, PathBuf};

use rayon::prelude::*;

use crate::config::Config;
use crate::digest::ObjectId;
use crate::names::{RepoId, SnapshotName};
use crate::storage::Storage;
use crate::store::records::{
    GeneratedRootKey, MergeSource, SnapshotRecord, StateRecord, TreeRecord,
};

use super::chain::{EarlierRoot, Origin, Trust, TrustedKeyring, prove};
use super::error::CheckError;
use super::proof::{ProblemKind, Proof, ProofError};
use super::published_root::{GeneratedManifest, OwnKeys, prove_generated};
use super::revocations::known_keyrings;
use super::roots::WeakSignatures;
use super::scope::{Records, RootOwner, Scope, UnpublishedRoot};
use super::source::StorageSource;

/// What was proved.
#[derive(Clone, Debug)]
pub struct Proved {
    pub repository: RepoId,
    /// `None` for the current state.
    pub snapshot: Option<SnapshotName>,
    /// A tree that shows it.
    pub tree: Option<PathBuf>,
    /// A stored root of it that no tree shows.
    pub generated_root: Option<GeneratedRootKey>,
    pub proof: Proof,
}

/// A proof of a manifest, which several names may share.
struct Job<'a> {
    repository: &'a RepoId,
    state: StateRecord,
    origin: Origin,
}

/// What a proof is of.
struct Subject<'a> {
    repository: &'a RepoId,
    snapshot: Option<&'a SnapshotName>,
    part: SubjectPart<'a>,
    /// The job that proves its content.
    job: Option<usize>,
}

/// What is proved besides the content.
#[derive(Clone, Copy)]
enum SubjectPart<'a> {
    Content,
    Tree(SubjectTree<'a>),
    GeneratedRoot(UnpublishedRoot<'a>),
}

/// A published tree, and the manifest of what it shows.
#[derive(Clone, Copy)]
struct SubjectTree<'a> {
    path: &'a Path,
    record: &'a TreeRecord,
    content: ObjectId,
}

/// Proves what is in scope, on all threads.
pub fn prove_all(
    storage: &Storage,
    config: &Config,
    records: &Records,
    scope: &Scope,
    workers: &rayon::ThreadPool,
    notes: &mut Vec<String>,
) -> Result<Vec<Proved>, CheckError> {
    let revocations = known_keyrings(storage, config, &records.keyrings(), notes);
    let now = crate::time::now();
    let trust = Trust {
        keys: TrustedKeyring::OfState,
        revocations: &revocations,
        weak: WeakSignatures::Accepted,
        now,
    };
    let mut jobs = Vec::new();
    let subjects = subjects(storage, records, scope, &mut jobs)?;
    let proofs: Vec<Result<Proof, ProofError>> = workers.install(|| {
        let proofs = jobs.par_iter().map(|job| {
            let source = StorageSource {
                storage,
                repository: job.repository,
            };
            prove(&source, &job.state, &job.origin, &trust)
        });
        proofs.collect()
    });
    let proofs: Vec<Proof> = proofs.into_iter().collect::<Result<_, _>>()?;
    let keys = OwnKeys {
        revocations: &revocations,
        now,
    };
    let finish = |subject: Subject<'_>| {
        let mut proof = match subject.job {
            Some(job) => proofs[job].clone(),
            None => orphan(),
        };
        let (mut tree, mut generated_root) = (None, None);
        match subject.part {
            SubjectPart::Content => {}
            SubjectPart::Tree(found) => tree = Some(found.path.to_owned()),
            SubjectPart::GeneratedRoot(root) => generated_root = Some(root.key.clone()),
        }
        if let Some(job) = subject.job {
            prove_part(storage, &subject, &jobs[job].state, keys, &mut proof)?;
        }
        Ok(Proved {
            repository: subject.repository.clone(),
            snapshot: subject.snapshot.cloned(),
            tree,
            generated_root,
            proof,
        })
    };
    subjects.into_iter().map(finish).collect()
}

/// A tree whose content is not recorded.
fn orphan() -> Proof {
    let mut proof = Proof::default();
    let what = "shows what is neither a state nor a snapshot of the database";
    proof.problem(ProblemKind::Tree, None, what);
    proof
}

fn subjects<'a>(
    storage: &Storage,
    records: &'a Records,
    scope: &Scope,
    jobs: &mut Vec<Job<'a>>,
) -> Result<Vec<Subject<'a>>, CheckError> {
    let mut subjects = Vec::new();
    for (repository, record) in &records.repositories {
        if scope.has_state(repository) {
            subjects.push(Subject {
                repository,
                snapshot: None,
                part: SubjectPart::Content,
                job: Some(add(jobs, repository, &record.state, Origin::Sync)),
            });
        }
    }
    for ((repository, name), record) in &records.snapshots {
        if scope.has_snapshot(repository, name) {
            subjects.push(Subject {
                repository,
                snapshot: Some(name),
                part: SubjectPart::Content,
                job: Some(add_snapshot(jobs, records, repository, record)),
            });
        }
    }
    for (path, tree) in &records.trees {
        if !scope.has_tree(tree) {
            continue;
        }
        let Some(content) = known_content(storage, tree)? else {
            continue;
        };
        subjects.push(Subject {
            repository: &tree.repository,
            snapshot: tree.snapshot.as_ref(),
            part: SubjectPart::Tree(SubjectTree {
                path,
                record: tree,
                content,
            }),
            job: content_of(storage, records, tree, content, jobs)?,
        });
    }
    for root in records.unpublished_roots(scope) {
        let job = match root.owner {
            RootOwner::State(repository, record) => {
                Some(add(jobs, repository, &record.state, Origin::Sync))
            }
            RootOwner::Snapshot(repository, _, record) => {
                Some(add_snapshot(jobs, records, repository, record))
            }
            RootOwner::Tree(tree) => content_of(storage, records, tree, root.key.source, jobs)?,
        };
        subjects.push(Subject {
            repository: root.owner.repository(),
            snapshot: root.owner.snapshot(),
            part: SubjectPart::GeneratedRoot(root),
            job,
        });
    }
    Ok(subjects)
}

/// The job that proves a state; an equal one is used again.
fn add<'a>(
    jobs: &mut Vec<Job<'a>>,
    repository: &'a RepoId,
    state: &StateRecord,
    origin: Origin,
) -> usize {
    let is_same =
        |job: &Job<'_>| job.state == *state && job.repository == repository && job.origin == origin;
    jobs.iter().position(is_same).unwrap_or_else(|| {
        jobs.push(Job {
            repository,
            state: state.clone(),
            origin,
        });
        jobs.len() - 1
    })
}

fn add_snapshot<'a>(
    jobs: &mut Vec<Job<'a>>,
    records: &Records,
    repository: &'a RepoId,
    record: &SnapshotRecord,
) -> usize {
    let origin = if record.merged_from.is_empty() {
        Origin::Sync
    } else {
        merge_origin(records, record)
    };
    add(jobs, repository, &record.state, origin)
}

/// The sources of a merge that are still what they were.
fn merge_origin(records: &Records, merge: &SnapshotRecord) -> Origin {
    let (mut sources, mut missing) = (Vec::new(), Vec::new());
    for (name, source) in merge.sources() {
        let manifest = source.and_then(|source| manifest_of(records, source, merge.created_at));
        match manifest {
            Some(manifest) => sources.push(manifest),
            None => missing.push(name.clone()),
        }
    }
    Origin::Merge { sources, missing }
}

/// The manifest of a source, if it is still the one that was merged.
fn manifest_of(records: &Records, source: MergeSource, merged_at: i64) -> Option<ObjectId> {
    let MergeSource {
        repository,
        snapshot,
    } = source;
    let Some(name) = snapshot else {
        let record = records.repositories.get(&repository)?;
        return (record.state.synced_at <= merged_at).then_some(record.state.manifest);
    };
    let record = records.snapshots.get(&(repository, name))?;
    // Otherwise it was deleted, and its name was used again.
    (record.created_at <= merged_at).then_some(record.state.manifest)
}

/// The manifest of the state or snapshot that a tree shows. Cleanups of earlier versions removed it
/// when it had a generated root and its repository moved on: its own files are what is left.
fn known_content(storage: &Storage, tree: &TreeRecord) -> Result<Option<ObjectId>, CheckError> {
    let Some(source) = tree.source else {
        return Ok(tree.manifest);
    };
    let is_known = storage.read(|reader| reader.has_manifest(source))?;
    Ok(if is_known {
        Some(source)
    } else {
        tree.manifest
    })
}

/// The job that proves what a tree shows: its state or snapshot, or an earlier state. `None` if
/// there is no state of its repository.
fn content_of<'a>(
    storage: &Storage,
    records: &'a Records,
    tree: &'a TreeRecord,
    content: ObjectId,
    jobs: &mut Vec<Job<'a>>,
) -> Result<Option<usize>, CheckError> {
    let repository = &tree.repository;
    if let Some(name) = &tree.snapshot {
        let key = (repository.clone(), name.clone());
        let record = records.snapshots.get(&key);
        let record = record.filter(|record| record.state.manifest == content);
        return Ok(record.map(|record| add_snapshot(jobs, records, repository, record)));
    }
    let Some(record) = records.repositories.get(repository) else {
        return Ok(None);
    };
    if record.state.manifest == content {
        return Ok(Some(add(jobs, repository, &record.state, Origin::Sync)));
    }
    // Publishing may be off, or may have failed since.
    let root = if tree.source.is_some() {
        EarlierRoot::Generated
    } else {
        EarlierRoot::Upstream
    };
    let state = earlier_state(storage, &record.state, tree, content)?;
    let origin = Origin::Earlier { root };
    Ok(Some(add(jobs, repository, &state, origin)))
}

/// What is known of an earlier state.
fn earlier_state(
    storage: &Storage,
    current: &StateRecord,
    tree: &TreeRecord,
    manifest: ObjectId,
) -> Result<StateRecord, CheckError> {
    let totals = storage.read(|reader| Ok(reader.manifest(manifest).ok().map(|m| m.totals())))?;
    let totals = totals.unwrap_or_default();
    Ok(StateRecord {
        manifest,
        evidence: None,
        missing: std::collections::BTreeMap::new(),
        packages: totals.packages,
        bytes: totals.bytes,
        synced_at: tree.published_at,
        ..current.clone()
    })
}

/// Proves what there is besides the content: a generated root.
fn prove_part(
    storage: &Storage,
    subject: &Subject<'_>,
    state: &StateRecord,
    keys: OwnKeys<'_>,
    proof: &mut Proof,
) -> Result<(), CheckError> {
    let format = state.format.rules();
    let generated = match subject.part {
        SubjectPart::Content => return Ok(()),
        SubjectPart::Tree(SubjectTree {
            record, content, ..
        }) => {
            let (Some(manifest), Some(_)) = (record.manifest, record.source) else {
                return Ok(());
            };
            if content == manifest {
                proof.note("what it was published from is not in the database any more".to_owned());
            }
            GeneratedManifest {
                format,
                manifest,
                content,
                root_key: record.root_key.as_deref(),
            }
        }
        SubjectPart::GeneratedRoot(root) => GeneratedManifest {
            format,
            manifest: root.record.manifest,
            content: root.key.source,
            root_key: root.key.signed_by.as_deref(),
        },
    };
    let source = StorageSource {
        storage,
        repository: subject.repository,
    };
    Ok(prove_generated(&source, generated, keys, proof)?)
}
