//! `chantal repo history`.

use serde::Serialize;

use crate::cli::RepoHistory;
use crate::commands::Context;
use crate::error::Error;
use crate::output::{bytes, table};
use crate::report::SyncResult;
use crate::storage;
use crate::store::records::{HistoryRecord, SyncOutcome};
use crate::time::rfc3339;

#[derive(Serialize)]
struct HistoryEntry {
    started: String,
    finished: String,
    outcome: SyncResult,
    error: Option<String>,
    packages: u64,
    packages_added: u64,
    packages_removed: u64,
    requests: u64,
    bytes_downloaded: u64,
    manifest: Option<String>,
    signed_by: Vec<String>,
    packages_signed_by: Vec<String>,
    /// Indexes and files of the upstream that are not in the published metadata.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    left_out: Vec<String>,
}

impl From<HistoryRecord> for HistoryEntry {
    fn from(record: HistoryRecord) -> Self {
        let outcome = SyncResult::from(&record.outcome);
        let error = match record.outcome {
            SyncOutcome::Changed | SyncOutcome::Unchanged => None,
            SyncOutcome::Failed(error) => Some(error),
        };
        Self {
            started: rfc3339(record.started),
            finished: rfc3339(record.finished),
            outcome,
            error,
            packages: record.packages,
            packages_added: record.packages_added,
            packages_removed: record.packages_removed,
            requests: record.requests,
            bytes_downloaded: record.bytes_downloaded,
            manifest: record.manifest.map(|manifest| manifest.to_string()),
            signed_by: record.signed_by,
            packages_signed_by: record.packages_signed_by,
            left_out: record.left_out,
        }
    }
}

pub fn history(context: &Context<'_>, arguments: &RepoHistory) -> Result<(), Error> {
    let repository = context.repository(&arguments.repository.repo_id)?;
    let records = match storage::open_to_read(&context.config.storage)? {
        Some(store) => store.read(|reader| reader.history(&repository.id, arguments.limit))?,
        None => Vec::new(),
    };
    let past: Vec<HistoryEntry> = records.into_iter().map(HistoryEntry::from).collect();
    context.output.result(&past, |past| {
        if past.is_empty() {
            return format!("{} has never been synced", repository.id);
        }
        let rows: Vec<Vec<String>> = past
            .iter()
            .map(|past| {
                // The full text is in the JSON output.
                let error = past.error.as_ref().and_then(|error| error.lines().next());
                let result = match error {
                    Some(error) => format!("failed: {error}"),
                    None if past.left_out.is_empty() => past.outcome.name().to_owned(),
                    None => format!(
                        "{}, skipped: {}",
                        past.outcome.name(),
                        past.left_out.join(", ")
                    ),
                };
                vec![
                    past.started.clone(),
                    past.packages.to_string(),
                    format!("+{} -{}", past.packages_added, past.packages_removed),
                    past.requests.to_string(),
                    bytes(past.bytes_downloaded),
                    result,
                ]
            })
            .collect();
        table(
            &[
                "STARTED",
                "PACKAGES",
                "CHANGE",
                "REQUESTS",
                "DOWNLOADED",
                "RESULT",
            ],
            &rows,
        )
    })?;
    Ok(())
}
