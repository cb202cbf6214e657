//! Which states a transfer has.

use std::collections::BTreeMap;

use super::definition;
use super::error::MediaError;
use super::sent::sent_transfer;
use crate::config::Config;
use crate::names::{DestinationName, RepoId};
use crate::snapshot::{self, SnapshotReference, StateReference};
use crate::storage::Storage;
use crate::store::Reader;
use crate::transfer::{CarriedRepository, CarriedSnapshot, CarriedState};

/// The states that were asked for.
#[derive(Clone, Debug, Default)]
pub struct ExportSelection {
    /// `NAME` is the snapshot of every repository that has it.
    pub snapshots: Vec<SnapshotReference>,
    /// Their current states.
    pub repositories: Vec<RepoId>,
    /// The current states of all repositories that were synced.
    pub all: bool,
}

impl ExportSelection {
    pub fn is_empty(&self) -> bool {
        self.snapshots.is_empty() && self.repositories.is_empty() && !self.all
    }
}

/// The states that an earlier transfer had, as they are now.
pub fn states_of(
    storage: &Storage,
    destination: &DestinationName,
    number: u64,
) -> Result<ExportSelection, MediaError> {
    let record = sent_transfer(storage, destination, number)?;
    let mut selection = ExportSelection::default();
    for name in &record.names {
        match StateReference::parse(name) {
            Ok(StateReference::Latest(id)) => selection.repositories.push(id),
            Ok(StateReference::Snapshot(snapshot)) => selection.snapshots.push(snapshot),
            // Names are recorded in full.
            Ok(StateReference::Either(..)) | Err(_) => {}
        }
    }
    Ok(selection)
}

/// The selected states. Filtered and merged ones have no signed root yet.
pub fn select(
    storage: &Storage,
    config: &Config,
    selection: &ExportSelection,
) -> Result<BTreeMap<RepoId, CarriedRepository>, MediaError> {
    let (states, snapshots) = storage
        .read(|reader: &Reader| Ok((reader.repositories()?, snapshot::list(reader, None)?)))?;
    let mut carried = BTreeMap::new();
    let wanted = |id: &RepoId| selection.all || selection.repositories.contains(id);
    for id in &selection.repositories {
        if !states.contains_key(id) {
            let repository = id.clone();
            return Err(MediaError::NeverSynced { repository });
        }
    }
    for (id, record) in states {
        if !wanted(&id) {
            continue;
        }
        let state = CarriedState {
            state: record.state,
            was_signed: record.was_signed,
            newest_root_date: record.newest_root_date,
            signed_root: None,
        };
        let repository = carried.entry(id).or_insert_with_key(|id| empty(config, id));
        repository.state = Some(state);
    }
    for name in &selection.snapshots {
        let matching = snapshots
            .iter()
            .filter(|snapshot| name.matches(&snapshot.repository, &snapshot.name));
        let mut found = false;
        for snapshot in matching {
            found = true;
            let repository = carried
                .entry(snapshot.repository.clone())
                .or_insert_with_key(|id| empty(config, id));
            let snapshot_name = snapshot.name.clone();
            let snapshot = CarriedSnapshot {
                record: snapshot.record.clone(),
                signed_root: None,
            };
            repository.snapshots.insert(snapshot_name, snapshot);
        }
        if !found {
            return Err(MediaError::NoSnapshot {
                name: name.clone(),
                known: snapshots
                    .iter()
                    .map(snapshot::Snapshot::full_name)
                    .collect(),
            });
        }
    }
    if carried.is_empty() {
        return Err(MediaError::Empty);
    }
    Ok(carried)
}

fn empty(config: &Config, id: &RepoId) -> CarriedRepository {
    CarriedRepository {
        definition: config
            .repository(id)
            .map(definition::describe)
            .unwrap_or_default(),
        state: None,
        snapshots: BTreeMap::new(),
    }
}
