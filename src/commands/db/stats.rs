//! `chantal db stats`.

use serde::Serialize;

use crate::commands::Context;
use crate::error::Error;
use crate::output::{bytes, fields};
use crate::storage;
use crate::store::{Name, Reader, Transaction};

#[derive(Debug, Default, Serialize)]
struct Stats {
    repositories: u64,
    snapshots: u64,
    published_trees: u64,
    manifests: u64,
    chunks: u64,
    /// Objects that the store knows, and their bytes.
    objects: u64,
    bytes: u64,
    /// Of these, what states, snapshots and published trees need.
    needed_objects: u64,
    needed_bytes: u64,
    /// What all states and snapshots would take if nothing were shared.
    unshared_bytes: u64,
    /// The store's file.
    store_bytes: u64,
}

pub fn stats(context: &Context<'_>) -> Result<(), Error> {
    let stats = match storage::open_to_read(&context.config.storage)? {
        Some(store) => Stats {
            store_bytes: store.size()?,
            ..store.read(gather)?
        },
        None => Stats::default(),
    };
    context.output.result(&stats, describe)?;
    Ok(())
}

fn gather(reader: &Reader) -> Transaction<Stats> {
    let (manifests, chunks) = reader.manifests_and_chunks()?;
    let (objects, all_bytes) = reader.objects()?;
    let trees = reader.trees()?.into_values();
    let trees = trees.filter(|tree| tree.manifest.is_some());
    let mut stats = Stats {
        manifests,
        chunks,
        objects,
        bytes: all_bytes,
        repositories: reader.repositories()?.len() as u64,
        snapshots: reader.snapshots()?.len() as u64,
        published_trees: trees.count() as u64,
        ..Stats::default()
    };
    for (name, manifest) in reader.names()? {
        // It shows what another name has.
        if matches!(name, Name::Tree { .. }) {
            continue;
        }
        let unshared = reader.manifest(manifest)?.totals().bytes;
        stats.unshared_bytes = stats.unshared_bytes.saturating_add(unshared);
    }
    let needed = reader.needed(|_, _| false)?;
    stats.needed_objects = needed.objects.len() as u64;
    stats.needed_bytes = needed.bytes();
    Ok(stats)
}

fn describe(stats: &Stats) -> String {
    let saved = stats.unshared_bytes.saturating_sub(stats.needed_bytes);
    fields(&[
        ("repositories", stats.repositories.to_string()),
        ("snapshots", stats.snapshots.to_string()),
        ("published trees", stats.published_trees.to_string()),
        (
            "in the pool",
            format!("{} objects, {}", stats.objects, bytes(stats.bytes)),
        ),
        (
            "needed",
            format!(
                "{} objects, {}",
                stats.needed_objects,
                bytes(stats.needed_bytes)
            ),
        ),
        (
            "not needed",
            format!(
                "{} objects, {} (`chantal db cleanup` removes them)",
                stats.objects.saturating_sub(stats.needed_objects),
                bytes(stats.bytes.saturating_sub(stats.needed_bytes))
            ),
        ),
        (
            "without sharing",
            format!("{} ({} saved)", bytes(stats.unshared_bytes), bytes(saved)),
        ),
        (
            "store",
            format!(
                "{}, {} manifests of {} chunks",
                bytes(stats.store_bytes),
                stats.manifests,
                stats.chunks
            ),
        ),
    ])
}
