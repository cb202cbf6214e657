//! What the storage holds, and how much of it is needed.

use serde::Serialize;

use super::encode::Timestamp;
use crate::cleanup::{self, CleanupError, UnknownObjects};
use crate::config::Config;
use crate::pool::Pool;
use crate::store::{Name, Reader, Store, Transaction};

#[derive(Clone, Debug, Default, Serialize)]
pub struct StorageUsage {
    pub repositories: u64,
    pub snapshots: u64,
    pub published_trees: u64,
    pub manifests: u64,
    pub chunks: u64,
    /// Objects that the store knows, and their bytes.
    pub objects: u64,
    pub bytes: u64,
    /// Objects that have a file in the pool, whether the store knows them or not.
    pub pool_objects: u64,
    pub pool_bytes: u64,
    /// What states, snapshots and published trees need.
    pub needed_objects: u64,
    pub needed_bytes: u64,
    /// What a cleanup removes.
    pub unneeded_objects: u64,
    pub unneeded_bytes: u64,
    /// What it keeps all the same: older than the store, which does not know them.
    pub unknown_objects: u64,
    pub unknown_bytes: u64,
    /// Since when the store knows everything, where some are kept for that.
    #[serde(skip)]
    pub adopting: Option<Timestamp>,
    /// What all states and snapshots would take if nothing were shared.
    pub unshared_bytes: u64,
    /// The store's file.
    pub store_bytes: u64,
}

impl StorageUsage {
    /// Counts by the same rules as a cleanup.
    pub fn read(config: &Config, store: &Store, pool: &Pool) -> Result<Self, CleanupError> {
        let plan = cleanup::plan(store, pool, config, UnknownObjects::Keep)?;
        Ok(Self {
            pool_objects: plan.pool.count,
            pool_bytes: plan.pool.bytes,
            needed_objects: plan.kept(),
            needed_bytes: plan.needed.bytes(),
            unneeded_objects: plan.objects.len() as u64,
            unneeded_bytes: plan.object_bytes(),
            unknown_objects: plan.unknown.count,
            unknown_bytes: plan.unknown.bytes,
            adopting: plan.adopting.map(Timestamp),
            store_bytes: store.size()?,
            ..store.read(Self::of_store)?
        })
    }

    /// What the store alone can tell.
    fn of_store(reader: &Reader) -> Transaction<Self> {
        let (manifests, chunks) = reader.manifests_and_chunks()?;
        let (objects, bytes) = reader.objects()?;
        let trees = reader.trees()?.into_values();
        let trees = trees.filter(|tree| tree.manifest.is_some());
        let mut usage = Self {
            manifests,
            chunks,
            objects,
            bytes,
            repositories: reader.repositories()?.len() as u64,
            snapshots: reader.snapshots()?.len() as u64,
            published_trees: trees.count() as u64,
            ..Self::default()
        };
        for (name, manifest) in reader.names()? {
            // It shows what another name has.
            if matches!(name, Name::Tree { .. }) {
                continue;
            }
            let unshared = reader.manifest(manifest)?.totals().bytes;
            usage.unshared_bytes = usage.unshared_bytes.saturating_add(unshared);
        }
        Ok(usage)
    }
}
