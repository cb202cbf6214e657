//! `chantal db check`.

use std::fmt::Write as _;

use crate::check::{self, Depth, Scope};
use crate::cli::DbCheck;
use crate::commands::{Context, conclude, requester};
use crate::error::Error;
use crate::output::{bytes, count};
use crate::publish;
use crate::report::{
    CheckResult, CheckedState, DamagedObjectResult, DamagedRowResult, TreeDamageResult,
};
use crate::snapshot;
use crate::storage::Storage;
use crate::terminal::escape;

use super::findings::{Remaining, describe_affected};
use super::repair::{describe_repair, repair_findings};

/// How many problems of one state the text lists; JSON has all of them.
const PROBLEMS_SHOWN: usize = 20;

pub fn check(context: &Context<'_>, arguments: &DbCheck) -> Result<(), Error> {
    let config = context.config;
    let depth = match arguments.read_data {
        _ if arguments.quick => Depth::Quick,
        Some(subset) => Depth::Part(subset),
        None => Depth::Full,
    };
    let requester = requester("db check", &arguments.waiting)?;
    let storage = Storage::open(&config.storage, &requester)?;
    let scope = scope(&storage, arguments)?;
    if arguments.repair {
        publish::complete_all_interrupted(&storage)?;
    }
    let outcome = check::check(&storage, config, &scope, depth, &context.progress)?;
    context.progress.clear();
    let mut result = CheckResult::of(&outcome, depth);
    let mut remaining = Remaining::of_check(&outcome);
    if arguments.repair && remaining.findings > 0 {
        let (repaired, after) = repair_findings(context, storage, &requester, &scope, &outcome)?;
        context.progress.clear();
        result.repair = Some(repaired);
        remaining = after;
    }
    context.output.result(&result, describe)?;
    match remaining {
        Remaining { findings: 0, .. } => Ok(()),
        Remaining { findings, advice } => conclude(vec![Error::Findings { findings, advice }]),
    }
}

fn scope(storage: &Storage, arguments: &DbCheck) -> Result<Scope, Error> {
    let mut scope = Scope::default();
    if !arguments.repo_ids.is_empty() {
        let known = storage.read(crate::store::Reader::known_repositories)?;
        for id in &arguments.repo_ids {
            if !known.contains(id) {
                let what = format!("repository {id} was never synced");
                return Err(Error::Usage(what));
            }
            scope.repositories.insert(id.clone());
        }
    }
    for reference in &arguments.snapshot_names {
        let found = snapshot::find(&storage.store, reference)?;
        scope.snapshots.insert((found.repository, found.name));
    }
    Ok(scope)
}

fn describe(result: &CheckResult) -> String {
    let mut text = String::new();
    for state in &result.states {
        describe_state(state, &mut text);
    }
    for damaged in &result.damaged_objects {
        describe_object(damaged, &mut text);
    }
    for finding in &result.trees {
        describe_tree(finding, &mut text);
    }
    for row in &result.database {
        describe_row(row, &mut text);
    }
    for note in &result.notes {
        text += &format!("note: {}\n", escape(note));
    }
    text += &format!(
        "checked {} ({} hashed), {} damaged\n",
        count(result.objects, "object"),
        bytes(result.bytes_hashed),
        result.damaged_objects.len()
    );
    if let Some(repaired) = &result.repair {
        text += &describe_repair(repaired);
    }
    text
}

/// `r/2026-11: proved, signed by X, 3 packages`.
fn describe_state(state: &CheckedState, text: &mut String) {
    let name = match (&state.snapshot, &state.tree) {
        (None, None) => state.repository.to_string(),
        (Some(snapshot), None) => format!("{}/{snapshot}", state.repository),
        (None, Some(tree)) => format!("{} ({})", tree.display(), state.repository),
        (Some(snapshot), Some(tree)) => {
            format!("{} ({}/{snapshot})", tree.display(), state.repository)
        }
    };
    let name = if state.generated_root {
        format!("{name} (generated root)")
    } else {
        name
    };
    let verdict = match state.verdict {
        "proved_to_evidence" => "proved to the evidence",
        "unsigned" => "not signed",
        verdict => verdict,
    };
    let mut line = format!("{name}: {verdict}");
    if !state.signed_by.is_empty() {
        let keys = state.signed_by.iter().zip(&state.signers);
        let keys = keys.map(|(key, user_id)| match user_id.as_str() {
            "" => key.clone(),
            user_id => format!("{user_id} ({key})"),
        });
        let keys: Vec<String> = keys.collect();
        line += &format!(", signed by {}", keys.join(", "));
    }
    line += &format!(", {}", count(state.packages, "package"));
    if state.damaged_objects > 0 {
        line += &format!(", {}", count(state.damaged_objects, "damaged object"));
    }
    _ = writeln!(text, "{}", escape(&line));
    for problem in state.problems.iter().take(PROBLEMS_SHOWN) {
        let path = problem.path.as_ref();
        let path = path.map_or(String::new(), |path| format!("{path}: "));
        let problem = problem.problem.replace('\n', "; ");
        _ = writeln!(text, "  {}", escape(&format!("{path}{problem}")));
    }
    if let Some(more @ 1..) = state.problems.len().checked_sub(PROBLEMS_SHOWN) {
        _ = writeln!(text, "  and {more} more");
    }
    for note in &state.notes {
        _ = writeln!(text, "  note: {}", escape(note));
    }
}

fn describe_object(damaged: &DamagedObjectResult, text: &mut String) {
    let what = format!("object {}: {}", damaged.object, damaged.problem);
    _ = writeln!(text, "{}", escape(&what));
    describe_affected(&damaged.affects, text);
}

fn describe_tree(finding: &TreeDamageResult, text: &mut String) {
    let path = match &finding.path {
        Some(path) => finding.tree.join(path),
        None => finding.tree.clone(),
    };
    let line = format!("{}: {}", path.display(), finding.problem);
    _ = writeln!(text, "{}", escape(&line));
}

fn describe_row(row: &DamagedRowResult, text: &mut String) {
    let place = match (&row.table, &row.key) {
        (Some(table), Some(key)) => format!("table {table}, key {key}: "),
        _ => String::new(),
    };
    let line = format!("database: {place}{}", row.problem);
    _ = writeln!(text, "{}", escape(&line));
    if !row.affects.is_empty() {
        let affects = format!("  affects: {}", row.affects.join(", "));
        _ = writeln!(text, "{}", escape(&affects));
    }
}
