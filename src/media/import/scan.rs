//! Reads the manifest of a transfer once: what is carried, and what the storage must have already.

use std::collections::HashSet;

use crate::digest::{ObjectId, ObjectRef};
use crate::media::error::MediaError;
use crate::storage::Storage;
use crate::store::Reader;
use crate::transfer::{Header, Item, ListedObject, OpenManifest};

/// What a transfer needs and brings.
pub struct Scan {
    pub header: Header,
    /// In the order of the object list.
    pub carried: Vec<ListedObject>,
    /// Objects that are neither carried nor in the storage, and manifests and chunks that list
    /// unknown ones.
    pub missing: u64,
    /// Bytes of the carried objects that the storage does not have.
    pub new_bytes: u64,
}

impl Scan {
    pub fn read(storage: &Storage, manifest: &OpenManifest<'_, '_>) -> Result<Self, MediaError> {
        let mut reader = manifest.reader()?;
        let header = reader.header.clone();
        let mut needed = Needed {
            storage,
            checked: HashSet::new(),
            missing: 0,
        };
        let mut carried = Vec::new();
        while let Some(item) = reader.next()? {
            storage.interrupt.check()?;
            let objects = match item {
                Item::Manifest { .. } => continue,
                Item::Chunk {
                    chunk,
                    content: None,
                } => {
                    needed.chunk(chunk.id)?;
                    continue;
                }
                Item::Chunk {
                    content: Some(chunk),
                    ..
                } => chunk.objects,
                Item::Further(object) => vec![object],
            };
            for object in objects {
                if object.is_carried {
                    carried.push(object);
                } else {
                    needed.object(object.content)?;
                }
            }
        }
        for manifest in header.manifests.iter().filter(|manifest| !manifest.carried) {
            needed.manifest(manifest.id)?;
        }
        let mut new_bytes = 0_u64;
        for ListedObject { content, .. } in &carried {
            // An object may be among what the base has and in a carried chunk.
            if !is_stored(storage, *content)? {
                new_bytes = new_bytes.saturating_add(content.size);
            }
        }
        Ok(Self {
            header,
            carried,
            missing: needed.missing,
            new_bytes,
        })
    }
}

/// Counts what the storage lacks.
struct Needed<'a> {
    storage: &'a Storage,
    checked: HashSet<ObjectId>,
    missing: u64,
}

impl Needed<'_> {
    fn manifest(&mut self, id: ObjectId) -> Result<(), MediaError> {
        let read = |reader: &Reader| {
            if reader.has_manifest(id)? {
                reader.manifest(id).map(Some)
            } else {
                Ok(None)
            }
        };
        let Some(manifest) = self.storage.read(read)? else {
            self.missing += 1;
            return Ok(());
        };
        manifest
            .chunks
            .iter()
            .try_for_each(|chunk| self.chunk(chunk.id))
    }

    fn chunk(&mut self, id: ObjectId) -> Result<(), MediaError> {
        let read = |reader: &Reader| {
            if reader.has_chunk(id)? {
                reader.chunk(id).map(Some)
            } else {
                Ok(None)
            }
        };
        let Some(entries) = self.storage.read(read)? else {
            self.missing += 1;
            return Ok(());
        };
        entries
            .iter()
            .try_for_each(|entry| self.object(entry.content()))
    }

    fn object(&mut self, content: ObjectRef) -> Result<(), MediaError> {
        if self.checked.insert(content.object) && !is_stored(self.storage, content)? {
            self.missing += 1;
        }
        Ok(())
    }
}

/// Whether the storage has an object. One that the database does not know is hashed: it may be
/// incomplete after a power failure.
pub fn is_stored(storage: &Storage, content: ObjectRef) -> Result<bool, MediaError> {
    let is_known = storage
        .read(|reader| reader.object(content.object))?
        .is_some();
    Ok(if is_known {
        storage.pool.size_of(content.object)? == Some(content.size)
    } else {
        storage.pool.adopt(content.object)? == Some(content)
    })
}
