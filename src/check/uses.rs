//! What needs the damaged objects: one pass over all manifests, only if something is damaged.

use std::collections::{HashMap, HashSet};

use crate::digest::ObjectId;
use crate::manifest::{Entry, Role};
use crate::names::{RepoId, SnapshotName};
use crate::rel_path::RelPath;
use crate::storage::Storage;
use crate::store::records::StateRecord;
use crate::store::{RowDamage, StoreError};

use super::error::CheckError;
use super::finding::{ObjectUse, Owner};
use super::scope::{Records, Scope};

/// The file name in the uses of a keyring, which no manifest lists.
const KEYRING: &str = "keyring";

/// The uses of these objects, in order.
pub fn find_uses(
    storage: &Storage,
    records: &Records,
    objects: &HashSet<ObjectId>,
) -> Result<HashMap<ObjectId, Vec<ObjectUse>>, CheckError> {
    let mut search = Search {
        storage,
        objects,
        chunks: HashMap::new(),
        uses: HashMap::new(),
    };
    let mut published: HashSet<ObjectId> = HashSet::new();
    for (repository, record) in &records.repositories {
        published.insert(record.state.manifest);
        search.state(repository, &record.state, None)?;
    }
    for ((repository, name), record) in &records.snapshots {
        published.insert(record.state.manifest);
        search.state(repository, &record.state, Some(name))?;
    }
    for (path, tree) in &records.trees {
        for manifest in tree.promised().chain(tree.staged()) {
            if !published.contains(&manifest) {
                search.manifest(&tree.repository, &Owner::Tree(path.clone()), manifest)?;
            }
        }
    }
    for root in records.unpublished_roots(&Scope::default()) {
        let owner = Owner::GeneratedRoot(root.owner.snapshot().cloned());
        // Its other files are those of the state or snapshot.
        let mut entries = search.entries(root.record.manifest)?;
        entries.retain(|entry| matches!(entry.role, Role::Root | Role::Key));
        search.add(root.owner.repository(), &owner, entries);
    }
    let mut uses = search.uses;
    for uses in uses.values_mut() {
        uses.sort();
        uses.dedup();
    }
    Ok(uses)
}

struct Search<'a> {
    storage: &'a Storage,
    objects: &'a HashSet<ObjectId>,
    /// The entries of chunks that refer to the objects.
    chunks: HashMap<ObjectId, Vec<Entry>>,
    uses: HashMap<ObjectId, Vec<ObjectUse>>,
}

impl Search<'_> {
    fn state(
        &mut self,
        repository: &RepoId,
        state: &StateRecord,
        snapshot: Option<&SnapshotName>,
    ) -> Result<(), CheckError> {
        let owner = match snapshot {
            None => Owner::State,
            Some(name) => Owner::Snapshot(name.clone()),
        };
        self.manifest(repository, &owner, state.manifest)?;
        if let Some(evidence) = state.evidence {
            let owner = Owner::Evidence(snapshot.cloned());
            self.manifest(repository, &owner, evidence)?;
        }
        let Some(keyring) = state
            .keyring
            .filter(|keyring| self.objects.contains(keyring))
        else {
            return Ok(());
        };
        let path = RelPath::parse(KEYRING).expect("a plain name");
        self.uses.entry(keyring).or_default().push(ObjectUse {
            repository: repository.clone(),
            owner: Owner::Keyring(snapshot.cloned()),
            path,
            role: Role::Key,
            package: None,
        });
        Ok(())
    }

    fn manifest(
        &mut self,
        repository: &RepoId,
        owner: &Owner,
        manifest: ObjectId,
    ) -> Result<(), CheckError> {
        let entries = self.entries(manifest)?;
        self.add(repository, owner, entries);
        Ok(())
    }

    /// The entries of a manifest that refer to the objects.
    fn entries(&mut self, manifest: ObjectId) -> Result<Vec<Entry>, CheckError> {
        self.storage.interrupt.check()?;
        let read = self.storage.read(|reader| {
            let listed = reader.manifest(manifest)?.chunks;
            let mut entries = Vec::new();
            for chunk in listed {
                if let Some(known) = self.chunks.get(&chunk.id) {
                    entries.extend(known.iter().cloned());
                    continue;
                }
                let mut found = reader.chunk(chunk.id)?;
                found.retain(|entry| self.objects.contains(&entry.object));
                entries.extend(found.iter().cloned());
                self.chunks.insert(chunk.id, found);
            }
            Ok(entries)
        });
        Ok(known(read)?)
    }

    fn add(&mut self, repository: &RepoId, owner: &Owner, entries: Vec<Entry>) {
        for entry in entries {
            self.uses.entry(entry.object).or_default().push(ObjectUse {
                repository: repository.clone(),
                owner: owner.clone(),
                path: entry.path,
                role: entry.role,
                package: entry.package,
            });
        }
    }
}

/// A damaged manifest was reported.
fn known(read: Result<Vec<Entry>, StoreError>) -> Result<Vec<Entry>, StoreError> {
    match read {
        Ok(entries) => Ok(entries),
        Err(error) => RowDamage::of(error).map(|_| Vec::new()),
    }
}
