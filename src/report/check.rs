//! The result of a check.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

use serde::Serialize;

use super::affected::AffectedFile;
use super::encode::{optional_path, path};
use super::repair::RepairResult;
use crate::check::{
    CheckOutcome, Damage, DamagedObject, Depth, ObjectUse, Owner, ProblemKind, Proved, TreeDamage,
    TreeFinding, Verdict,
};
use crate::digest::ObjectId;
use crate::names::{RepoId, SnapshotName};
use crate::rel_path::RelPath;

#[derive(Clone, Debug, Serialize)]
pub struct CheckResult {
    /// Whether nothing is wrong; notes do not count.
    pub good: bool,
    /// `quick`, `part` or `full`.
    pub depth: &'static str,
    /// The objects that were needed, and checked for presence and size.
    pub objects: u64,
    /// Files that were read and hashed: objects, and copies in published trees.
    pub files_hashed: u64,
    pub bytes_hashed: u64,
    /// Every state, snapshot and published tree, and generated roots that no tree shows.
    pub states: Vec<CheckedState>,
    pub damaged_objects: Vec<DamagedObjectResult>,
    pub trees: Vec<TreeDamageResult>,
    pub database: Vec<DamagedRowResult>,
    pub notes: Vec<String>,
    /// What `--repair` did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repair: Option<RepairResult>,
}

/// A state, a snapshot, or a tree or generated root of one of them.
#[derive(Clone, Debug, Serialize)]
pub struct CheckedState {
    pub repository: RepoId,
    /// `None` for the current state.
    pub snapshot: Option<SnapshotName>,
    #[serde(serialize_with = "optional_path")]
    pub tree: Option<PathBuf>,
    /// Whether this is a stored root of it that no tree shows.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub generated_root: bool,
    /// `proved`, `proved_to_evidence`, `own`, `unsigned`, `unproved`, or `failed` if there are
    /// problems.
    pub verdict: &'static str,
    /// Fingerprints of the keys behind good signatures.
    pub signed_by: Vec<String>,
    /// The user ids of these keys.
    #[serde(skip)]
    pub signers: Vec<String>,
    pub packages: u64,
    /// The number of damaged objects that it needs.
    pub damaged_objects: u64,
    pub problems: Vec<ProblemResult>,
    pub notes: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ProblemResult {
    /// `damaged`, `database`, `untrusted`, `signature`, `root`, `index`, `unlisted`, `absent`, `key`
    /// or `tree`.
    pub kind: &'static str,
    pub path: Option<RelPathText>,
    pub problem: String,
}

/// A path in a repository, as text.
pub type RelPathText = String;

#[derive(Clone, Debug, Serialize)]
pub struct DamagedObjectResult {
    pub object: ObjectId,
    /// As it should be, in bytes.
    pub size: u64,
    /// `missing`, `size`, `digest` or `unreadable`.
    pub damage: &'static str,
    /// The same for people.
    pub problem: String,
    pub affects: Vec<AffectedFile>,
}

#[derive(Clone, Debug, Serialize)]
pub struct TreeDamageResult {
    #[serde(serialize_with = "path")]
    pub tree: PathBuf,
    pub repository: RepoId,
    pub snapshot: Option<SnapshotName>,
    /// `tree_missing`, `not_a_directory`, `missing`, `not_a_file`, `size`, `writable`, `digest`,
    /// `unreadable`, `foreign` or `unlisted`.
    pub damage: &'static str,
    /// The same for people.
    pub problem: String,
    /// The file in the tree; `None` for the tree itself.
    #[serde(serialize_with = "optional_path")]
    pub path: Option<PathBuf>,
}

#[derive(Clone, Debug, Serialize)]
pub struct DamagedRowResult {
    /// `None` if pages of the file are damaged.
    pub table: Option<String>,
    pub key: Option<String>,
    pub problem: String,
    /// States, snapshots and trees that need it, as far as that is known.
    pub affects: Vec<String>,
}

impl CheckResult {
    pub fn of(outcome: &CheckOutcome, depth: Depth) -> Self {
        let damaged = &outcome.damaged;
        let rows = outcome.rows.iter();
        let counts = count_by_owner(damaged);
        Self {
            good: outcome.findings() == 0,
            depth: match depth {
                Depth::Quick => "quick",
                Depth::Part(_) => "part",
                Depth::Full => "full",
            },
            objects: outcome.objects,
            files_hashed: outcome.hashed.files,
            bytes_hashed: outcome.hashed.bytes,
            states: outcome
                .proofs
                .iter()
                .map(|proved| CheckedState::of(proved, &counts))
                .collect(),
            damaged_objects: damaged.iter().map(DamagedObjectResult::from).collect(),
            trees: outcome.trees.iter().map(TreeDamageResult::from).collect(),
            database: rows
                .map(|(row, affects)| DamagedRowResult {
                    table: row.table.clone(),
                    key: row.key.clone(),
                    problem: row.why.clone(),
                    affects: affects.iter().cloned().collect(),
                })
                .collect(),
            notes: outcome.notes.clone(),
            repair: None,
        }
    }
}

impl CheckedState {
    fn of(proved: &Proved, damaged: &HashMap<OwnerName, u64>) -> Self {
        let proof = &proved.proof;
        let mut signed_by: Vec<String> = Vec::new();
        let mut signers: Vec<String> = Vec::new();
        for signer in &proof.signers {
            if !signed_by.contains(&signer.fingerprint) {
                signed_by.push(signer.fingerprint.clone());
                signers.push(signer.user_id.clone());
            }
        }
        let verdict = match proof.verdict {
            _ if !proof.is_good() => "failed",
            Verdict::Proved => "proved",
            Verdict::ProvedToEvidence => "proved_to_evidence",
            Verdict::Own => "own",
            Verdict::Unsigned => "unsigned",
            Verdict::Unproved => "unproved",
        };
        let count = |snapshot: Option<&SnapshotName>, tree: Option<&PathBuf>| {
            let owner = (proved.repository.clone(), snapshot.cloned(), tree.cloned());
            damaged.get(&owner).copied().unwrap_or(0)
        };
        // A tree needs what it shows, and what only it has.
        let own = proved
            .tree
            .as_ref()
            .map_or(0, |tree| count(None, Some(tree)));
        Self {
            repository: proved.repository.clone(),
            snapshot: proved.snapshot.clone(),
            tree: proved.tree.clone(),
            generated_root: proved.generated_root.is_some(),
            verdict,
            signed_by,
            signers,
            packages: proof.packages,
            damaged_objects: count(proved.snapshot.as_ref(), None) + own,
            problems: proof
                .problems
                .iter()
                .map(|problem| ProblemResult {
                    kind: kind(problem.kind),
                    path: problem.path.as_ref().map(RelPath::to_string),
                    problem: problem.what.clone(),
                })
                .collect(),
            notes: proof.notes.clone(),
        }
    }
}

/// A state (without snapshot), a snapshot, or what only a tree has.
type OwnerName = (RepoId, Option<SnapshotName>, Option<PathBuf>);

/// The number of damaged objects that each of them needs.
fn count_by_owner(damaged: &[DamagedObject]) -> HashMap<OwnerName, u64> {
    let mut counts = HashMap::new();
    for object in damaged {
        // A state does not need its generated root.
        let uses = object.uses.iter();
        let uses = uses.filter(|found| !matches!(found.owner, Owner::GeneratedRoot(_)));
        let owners: HashSet<OwnerName> = uses.map(owner_of).collect();
        for owner in owners {
            *counts.entry(owner).or_insert(0) += 1;
        }
    }
    counts
}

fn owner_of(found: &ObjectUse) -> OwnerName {
    let (snapshot, tree) = match &found.owner {
        Owner::State => (None, None),
        Owner::Snapshot(name) => (Some(name), None),
        Owner::Evidence(name) | Owner::Keyring(name) | Owner::GeneratedRoot(name) => {
            (name.as_ref(), None)
        }
        Owner::Tree(path) => (None, Some(path)),
    };
    (found.repository.clone(), snapshot.cloned(), tree.cloned())
}

const fn kind(kind: ProblemKind) -> &'static str {
    match kind {
        ProblemKind::Damaged => "damaged",
        ProblemKind::Record => "database",
        ProblemKind::Untrusted => "untrusted",
        ProblemKind::Signature => "signature",
        ProblemKind::Root => "root",
        ProblemKind::Index => "index",
        ProblemKind::Unlisted => "unlisted",
        ProblemKind::Absent => "absent",
        ProblemKind::Key => "key",
        ProblemKind::Tree => "tree",
    }
}

