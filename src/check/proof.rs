//! The result of proving one state, snapshot or tree.

use crate::digest::ObjectRef;
use crate::interrupt::Interrupted;
use crate::manifest::Entry;
use crate::openpgp::Signer;
use crate::rel_path::RelPath;
use crate::store::{RowDamage, StoreError};

use super::finding::Damage;

/// What was proved, and what was found.
#[derive(Clone, Debug, Default)]
pub struct Proof {
    /// Counts only if there are no problems.
    pub verdict: Verdict,
    /// The good signatures of its roots.
    pub signers: Vec<Signer>,
    pub packages: u64,
    pub problems: Vec<Problem>,
    /// What a person may want to know, without effect on the result.
    pub notes: Vec<String>,
    /// Damaged objects that were read for the proof.
    pub damaged: Vec<(ObjectRef, Damage)>,
}

/// How far a state was proved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verdict {
    /// A trusted signature, the root, its indexes, all packages.
    Proved,
    /// The packages are those of a signed root and its indexes, which are stored; the published
    /// indexes are new ones of exactly these packages.
    ProvedToEvidence,
    /// A merge: its own indexes list exactly its packages, which are those of its sources.
    Own,
    /// From the root on, which is not signed.
    Unsigned,
    /// Nothing contradicts it, but what would prove it was not stored.
    #[default]
    Unproved,
}

/// Why something is not proved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub kind: ProblemKind,
    pub path: Option<RelPath>,
    pub what: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProblemKind {
    /// A file that the proof needs is damaged.
    Damaged,
    /// A row of the database is damaged.
    Record,
    /// Signed with a key that was revoked.
    Untrusted,
    /// A signature is missing or not good.
    Signature,
    /// A root cannot be read, or is not the recorded one.
    Root,
    /// An index cannot be read, or is not the one in the root.
    Index,
    /// A file that no index lists, or none lists so.
    Unlisted,
    /// A file that an index lists is not published.
    Absent,
    /// A key for clients is not one of the trusted keys.
    Key,
    /// A tree shows something else than what it was published from.
    Tree,
}

impl Proof {
    pub fn is_good(&self) -> bool {
        self.problems.is_empty()
    }

    pub fn problem(&mut self, kind: ProblemKind, path: Option<&RelPath>, what: impl Into<String>) {
        self.problems.push(Problem {
            kind,
            path: path.cloned(),
            what: what.into(),
        });
    }

    pub fn damage(&mut self, entry: &Entry, damage: Damage) {
        self.damage_of(entry.content(), Some(&entry.path), damage);
    }

    pub fn damage_of(&mut self, content: ObjectRef, path: Option<&RelPath>, damage: Damage) {
        let what = format!("object {} is damaged: {damage}", content.object);
        self.problem(ProblemKind::Damaged, path, what);
        self.damaged.push((content, damage));
    }

    /// Notes a damaged row of the database; another error is returned.
    pub fn row(&mut self, error: StoreError) -> Result<(), ProofError> {
        let RowDamage { table, key, why } = RowDamage::of(error)?;
        let place = table
            .zip(key)
            .map(|(table, key)| format!("table {table}, key {key}: "));
        let what = format!(
            "the database is damaged: {}{why}",
            place.unwrap_or_default()
        );
        self.problem(ProblemKind::Record, None, what);
        Ok(())
    }

    pub fn note(&mut self, note: String) {
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }
}

/// Why a proof could not be completed.
#[derive(Debug, thiserror::Error)]
pub enum ProofError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}
