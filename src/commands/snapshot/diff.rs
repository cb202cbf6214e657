//! `chantal snapshot diff`.

use crate::cli::SnapshotDiff;
use crate::commands::Context;
use crate::error::Error;
use crate::output::{bytes, fields, table};
use crate::pool::Pool;
use crate::report::{DiffDetail, DiffTotals, PackageChange, StateComparison};
use crate::snapshot::diff::{self, Advisory, Source};
use crate::snapshot::{self, SnapshotError};
use crate::storage::{self, StorageError};
use crate::store::Reader;

/// If there are more, the rest is only counted in the table.
const CVES_SHOWN: usize = 3;

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
        DiffDetail::Totals
    } else {
        DiffDetail::Packages
    };
    let shown = StateComparison::new(&from, &to, diff, detail);
    context.output.result_or_rows(&shown, describe, rows)?;
    Ok(())
}

/// The totals in the order in which they are shown.
fn numbers(totals: &DiffTotals) -> Vec<(&'static str, u64)> {
    let mut numbers = vec![
        ("added", totals.added),
        ("removed", totals.removed),
        ("upgraded", totals.upgraded),
        ("downgraded", totals.downgraded),
        ("rebuilt", totals.rebuilt),
        ("bytes added", totals.bytes_added),
        ("bytes removed", totals.bytes_removed),
    ];
    if let Some(advisories) = &totals.advisories {
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
    numbers.extend(totals.sources.map(|sources| ("source packages", sources)));
    numbers
}

/// The text output.
fn describe(shown: &StateComparison) -> String {
    let Some(packages) = &shown.packages else {
        let numbers = numbers(&shown.totals).into_iter();
        let pairs: Vec<(&str, String)> = numbers
            .map(|(what, number)| match what {
                "bytes added" | "bytes removed" => (what, bytes(number)),
                _ => (what, number.to_string()),
            })
            .collect();
        return fields(&pairs);
    };
    if packages.is_empty() {
        return if shown.totals.identical {
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
    parts.push(describe_totals(&shown.totals));
    parts.join("\n")
}

fn or_dash(text: Option<&String>) -> String {
    text.cloned().unwrap_or_else(|| "-".to_owned())
}

fn packages_table(packages: &[PackageChange]) -> String {
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

fn describe_totals(totals: &DiffTotals) -> String {
    let mut text = format!(
        "{} added, {} removed, {} upgraded, {} downgraded, {} rebuilt: {} ({} added, {} removed)\n",
        totals.added,
        totals.removed,
        totals.upgraded,
        totals.downgraded,
        totals.rebuilt,
        size_change(totals.bytes_added, totals.bytes_removed),
        bytes(totals.bytes_added),
        bytes(totals.bytes_removed),
    );
    if let Some(advisories) = &totals.advisories {
        text.push_str(&format!(
            "Advisories: {} new ({} for changed packages), {} withdrawn\n",
            advisories.new.saturating_add(advisories.unrelated),
            advisories.new,
            advisories.withdrawn
        ));
    }
    if let Some(sources) = totals.sources {
        text.push_str(&format!("Source packages: {sources}\n"));
    }
    text
}

/// The CSV output: one line for each package, or for each total.
fn rows(shown: &StateComparison) -> Vec<Vec<String>> {
    let words = |words: &[&str]| words.iter().map(ToString::to_string).collect();
    let Some(packages) = &shown.packages else {
        let mut rows = vec![words(&["what", "number"])];
        for (what, number) in numbers(&shown.totals) {
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
