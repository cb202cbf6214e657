//! `chantal db cleanup`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::SystemTime;

use serde::Serialize;

use crate::cleanup::{self, Plan, Unknown};
use crate::cli::DbCleanup;
use crate::commands::{Context, conclude, requester};
use crate::config::Config;
use crate::digest::ObjectId;
use crate::error::Error;
use crate::output::{bytes, count};
use crate::publish::{self, RequestError};
use crate::storage::{self, Storage, dry_run};
use crate::store::records::TreeRecord;
use crate::store::{Name, Reader, Store};
use crate::time::{now, rfc3339};

/// What is, or would be, taken away.
#[derive(Serialize)]
struct CleanupResult {
    dry_run: bool,
    objects: u64,
    partial_downloads: u64,
    manifests: u64,
    bytes: u64,
    objects_kept: u64,
    /// Older than the store, which does not know them: they stay.
    objects_unknown: u64,
    bytes_unknown: u64,
    /// Published trees that lose files of generations whose time is over.
    trees: Vec<String>,
    /// The store's file, in bytes.
    store_before: u64,
    store_after: u64,
}

pub fn cleanup(context: &Context<'_>, arguments: &DbCleanup) -> Result<(), Error> {
    let unknown = if arguments.forget_unknown {
        Unknown::Forget
    } else {
        Unknown::Keep
    };
    if arguments.dry_run {
        return preview(context, unknown);
    }
    let requester = requester("db cleanup", &arguments.waiting)?;
    let places = &context.config.storage;
    let storage = Storage::open_alone(places, &requester)?;
    storage.may_delete()?;
    // A tree that cannot be tended keeps what it needs; the rest is cleaned up.
    let mut errors = Vec::new();
    for (path, tree) in &storage.read(Reader::trees)? {
        // Also where the tree is not there: what a killed first publishing staged may be.
        let recovered = publish::recover_at(&storage, path);
        let failed = |source| RequestError::failed(&tree.repository, source).into();
        errors.extend(recovered.err().map(failed));
    }
    let trees = present_trees(&storage.store)?;
    let mut expired = expired(context.config, &trees);
    let store_before = storage.store.size()?;
    expired.retain(|path, _| {
        let tree = &trees[path];
        let keep = context.config.keep(&tree.repository);
        let removed = publish::remove_expired_generations(&storage, path, tree, keep);
        let is_removed = removed.is_ok();
        errors.extend(removed.err().map(Error::from));
        is_removed
    });
    storage.interrupt.check()?;
    let (store, pool) = (&storage.store, &storage.pool);
    let plan = cleanup::plan(store, pool, SystemTime::now(), unknown, |_, _| false)?;
    cleanup::apply(&storage, &plan)?;
    dry_run::clear(places, &requester)?;
    let cleaned = CleanupResult {
        store_after: storage.store.size()?,
        ..CleanupResult::of(&plan, &expired, store_before)
    };
    context
        .output
        .result(&cleaned, |cleaned| describe(cleaned, &plan))?;
    conclude(errors)
}

/// Says what would be removed. Other runs may be at work meanwhile.
fn preview(context: &Context<'_>, unknown: Unknown) -> Result<(), Error> {
    let (store, pool) = storage::open_to_plan_cleanup(&context.config.storage)?;
    let expired = expired(context.config, &present_trees(&store)?);
    let is_expired = |name: &Name, manifest: ObjectId| match name {
        Name::Tree { path, .. } => expired
            .get(path)
            .is_some_and(|manifests| manifests.contains(&manifest)),
        _ => false,
    };
    let plan = cleanup::plan(&store, &pool, SystemTime::now(), unknown, is_expired)?;
    let cleaned = CleanupResult {
        dry_run: true,
        ..CleanupResult::of(&plan, &expired, store.size()?)
    };
    context
        .output
        .result(&cleaned, |cleaned| describe(cleaned, &plan))?;
    Ok(())
}

/// What is on a disk that is away is not looked at, and stays.
fn present_trees(store: &Store) -> Result<BTreeMap<PathBuf, TreeRecord>, Error> {
    let mut trees = store.read(Reader::trees)?;
    trees.retain(|path, tree| {
        tree.manifest.is_some() && publish::is_missing(path, tree).is_ok_and(|missing| !missing)
    });
    Ok(trees)
}

impl CleanupResult {
    fn of(plan: &Plan, expired: &BTreeMap<PathBuf, BTreeSet<ObjectId>>, store_bytes: u64) -> Self {
        Self {
            dry_run: false,
            objects: plan.objects.len() as u64,
            partial_downloads: plan.partials.len() as u64,
            manifests: plan.manifests,
            bytes: plan.bytes(),
            objects_kept: plan.kept(),
            objects_unknown: plan.unknown.0,
            bytes_unknown: plan.unknown.1,
            trees: expired
                .keys()
                .map(|path| path.display().to_string())
                .collect(),
            store_before: store_bytes,
            store_after: store_bytes,
        }
    }
}

/// By tree, the manifests of generations that need not stay any longer.
fn expired(
    config: &Config,
    trees: &BTreeMap<PathBuf, TreeRecord>,
) -> BTreeMap<PathBuf, BTreeSet<ObjectId>> {
    let now = now();
    trees
        .iter()
        .map(|(path, tree)| {
            let manifests = publish::expired_generations(tree, config.keep(&tree.repository), now);
            (path.clone(), manifests)
        })
        .filter(|(_, manifests)| !manifests.is_empty())
        .collect()
}

fn describe(cleaned: &CleanupResult, plan: &Plan) -> String {
    let objects = plan.objects.iter().map(|(_, size)| size).sum();
    let partials = plan.partials.iter().map(|partial| partial.bytes).sum();
    let verb = if cleaned.dry_run {
        "would be removed"
    } else {
        "removed"
    };
    let mut text = format!(
        "{verb}: {} ({}), {} ({}), {}; {} stay\n",
        count(cleaned.objects, "object"),
        bytes(objects),
        count(cleaned.partial_downloads, "stale download"),
        bytes(partials),
        count(cleaned.manifests, "manifest"),
        count(cleaned.objects_kept, "object"),
    );
    if let (unknown @ 1.., Some(since)) = (cleaned.objects_unknown, plan.adopting) {
        text += &format!(
            "{} ({}) stay that the store does not know: they were in the pool before {}; `--forget-unknown` removes them\n",
            count(unknown, "object"),
            bytes(cleaned.bytes_unknown),
            rfc3339(since),
        );
    }
    for tree in &cleaned.trees {
        let verb = if cleaned.dry_run { "would be" } else { "were" };
        text += &format!("files of old generations {verb} removed from {tree}\n");
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
