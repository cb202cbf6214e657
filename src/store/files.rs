//! Reads parts of manifests, so that the cost depends on what is asked and not on their size.

use std::collections::{HashMap, HashSet};

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

impl Reader {
    /// The files of two manifests in chunks that only one of them has, in path order. A path that
    /// one of them has here is nowhere else in the other: equal chunks have equal paths, and a path
    /// is only once in a manifest.
    pub fn differing_files(
        &self,
        one: ObjectId,
        other: ObjectId,
    ) -> Transaction<(Vec<FileEntry>, Vec<FileEntry>)> {
        let (one, other) = (self.manifest(one)?.chunks, self.manifest(other)?.chunks);
        Ok((self.unshared(&one, &other)?, self.unshared(&other, &one)?))
    }

    fn unshared(&self, own: &[ChunkRef], other: &[ChunkRef]) -> Transaction<Vec<FileEntry>> {
        let shared: HashSet<ObjectId> = other.iter().map(|chunk| chunk.id).collect();
        let mut files = Vec::new();
        for ChunkRef { id, .. } in own.iter().filter(|chunk| !shared.contains(&chunk.id)) {
            files.extend(self.chunk(*id)?.into_iter().map(FileEntry::from));
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

/// Finds files at paths that none of some manifests has.
///
/// Of these manifests, only chunks are read in which such a path may be: those between chunks that
/// they share with the manifest of the file.
pub struct MissingPaths<'r> {
    reader: &'r Reader,
    manifests: Vec<Vec<ChunkRef>>,
    /// The chunks of these manifests, and those whose files were returned.
    known: HashSet<ObjectId>,
    read: HashSet<ObjectId>,
    /// The paths in the chunks that were read.
    paths: HashSet<RelPath>,
}

impl<'r> MissingPaths<'r> {
    pub fn new(
        reader: &'r Reader,
        manifests: impl IntoIterator<Item = ObjectId>,
    ) -> Transaction<Self> {
        let manifests = manifests.into_iter();
        let manifests = manifests.map(|id| Ok(reader.manifest(id)?.chunks));
        let manifests: Vec<Vec<ChunkRef>> = manifests.collect::<Transaction<_>>()?;
        let known = manifests.iter().flatten().map(|chunk| chunk.id).collect();
        Ok(Self {
            reader,
            manifests,
            known,
            read: HashSet::new(),
            paths: HashSet::new(),
        })
    }

    /// The files of another manifest at paths that none of them has, in path order. Files of chunks
    /// that a manifest before it had are not returned again.
    pub fn files_of(&mut self, manifest: ObjectId) -> Transaction<Vec<FileEntry>> {
        let own = self.reader.manifest(manifest)?.chunks;
        let is_new: Vec<bool> = own
            .iter()
            .map(|chunk| self.known.insert(chunk.id))
            .collect();
        let positions = own.iter().enumerate().map(|(at, chunk)| (chunk.id, at));
        let positions: HashMap<ObjectId, usize> = positions.collect();
        for manifest in &self.manifests {
            for id in beside(manifest, &positions, &is_new) {
                if self.read.insert(id) {
                    let entries = self.reader.chunk(id)?.into_iter();
                    self.paths.extend(entries.map(|entry| entry.path));
                }
            }
        }
        let mut files = Vec::new();
        for (chunk, _) in own.iter().zip(is_new).filter(|(_, is_new)| *is_new) {
            let entries = self.reader.chunk(chunk.id)?.into_iter();
            let missing = entries.filter(|entry| !self.paths.contains(&entry.path));
            files.extend(missing.map(FileEntry::from));
        }
        Ok(files)
    }
}

/// The chunks of a manifest in which the paths of another one's new chunks may be: `positions` are
/// those of the other's chunks, and `is_new` says which of them are new.
fn beside(
    manifest: &[ChunkRef],
    positions: &HashMap<ObjectId, usize>,
    is_new: &[bool],
) -> Vec<ObjectId> {
    let mut chunks = Vec::new();
    // Between two chunks that both have.
    let (mut start, mut between) = (0, Vec::new());
    let common = manifest
        .iter()
        .map(|chunk| (Some(chunk.id), positions.get(&chunk.id)));
    let end = (None, Some(&is_new.len()));
    for (id, common) in common.chain([end]) {
        let Some(end) = common else {
            between.extend(id);
            continue;
        };
        // All manifests are in path order; if one were not, reading more would be right.
        let range = is_new.get(start..*end).unwrap_or(is_new);
        if range.contains(&true) {
            chunks.append(&mut between);
        }
        between.clear();
        start = end + 1;
    }
    chunks
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

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

    /// A store with manifests of these files, and their ids.
    fn stored(
        generations: impl IntoIterator<Item = Vec<Entry>>,
    ) -> (tempfile::TempDir, Store, Vec<ObjectId>) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::create(&dir.path().join("chantal.redb"), "pool-1").unwrap();
        let locks = Locks::acquire(dir.path(), Mode::Exclusive, &Requester::test()).unwrap();
        let built = generations.into_iter();
        let built: Vec<_> = built
            .map(|entries| manifest::build(entries).unwrap())
            .collect();
        store
            .write(&locks, |writer| {
                built
                    .iter()
                    .try_for_each(|built| writer.put_manifest(built))
            })
            .unwrap();
        (dir, store, built.iter().map(|built| built.id).collect())
    }

    #[test]
    fn parts_of_manifests_are_what_the_whole_ones_have() {
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
        let (_dir, store, ids) = stored([before, after]);
        store
            .read(|reader| {
                let (old, new) = reader.differing_files(ids[0], ids[1])?;
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
                let (same, as_well) = reader.differing_files(ids[0], ids[0])?;
                assert!(same.is_empty() && as_well.is_empty());

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

    /// Random manifests, compared with what their whole lists of files say.
    #[test]
    fn files_of_one_manifest_are_found_by_the_chunks_around_them() {
        let mut random = 1_u64;
        let mut next = |below: u64| {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (random >> 33) % below
        };
        let mut paths: BTreeSet<u64> = (0..1500).map(|number| number * 3).collect();
        let mut generations = Vec::new();
        for _ in 0..7 {
            for _ in 0..40 {
                let (removed, added) = (next(4500), next(4500));
                paths.remove(&removed);
                paths.insert(added);
            }
            // A whole part goes and comes back.
            let part = next(4000);
            let entries: Vec<Entry> = paths
                .iter()
                .filter(|path| next(9) > 0 || !(part..part + 200).contains(*path))
                .map(|path| file(&format!("pool/{path:04}"), "1"))
                .collect();
            generations.push(entries);
        }
        let (_dir, store, ids) = stored(generations.clone());
        store
            .read(|reader| {
                let mut found = 0;
                for (own, id) in ids.iter().enumerate() {
                    for others in [0..0, 0..own, own + 1..7, 0..3] {
                        let manifests = ids[others.clone()].iter().copied();
                        let mut missing = MissingPaths::new(reader, manifests)?;
                        let only = missing.files_of(*id)?;
                        let elsewhere: HashSet<&str> = generations[others]
                            .iter()
                            .flatten()
                            .map(|entry| entry.path.as_str())
                            .collect();
                        let expected = generations[own].iter().map(|entry| entry.path.as_str());
                        let expected: Vec<_> =
                            expected.filter(|path| !elsewhere.contains(path)).collect();
                        assert_eq!(self::paths(&only), expected);
                        assert!(missing.files_of(*id)?.is_empty());
                        found += only.len();
                    }
                }
                assert!(found > 1000, "{found} files");
                Ok(())
            })
            .unwrap();
    }
}
