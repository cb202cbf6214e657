//! The contents of the storage, and how much of it is needed.

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
    /// Objects in the database, and their bytes.
    pub objects: u64,
    pub bytes: u64,
    /// Objects in the pool, whether the database knows them or not.
    pub pool_objects: u64,
    pub pool_bytes: u64,
    /// Objects that states, snapshots and published trees need.
    pub needed_objects: u64,
    pub needed_bytes: u64,
    /// Objects that a cleanup removes.
    pub unneeded_objects: u64,
    pub unneeded_bytes: u64,
    /// Objects that it keeps although they are not needed: they are older than the database.
    pub unknown_objects: u64,
    pub unknown_bytes: u64,
    /// Objects older than this are kept, if there are any.
    #[serde(skip)]
    pub adopting: Option<Timestamp>,
    /// The size of all states and snapshots without deduplication.
    pub unshared_bytes: u64,
    /// Size of the database file.
    pub store_bytes: u64,
}

impl StorageUsage {
    /// Uses the same rules as a cleanup.
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

    /// What can be counted from the database alone.
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
            // A tree has the content of a state or snapshot, which is counted already.
            if matches!(name, Name::Tree { .. } | Name::Transfer(_)) {
                continue;
            }
            let unshared = reader.manifest(manifest)?.totals().bytes;
            usage.unshared_bytes = usage.unshared_bytes.saturating_add(unshared);
        }
        Ok(usage)
    }
}
