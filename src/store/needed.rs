//! Everything that is referenced in the store. Cleanup removes the rest, and statistics use the
//! same definition.

use std::collections::{BTreeSet, HashMap};

use crate::digest::ObjectId;

use super::error::Transaction;
use super::reader::{Name, Reader};

/// Everything that is referenced.
#[derive(Debug, Default)]
pub struct Needed {
    pub manifests: BTreeSet<ObjectId>,
    pub chunks: BTreeSet<ObjectId>,
    /// With their sizes in bytes.
    pub objects: HashMap<ObjectId, u64>,
}

impl Needed {
    /// Sum of the sizes of all objects.
    pub fn bytes(&self) -> u64 {
        let sizes = self.objects.values();
        sizes.fold(0, |sum, size| sum.saturating_add(*size))
    }
}

impl Reader {
    /// References for which `is_leaving` returns true are ignored. The generated root of a manifest
    /// is needed if that manifest is.
    pub fn needed(&self, is_leaving: impl Fn(&Name, ObjectId) -> bool) -> Transaction<Needed> {
        let mut needed = Needed::default();
        for (name, manifest) in self.names()? {
            if !is_leaving(&name, manifest) {
                needed.manifests.insert(manifest);
            }
        }
        let roots = self.generated_roots()?.into_iter();
        let roots = roots.filter(|(key, _)| needed.manifests.contains(&key.source));
        let roots: Vec<ObjectId> = roots.map(|(_, record)| record.manifest).collect();
        needed.manifests.extend(roots);
        for manifest in &needed.manifests {
            let chunks = self.manifest(*manifest)?.chunks;
            needed.chunks.extend(chunks.iter().map(|chunk| chunk.id));
        }
        for chunk in &needed.chunks {
            let entries = self.chunk(*chunk)?.into_iter();
            needed
                .objects
                .extend(entries.map(|entry| (entry.object, entry.size)));
        }
        // Only what they list is needed, not the objects.
        for manifest in self.manifests_of_bases()? {
            if needed.manifests.insert(manifest) {
                let chunks = self.manifest(manifest)?.chunks;
                needed.chunks.extend(chunks.iter().map(|chunk| chunk.id));
            }
        }
        for keyring in self.keyrings()? {
            let size = self.object(keyring)?.map_or(0, |record| record.size);
            needed.objects.insert(keyring, size);
        }
        Ok(needed)
    }
}
