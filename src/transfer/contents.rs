//! Everything that a transfer carries, from one pass over its manifest; and whether the folder has
//! it.

use std::collections::{BTreeMap, HashMap};
use std::io;

use crate::digest::ObjectId;
use crate::interrupt::{Interrupt, Interrupted};
use crate::manifest::Entry;
use crate::names::RepoId;

use super::error::{ObjectError, TransferError};
use super::folder::Folder;
use super::header::Header;
use super::packed::OpenManifest;
use super::reader::{Item, ListedObject};

/// What a transfer carries.
#[derive(Debug)]
pub struct Contents {
    pub header: Header,
    /// In the order of the object list.
    pub carried: Vec<ListedObject>,
    pub repositories: BTreeMap<RepoId, CarriedPackages>,
}

/// What is carried of one repository. An object of several repositories counts for the first one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CarriedPackages {
    pub packages: u64,
    /// Of packages and other files.
    pub bytes: u64,
}

impl Contents {
    /// Reads the whole manifest. `each` gets the entries whose objects are carried and not named by
    /// an entry before.
    pub fn read(
        manifest: &OpenManifest<'_, '_>,
        each: &mut dyn FnMut(&RepoId, &Entry),
    ) -> Result<Self, TransferError> {
        let mut reader = manifest.reader()?;
        let header = reader.header.clone();
        let mut owners: HashMap<ObjectId, &RepoId> = HashMap::new();
        for (id, repository) in &header.repositories {
            for manifest in repository.manifests() {
                owners.entry(manifest).or_insert(id);
            }
        }
        let mut chunk_owners: HashMap<ObjectId, &RepoId> = HashMap::new();
        let mut carried = Vec::new();
        let mut repositories: BTreeMap<RepoId, CarriedPackages> = BTreeMap::new();
        while let Some(item) = reader.next()? {
            let objects = match item {
                Item::Manifest { id, manifest, .. } => {
                    if let Some(owner) = owners.get(&id) {
                        for chunk in manifest.chunks {
                            chunk_owners.entry(chunk.id).or_insert(owner);
                        }
                    }
                    continue;
                }
                Item::Chunk { content: None, .. } => continue,
                Item::Chunk {
                    chunk,
                    content: Some(content),
                } => {
                    let mut new: HashMap<ObjectId, &Entry> = HashMap::new();
                    for entry in &content.entries {
                        new.entry(entry.object).or_insert(entry);
                    }
                    if let Some(owner) = chunk_owners.get(&chunk.id) {
                        let sum = repositories.entry((*owner).clone()).or_default();
                        for object in content.objects.iter().filter(|object| object.is_carried) {
                            let entry = new[&object.content.object];
                            sum.packages += u64::from(entry.package.is_some());
                            sum.bytes = sum.bytes.saturating_add(entry.size);
                            each(owner, entry);
                        }
                    }
                    content.objects
                }
                Item::Further(object) => vec![object],
            };
            carried.extend(objects.into_iter().filter(|object| object.is_carried));
        }
        Ok(Self {
            header,
            carried,
            repositories,
        })
    }

    pub fn bytes(&self) -> u64 {
        let sizes = self.carried.iter().map(|object| object.content.size);
        sizes.fold(0, u64::saturating_add)
    }

    /// The sizes of the carried objects.
    pub fn sizes(&self) -> HashMap<ObjectId, u64> {
        let carried = self.carried.iter().map(|object| object.content);
        carried
            .map(|content| (content.object, content.size))
            .collect()
    }

    /// The carried objects that are missing or have another size.
    pub fn absent(
        &self,
        folder: &Folder,
        interrupt: &Interrupt,
    ) -> Result<Vec<(ListedObject, ObjectError)>, Interrupted> {
        self.each_bad(interrupt, |object| folder.object(object.content).map(drop))
    }

    /// The carried objects that cannot be read, or have another digest. `progress` gets the number
    /// of bytes of each object that was read.
    pub fn damaged(
        &self,
        folder: &Folder,
        interrupt: &Interrupt,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<Vec<(ListedObject, ObjectError)>, Interrupted> {
        self.each_bad(interrupt, |object| {
            let nothing = &mut |_: &[u8]| Ok::<(), io::Error>(());
            let read = folder.read_object(object.content, nothing);
            progress(object.content.size);
            read.unwrap_or(Ok(()))
        })
    }

    fn each_bad(
        &self,
        interrupt: &Interrupt,
        check: impl Fn(&ListedObject) -> Result<(), ObjectError>,
    ) -> Result<Vec<(ListedObject, ObjectError)>, Interrupted> {
        let mut bad = Vec::new();
        for object in &self.carried {
            interrupt.check()?;
            if let Err(error) = check(object) {
                bad.push((*object, error));
            }
        }
        Ok(bad)
    }
}
