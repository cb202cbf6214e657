//! One repository of a transfer: planned, proved, and ready to be named.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::keys::{self, Believed};
use super::order::{Order, newest_state, origin};
use super::prove::{Candidate, prove_state};
use super::refusal::{NotImported, Refusal};
use super::request::{ImportRequest, ImportedRepository, LatestOutcome, UnsignedTransfer};
use crate::digest::{ObjectId, ObjectRef};
use crate::media::error::MediaError;
use crate::names::{RepoId, SnapshotName};
use crate::openpgp::Keyring;
use crate::store::records::{
    GeneratedRootKey, GeneratedRootRecord, RepositoryRecord, RootValidity, SnapshotRecord,
    StateRecord,
};
use crate::time::now;
use crate::transfer::{CarriedRepository, Folder, Header, SignedRoot};
use crate::trust;

/// A repository that was proved and can be named.
pub struct Proved {
    pub snapshots: BTreeMap<SnapshotName, SnapshotRecord>,
    pub latest: Option<RepositoryRecord>,
    /// Keys to be stored for it.
    pub pin: Option<Keyring>,
    pub keyring: Option<ObjectRef>,
    /// The roots of filtered and merged states.
    pub roots: Vec<(GeneratedRootKey, GeneratedRootRecord)>,
}

impl Proved {
    fn add_root(&mut self, state: &StateRecord, root: Option<&SignedRoot>, validity: RootValidity) {
        let Some(root) = root else {
            return;
        };
        let key = GeneratedRootKey {
            source: state.manifest,
            signed_by: root.key.clone(),
            validity,
        };
        let record = GeneratedRootRecord {
            manifest: root.manifest,
            date: root.date,
            made_at: now(),
            imported: true,
        };
        self.roots.push((key, record));
    }
}

/// This many chunks are read at once.
const CHUNKS_AT_ONCE: usize = 256;

/// The import of one repository.
#[derive(Clone, Copy)]
pub struct RepositoryImport<'a> {
    pub request: &'a ImportRequest<'a>,
    /// The keys that sign media.
    pub trusted: &'a Keyring,
    pub header: &'a Header,
    pub order: Order<'a>,
    pub id: &'a RepoId,
    pub carried: &'a CarriedRepository,
    pub folder: &'a Folder,
    /// The sizes of the carried objects.
    pub sizes: &'a HashMap<ObjectId, u64>,
}

