//! The plan of a cleanup: what is needed, and what can be removed.

use std::os::unix::fs::MetadataExt as _;
use std::time::{Duration, SystemTime};

use super::error::CleanupError;
use super::expired::Expired;
use crate::config::Config;
use crate::digest::ObjectId;
use crate::pool::{DamagedFile, Partial, PartialKind, Pool};
use crate::storage;
use crate::store::{Name, Needed, Reader, Store, Transaction};

/// A younger partial download may still be resumed by the next sync.
const STALE: Duration = Duration::from_hours(24);

/// What a cleanup removes and keeps.
#[derive(Debug, Default)]
pub struct Plan {
    /// Expired generations of trees. Objects that only they need are removed.
    pub expired: Expired,
    /// Objects in the pool that nothing needs, with their sizes in bytes.
    pub objects: Vec<(ObjectId, u64)>,
    /// Downloads that were not resumed within a day, and leftovers of killed runs.
    pub partials: Vec<Partial>,
    /// Damaged objects that were put aside, and that exist again or are not needed any more.
    pub damaged: Vec<DamagedFile>,
    /// Number of unreferenced manifests.
    pub manifests: u64,
    /// Objects that the database does not need, but that are older than the database.
    pub unknown: Files,
    /// Objects older than this time may be needed by a lost database; `None` if there are none, or
    /// if the user gave them up.
    pub adopting: Option<i64>,
    /// All objects in the pool.
    pub pool: Files,
    pub needed: Needed,
    /// What only transfers on offline media need: exports that were not confirmed, and imports that
    /// later transfers build on.
    pub held_for_media: Files,
    /// Number of manifests in the database.
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

/// Whether objects that are older than the database are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnknownObjects {
    Keep,
    Remove,
}

impl Plan {
    /// Bytes that are freed.
    pub fn bytes(&self) -> u64 {
        let bytes = self.object_bytes().saturating_add(self.partial_bytes());
        bytes.saturating_add(self.damaged_bytes())
    }

    /// Size of the objects to remove.
    pub fn object_bytes(&self) -> u64 {
        sum(self.objects.iter().map(|(_, size)| *size))
    }

    /// Size of the partial downloads to remove.
    pub fn partial_bytes(&self) -> u64 {
        sum(self.partials.iter().map(|partial| partial.bytes))
    }

    /// Size of the damaged files to remove.
    pub fn damaged_bytes(&self) -> u64 {
        sum(self.damaged.iter().map(|file| file.bytes))
    }

    /// Number of objects that are kept.
    pub fn kept(&self) -> u64 {
        self.needed.objects.len() as u64
    }

    /// Updates the plan after trees were published without their expired generations.
    pub(super) fn keep(&mut self, needed: Needed) {
        self.objects
            .retain(|(object, _)| !needed.objects.contains_key(object));
        // What may exist again is not known here: it waits for the next cleanup.
        self.damaged
            .retain(|file| !needed.objects.contains_key(&file.object));
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

fn held_for_media(reader: &Reader, needed: &Needed, expired: &Expired) -> Transaction<Files> {
    let mut held = Files::default();
    let has_transfers = reader.names()?.iter().any(|(name, _)| is_transfer(name));
    if !has_transfers {
        return Ok(held);
    }
    let others =
        reader.needed(|name, manifest| is_transfer(name) || expired.contains(name, manifest))?;
    for (object, size) in &needed.objects {
        if !others.objects.contains_key(object) {
            held.add(*size);
        }
    }
    Ok(held)
}

fn is_transfer(name: &Name) -> bool {
    matches!(name, Name::Transfer(_))
}

/// Determines what can be removed.
pub fn plan(
    store: &Store,
    pool: &Pool,
    config: &Config,
    unknown: UnknownObjects,
) -> Result<Plan, CleanupError> {
    let expired = Expired::find(store, config)?;
    let (needed, held_for_media, known, identity) = store.read(|reader| {
        let needed = reader.needed(|name, manifest| expired.contains(name, manifest))?;
        let held = held_for_media(reader, &needed, &expired)?;
        let (known, _) = reader.manifests_and_chunks()?;
        Ok((needed, held, known, reader.identity()?))
    })?;
    let mut plan = Plan {
        expired,
        manifests: unreferenced_manifests(known, &needed),
        known_manifests: known,
        needed,
        held_for_media,
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
    for file in pool.damaged_files()? {
        let is_needed = plan.needed.objects.contains_key(&file.object);
        if !is_needed || pool.size_of(file.object)?.is_some() {
            plan.damaged.push(file);
        }
    }
    plan.partials = pool.partials()?;
    let now = SystemTime::now();
    plan.partials.retain(|partial| {
        // A time in the future comes from a wrong clock: without this, the file would be kept until
        // then.
        let age = now
            .duration_since(partial.modified)
            .unwrap_or_else(|ahead| ahead.duration());
        partial.kind == PartialKind::NewObject || age >= STALE
    });
    Ok(plan)
}
