//! The header of a transfer: everything but manifests and chunks, as JSON.
//!
//! Its encoding is canonical: maps are sorted, absent fields are left out, and what does not encode
//! to the same bytes again is refused. So a field that this version does not know is an error: a
//! new field needs a new version of the format.

use std::collections::{BTreeMap, HashSet};

use serde::{Deserialize, Serialize};

use crate::digest::ObjectId;
use crate::names::{DestinationName, ExporterId, RepoId, SnapshotName};
use crate::pool::SMALL_MAX;
use crate::store::records::{SnapshotRecord, StateRecord};

use super::name::TransferName;

const MADE_WITH_MAX: usize = 100;
const MERGED_FROM_MAX: usize = 1000;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The program that wrote it, for people: `chantal 1.2.3`.
    pub made_with: String,
    pub exporter: ExporterId,
    pub destination: DestinationName,
    /// From 1, for this exporter and destination.
    pub number: u64,
    /// In seconds since the epoch, by the exporter's clock.
    pub made_at: i64,
    /// The transfer whose content the destination must have; `None` for a full transfer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub builds_on: Option<Base>,
    pub repositories: BTreeMap<RepoId, CarriedRepository>,
    /// The manifests of these states and snapshots in their order, each once.
    pub manifests: Vec<CarriedManifest>,
    /// Objects that no chunk names, in the order of their ids.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub further: Vec<FurtherObject>,
    /// The manifests that later transfers can build on, in the order of their ids: those of this
    /// transfer, and the last ones of the repositories that are not in it.
    pub kept: Vec<ObjectId>,
}

/// The transfer that another one builds on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Base {
    pub number: u64,
    /// The SHA-256 of its packed manifest.
    pub digest: ObjectId,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CarriedRepository {
    /// How the exporter defines it, without credentials, paths and commands: for people, never
    /// loaded.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub definition: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<CarriedState>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub snapshots: BTreeMap<SnapshotName, CarriedSnapshot>,
}

/// The current state of a repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CarriedState {
    pub state: StateRecord,
    /// Whether an earlier root of its upstream was signed.
    pub was_signed: bool,
    /// As in [`crate::store::records::RepositoryRecord`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newest_root_date: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed_root: Option<SignedRoot>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CarriedSnapshot {
    pub record: SnapshotRecord,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed_root: Option<SignedRoot>,
}

/// A filtered or merged state as it is published: with a root that the exporter dated and signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedRoot {
    /// The files of the state with that root.
    pub manifest: ObjectId,
    /// The fingerprint of the key; `None` if it is not signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The date in the root, in seconds since the epoch.
    pub date: i64,
}

/// A manifest that the transfer needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CarriedManifest {
    pub id: ObjectId,
    /// False if the destination has it from the transfer that this one builds on.
    pub carried: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FurtherObject {
    pub object: ObjectId,
    /// In bytes.
    pub size: u64,
    /// False if the destination has it from the transfer that this one builds on.
    pub carried: bool,
}

impl Header {
    pub fn name(&self) -> TransferName {
        TransferName {
            exporter: self.exporter.clone(),
            number: self.number,
        }
    }

    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("strings and numbers can be serialized")
    }

    /// Reads a header and checks what does not need the rest of the transfer. The error is a text
    /// without the bytes that caused it.
    pub fn decode(bytes: &[u8]) -> Result<Self, String> {
        let header: Self = serde_json::from_slice(bytes).map_err(|error| {
            // The text of the error may contain bytes of the medium.
            format!("column {}: not the JSON of this format", error.column())
        })?;
        if header.encode() != bytes {
            return Err("unknown fields, or not in canonical form".to_owned());
        }
        header.check().map_err(str::to_owned)?;
        Ok(header)
    }

    fn check(&self) -> Result<(), &'static str> {
        if self.number == 0 {
            return Err("number 0");
        }
        if self.made_with.len() > MADE_WITH_MAX {
            return Err("the name of the program is too long");
        }
        if self.further.iter().any(|further| further.size > SMALL_MAX) {
            return Err("an object that no chunk names is too large");
        }
        if self
            .builds_on
            .is_some_and(|base| base.number >= self.number)
        {
            return Err("it builds on a later transfer");
        }
        let snapshots = self
            .repositories
            .values()
            .flat_map(|carried| carried.snapshots.values());
        if snapshots
            .into_iter()
            .any(|snapshot| snapshot.record.merged_from.len() > MERGED_FROM_MAX)
        {
            return Err("a merge has too many sources");
        }
        let mut seen = HashSet::new();
        let mut expected: Vec<ObjectId> = self.named_manifests().collect();
        expected.retain(|id| seen.insert(*id));
        let listed = self.manifests.iter().map(|manifest| manifest.id);
        if !listed.eq(expected.iter().copied()) {
            return Err("its manifests are not those of its states");
        }
        if !self.further.is_sorted_by(|a, b| a.object < b.object)
            || !self.kept.is_sorted_by(|a, b| a < b)
        {
            return Err("a list is not sorted");
        }
        if !expected
            .iter()
            .all(|id| self.kept.binary_search(id).is_ok())
        {
            return Err("a manifest is not among those that are kept");
        }
        let carries_all = self.manifests.iter().all(|manifest| manifest.carried)
            && self.further.iter().all(|further| further.carried)
            && self.kept.len() == expected.len();
        if self.builds_on.is_none() && !carries_all {
            return Err("a full transfer refers to an earlier one");
        }
        Ok(())
    }

    /// The manifests of all states and snapshots, in the order of `manifests`, with repetitions.
    pub fn named_manifests(&self) -> impl Iterator<Item = ObjectId> {
        self.repositories
            .values()
            .flat_map(CarriedRepository::manifests)
    }
}

impl CarriedRepository {
    /// The records of its states, those of snapshots included.
    pub fn states(&self) -> impl Iterator<Item = &StateRecord> {
        let state = self.state.iter().map(|carried| &carried.state);
        state.chain(self.snapshots.values().map(|carried| &carried.record.state))
    }

    /// The names of its states: `latest`, and those of snapshots.
    pub fn state_names(&self) -> impl Iterator<Item = &str> {
        let latest = self.state.iter().map(|_| SnapshotName::LATEST);
        latest.chain(self.snapshots.keys().map(SnapshotName::as_str))
    }

    /// The manifests that it needs, with repetitions.
    pub fn manifests(&self) -> impl Iterator<Item = ObjectId> {
        let state = self.state.iter();
        let state = state.map(|carried| (&carried.state, &carried.signed_root));
        let snapshots = self.snapshots.values();
        let snapshots = snapshots.map(|carried| (&carried.record.state, &carried.signed_root));
        state.chain(snapshots).flat_map(|(state, root)| {
            let root = root.as_ref().map(|root| root.manifest);
            state.manifests().chain(root)
        })
    }
}
