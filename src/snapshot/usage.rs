//! Disk usage of manifests, and what deleting their last name would free.

use std::collections::{BTreeMap, BTreeSet};

use crate::digest::ObjectId;
use crate::store::{Name, Reader, Transaction};

/// Objects in the pool and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    pub objects: u64,
    pub bytes: u64,
    /// Those that no other manifest has.
    pub own_objects: u64,
    pub own_bytes: u64,
}

/// How a name counts for the disk usage of some names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameUsage {
    /// Its objects are counted.
    Counted,
    /// It needs its objects, so that they are not exclusive.
    Kept,
    /// Neither, for example because it is deleted together with the counted names.
    Ignored,
}

/// The disk usage of the counted names, and what deleting them would free.
pub fn exclusive_usage(
    reader: &Reader,
    usage_of: impl Fn(&Name) -> NameUsage,
) -> Transaction<Usage> {
    let (mut counted, mut kept) = (BTreeSet::new(), BTreeSet::new());
    for (name, manifest) in reader.names()? {
        match usage_of(&name) {
            NameUsage::Counted => _ = counted.insert(manifest),
            NameUsage::Kept => _ = kept.insert(manifest),
            NameUsage::Ignored => {}
        }
    }
    usage(reader, &counted, &kept)
}

/// The objects of `manifests`, and those of them that none of `others` has. Chunks that both sides
/// share are not read, so that similar states are compared quickly.
fn usage(
    reader: &Reader,
    manifests: &BTreeSet<ObjectId>,
    others: &BTreeSet<ObjectId>,
) -> Transaction<Usage> {
    let ours = chunks_of(reader, manifests)?;
    let theirs = chunks_of(reader, others)?;
    let mut objects: BTreeMap<ObjectId, u64> = BTreeMap::new();
    let mut own: BTreeMap<ObjectId, u64> = BTreeMap::new();
    for chunk in &ours {
        for entry in reader.chunk(*chunk)? {
            objects.insert(entry.object, entry.size);
            if !theirs.contains(chunk) {
                own.insert(entry.object, entry.size);
            }
        }
    }
    for chunk in &theirs {
        if own.is_empty() {
            break;
        }
        for entry in reader.chunk(*chunk)? {
            own.remove(&entry.object);
        }
    }
    Ok(Usage {
        objects: objects.len() as u64,
        bytes: objects.values().sum(),
        own_objects: own.len() as u64,
        own_bytes: own.values().sum(),
    })
}

fn chunks_of(reader: &Reader, manifests: &BTreeSet<ObjectId>) -> Transaction<BTreeSet<ObjectId>> {
    let mut chunks = BTreeSet::new();
    for manifest in manifests {
        let listed = reader.manifest(*manifest)?.chunks.into_iter();
        chunks.extend(listed.map(|chunk| chunk.id));
    }
    Ok(chunks)
}
