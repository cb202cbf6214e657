//! Transfers on offline media: what was sent to which destination, and what was imported.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::digest::ObjectId;
use crate::names::{DestinationName, ExporterId, RepoId};

/// A transfer that was exported.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SentRecord {
    /// The SHA-256 of its packed manifest.
    pub digest: ObjectId,
    /// The number of the transfer that it builds on; `None` for a full one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub builds_on: Option<u64>,
    /// The transfer whose content it does not carry. A repair builds on the transfer that it
    /// repairs, but is compared with the base of that one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compared_with: Option<u64>,
    /// The length of its object list.
    pub listed: u64,
    pub made_at: i64,
    pub fate: Fate,
    /// Until then the objects of an unconfirmed transfer are kept.
    pub held_until: i64,
    /// `REPOSITORY/NAME` of its states.
    pub names: Vec<String>,
    /// The manifests of its states.
    pub manifests: Vec<ObjectId>,
    /// The manifests that later transfers can build on, by repository: its own, and the last ones
    /// of the repositories that are not in it.
    pub kept: BTreeMap<RepoId, Vec<ObjectId>>,
    /// Number of carried objects, and their bytes.
    pub objects: u64,
    pub bytes: u64,
}

/// What is known of a transfer after it was exported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fate {
    Pending,
    /// The destination has imported it. At a time in seconds since the epoch.
    Confirmed(i64),
    /// It will not arrive.
    Lost(i64),
    /// The destination was forgotten. Only the number is kept: another transfer with it would be
    /// taken for this one.
    Forgotten,
}

impl SentRecord {
    pub fn is_confirmed(&self) -> bool {
        matches!(self.fate, Fate::Confirmed(_))
    }

    /// Whether nothing may build on it.
    pub fn is_lost(&self) -> bool {
        matches!(self.fate, Fate::Lost(_) | Fate::Forgotten)
    }

    pub fn is_pending(&self) -> bool {
        self.fate == Fate::Pending
    }
}

/// A transfer that was imported completely.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportedRecord {
    /// The SHA-256 of its packed manifest.
    pub digest: ObjectId,
    pub destination: DestinationName,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub builds_on: Option<u64>,
    pub made_at: i64,
    pub imported_at: i64,
    /// Fingerprints of the keys that signed it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub signed_by: Vec<String>,
    /// `REPOSITORY/NAME` of its states.
    pub names: Vec<String>,
    /// The manifests that later transfers can build on.
    pub kept: Vec<ObjectId>,
}

/// The transfer that a manifest is kept for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TransferOwner {
    Sent(DestinationName, u64),
    Imported(ExporterId, u64),
}
