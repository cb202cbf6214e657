//! `chantal db cleanup`.

use crate::cleanup::{self, UnknownObjects};
use crate::cli::DbCleanup;
use crate::commands::{Context, conclude, requester};
use crate::error::Error;
use crate::output::{bytes, count};
use crate::report::CleanupResult;
use crate::storage::{self, Storage};
use crate::time::rfc3339;

pub fn cleanup(context: &Context<'_>, arguments: &DbCleanup) -> Result<(), Error> {
    let unknown = if arguments.forget_unknown {
        UnknownObjects::Remove
    } else {
        UnknownObjects::Keep
    };
    let config = context.config;
    if arguments.dry_run {
        // Other runs may change the storage in the meantime.
        let (store, pool) = storage::open_to_plan_cleanup(&config.storage)?;
        let plan = cleanup::plan(&store, &pool, config, unknown)?;
        let planned = CleanupResult::planned(&plan, store.size()?);
        context.output.result(&planned, describe)?;
        return Ok(());
    }
    let requester = requester("db cleanup", &arguments.waiting)?;
    let storage = Storage::open_alone(&config.storage, &requester)?;
    let outcome = cleanup::cleanup(&storage, config, unknown, &requester)?;
    let result = CleanupResult::from(&outcome);
    context.output.result(&result, describe)?;
    conclude(outcome.errors.into_iter().map(Error::from).collect())
}

fn describe(outcome: &CleanupResult) -> String {
    let removed = if outcome.dry_run {
        "would remove"
    } else {
        "removed"
    };
    let mut text = format!(
        "{removed} {} ({}), {} ({}), {}; {} kept\n",
        count(outcome.objects, "object"),
        bytes(outcome.object_bytes),
        count(outcome.partial_downloads, "stale download"),
        bytes(outcome.partial_bytes),
        count(outcome.manifests, "manifest"),
        count(outcome.objects_kept, "object"),
    );
    if outcome.objects_held_for_media > 0 {
        text += &format!(
            "{} ({}) kept only for media (`chantal media history` lists the transfers)\n",
            count(outcome.objects_held_for_media, "object"),
            bytes(outcome.bytes_held_for_media),
        );
    }
    if let (unknown @ 1.., Some(since)) = (outcome.objects_unknown, outcome.adopting) {
        text += &format!(
            "{} ({}) kept that the database does not know: in the pool since before {} \
             (`--forget-unknown` removes them)\n",
            count(unknown, "object"),
            bytes(outcome.bytes_unknown),
            rfc3339(since.0),
        );
    }
    if outcome.damaged_files > 0 {
        text += &format!(
            "{removed} {} ({}) that were put aside\n",
            count(outcome.damaged_files, "damaged object"),
            bytes(outcome.damaged_bytes),
        );
    }
    for tree in &outcome.trees {
        text += &format!(
            "{removed} files of earlier generations from {}\n",
            tree.display()
        );
    }
    if outcome.dry_run {
        text += &format!("{} would be freed\n", bytes(outcome.bytes));
    } else {
        text += &format!(
            "{} freed; database: {} (was {})\n",
            bytes(outcome.bytes),
            bytes(outcome.store_after),
            bytes(outcome.store_before)
        );
    }
    text
}
