//! What is needed, and what is not.

use std::os::unix::fs::MetadataExt as _;
use std::time::{Duration, SystemTime};

use super::error::CleanupError;
use super::expired::Expired;
use crate::config::Config;
use crate::digest::ObjectId;
use crate::pool::{Partial, PartialKind, Pool};
use crate::storage;
use crate::store::{Needed, Store};

/// Younger ones may be continued by the next sync.
const STALE: Duration = Duration::from_hours(24);

/// What is needed, and what is not.
#[derive(Debug, Default)]
pub struct Plan {
    /// Generations of trees whose time is over. What only they have is not needed.
    pub expired: Expired,
    /// Objects with a file that nothing needs, and their sizes in bytes.
    pub objects: Vec<(ObjectId, u64)>,
    /// Downloads that nobody continued for a day, and what killed runs were making.
    pub partials: Vec<Partial>,
    /// Manifests that nothing names.
    pub manifests: u64,
    /// Objects that nothing needs as far as the store knows, but that are older than the store.
    pub unknown: Files,
    /// Since when the store does not know everything; `None` where it does, or where the rest is given up.
    pub adopting: Option<i64>,
    /// All objects in the pool.
    pub pool: Files,
    pub needed: Needed,
    /// Manifests that the store has.
    known_manifests: u64,
}

/// Files in the pool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Files {
    pub count: u64,
    pub bytes: u64,
}

impl Files {
    fn add(&mut self, bytes: u64) {
        self.count += 1;
        self.bytes = self.bytes.saturating_add(bytes);
    }
}

/// What becomes of objects that were in the pool before its store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnknownObjects {
    Keep,
    Remove,
}

impl Plan {
    /// Bytes that will be free.
    pub fn bytes(&self) -> u64 {
        self.object_bytes().saturating_add(self.partial_bytes())
    }

    /// Of the objects that go.
    pub fn object_bytes(&self) -> u64 {
        sum(self.objects.iter().map(|(_, size)| *size))
    }

    /// Of the downloads that go.
    pub fn partial_bytes(&self) -> u64 {
        sum(self.partials.iter().map(|partial| partial.bytes))
    }

    /// Objects that stay.
    pub fn kept(&self) -> u64 {
        self.needed.objects.len() as u64
    }

    /// Takes over what is needed once trees were published without their expired generations.
    pub(super) fn keep(&mut self, needed: Needed) {
        self.objects
            .retain(|(object, _)| !needed.objects.contains_key(object));
        self.manifests = unreferenced_manifests(self.known_manifests, &needed);
        self.needed = needed;
    }
}

fn unreferenced_manifests(known_manifests: u64, needed: &Needed) -> u64 {
    known_manifests.saturating_sub(needed.manifests.len() as u64)
}

fn sum(sizes: impl Iterator<Item = u64>) -> u64 {
    sizes.fold(0, u64::saturating_add)
}

/// Finds out what is not needed.
pub fn plan(
    store: &Store,
    pool: &Pool,
    config: &Config,
    unknown: UnknownObjects,
) -> Result<Plan, CleanupError> {
    let expired = Expired::find(store, config)?;
    let (needed, known, identity) = store.read(|reader| {
        let needed = reader.needed(|name, manifest| expired.contains(name, manifest))?;
        let (known, _) = reader.manifests_and_chunks()?;
        Ok((needed, known, reader.identity()?))
    })?;
    let mut plan = Plan {
        expired,
        manifests: unreferenced_manifests(known, &needed),
        known_manifests: known,
        needed,
        adopting: storage::adopting(&identity, pool).filter(|_| unknown == UnknownObjects::Keep),
        ..Plan::default()
    };
    pool.each_object(&mut |object, file| {
        plan.pool.add(file.len());
        if plan.needed.objects.contains_key(&object) {
            return Ok(());
        }
        if plan.adopting.is_some_and(|since| file.mtime() <= since) {
            plan.unknown.add(file.len());
        } else {
            plan.objects.push((object, file.len()));
        }
        Ok(())
    })?;
    plan.objects.sort_unstable();
    plan.partials = pool.partials()?;
    let now = SystemTime::now();
    plan.partials.retain(|partial| {
        // One from the future was made under a clock that was wrong: it would stay until then.
        let age = now
            .duration_since(partial.modified)
            .unwrap_or_else(|ahead| ahead.duration());
        partial.kind == PartialKind::NewObject || age >= STALE
    });
    Ok(plan)
}
