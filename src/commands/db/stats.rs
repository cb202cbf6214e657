//! `chantal db stats`.

use crate::commands::Context;
use crate::error::Error;
use crate::output::{bytes, count, fields};
use crate::report::StorageUsage;
use crate::storage;
use crate::time::rfc3339;

pub fn stats(context: &Context<'_>) -> Result<(), Error> {
    let usage = match storage::open_to_count(&context.config.storage)? {
        Some((store, pool)) => StorageUsage::read(context.config, &store, &pool)?,
        None => StorageUsage::default(),
    };
    context.output.result(&usage, describe)?;
    Ok(())
}

fn describe(usage: &StorageUsage) -> String {
    let objects = |number: u64, size: u64| format!("{}, {}", count(number, "object"), bytes(size));
    let saved = usage.unshared_bytes.saturating_sub(usage.needed_bytes);
    let mut pairs = vec![
        ("repositories", usage.repositories.to_string()),
        ("snapshots", usage.snapshots.to_string()),
        ("published trees", usage.published_trees.to_string()),
        ("in the pool", objects(usage.pool_objects, usage.pool_bytes)),
        ("needed", objects(usage.needed_objects, usage.needed_bytes)),
        (
            "not needed",
            format!(
                "{} (`chantal db cleanup` removes them)",
                objects(usage.unneeded_objects, usage.unneeded_bytes)
            ),
        ),
    ];
    if let (1.., Some(since)) = (usage.unknown_objects, usage.adopting) {
        let unknown = format!(
            "{}, in the pool since before {} (`chantal db cleanup --forget-unknown` removes them)",
            objects(usage.unknown_objects, usage.unknown_bytes),
            rfc3339(since.0)
        );
        pairs.push(("unknown", unknown));
    }
    pairs.extend([
        (
            "deduplication",
            format!(
                "{} saved ({} without it)",
                bytes(saved),
                bytes(usage.unshared_bytes)
            ),
        ),
        (
            "database",
            format!(
                "{}, {}, {}",
                bytes(usage.store_bytes),
                count(usage.manifests, "manifest"),
                count(usage.chunks, "chunk")
            ),
        ),
    ]);
    fields(&pairs)
}
