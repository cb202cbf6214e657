//! Generated indexes: made again from the evidence of their state, if that gives the same bytes.
//!
//! Equal input gives equal output, but an earlier version of chantal may have written something
//! else. What the result does not need is removed by the next cleanup.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::error::RepairError;
use super::outcome::RepairSource;
use crate::digest::ObjectId;
use crate::format::{Chosen, FormatError, Source};
use crate::manifest::{Entry, Role};
use crate::state::{OpenState, PoolSink, StateError};
use crate::storage::Storage;
use crate::store::records::StateRecord;

/// What was generated again.
#[derive(Default)]
pub struct Regenerated {
    pub sources: HashMap<ObjectId, RepairSource>,
    /// Why the others were not, by object.
    pub reasons: HashMap<ObjectId, Vec<String>>,
}

/// A state whose metadata was generated.
struct OwnState {
    /// As users name it.
    name: String,
    record: StateRecord,
}

/// Generates the metadata of each state that has some of the wanted objects.
pub fn restore(storage: &Storage, wanted: &HashSet<ObjectId>) -> Result<Regenerated, RepairError> {
    let mut made = Regenerated::default();
    for (_, state) in own_states(storage)? {
        let left = |object: &ObjectId| !made.sources.contains_key(object);
        let wanted: HashSet<ObjectId> = wanted.iter().copied().filter(left).collect();
        if wanted.is_empty() {
            break;
        }
        let entries = storage.read(|reader| reader.entries(state.record.manifest))?;
        let has = |entry: &&Entry| {
            let is_metadata = matches!(entry.role, Role::Root | Role::Index);
            is_metadata && wanted.contains(&entry.object)
        };
        let objects: HashSet<ObjectId> = entries.iter().filter(has).map(|e| e.object).collect();
        if objects.is_empty() {
            continue;
        }
        let failure = match regenerate(storage, &state.record, &entries)? {
            Ok(()) => "generating it again gives other bytes".to_owned(),
            Err(failure) => failure,
        };
        for object in objects {
            if storage.pool.is_intact(object)? {
                made.sources.insert(object, RepairSource::Evidence);
            } else {
                let reasons = made.reasons.entry(object).or_default();
                reasons.push(format!("generated metadata of {}: {failure}", state.name));
            }
        }
    }
    Ok(made)
}

/// By manifest.
fn own_states(storage: &Storage) -> Result<BTreeMap<ObjectId, OwnState>, RepairError> {
    let (repositories, snapshots) =
        storage.read(|reader| Ok((reader.repositories()?, reader.snapshots()?)))?;
    let states = repositories
        .into_iter()
        .map(|(repository, record)| (repository.to_string(), record.state));
    let snapshots = snapshots
        .into_iter()
        .map(|((repository, name), record)| (format!("{repository}/{name}"), record.state));
    let all = states.chain(snapshots);
    let own = all.filter(|(_, record)| record.regenerated);
    Ok(own
        .map(|(name, record)| (record.manifest, OwnState { name, record }))
        .collect())
}

/// The inner `Err` is the reason why it is impossible.
fn regenerate(
    storage: &Storage,
    state: &StateRecord,
    entries: &[Entry],
) -> Result<Result<(), String>, RepairError> {
    let Some(evidence) = state.evidence else {
        let again = "it has no evidence; a merge must be deleted and created again by \
                     `chantal snapshot merge`, and anything else synced again";
        return Ok(Err(again.to_owned()));
    };
    let evidence_entries = storage.read(|reader| reader.entries(evidence))?;
    let of_upstream = StateRecord {
        manifest: evidence,
        ..state.clone()
    };
    let opened = match OpenState::of_entries(&storage.pool, &of_upstream, &evidence_entries) {
        Ok(opened) => opened,
        Err(StateError::Store(error)) => return Err(error.into()),
        Err(StateError::Io(error)) => return Err(error.into()),
        Err(error) => return Ok(Err(error.to_string())),
    };
    let mut chosen = Chosen::default();
    for entry in entries {
        if let Some(package) = &entry.package {
            chosen.take(entry.path.clone());
            chosen.note(package);
        }
    }
    let source = Source {
        root: opened.root.bytes(),
        indexes: &opened.indexes,
        chosen: &chosen,
    };
    let mut sink = PoolSink {
        storage,
        stored: Vec::new(),
    };
    match opened.selected.regenerate(&[source], &mut sink) {
        Ok(new) => {
            storage.pool.add(&storage.locks, &new.root)?;
            Ok(Ok(()))
        }
        Err(FormatError::Write { source, .. }) => Err(source.into()),
        Err(error) => Ok(Err(error.to_string())),
    }
}
