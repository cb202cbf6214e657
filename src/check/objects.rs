//! The objects that are needed, and whether their files exist with the right size.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::os::unix::fs::MetadataExt as _;

use rayon::prelude::*;

use crate::digest::{ObjectId, ObjectRef};
use crate::pool::Pool;
use crate::publish::Layout;
use crate::storage::Storage;
use crate::store::records::TreeRecord;
use crate::store::{Reader, RowDamage, StoreError, Transaction};

use super::error::CheckError;
use super::finding::Damage;
use super::scope::Records;

/// Damaged rows of the database, with the states, snapshots and trees that need them, as far as
/// that is known.
pub type DamagedRows = BTreeMap<RowDamage, BTreeSet<String>>;

/// The objects that the records need, with their sizes.
pub fn needed_objects(
    storage: &Storage,
    records: &Records,
    rows: &mut DamagedRows,
) -> Result<HashMap<ObjectId, u64>, CheckError> {
    let mut objects = HashMap::new();
    // The damage of chunks that cannot be read.
    let mut chunks: HashMap<ObjectId, Option<RowDamage>> = HashMap::new();
    let mut seen: HashSet<(String, ObjectId)> = HashSet::new();
    for (name, manifest) in records.manifests() {
        storage.interrupt.check()?;
        if !seen.insert((name.clone(), manifest)) {
            continue;
        }
        let mut note = |damage: &RowDamage| {
            rows.entry(damage.clone()).or_default().insert(name.clone());
        };
        let read = storage.read(|reader| reader.manifest(manifest));
        let listed = match read {
            Ok(manifest) => manifest.chunks,
            Err(error) => {
                note(&RowDamage::of(error)?);
                continue;
            }
        };
        let unread = listed.iter().map(|chunk| chunk.id);
        let unread: Vec<ObjectId> = unread.filter(|id| !chunks.contains_key(id)).collect();
        read_chunks(storage, unread, &mut chunks, &mut objects)?;
        for chunk in listed {
            if let Some(Some(damage)) = chunks.get(&chunk.id) {
                note(damage);
            }
        }
    }
    for (path, tree) in &records.trees {
        let retained = storage.read(|reader| retained_objects(reader, tree));
        match retained {
            Ok(retained) => objects.extend(retained),
            Err(error) => {
                let damage = RowDamage::of(error)?;
                let name = path.display().to_string();
                rows.entry(damage).or_default().insert(name);
            }
        }
    }
    for keyring in records.keyrings() {
        // Its record may be damaged, which was reported.
        let record = storage.read(|reader| Ok(reader.object(keyring).ok().flatten()))?;
        let size = record.map(|record| record.size);
        let size = size.or(storage.pool.size_of(keyring)?);
        objects.entry(keyring).or_insert(size.unwrap_or(0));
    }
    Ok(objects)
}

/// The objects of the files that a tree retains from earlier generations. Their roots, and indexes
/// that were replaced under the same name, are not published any more.
fn retained_objects(reader: &Reader, tree: &TreeRecord) -> Transaction<Vec<(ObjectId, u64)>> {
    let Some(manifest) = tree.manifest.filter(|_| !tree.earlier.is_empty()) else {
        return Ok(Vec::new());
    };
    let retained = Layout::retained(reader, manifest, &tree.earlier)?;
    let contents = retained.files().map(|(_, file)| file.content);
    Ok(contents
        .map(|content| (content.object, content.size))
        .collect())
}

/// Reads chunks in one view of the database, and one by one if that fails.
fn read_chunks(
    storage: &Storage,
    unread: Vec<ObjectId>,
    chunks: &mut HashMap<ObjectId, Option<RowDamage>>,
    objects: &mut HashMap<ObjectId, u64>,
) -> Result<(), StoreError> {
    let read = storage.read(|reader| {
        for id in &unread {
            let entries = reader.chunk(*id)?.into_iter();
            objects.extend(entries.map(|entry| (entry.object, entry.size)));
            chunks.insert(*id, None);
        }
        Ok(())
    });
    if read.is_ok() {
        return Ok(());
    }
    for id in unread {
        if chunks.contains_key(&id) {
            continue;
        }
        let damage = match storage.read(|reader| reader.chunk(id)) {
            Ok(entries) => {
                objects.extend(entries.into_iter().map(|entry| (entry.object, entry.size)));
                None
            }
            Err(error) => Some(RowDamage::of(error)?),
        };
        chunks.insert(id, damage);
    }
    Ok(())
}

/// An object whose file exists and has the right size.
#[derive(Clone, Copy, Debug)]
pub struct PresentObject {
    pub content: ObjectRef,
    pub device: u64,
    pub inode: u64,
}

/// The objects whose files exist with the right size, and the others.
pub fn find_objects(
    pool: &Pool,
    needed: &HashMap<ObjectId, u64>,
    workers: &rayon::ThreadPool,
) -> (Vec<PresentObject>, Vec<(ObjectRef, Damage)>) {
    let find = |(object, size): (&ObjectId, &u64)| {
        let content = ObjectRef {
            object: *object,
            size: *size,
        };
        match std::fs::symlink_metadata(pool.object_path(*object)) {
            Ok(file) if !file.is_file() => Err((content, Damage::Missing)),
            Ok(file) if file.len() != *size => Err((content, Damage::Size { got: file.len() })),
            Ok(file) => Ok(PresentObject {
                content,
                device: file.dev(),
                inode: file.ino(),
            }),
            Err(error) => Err((content, Damage::of_error(&error))),
        }
    };
    let (mut damaged, mut present): (Vec<_>, Vec<_>) = workers.install(|| {
        needed
            .par_iter()
            .partition_map(|needed| find(needed).into())
    });
    present.sort_unstable_by_key(|found: &PresentObject| found.content.object);
    damaged.sort_unstable_by_key(|(content, _): &(ObjectRef, Damage)| content.object);
    (present, damaged)
}