impl From<&DamagedObject> for DamagedObjectResult {
    fn from(damaged: &DamagedObject) -> Self {
        Self {
            object: damaged.object,
            size: damaged.size,
            damage: match damaged.damage {
                Damage::Missing => "missing",
                Damage::Size { .. } => "size",
                Damage::Digest { .. } => "digest",
                Damage::Unreadable { .. } => "unreadable",
            },
            problem: damaged.damage.to_string(),
            affects: damaged.uses.iter().map(AffectedFile::from).collect(),
        }
    }
}

impl From<&TreeFinding> for TreeDamageResult {
    fn from(finding: &TreeFinding) -> Self {
        Self {
            tree: finding.tree.clone(),
            repository: finding.repository.clone(),
            snapshot: finding.snapshot.clone(),
            damage: match finding.damage {
                TreeDamage::TreeMissing => "tree_missing",
                TreeDamage::NotADirectory => "not_a_directory",
                TreeDamage::Missing => "missing",
                TreeDamage::NotAFile => "not_a_file",
                TreeDamage::Size { .. } => "size",
                TreeDamage::Writable => "writable",
                TreeDamage::Digest { .. } => "digest",
                TreeDamage::Unreadable { .. } => "unreadable",
                TreeDamage::Foreign => "foreign",
                TreeDamage::Unlisted => "unlisted",
            },
            problem: finding.damage.to_string(),
            path: finding.path.clone(),
        }
    }
}
