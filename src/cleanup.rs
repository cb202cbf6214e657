//! Cleanup: what no state, snapshot or published tree needs is found first, shown, and then taken away.
//!
//! - The caller holds the storage alone, so nothing is on its way into the pool: there is no time to wait for.
//! - The store forgets first, in one transaction, and files go after it: killed in between, a file is left that nothing
//!   names, and the next cleanup finds it. Never is something named that is not there.
//! - Each file is removed only while the lock is held: it may have been taken away from this run.
//! - Before the first file goes the store's generation is raised, and the marker's after it: a store that came out of a backup is behind.
//! - What lay in the pool when its store was put over it may be needed by a store that was lost: it stays until it is given up.
//! - Files in the pool's directories that do not have an object's name are not ours, and stay.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::time::{Duration, SystemTime};

use crate::digest::ObjectId;
use crate::pool::{Partial, PartialKind, Pool, PoolError};
use crate::storage::{self, Storage};
use crate::store::{Name, Needed, Store, StoreError};

/// Younger ones may be continued by the next sync.
const STALE: Duration = Duration::from_hours(24);

#[derive(Debug, thiserror::Error)]
pub enum CleanupError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Pool(#[from] PoolError),
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// What is needed, and what is not.
#[derive(Debug, Default)]
pub struct Plan {
    /// Objects with a file that nothing needs, and their sizes in bytes.
    pub objects: Vec<(ObjectId, u64)>,
    /// Downloads that nobody continued for a day, and what killed runs were making.
    pub partials: Vec<Partial>,
    /// Manifests that nothing names.
    pub manifests: u64,
    /// Objects that nothing needs as far as the store knows, but that are older than the store; and their bytes.
    pub unknown: (u64, u64),
    /// Since when the store does not know everything; `None` where it does, or where the rest is given up.
    pub adopting: Option<i64>,
    needed: Needed,
}

/// What becomes of objects that were in the pool before its store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unknown {
    Keep,
    Forget,
}

impl Plan {
    /// Bytes that will be free.
    pub fn bytes(&self) -> u64 {
        let objects = self.objects.iter().map(|(_, size)| size);
        let partials = self.partials.iter().map(|partial| &partial.bytes);
        objects
            .chain(partials)
            .fold(0, |sum, bytes| sum.saturating_add(*bytes))
    }

    /// Objects that stay.
    pub fn kept(&self) -> u64 {
        self.needed.objects.len() as u64
    }
}

/// Finds out what is not needed. `is_leaving` says of a name that it will not count any more.
pub fn plan(
    store: &Store,
    pool: &Pool,
    now: SystemTime,
    unknown: Unknown,
    is_leaving: impl Fn(&Name, ObjectId) -> bool,
) -> Result<Plan, CleanupError> {
    let (needed, known, identity) = store.read(|reader| {
        let (known, _) = reader.manifests_and_chunks()?;
        Ok((reader.needed(is_leaving)?, known, reader.identity()?))
    })?;
    let mut plan = Plan {
        manifests: known.saturating_sub(needed.manifests.len() as u64),
        needed,
        adopting: storage::adopting(&identity, pool).filter(|_| unknown == Unknown::Keep),
        ..Plan::default()
    };
    pool.each_object(&mut |object, file| {
        if plan.needed.objects.contains_key(&object) {
            return Ok(());
        }
        if plan.adopting.is_some_and(|since| file.mtime() <= since) {
            plan.unknown.0 += 1;
            plan.unknown.1 = plan.unknown.1.saturating_add(file.len());
        } else {
            plan.objects.push((object, file.len()));
        }
        Ok(())
    })?;
    plan.objects.sort_unstable();
    plan.partials = pool.partials()?;
    plan.partials.retain(|partial| {
        // One from the future was made under a clock that was wrong: it would stay until then.
        let age = now
            .duration_since(partial.modified)
            .unwrap_or_else(|ahead| ahead.duration());
        partial.kind == PartialKind::NewObject || age >= STALE
    });
    Ok(plan)
}

/// Takes away what the plan lists, and makes the store small again.
pub fn apply(storage: &Storage, plan: &Plan) -> Result<(), CleanupError> {
    let Storage { pool, locks, .. } = storage;
    pool.check()?;
    let generation = storage.write(|writer| {
        writer.retain(&plan.needed)?;
        let mut identity = writer.identity()?;
        identity.adopting = plan.adopting;
        if !plan.objects.is_empty() {
            identity.generation = identity.generation.saturating_add(1);
        }
        writer.put_identity(&identity)?;
        Ok(identity.generation)
    })?;
    if !plan.objects.is_empty() {
        pool.raise_generation(locks, generation)?;
    }
    for (object, _) in &plan.objects {
        pool.remove(locks, *object)?;
    }
    for partial in &plan.partials {
        partial.remove(locks)?;
    }
    locks.remove_unused()?;
    storage.store.compact(locks)?;
    Ok(())
}
