//! `chantal snapshot delete`.

use serde::Serialize;

use crate::cli::SnapshotDelete;
use crate::commands::publish::{absent, became, shows, snapshot_path, take_away};
use crate::commands::{Context, conclude, requester};
use crate::error::Error;
use crate::publish::{Afterwards, Removal};
use crate::snapshot;
use crate::storage::Storage;

#[derive(Serialize)]
struct Deleted {
    repository: String,
    snapshot: String,
    /// Published trees that went with it.
    unpublished: Vec<String>,
    /// The same for people.
    #[serde(skip)]
    lines: Vec<String>,
}

pub fn delete(context: &Context<'_>, arguments: &SnapshotDelete) -> Result<(), Error> {
    let requester = requester("snapshot delete", &arguments.waiting)?;
    let storage = Storage::open(&context.config.storage, &requester)?;
    let mut snapshots = Vec::new();
    // All of them are there, or nothing is deleted.
    for reference in &arguments.names {
        snapshots.push(snapshot::find(&storage.store, reference)?);
    }
    let trees = storage.store.read(crate::store::Reader::trees)?;
    for snapshot in &snapshots {
        let own = snapshot_path(context, snapshot);
        let elsewhere = trees
            .iter()
            .filter(|(path, tree)| shows(tree, snapshot) && own.as_ref() != Some(path))
            .map(|(path, _)| path.display().to_string());
        let elsewhere: Vec<String> = elsewhere.collect();
        if !arguments.force && !elsewhere.is_empty() {
            return Err(Error::Usage(format!(
                "{} is published at {}: switch that place to another snapshot first, or take it away with --force",
                snapshot.full_name(),
                elsewhere.join(", ")
            )));
        }
    }
    let absent = absent(&arguments.absent);
    let mut deleted = Vec::new();
    let mut errors = Vec::new();
    for snapshot in snapshots {
        let (mut unpublished, mut lines) = (Vec::new(), Vec::new());
        let mut failed = None;
        for (path, tree) in trees.iter().filter(|(_, tree)| shows(tree, &snapshot)) {
            let forget = Afterwards::Nothing;
            match take_away(&storage, path, tree, forget, absent) {
                Ok(removal) => {
                    let path = path.display().to_string();
                    lines.push(became(&path, removal == Removal::Forgotten));
                    unpublished.push(path);
                }
                Err(error) => failed = Some(error),
            }
        }
        // What is still published needs its name: nothing else would keep its objects.
        if let Some(error) = failed {
            errors.push(error);
            continue;
        }
        storage.write(|writer| writer.remove_snapshot(&snapshot.repository, &snapshot.name))?;
        deleted.push(Deleted {
            repository: snapshot.repository,
            snapshot: snapshot.name,
            unpublished,
            lines,
        });
    }
    context.output.result(&deleted, |deleted| {
        let lines: Vec<String> = deleted
            .iter()
            .map(|gone| {
                let mut text = format!("{}/{} is deleted", gone.repository, gone.snapshot);
                for line in &gone.lines {
                    text += &format!("\n  {line}");
                }
                text
            })
            .collect();
        lines.join("\n")
    })?;
    conclude(errors)
}
