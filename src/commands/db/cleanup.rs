//! `chantal db cleanup`.

use crate::cleanup::{self, Unknown};
use crate::cli::DbCleanup;
use crate::commands::{Context, conclude, requester};
use crate::error::Error;
use crate::output::{bytes, count};
use crate::report::CleanupResult;
use crate::storage::{self, Storage};
use crate::time::rfc3339;

pub fn cleanup(context: &Context<'_>, arguments: &DbCleanup) -> Result<(), Error> {
    let unknown = if arguments.forget_unknown {
        Unknown::Forget
    } else {
        Unknown::Keep
    };
    let config = context.config;
    if arguments.dry_run {
        // Other runs may be at work meanwhile.
        let (store, pool) = storage::open_to_plan_cleanup(&config.storage)?;
        let plan = cleanup::plan(&store, &pool, config, unknown)?;
        let planned = CleanupResult::planned(&plan, store.size()?);
        context.output.result(&planned, describe)?;
        return Ok(());
    }
    let requester = requester("db cleanup", &arguments.waiting)?;
    let storage = Storage::open_alone(&config.storage, &requester)?;
    let cleaned = cleanup::cleanup(&storage, config, unknown, &requester)?;
    let result = CleanupResult::from(&cleaned);
    context.output.result(&result, describe)?;
    conclude(cleaned.errors.into_iter().map(Error::from).collect())
}

fn describe(cleaned: &CleanupResult) -> String {
    let verb = if cleaned.dry_run {
        "would be removed"
    } else {
        "removed"
    };
    let mut text = format!(
        "{verb}: {} ({}), {} ({}), {}; {} stay\n",
        count(cleaned.objects, "object"),
        bytes(cleaned.object_bytes),
        count(cleaned.partial_downloads, "stale download"),
        bytes(cleaned.partial_bytes),
        count(cleaned.manifests, "manifest"),
        count(cleaned.objects_kept, "object"),
    );
    if let (unknown @ 1.., Some(since)) = (cleaned.objects_unknown, cleaned.adopting) {
        text += &format!(
            "{} ({}) stay that the store does not know: they were in the pool before {}; `--forget-unknown` removes them\n",
            count(unknown, "object"),
            bytes(cleaned.bytes_unknown),
            rfc3339(since.0),
        );
    }
    for tree in &cleaned.trees {
        let verb = if cleaned.dry_run { "would be" } else { "were" };
        text += &format!(
            "files of old generations {verb} removed from {}\n",
            tree.display()
        );
    }
    if cleaned.dry_run {
        text += &format!("{} would be free\n", bytes(cleaned.bytes));
    } else {
        text += &format!(
            "{} free; the store has {}, it had {}\n",
            bytes(cleaned.bytes),
            bytes(cleaned.store_after),
            bytes(cleaned.store_before)
        );
    }
    text
}
