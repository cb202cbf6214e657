//! `chantal snapshot delete`.

use crate::cli::SnapshotDelete;
use crate::commands::publish::{absent, describe_removal};
use crate::commands::{Context, conclude, requester};
use crate::error::Error;
use crate::report::DeletedSnapshot;
use crate::snapshot::{self, OtherPaths, Snapshot};
use crate::storage::Storage;

pub fn delete(context: &Context<'_>, arguments: &SnapshotDelete) -> Result<(), Error> {
    let requester = requester("snapshot delete", &arguments.waiting)?;
    let storage = Storage::open(&context.config.storage, &requester)?;
    let mut snapshots = Vec::new();
    // If one of them does not exist, nothing is deleted.
    for reference in &arguments.names {
        let found = snapshot::find(&storage.store, reference)?;
        let is_found =
            |one: &Snapshot| (&one.repository, &one.name) == (&found.repository, &found.name);
        if !snapshots.iter().any(is_found) {
            snapshots.push(found);
        }
    }
    let other_paths = if arguments.force {
        OtherPaths::Unpublished
    } else {
        OtherPaths::Refused
    };
    let absent = absent(&arguments.absent);
    let mut deleted = Vec::new();
    let mut errors = Vec::new();
    for deletion in snapshot::delete(&storage, context.config, snapshots, other_paths, absent)? {
        if deletion.errors.is_empty() {
            deleted.push(DeletedSnapshot::from(deletion));
        } else {
            errors.extend(deletion.errors.into_iter().map(Error::from));
        }
    }
    context.output.result(&deleted, |deleted| {
        let lines: Vec<String> = deleted
            .iter()
            .map(|deleted| {
                let mut text = format!(
                    "deleted snapshot {}/{}",
                    deleted.repository, deleted.snapshot
                );
                for tree in &deleted.unpublished {
                    text += &format!("\n  {}", describe_removal(tree));
                }
                text
            })
            .collect();
        lines.join("\n")
    })?;
    conclude(errors)
}
