//! `chantal snapshot diff`.

use serde::Serialize;

use crate::cli::SnapshotDiff;
use crate::commands::Context;
use crate::error::Error;
use crate::names::{RepoId, SnapshotName};
use crate::output::{bytes, fields, table};
use crate::pool::Pool;
use crate::repo_format::RepoFormat;
use crate::snapshot::diff::{self, Advisory, Change, Diff, Reasons, Source};
use crate::snapshot::{self, SnapshotError, State};
use crate::storage::{self, StorageError};
use crate::store::Reader;

/// If there are more, the rest is only counted in the table.
const CVES_SHOWN: usize = 3;

#[derive(Serialize)]
struct DiffResult {
    from: DiffSide,
    to: DiffSide,
    #[serde(rename = "type")]
    format: RepoFormat,
    summary: Summary,
    #[serde(skip_serializing_if = "Option::is_none")]
    packages: Option<Vec<Row>>,
    /// For rpm.
    #[serde(skip_serializing_if = "Option::is_none")]
    advisories: Option<Vec<Advisory>>,
    /// For apt.
    #[serde(skip_serializing_if = "Option::is_none")]
    sources: Option<Vec<Source>>,
    warnings: Vec<String>,
}

#[derive(Serialize)]
struct DiffSide {
    repository: RepoId,
    /// `null` for the current state of the repository.
    snapshot: Option<SnapshotName>,
    manifest: String,
    packages: u64,
}

#[derive(Serialize)]
struct Summary {
    /// Whether all published files are the same, not only packages.
    identical: bool,
    added: u64,
    removed: u64,
    upgraded: u64,
    downgraded: u64,
    rebuilt: u64,
    /// Bytes of packages.
    bytes_added: u64,
    bytes_removed: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    advisories: Option<AdvisoryCounts>,
    /// Number of source packages of changed packages.
    #[serde(skip_serializing_if = "Option::is_none")]
    sources: Option<u64>,
}

#[derive(Serialize)]
struct AdvisoryCounts {
    /// New, for packages that changed.
    new: u64,
    /// Number of different CVEs of these.
    cves: u64,
    /// New, but not for packages that changed.
    unrelated: u64,
    /// Only in the old state.
    #[serde(rename = "gone")]
    withdrawn: u64,
}

/// One package.
#[derive(Serialize)]
struct Row {
    change: Change,
    name: String,
    architecture: String,
    from: Option<String>,
    to: Option<String>,
    bytes_added: u64,
    bytes_removed: u64,
    /// The name of the source package.
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    advisories: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cves: Option<Vec<String>>,
}

/// How much detail is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Detail {
    Totals,
    /// Also each package, and the reasons.
    Packages,
}

pub fn diff(context: &Context<'_>, arguments: &SnapshotDiff) -> Result<(), Error> {
    let storage = &context.config.storage;
    let Some(store) = storage::open_to_read(storage)? else {
        return Err(SnapshotError::StateNotFound {
            reference: arguments.from.clone(),
            known: Vec::new(),
        }
        .into());
    };
    let from = snapshot::find_state(&store, &arguments.from)?;
    let to = snapshot::find_state(&store, &arguments.to)?;
    let pool = Pool::open(&storage.pool_path, &store.read(Reader::pool_id)?)
        .map_err(StorageError::from)?;
    let diff = diff::diff(&store, &pool, &from, &to)?;
    for warning in &diff.warnings {
        log::warn!("{warning}");
    }
    let detail = if arguments.summary {
        Detail::Totals
    } else {
        Detail::Packages
    };
    let shown = DiffResult::of(&from, &to, diff, detail);
    context.output.result_or_rows(&shown, describe, rows)?;
    Ok(())
}

impl DiffResult {
    fn of(from: &State, to: &State, diff: Diff, detail: Detail) -> Self {
        let summary = Summary::of(&diff);
        let (mut packages, mut advisories, mut sources) = (None, None, None);
        if detail == Detail::Packages {
            packages = Some(Row::all(&diff));
            match diff.reasons {
                Reasons::Advisories(found) => advisories = Some(found.new),
                Reasons::Sources { sources: found, .. } => sources = Some(found),
            }
        }
        let side = |state: &State| DiffSide {
            repository: state.repository.clone(),
            snapshot: state.snapshot.clone(),
            manifest: state.record.manifest.to_string(),
            packages: state.record.packages,
        };
        Self {
            from: side(from),
            to: side(to),
            format: from.record.format,
            summary,
            packages,
            advisories,
            sources,
            warnings: diff.warnings,
        }
    }
}

