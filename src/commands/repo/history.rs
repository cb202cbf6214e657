//! `chantal repo history`.

use crate::cli::RepoHistory;
use crate::commands::Context;
use crate::error::Error;
use crate::output::{bytes, table};
use crate::report::HistoryEntry;
use crate::storage;

pub fn history(context: &Context<'_>, arguments: &RepoHistory) -> Result<(), Error> {
    let repository = context.repository(&arguments.repository.repo_id)?;
    let records = match storage::open_to_read(&context.config.storage)? {
        Some(store) => {
            store.read(|reader| reader.history(&repository.id, arguments.limit.get()))?
        }
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
                    past.started.to_string(),
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
