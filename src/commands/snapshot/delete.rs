//! `chantal snapshot delete`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::cli::SnapshotDelete;
use crate::commands::publish::{absent, describe_removal};
use crate::commands::{Context, conclude, requester};
use crate::error::Error;
use crate::publish::{Afterwards, snapshot_path, unpublish_tree};
use crate::report::{DeletedSnapshot, UnpublishedTree};
use crate::snapshot::{self, Snapshot};
use crate::storage::Storage;
use crate::store::Reader;
use crate::store::records::TreeRecord;

pub fn delete(context: &Context<'_>, arguments: &SnapshotDelete) -> Result<(), Error> {
    let requester = requester("snapshot delete", &arguments.waiting)?;
    let storage = Storage::open(&context.config.storage, &requester)?;
    let mut snapshots = Vec::new();
    // All of them are there, or nothing is deleted.
    for reference in &arguments.names {
        snapshots.push(snapshot::find(&storage.store, reference)?);
    }
    let trees = storage.store.read(Reader::trees)?;
    if !arguments.force {
        for snapshot in &snapshots {
            reject_published_elsewhere(context, snapshot, &trees)?;
        }
    }
    let absent = absent(&arguments.absent);
    let mut deleted = Vec::new();
    let mut errors = Vec::new();
    for snapshot in snapshots {
        let mut unpublished = Vec::new();
        let mut failed = None;
        for (path, tree) in trees.iter().filter(|(_, tree)| is_of(tree, &snapshot)) {
            match unpublish_tree(&storage, path, tree, Afterwards::Nothing, absent) {
                Ok(removal) => {
                    unpublished.push(UnpublishedTree::new(path.clone(), tree, removal));
                }
                Err(error) => failed = Some(error.into()),
            }
        }
        // What is still published needs its name: nothing else would keep its objects.
        if let Some(error) = failed {
            errors.push(error);
            continue;
        }
        storage.write(|writer| writer.remove_snapshot(&snapshot.repository, &snapshot.name))?;
        deleted.push(DeletedSnapshot {
            repository: snapshot.repository,
            snapshot: snapshot.name,
            unpublished,
        });
    }
    context.output.result(&deleted, |deleted| {
        let lines: Vec<String> = deleted
            .iter()
            .map(|deleted| {
                let mut text = format!("{}/{} is deleted", deleted.repository, deleted.snapshot);
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

/// A place that is not the snapshot's own is not to be lost by the way.
fn reject_published_elsewhere(
    context: &Context<'_>,
    snapshot: &Snapshot,
    trees: &BTreeMap<PathBuf, TreeRecord>,
) -> Result<(), Error> {
    let own = snapshot_path(context.config, &snapshot.repository, &snapshot.name);
    let elsewhere: Vec<String> = trees
        .iter()
        .filter(|(path, tree)| is_of(tree, snapshot) && own.as_ref() != Some(path))
        .map(|(path, _)| path.display().to_string())
        .collect();
    if elsewhere.is_empty() {
        return Ok(());
    }
    Err(Error::Usage(format!(
        "{} is published at {}: switch that place to another snapshot first, or take it away with --force",
        snapshot.full_name(),
        elsewhere.join(", ")
    )))
}

fn is_of(tree: &TreeRecord, snapshot: &Snapshot) -> bool {
    tree.is_of_snapshot(&snapshot.repository, &snapshot.name)
}
