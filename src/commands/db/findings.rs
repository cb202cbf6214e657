//! What the findings of a check affect, and what to do about them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use crate::check::{CheckOutcome, ProblemKind, TreeDamage, TreeFinding};
use crate::repair::RepairOutcome;
use crate::report::AffectedFile;
use crate::terminal::escape;

/// How many paths that need an object the text lists.
const PATHS_SHOWN: usize = 5;

/// The findings that remain after a check, or after the repair that followed it.
pub struct Remaining {
    pub findings: usize,
    /// One sentence for each kind of finding, the most important first.
    pub advice: String,
}

/// In the order of their sentences.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Advice {
    Database,
    Repair,
    NotRepaired,
    TreeMissing,
    TreeNotMended,
    Foreign,
    NotProved,
}

impl Advice {
    const fn text(self) -> &'static str {
        match self {
            Self::Database => "restore the database from a backup",
            Self::Repair => {
                "`chantal db check --repair` gets damaged and missing files again where it can"
            }
            Self::NotRepaired => {
                "restore objects that were not repaired from a backup of the pool, or delete the \
                 snapshots that need them; those of the current state are replaced when its \
                 upstream has changed"
            }
            Self::TreeMissing => {
                "mount the file system of a missing tree, or publish it again with \
                 `chantal publish --recreate`"
            }
            Self::TreeNotMended => {
                "publish trees that were not mended again with `chantal publish`"
            }
            Self::Foreign => "move files out of the trees that chantal did not publish there",
            Self::NotProved => {
                "do not use what is not proved: sync it again from an upstream that you trust, and \
                 delete its snapshots"
            }
        }
    }
}

impl Remaining {
    pub fn of_check(outcome: &CheckOutcome) -> Self {
        Self::new(outcome.findings(), kinds(outcome))
    }

    /// `after` is what a quick check found after the repair.
    pub fn of_repair(repair: &RepairOutcome, after: &CheckOutcome) -> Self {
        // What a quick check does not find again: damaged objects that kept their name, and trees in
        // which files could not be replaced.
        let objects = repair.unrepaired.iter().filter(|one| {
            let object = one.damaged.object;
            !after.damaged.iter().any(|found| found.object == object)
        });
        let not_mended = || repair.trees.iter().filter(|tree| !tree.errors.is_empty());
        let trees =
            not_mended().filter(|tree| !after.trees.iter().any(|found| found.tree == tree.path));
        let mut kinds = kinds(after);
        kinds.remove(&Advice::Repair);
        if !repair.unrepaired.is_empty() {
            kinds.insert(Advice::NotRepaired);
        }
        if not_mended().count() > 0 {
            kinds.insert(Advice::TreeNotMended);
        }
        Self::new(after.findings() + objects.count() + trees.count(), kinds)
    }

    fn new(findings: usize, kinds: BTreeSet<Advice>) -> Self {
        let kinds: Vec<&str> = kinds.into_iter().map(Advice::text).collect();
        Self {
            findings,
            advice: kinds.join("; "),
        }
    }
}

fn kinds(outcome: &CheckOutcome) -> BTreeSet<Advice> {
    let mut kinds: BTreeSet<Advice> = outcome.trees.iter().map(of_tree).collect();
    if !outcome.rows.is_empty() {
        kinds.insert(Advice::Database);
    }
    if !outcome.damaged.is_empty() {
        kinds.insert(Advice::Repair);
    }
    let problems = outcome.proofs.iter().flat_map(|proved| {
        let problems = proved.proof.problems.iter();
        problems.map(move |problem| (proved, problem.kind))
    });
    kinds.extend(problems.map(|(proved, kind)| match kind {
        // It is generated again.
        _ if proved.generated_root.is_some() => Advice::Repair,
        ProblemKind::Damaged => Advice::Repair,
        ProblemKind::Record => Advice::Database,
        ProblemKind::Untrusted
        | ProblemKind::Signature
        | ProblemKind::Root
        | ProblemKind::Index
        | ProblemKind::Unlisted
        | ProblemKind::Absent
        | ProblemKind::Key
        | ProblemKind::Tree => Advice::NotProved,
    }));
    kinds
}

fn of_tree(finding: &TreeFinding) -> Advice {
    match finding.damage {
        damage if damage.is_of_a_file() => Advice::Repair,
        TreeDamage::TreeMissing | TreeDamage::NotADirectory => Advice::TreeMissing,
        _ => Advice::Foreign,
    }
}

/// The files that need a damaged object.
pub fn describe_affected(files: &[AffectedFile], text: &mut String) {
    // Many snapshots have the same file.
    let mut by_file: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
    for file in files {
        let what = match &file.package {
            Some(package) => format!("{package} ({})", file.path),
            None => file.path.clone(),
        };
        let owners = by_file.entry((file.repository.to_string(), what));
        owners.or_default().push(owner(file));
    }
    let files = by_file.len();
    for ((repository, what), owners) in by_file.into_iter().take(PATHS_SHOWN) {
        let line = format!("  affects: {repository}: {what} in {}", owners.join(", "));
        _ = writeln!(text, "{}", escape(&line));
    }
    if let Some(more @ 1..) = files.checked_sub(PATHS_SHOWN) {
        _ = writeln!(text, "  and {more} more paths");
    }
}

fn owner(file: &AffectedFile) -> String {
    let name = match &file.snapshot {
        Some(name) => format!("snapshot {name}"),
        None => "the current state".to_owned(),
    };
    match (file.owner, &file.tree) {
        ("evidence", _) => format!("the evidence of {name}"),
        ("generated_root", _) => format!("the generated root of {name}"),
        ("keyring", _) => format!("the keys of {name}"),
        (_, Some(tree)) => tree.display().to_string(),
        _ => name,
    }
}
