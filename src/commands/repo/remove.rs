//! `chantal repo remove`.

use crate::cli::RepoRemove;
use crate::commands::publish::{absent, describe_forgotten};
use crate::commands::{Context, conclude, requester};
use crate::error::Error;
use crate::output::{bytes, count};
use crate::report::RemovedRepository;
use crate::repository::{PublishedSnapshots, RepositoryRemoval, SnapshotPolicy};
use crate::storage::{self, Storage};

pub fn remove(context: &Context<'_>, arguments: &RepoRemove) -> Result<(), Error> {
    let id = &arguments.repo_id;
    let snapshot_policy = match (arguments.snapshots, arguments.force) {
        (false, _) => SnapshotPolicy::Kept,
        (true, false) => SnapshotPolicy::Deleted(PublishedSnapshots::Refused),
        (true, true) => SnapshotPolicy::Deleted(PublishedSnapshots::Unpublished),
    };
    let removal = RepositoryRemoval::new(context.config, id, snapshot_policy)?;
    let places = &context.config.storage;
    if arguments.dry_run {
        let store = storage::open_to_read(places)?;
        let planned = RemovedRepository::planned(&removal.plan(store.as_ref())?);
        context.output.result(&planned, describe)?;
        return Ok(());
    }
    let requester = requester("repo remove", &arguments.waiting)?;
    let storage = Storage::open(places, &requester)?;
    let removed = removal.apply(&storage, absent(&arguments.absent))?;
    let result = RemovedRepository::from(&removed);
    context.output.result(&result, |result| {
        if result.removed {
            format!("{}removed {id}", describe(result))
        } else {
            describe_kept(result)
        }
    })?;
    conclude(removed.errors.into_iter().map(Error::from).collect())
}

/// The text if some trees could not be removed.
fn describe_kept(removal: &RemovedRepository) -> String {
    let mut text = format!(
        "kept {}: could not remove {}",
        removal.repository,
        count(removal.errors.len() as u64, "published tree")
    );
    for tree in &removal.trees {
        text += &format!("\n  removed {}", tree.display());
    }
    text
}

fn describe(removal: &RemovedRepository) -> String {
    let mut what = Vec::new();
    if let (Some(packages), Some(size)) = (removal.packages, removal.state_bytes) {
        what.push(format!(
            "state ({}, {})",
            count(packages, "package"),
            bytes(size)
        ));
    }
    if removal.syncs > 0 {
        what.push(format!("history ({})", count(removal.syncs as u64, "sync")));
    }
    let keys = removal.keys.iter();
    what.extend(keys.map(|path| format!("keys ({})", path.display())));
    if !removal.snapshots_deleted.is_empty() {
        what.push(format!(
            "snapshots ({})",
            removal.snapshots_deleted.join(", ")
        ));
    }
    if what.is_empty() {
        what.push("nothing".to_owned());
    }
    let verb = if removal.dry_run {
        "would remove"
    } else {
        "removed"
    };
    let mut text = format!("{}: {verb} {}\n", removal.repository, what.join(", "));
    for tree in &removal.trees {
        let path = tree.display().to_string();
        text += &if removal.forgotten.contains(tree) {
            format!("  {}\n", describe_forgotten(&path))
        } else {
            format!("  {verb} {path}\n")
        };
    }
    text += &match removal.objects {
        0 => "  exclusive: 0 objects\n".to_owned(),
        objects => format!(
            "  exclusive: {}, {} (`chantal db cleanup` frees the disk space)\n",
            count(objects, "object"),
            bytes(removal.bytes)
        ),
    };
    if !removal.snapshots_kept.is_empty() {
        text += &format!(
            "  snapshots kept: {}, {} (`--snapshots` deletes them)\n",
            removal.snapshots_kept.join(", "),
            bytes(removal.kept_bytes)
        );
    }
    text
}
