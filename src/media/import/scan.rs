//! Reads the manifest of a transfer once: what is carried, and what the storage must have already.
//!
//! The database is asked for many objects at once: opening it takes longer than a look at a file.

use std::collections::HashSet;

use crate::digest::{ObjectId, ObjectRef};
use crate::media::error::MediaError;
use crate::storage::Storage;
use crate::transfer::{Header, Item, ListedObject, OpenManifest};

/// This many chunks are looked up at once: some thousand objects.
const CHUNKS_AT_ONCE: usize = 256;
const OBJECTS_AT_ONCE: usize = 4096;

/// What a transfer needs and brings.
pub struct Scan {
    pub header: Header,
    /// In the order of the object list.
    pub carried: Vec<ListedObject>,
    /// Those of them that the storage does not have.
    pub new: Vec<ListedObject>,
    /// Objects that are neither carried nor in the storage, and manifests and chunks that list
    /// unknown ones.
    pub missing: u64,
}

impl Scan {
    pub fn read(storage: &Storage, manifest: &OpenManifest<'_, '_>) -> Result<Self, MediaError> {
        let mut reader = manifest.reader()?;
        let header = reader.header.clone();
        let mut needed = Needed {
            storage,
            checked: HashSet::new(),
            chunks: Vec::new(),
            objects: Vec::new(),
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
        let missing = needed.finish()?;
        let mut new = Vec::new();
        for objects in carried.chunks(OBJECTS_AT_ONCE) {
            // An object may be among what the base has, too.
            let contents: Vec<ObjectRef> = objects.iter().map(|object| object.content).collect();
            let stored = are_stored(storage, &contents)?;
            let objects = objects.iter().zip(stored);
            new.extend(
                objects
                    .filter(|(_, stored)| !stored)
                    .map(|(object, _)| *object),
            );
        }
        Ok(Self {
            header,
            carried,
            new,
            missing,
        })
    }

    /// Bytes of the objects that the storage does not have.
    pub fn new_bytes(&self) -> u64 {
        let sizes = self.new.iter().map(|object| object.content.size);
        sizes.fold(0, u64::saturating_add)
    }
}

/// Counts what the storage lacks.
struct Needed<'a> {
    storage: &'a Storage,
    checked: HashSet<ObjectId>,
    /// Not looked up yet.
    chunks: Vec<ObjectId>,
    objects: Vec<ObjectRef>,
    missing: u64,
}

impl Needed<'_> {
    fn manifest(&mut self, id: ObjectId) -> Result<(), MediaError> {
        let manifest = self.storage.read(|reader| {
            if reader.has_manifest(id)? {
                reader.manifest(id).map(Some)
            } else {
                Ok(None)
            }
        })?;
        let Some(manifest) = manifest else {
            self.missing += 1;
            return Ok(());
        };
        let mut chunks = manifest.chunks.iter();
        chunks.try_for_each(|chunk| self.chunk(chunk.id))
    }

    fn chunk(&mut self, id: ObjectId) -> Result<(), MediaError> {
        self.chunks.push(id);
        if self.chunks.len() == CHUNKS_AT_ONCE {
            self.look_up_chunks()?;
        }
        Ok(())
    }

    fn object(&mut self, content: ObjectRef) -> Result<(), MediaError> {
        if self.checked.insert(content.object) {
            self.objects.push(content);
        }
        if self.objects.len() >= OBJECTS_AT_ONCE {
            self.look_up_objects()?;
        }
        Ok(())
    }

    fn look_up_chunks(&mut self) -> Result<(), MediaError> {
        let chunks = std::mem::take(&mut self.chunks);
        let (known, missing) = self.storage.read(|reader| {
            let (mut known, mut missing) = (Vec::new(), 0);
            for chunk in chunks {
                if reader.has_chunk(chunk)? {
                    let entries = reader.chunk(chunk)?;
                    known.extend(entries.iter().map(crate::manifest::Entry::content));
                } else {
                    missing += 1;
                }
            }
            Ok((known, missing))
        })?;
        self.missing += missing;
        known
            .into_iter()
            .try_for_each(|content| self.object(content))
    }

    fn look_up_objects(&mut self) -> Result<(), MediaError> {
        let objects = std::mem::take(&mut self.objects);
        let stored = are_stored(self.storage, &objects)?;
        self.missing += stored.into_iter().filter(|stored| !stored).count() as u64;
        Ok(())
    }

    fn finish(mut self) -> Result<u64, MediaError> {
        self.look_up_chunks()?;
        self.look_up_objects()?;
        Ok(self.missing)
    }
}

/// Whether the storage has these objects. One that the database does not know is hashed: it may be
/// incomplete after a power failure.
fn are_stored(storage: &Storage, contents: &[ObjectRef]) -> Result<Vec<bool>, MediaError> {
    let known: Vec<bool> = storage.read(|reader| {
        let known = contents.iter().map(|content| reader.object(content.object));
        known.map(|record| Ok(record?.is_some())).collect()
    })?;
    let stored = contents.iter().zip(known).map(|(content, is_known)| {
        Ok(if is_known {
            storage.pool.size_of(content.object)? == Some(content.size)
        } else {
            storage.pool.adopt(content.object)? == Some(*content)
        })
    });
    stored.collect()
}
