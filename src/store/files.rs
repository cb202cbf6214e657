//! Reads parts of manifests, so that the cost depends on what is asked and not on their size.

use std::collections::{BTreeSet, HashMap, HashSet, hash_map};
use std::rc::Rc;

use crate::digest::{ObjectId, ObjectRef};
use crate::manifest::{ChunkRef, Entry, Role};
use crate::rel_path::RelPath;

use super::error::Transaction;
use super::reader::Reader;

/// An entry of a manifest without its package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileEntry {
    pub path: RelPath,
    pub content: ObjectRef,
    pub role: Role,
}

impl From<Entry> for FileEntry {
    fn from(entry: Entry) -> Self {
        Self {
            content: entry.content(),
            path: entry.path,
            role: entry.role,
        }
    }
}

/// The files of several manifests that are not in chunks which all of them share.
///
/// A path that one of these manifests has here is nowhere else in the others: equal chunks have
/// equal paths, and a path is only once in a manifest.
#[derive(Debug, Default)]
pub struct DifferingFiles(HashMap<ObjectId, Vec<Rc<Vec<FileEntry>>>>);

impl DifferingFiles {
    /// Of one of the manifests, in path order.
    pub fn of(&self, manifest: ObjectId) -> impl Iterator<Item = &FileEntry> {
        let chunks = self.0.get(&manifest).into_iter().flatten();
        chunks.flat_map(|chunk| chunk.iter())
    }
}

impl Reader {
    /// Compares manifests by their chunks. Each chunk is read once.
    pub fn differing_files(&self, manifests: &BTreeSet<ObjectId>) -> Transaction<DifferingFiles> {
        let mut listed = Vec::new();
        let mut counts: HashMap<ObjectId, usize> = HashMap::new();
        for manifest in manifests {
            let chunks = self.manifest(*manifest)?.chunks;
            for id in chunks.iter().map(|chunk| chunk.id).collect::<HashSet<_>>() {
                *counts.entry(id).or_default() += 1;
            }
            listed.push((*manifest, chunks));
        }
        let mut read: HashMap<ObjectId, Rc<Vec<FileEntry>>> = HashMap::new();
        let mut files = DifferingFiles::default();
        for (manifest, chunks) in listed {
            let mut differing = Vec::new();
            for ChunkRef { id, .. } in chunks {
                if counts[&id] == manifests.len() {
                    continue;
                }
                let files = match read.entry(id) {
                    hash_map::Entry::Occupied(known) => known.into_mut(),
                    hash_map::Entry::Vacant(unread) => {
                        let entries = self.chunk(id)?.into_iter().map(FileEntry::from);
                        unread.insert(Rc::new(entries.collect()))
                    }
                };
                differing.push(Rc::clone(files));
            }
            files.0.insert(manifest, differing);
        }
        Ok(files)
    }

    /// The files of a manifest below a directory, in path order. Other chunks are not read, except
    /// for a few to find the directory.
    pub fn files_below(
        &self,
        manifest: ObjectId,
        directory: &RelPath,
    ) -> Transaction<Vec<FileEntry>> {
        let below = format!("{directory}/");
        let chunks = self.manifest(manifest)?.chunks;
        // The first chunk whose last path is not before the directory.
        let (mut start, mut end) = (0, chunks.len());
        while start < end {
            let middle = usize::midpoint(start, end);
            let entries = self.chunk(chunks[middle].id)?;
            let is_before = entries
                .last()
                .is_none_or(|last| last.path.as_str() < below.as_str());
            if is_before {
                start = middle + 1;
            } else {
                end = middle;
            }
        }
        let mut files = Vec::new();
        for chunk in &chunks[start..] {
            for entry in self.chunk(chunk.id)? {
                let path = entry.path.as_str();
                if path.starts_with(&below) {
                    files.push(FileEntry::from(entry));
                } else if path > below.as_str() {
                    return Ok(files);
                }
            }
        }
        Ok(files)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lock::{Locks, Mode, Requester};
    use crate::manifest;
    use crate::store::Store;

    fn file(path: &str, content: &str) -> Entry {
        let content = ObjectRef {
            object: ObjectId::of(content.as_bytes()),
            size: content.len() as u64,
        };
        Entry::new(RelPath::parse(path).unwrap(), content, Role::File)
    }

    fn paths<'f>(files: impl IntoIterator<Item = &'f FileEntry>) -> Vec<&'f str> {
        files.into_iter().map(|file| file.path.as_str()).collect()
    }

    #[test]
    fn parts_of_manifests_are_what_the_whole_ones_have() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::create(&dir.path().join("chantal.redb"), "pool-1").unwrap();
        let locks = Locks::acquire(dir.path(), Mode::Exclusive, &Requester::test()).unwrap();
        let mut before: Vec<Entry> = (0..2000)
            .map(|n| file(&format!("pool/{}/p{n:04}", n % 7), "1"))
            .collect();
        for name in [
            "pool",
            "pool-2/a",
            "dists",
            "dists.old/a",
            "dists/s/a",
            "dists/s/b/c",
        ] {
            if name.contains('/') {
                before.push(file(name, name));
            }
        }
        let mut after = before.clone();
        after[500] = file("pool/3/p0500", "2");
        after.remove(1700);
        after.push(file("pool/5/new", "3"));
        let built = [before, after].map(|entries| manifest::build(entries).unwrap());
        store
            .write(&locks, |writer| {
                built
                    .iter()
                    .try_for_each(|built| writer.put_manifest(built))
            })
            .unwrap();
        let ids = built.map(|built| built.id);
        store
            .read(|reader| {
                let differing = reader.differing_files(&ids.into_iter().collect())?;
                let [old, new] = ids.map(|id| differing.of(id).cloned().collect::<Vec<_>>());
                assert!(old.len() < 300, "{} files were read", old.len());
                let only_in = |one: &[FileEntry], other: &[FileEntry]| {
                    let only = one.iter().filter(|file| !other.contains(file));
                    only.cloned().collect::<Vec<_>>()
                };
                assert_eq!(
                    paths(&only_in(&old, &new)),
                    ["pool/3/p0500", "pool/6/p1700"]
                );
                assert_eq!(paths(&only_in(&new, &old)), ["pool/3/p0500", "pool/5/new"]);
                let alone = reader.differing_files(&BTreeSet::from([ids[0]]))?;
                assert_eq!(alone.of(ids[0]).count(), 0);

                let below = |directory: &str| {
                    let directory = RelPath::parse(directory).unwrap();
                    reader.files_below(ids[1], &directory)
                };
                assert_eq!(paths(&below("dists")?), ["dists/s/a", "dists/s/b/c"]);
                assert_eq!(paths(&below("dists/s/b")?), ["dists/s/b/c"]);
                assert_eq!(below("pool/6")?.len(), 285 - 1);
                for nothing in ["a", "dists/t", "pool/7", "z"] {
                    assert!(below(nothing)?.is_empty(), "{nothing}");
                }
                Ok(())
            })
            .unwrap();
    }
}