impl RepositoryImport<'_> {
    /// What an import would do, before the files are read.
    pub fn plan(&self) -> Result<ImportedRepository, MediaError> {
        let Self {
            order, id, carried, ..
        } = *self;
        let mut planned = ImportedRepository {
            packages: carried
                .states()
                .map(|state| state.packages)
                .max()
                .unwrap_or(0),
            ..ImportedRepository::default()
        };
        let storage = self.request.storage;
        let current = storage.read(|reader| reader.repository(id))?;
        for (name, snapshot) in &carried.snapshots {
            match storage.read(|reader| reader.snapshot(id, name))? {
                None => planned.created.push(name.clone()),
                Some(existing) if existing.state.manifest == snapshot.record.state.manifest => {}
                Some(_) => planned.refused = Some(Refusal::SnapshotExists { name: name.clone() }),
            }
        }
        if let Some(newest) = newest_state(carried) {
            let outcome = order.judge(id, current.as_ref(), &newest.state);
            if outcome == LatestOutcome::OtherOrigin {
                planned.refused = Some(Refusal::OtherOrigin);
            }
            planned.latest = Some(outcome);
        }
        Ok(planned)
    }

    /// Proves all its states. `imported` gets what is known of it, also if it is refused.
    pub fn prove(&self, imported: &mut ImportedRepository) -> Result<Proved, NotImported> {
        let Self {
            order, id, carried, ..
        } = *self;
        *imported = self.plan()?;
        if let Some(refusal) = imported.refused.take() {
            return Err(refusal.into());
        }
        let believed = self.believed()?;
        let missing = self.missing_objects()?;
        if missing > 0 {
            return Err(Refusal::Damaged { missing }.into());
        }
        let storage = self.request.storage;
        let keyring = match &believed.keyring {
            Some(keyring) => Some(storage.pool.add(&storage.locks, &keyring.to_binary())?),
            None => None,
        };
        let mut proved = Proved {
            snapshots: BTreeMap::new(),
            latest: None,
            pin: None,
            keyring,
            roots: Vec::new(),
        };
        // The current state is often one of the snapshots, too.
        let mut known: Vec<(StateRecord, StateRecord)> = Vec::new();
        let is_signed = self.request.unsigned == UnsignedTransfer::Refuse;
        let exporters = is_signed.then_some(self.trusted);
        let mut prove = |name: &str,
                         state: &StateRecord,
                         merged_from: &[String],
                         signed_root: Option<&SignedRoot>| {
            let same = known.iter().find(|(other, _)| other == state);
            if let (Some((_, proved)), None) = (same, signed_root) {
                return Ok(proved.clone());
            }
            let package_keys = self.package_keys(&believed, merged_from);
            let candidate = Candidate {
                package_keys: package_keys.as_ref(),
                repository: id,
                name,
                state,
                merged_from,
                signed_root,
                exporters,
            };
            let proved = prove_state(storage, candidate, &believed, keyring)?;
            known.push((state.clone(), proved.clone()));
            Ok::<_, NotImported>(proved)
        };
        for (name, snapshot) in &carried.snapshots {
            let record = &snapshot.record;
            let root = snapshot.signed_root.as_ref();
            let state = prove(name.as_str(), &record.state, &record.merged_from, root)?;
            imported.signed_by = state.signed_by();
            proved.add_root(&state, root, RootValidity::Dropped);
            if imported.created.contains(name) {
                let record = SnapshotRecord {
                    state,
                    ..record.clone()
                };
                proved.snapshots.insert(name.clone(), record);
            }
        }
        if let Some(newest) = newest_state(carried) {
            let root = newest.signed_root.as_ref();
            let state = prove(SnapshotName::LATEST, &newest.state, &[], root)?;
            imported.signed_by = state.signed_by();
            proved.add_root(&state, root, RootValidity::Kept);
            if imported.latest == Some(LatestOutcome::Replaced) {
                proved.latest = Some(RepositoryRecord {
                    origin: origin(order.exporter),
                    // No configuration has this one: a sync builds its own state.
                    selection: origin(order.exporter),
                    checked_at: state.synced_at,
                    was_signed: newest.was_signed && !state.signed_by().is_empty(),
                    newest_root_date: newest.newest_root_date,
                    state,
                });
            }
        }
        if believed.is_new {
            if let Some(keyring) = &believed.keyring {
                imported.accepted_keys = keyring.fingerprints();
            }
            proved.pin = believed.keyring;
        }
        Ok(proved)
    }

    /// The keys that packages are verified with. A merge has packages of its sources, as far as these
    /// are defined here.
    fn package_keys(&self, believed: &Believed, merged_from: &[String]) -> Option<Keyring> {
        let mut keyring = believed.keyring.clone()?;
        let config = self.request.config;
        for source in merged_from {
            let id = source
                .split_once('/')
                .and_then(|(id, _)| RepoId::parse(id).ok());
            let definition = id.and_then(|id| config.repository(&id));
            let keys = definition.map(|definition| trust::cached_keyring(config, definition));
            if let Some(Ok(Some(keys))) = keys {
                keyring.extend(keys);
            }
        }
        Some(keyring)
    }

    /// Plans, and says whether the keys of the repository are known.
    pub fn plan_with_keys(&self) -> Result<ImportedRepository, MediaError> {
        let mut planned = self.plan()?;
        if planned.refused.is_none() {
            planned.refused = NotImported::split(self.believed())?.err();
        }
        Ok(planned)
    }

    /// The bytes of a keyring, which a plan has not copied yet. `None` if they are damaged.
    fn keyring(&self, object: ObjectId) -> Result<Option<Vec<u8>>, MediaError> {
        let stored = self.request.storage.pool.read_small(object)?;
        let further = self.header.further.iter();
        let size = further
            .filter(|further| further.object == object)
            .map(|further| further.size);
        let size = size.chain(self.sizes.get(&object).copied()).next();
        match (stored, size) {
            (Some(bytes), _) => Ok(Some(bytes)),
            (None, Some(size)) => Ok(self.folder.read_small(ObjectRef { object, size })),
            (None, None) => Ok(None),
        }
    }

    fn believed(&self) -> Result<Believed, NotImported> {
        let (id, carried) = (self.id, self.carried);
        let config = self.request.config;
        let states: Vec<&StateRecord> = carried.states().collect();
        if let Some(definition) = config.repository(id) {
            let defined = definition.format.kind();
            if let Some(state) = states.iter().find(|state| state.format != defined) {
                return Err(Refusal::Format {
                    defined,
                    carried: state.format,
                    file: definition.file.clone(),
                }
                .into());
            }
            return Ok(keys::of_definition(config, definition)?);
        }
        if let Some(file) = config.may_be_about(id) {
            let file = file.to_owned();
            return Err(Refusal::InvalidDefinition { file }.into());
        }
        let new = self.request.medium_keys;
        // What proves a merge is the exporter's signature.
        let merged = carried
            .snapshots
            .values()
            .filter(|snapshot| !snapshot.record.merged_from.is_empty());
        let merged: Vec<&StateRecord> = merged.map(|snapshot| &snapshot.record.state).collect();
        let states: Vec<&StateRecord> = states
            .into_iter()
            .filter(|state| !merged.contains(state))
            .collect();
        keys::of_medium(config, id, &states, new, &|object| self.keyring(object))
    }

    /// The number of objects of its manifests that are not in the pool.
    fn missing_objects(&self) -> Result<u64, MediaError> {
        let storage = self.request.storage;
        let mut missing = HashSet::new();
        let mut entries = Vec::new();
        let mut manifests: Vec<ObjectId> = self.carried.manifests().collect();
        manifests.sort();
        manifests.dedup();
        for manifest in manifests {
            let chunks = storage.read(|reader| reader.manifest(manifest))?.chunks;
            for part in chunks.chunks(CHUNKS_AT_ONCE) {
                storage.read(|reader| {
                    for chunk in part {
                        entries.extend(reader.chunk(chunk.id)?);
                    }
                    Ok(())
                })?;
                for entry in entries.drain(..) {
                    if storage.pool.size_of(entry.object)? != Some(entry.size) {
                        missing.insert(entry.object);
                    }
                }
            }
        }
        Ok(missing.len() as u64)
    }
}
