//! The differences between two states.

use serde::Serialize;

use crate::digest::ObjectId;
use crate::names::{RepoId, SnapshotName};
use crate::repo_format::RepoFormat;
use crate::snapshot::State;
use crate::snapshot::diff::{Advisory, Change, Diff, Pair, Reasons, Source};

/// Two states and their differences.
#[derive(Clone, Debug, Serialize)]
pub struct StateComparison {
    pub from: ComparedState,
    pub to: ComparedState,
    #[serde(rename = "type")]
    pub format: RepoFormat,
    #[serde(rename = "summary")]
    pub totals: DiffTotals,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub packages: Option<Vec<PackageChange>>,
    /// For rpm.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advisories: Option<Vec<Advisory>>,
    /// For apt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sources: Option<Vec<Source>>,
    pub warnings: Vec<String>,
}

/// How much detail a comparison has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiffDetail {
    Totals,
    /// Also each package, and the reasons.
    Packages,
}

#[derive(Clone, Debug, Serialize)]
pub struct ComparedState {
    pub repository: RepoId,
    /// `None` for the current state of the repository.
    pub snapshot: Option<SnapshotName>,
    pub manifest: ObjectId,
    pub packages: u64,
}

#[derive(Clone, Debug, Serialize)]
pub struct DiffTotals {
    /// Whether all published files are the same, not only packages.
    pub identical: bool,
    pub added: u64,
    pub removed: u64,
    pub upgraded: u64,
    pub downgraded: u64,
    pub rebuilt: u64,
    /// Bytes of packages.
    pub bytes_added: u64,
    pub bytes_removed: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advisories: Option<AdvisoryCounts>,
    /// Number of source packages of changed packages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sources: Option<u64>,
}

#[derive(Clone, Debug, Serialize)]
pub struct AdvisoryCounts {
    /// New, for packages that changed.
    pub new: u64,
    /// Number of different CVEs of these.
    pub cves: u64,
    /// New, but not for packages that changed.
    pub unrelated: u64,
    /// Only in the old state.
    #[serde(rename = "gone")]
    pub withdrawn: u64,
}

/// One package.
#[derive(Clone, Debug, Serialize)]
pub struct PackageChange {
    pub change: Change,
    pub name: String,
    pub architecture: String,
    pub from: Option<String>,
    pub to: Option<String>,
    pub bytes_added: u64,
    pub bytes_removed: u64,
    /// The name of the source package.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advisories: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cves: Option<Vec<String>>,
}

impl StateComparison {
    pub fn new(from: &State, to: &State, diff: Diff, detail: DiffDetail) -> Self {
        let totals = DiffTotals::from(&diff);
        let (mut packages, mut advisories, mut sources) = (None, None, None);
        if detail == DiffDetail::Packages {
            packages = Some(PackageChange::all(&diff));
            match diff.reasons {
                Reasons::Advisories(found) => advisories = Some(found.new),
                Reasons::Sources { sources: found, .. } => sources = Some(found),
            }
        }
        Self {
            from: ComparedState::from(from),
            to: ComparedState::from(to),
            format: from.record.format,
            totals,
            packages,
            advisories,
            sources,
            warnings: diff.warnings,
        }
    }
}

impl From<&State> for ComparedState {
    fn from(state: &State) -> Self {
        Self {
            repository: state.repository.clone(),
            snapshot: state.snapshot.clone(),
            manifest: state.record.manifest,
            packages: state.record.packages,
        }
    }
}

impl From<&Diff> for DiffTotals {
    fn from(diff: &Diff) -> Self {
        let number = |change| {
            let pairs = diff.pairs.iter();
            pairs.filter(|pair| pair.change == change).count() as u64
        };
        let sum = |bytes: &mut dyn Iterator<Item = u64>| bytes.fold(0, u64::saturating_add);
        let (advisories, sources) = match &diff.reasons {
            Reasons::Advisories(found) => {
                let mut cves: Vec<&String> = found.new.iter().flat_map(|new| &new.cves).collect();
                cves.sort_unstable();
                cves.dedup();
                let counts = AdvisoryCounts {
                    new: found.new.len() as u64,
                    cves: cves.len() as u64,
                    unrelated: found.unrelated,
                    withdrawn: found.withdrawn,
                };
                (Some(counts), None)
            }
            Reasons::Sources { sources, .. } => (None, Some(sources.len() as u64)),
        };
        Self {
            identical: !diff.has_differences,
            added: number(Change::Added),
            removed: number(Change::Removed),
            upgraded: number(Change::Upgraded),
            downgraded: number(Change::Downgraded),
            rebuilt: number(Change::Rebuilt),
            bytes_added: sum(&mut diff.pairs.iter().map(|pair| pair.bytes_added)),
            bytes_removed: sum(&mut diff.pairs.iter().map(|pair| pair.bytes_removed)),
            advisories,
            sources,
        }
    }
}

impl PackageChange {
    fn all(diff: &Diff) -> Vec<Self> {
        let reasons = |place: usize| match &diff.reasons {
            Reasons::Sources { of_pairs, .. } => (of_pairs[place].clone(), None, None),
            Reasons::Advisories(found) => {
                let about = found.of_pair.get(&place).into_iter().flatten();
                let about: Vec<&Advisory> = about.map(|index| &found.new[*index]).collect();
                let ids = about.iter().map(|advisory| advisory.id.clone()).collect();
                let cves = about.iter().flat_map(|advisory| advisory.cves.clone());
                let mut cves: Vec<String> = cves.collect();
                cves.sort_unstable();
                cves.dedup();
                (None, Some(ids), Some(cves))
            }
        };
        let change = |(place, pair): (usize, &Pair)| {
            let (source, advisories, cves) = reasons(place);
            Self {
                change: pair.change,
                name: pair.name.clone(),
                architecture: pair.architecture.clone(),
                from: pair.from.clone(),
                to: pair.to.clone(),
                bytes_added: pair.bytes_added,
                bytes_removed: pair.bytes_removed,
                source,
                advisories,
                cves,
            }
        };
        diff.pairs.iter().enumerate().map(change).collect()
    }
}