impl Summary {
    fn of(diff: &Diff) -> Self {
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

    /// In the order in which they are shown.
    fn numbers(&self) -> Vec<(&'static str, u64)> {
        let mut numbers = vec![
            ("added", self.added),
            ("removed", self.removed),
            ("upgraded", self.upgraded),
            ("downgraded", self.downgraded),
            ("rebuilt", self.rebuilt),
            ("bytes added", self.bytes_added),
            ("bytes removed", self.bytes_removed),
        ];
        if let Some(advisories) = &self.advisories {
            numbers.extend([
                ("new advisories", advisories.new),
                ("their CVEs", advisories.cves),
                (
                    "new advisories for unchanged packages",
                    advisories.unrelated,
                ),
                ("withdrawn advisories", advisories.withdrawn),
            ]);
        }
        numbers.extend(self.sources.map(|sources| ("source packages", sources)));
        numbers
    }
}

impl Row {
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
        let row = |(place, pair): (usize, &diff::Pair)| {
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
        diff.pairs.iter().enumerate().map(row).collect()
    }
}

/// The text output.
fn describe(shown: &DiffResult) -> String {
    let Some(packages) = &shown.packages else {
        let numbers = shown.summary.numbers().into_iter();
        let pairs: Vec<(&str, String)> = numbers
            .map(|(what, number)| match what {
                "bytes added" | "bytes removed" => (what, bytes(number)),
                _ => (what, number.to_string()),
            })
            .collect();
        return fields(&pairs);
    };
    if packages.is_empty() {
        return if shown.summary.identical {
            "no differences".to_owned()
        } else {
            "no packages differ, but other files do".to_owned()
        };
    }
    let mut parts = vec![packages_table(packages)];
    if let Some(advisories) = &shown.advisories
        && !advisories.is_empty()
    {
        parts.push(advisories_table(advisories));
    }
    if let Some(sources) = &shown.sources
        && !sources.is_empty()
    {
        parts.push(sources_table(sources));
    }
    parts.push(totals(&shown.summary));
    parts.join("\n")
}

fn or_dash(text: Option<&String>) -> String {
    text.cloned().unwrap_or_else(|| "-".to_owned())
}

fn packages_table(packages: &[Row]) -> String {
    let rows: Vec<Vec<String>> = packages
        .iter()
        .map(|row| {
            vec![
                row.change.name().to_owned(),
                row.name.clone(),
                row.architecture.clone(),
                or_dash(row.from.as_ref()),
                or_dash(row.to.as_ref()),
                size_change(row.bytes_added, row.bytes_removed),
            ]
        })
        .collect();
    table(
        &["CHANGE", "PACKAGE", "ARCHITECTURE", "FROM", "TO", "SIZE"],
        &rows,
    )
}

fn advisories_table(advisories: &[Advisory]) -> String {
    let rows: Vec<Vec<String>> = advisories
        .iter()
        .map(|advisory| {
            vec![
                advisory.id.clone(),
                advisory.kind.clone(),
                or_dash(advisory.severity.as_ref()),
                list_cves(&advisory.cves),
                advisory.title.clone(),
            ]
        })
        .collect();
    table(&["ADVISORY", "TYPE", "SEVERITY", "CVES", "TITLE"], &rows)
}

fn list_cves(cves: &[String]) -> String {
    match cves.len() {
        0 => "-".to_owned(),
        all if all <= CVES_SHOWN => cves.join(", "),
        all => format!(
            "{} and {} more",
            cves[..CVES_SHOWN - 1].join(", "),
            all - (CVES_SHOWN - 1)
        ),
    }
}

fn sources_table(sources: &[Source]) -> String {
    let rows: Vec<Vec<String>> = sources
        .iter()
        .map(|source| {
            vec![
                source.name.clone(),
                or_dash(source.from.as_ref()),
                or_dash(source.to.as_ref()),
                source.packages.to_string(),
            ]
        })
        .collect();
    table(&["SOURCE", "FROM", "TO", "PACKAGES"], &rows)
}

/// The change in size: `+1.5 KiB`, `-3 B`, `0 B`.
fn size_change(added: u64, removed: u64) -> String {
    match added.cmp(&removed) {
        std::cmp::Ordering::Greater => format!("+{}", bytes(added - removed)),
        std::cmp::Ordering::Less => format!("-{}", bytes(removed - added)),
        std::cmp::Ordering::Equal => bytes(0),
    }
}

fn totals(summary: &Summary) -> String {
    let mut text = format!(
        "{} added, {} removed, {} upgraded, {} downgraded, {} rebuilt: {} ({} added, {} removed)\n",
        summary.added,
        summary.removed,
        summary.upgraded,
        summary.downgraded,
        summary.rebuilt,
        size_change(summary.bytes_added, summary.bytes_removed),
        bytes(summary.bytes_added),
        bytes(summary.bytes_removed),
    );
    if let Some(advisories) = &summary.advisories {
        text.push_str(&format!(
            "Advisories: {} new ({} for changed packages), {} withdrawn\n",
            advisories.new.saturating_add(advisories.unrelated),
            advisories.new,
            advisories.withdrawn
        ));
    }
    if let Some(sources) = summary.sources {
        text.push_str(&format!("Source packages: {sources}\n"));
    }
    text
}

/// The CSV output: one line for each package, or for each total.
fn rows(shown: &DiffResult) -> Vec<Vec<String>> {
    let words = |words: &[&str]| words.iter().map(ToString::to_string).collect();
    let Some(packages) = &shown.packages else {
        let mut rows = vec![words(&["what", "number"])];
        for (what, number) in shown.summary.numbers() {
            rows.push(vec![what.to_owned(), number.to_string()]);
        }
        return rows;
    };
    let mut rows = vec![words(&[
        "change",
        "name",
        "architecture",
        "from",
        "to",
        "bytes_added",
        "bytes_removed",
        "source",
        "advisories",
        "cves",
    ])];
    let or_empty = |text: &Option<String>| text.clone().unwrap_or_default();
    let joined =
        |all: &Option<Vec<String>>| all.as_ref().map_or(String::new(), |all| all.join(" "));
    for row in packages {
        rows.push(vec![
            row.change.name().to_owned(),
            row.name.clone(),
            row.architecture.clone(),
            or_empty(&row.from),
            or_empty(&row.to),
            row.bytes_added.to_string(),
            row.bytes_removed.to_string(),
            or_empty(&row.source),
            joined(&row.advisories),
            joined(&row.cves),
        ]);
    }
    rows
}
