//! `chantal db cleanup`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::SystemTime;

use serde::Serialize;

use crate::cleanup::{self, Plan, Unknown};
use crate::cli::DbCleanup;
use crate::commands::Context;
use crate::commands::publish::publishing;
use crate::config::Config;
use crate::digest::ObjectId;
use crate::error::Error;
use crate::interrupt::Interrupt;
use crate::output::{bytes, count};
use crate::publish::{self, Effort, Request, Root};
use crate::storage::Storage;
use crate::store::records::TreeRecord;
use crate::store::{Name, Reader};
use crate::time::{now, rfc3339};

/// What is, or would be, taken away.
#[derive(Serialize)]
struct Cleaned {
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
    let interrupt = Interrupt::listen()?;
    let storage = Storage::open(&context.config.storage, "db cleanup")?;
    storage.may_delete()?;
    let unknown = if arguments.forget_unknown {
        Unknown::Forget
    } else {
        Unknown::Keep
    };
    let plan = |is_leaving: &dyn Fn(&Name, ObjectId) -> bool| {
        let (store, pool) = (&storage.store, &storage.pool);
        cleanup::plan(store, pool, SystemTime::now(), unknown, is_leaving)
    };
    let mut trees = storage.store.read(Reader::trees)?;
    // Publishing on the mount point of a disk that is away would hide what is on it.
    trees.retain(|path, _| std::fs::symlink_metadata(path).is_ok());
    let leaving = leaving(context.config, &trees);
    let store_before = storage.store.size()?;
    let plan = if arguments.dry_run {
        let is_leaving = |name: &Name, manifest: ObjectId| match name {
            Name::Tree { path, .. } => leaving
                .get(path)
                .is_some_and(|gone| gone.contains(&manifest)),
            _ => false,
        };
        plan(&is_leaving)?
    } else {
        for (path, tree) in &trees {
            tidy(
                context.config,
                &storage,
                &interrupt,
                path,
                tree,
                leaving.contains_key(path),
            )?;
        }
        let plan = plan(&|_, _| false)?;
        cleanup::apply(&storage.store, &storage.lock, &storage.pool, &plan)?;
        plan
    };
    let cleaned = Cleaned {
        dry_run: arguments.dry_run,
        objects: plan.objects.len() as u64,
        partial_downloads: plan.partials.len() as u64,
        manifests: plan.manifests,
        bytes: plan.bytes(),
        objects_kept: plan.kept(),
        objects_unknown: plan.unknown.0,
        bytes_unknown: plan.unknown.1,
        trees: leaving
            .keys()
            .map(|path| path.display().to_string())
            .collect(),
        store_before,
        store_after: storage.store.size()?,
    };
    context
        .output
        .result(&cleaned, |cleaned| describe(cleaned, &plan))?;
    Ok(())
}

/// By tree, the manifests of generations that need not stay any longer.
fn leaving(
    config: &Config,
    trees: &BTreeMap<PathBuf, TreeRecord>,
) -> BTreeMap<PathBuf, BTreeSet<ObjectId>> {
    let now = now();
    trees
        .iter()
        .map(|(path, tree)| {
            let gone = publish::outlived(tree, config.keep(&tree.repository), now);
            (path.clone(), gone)
        })
        .filter(|(_, gone)| !gone.is_empty())
        .collect()
}

/// Ends what a killed run began at a tree, and publishes it without the generations whose time is over.
fn tidy(
    config: &Config,
    storage: &Storage,
    interrupt: &Interrupt,
    path: &std::path::Path,
    tree: &TreeRecord,
    is_overfull: bool,
) -> Result<(), Error> {
    let context = publishing(storage, interrupt);
    let failed = |source| Error::Publish {
        repository: tree.repository.clone(),
        source,
    };
    publish::recover_at(context, path).map_err(failed)?;
    if let (true, Some(manifest)) = (is_overfull, tree.manifest) {
        let request = Request {
            tree: path,
            repository: &tree.repository,
            snapshot: tree.snapshot.as_deref(),
            manifest,
            // As it is shown, whoever made its root.
            root: Root::AsItIs { date: None },
            keep: config.keep(&tree.repository),
            effort: Effort::Always,
        };
        publish::publish(context, request).map_err(failed)?;
    }
    Ok(())
}

fn describe(cleaned: &Cleaned, plan: &Plan) -> String {
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
