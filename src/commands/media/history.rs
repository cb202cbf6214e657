//! `chantal media history`.

use crate::cli::WaitOptions;
use crate::commands::{Context, requester};
use crate::error::Error;
use crate::media::{self, MediaError};
use crate::output::{bytes, table};
use crate::report::TransferHistory;
use crate::storage::Storage;

pub fn history(context: &Context<'_>) -> Result<(), Error> {
    let requester = requester("media history", &WaitOptions { wait: None })?;
    let storage = Storage::open(&context.config.storage, &requester)?;
    let (sent, imported) = media::history(&storage).map_err(MediaError::from)?;
    let result = TransferHistory::new(&sent, &imported);
    Ok(context.output.result(&result, describe)?)
}

fn describe(history: &TransferHistory) -> String {
    let mut text = String::new();
    if history.exported.is_empty() && history.imported.is_empty() {
        return "no transfers".to_owned();
    }
    if !history.exported.is_empty() {
        let rows = history.exported.iter().map(|sent| {
            vec![
                sent.destination.to_string(),
                sent.transfer.to_string(),
                sent.builds_on
                    .map_or_else(|| "-".to_owned(), |base| base.to_string()),
                sent.made_at.to_string(),
                bytes(sent.bytes),
                sent.fate.to_owned(),
                sent.states.join(", "),
            ]
        });
        let headings = [
            "FOR",
            "TRANSFER",
            "BUILDS ON",
            "MADE",
            "SIZE",
            "STATUS",
            "STATES",
        ];
        text += &table(&headings, &rows.collect::<Vec<_>>());
    }
    if !history.imported.is_empty() {
        let rows = history.imported.iter().map(|imported| {
            vec![
                imported.exporter.to_string(),
                imported.transfer.to_string(),
                imported.imported_at.to_string(),
                imported
                    .confirmation_code
                    .clone()
                    .unwrap_or_else(|| "-".to_owned()),
                imported.states.join(", "),
            ]
        });
        if !text.is_empty() {
            text += "\n";
        }
        let headings = ["EXPORTER", "TRANSFER", "IMPORTED", "CODE", "STATES"];
        text += &table(&headings, &rows.collect::<Vec<_>>());
    }
    text
}
