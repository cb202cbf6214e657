//! States, and the records that contain one: repositories and snapshots.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::digest::ObjectId;
use crate::names::{RepoId, SnapshotName};
use crate::rel_path::RelPath;
use crate::repo_format::RepoFormat;

/// The result of a sync or a merge. It contains nothing of the configuration, so that it has the
/// same meaning on another host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateRecord {
    pub format: RepoFormat,
    /// The published files.
    pub manifest: ObjectId,
    /// The roots of the upstream; for a merge, the new root. Never empty.
    pub roots: Vec<RootRecord>,
    /// Whether the indexes were regenerated because the selection excludes packages: their root is
    /// generated when they are published.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub regenerated: bool,
    /// If the indexes were regenerated: a manifest of the upstream's roots, their signatures and
    /// indexes, with their original paths. It proves that the packages are those of the upstream.
    /// `None` for a merge, whose sources have their own, and in records from before schema version
    /// 4.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<ObjectId>,
    /// The keys that were trusted when the state was synced, as a binary keyring. `None` if there
    /// were none, and in records from before schema version 4.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keyring: Option<ObjectId>,
    /// The number of signed packages by fingerprint of the trusted key; empty if packages are not
    /// checked.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub packages_signed_by: BTreeMap<String, u64>,
    /// Indexes of the upstream that were not regenerated because clients cannot read them: the
    /// reason by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub left_out: BTreeMap<String, String>,
    /// Files that did not match the root, although other files have the same content: the reason by
    /// path. The next sync requests them again.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub missing: BTreeMap<String, String>,
    pub packages: u64,
    /// Sum of the sizes of all published paths.
    pub bytes: u64,
    /// When the state was synced; for a merge, when the newest of its sources was.
    pub synced_at: i64,
}

/// The root of a state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootRecord {
    /// Its path at the upstream; `None` in records from before schema version 4.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<RelPath>,
    pub object: ObjectId,
    /// Its creation date according to its content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub date: Option<i64>,
    /// Its expiry date (`Valid-Until`), according to its content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_until: Option<i64>,
    /// Its revision number, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
    /// Fingerprints of the trusted keys that signed it; empty when it is unsigned.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub signed_by: Vec<String>,
}

impl StateRecord {
    /// The date of its newest root.
    pub fn date(&self) -> Option<i64> {
        self.roots.iter().filter_map(|root| root.date).max()
    }

    /// The earliest expiry date of its roots.
    pub fn valid_until(&self) -> Option<i64> {
        self.roots.iter().filter_map(|root| root.valid_until).min()
    }

    /// The revision of its newest root, if that has a date.
    pub fn dated_revision(&self) -> Option<u64> {
        let dated = self.roots.iter().filter(|root| root.date.is_some());
        dated.max_by_key(|root| root.date)?.revision
    }

    /// Fingerprints of the trusted keys that signed its roots, each once.
    pub fn signed_by(&self) -> Vec<String> {
        let mut all: Vec<String> = Vec::new();
        for fingerprint in self.roots.iter().flat_map(|root| &root.signed_by) {
            if !all.contains(fingerprint) {
                all.push(fingerprint.clone());
            }
        }
        all
    }

    /// Whether package signatures were verified when it was synced.
    pub fn has_verified_packages(&self) -> bool {
        self.packages == 0 || !self.packages_signed_by.is_empty()
    }

    /// Whether one of its roots is this object.
    pub fn has_root(&self, object: ObjectId) -> bool {
        self.roots.iter().any(|root| root.object == object)
    }

    /// The manifests that it needs: published files and evidence.
    pub fn manifests(&self) -> impl Iterator<Item = ObjectId> {
        [self.manifest].into_iter().chain(self.evidence)
    }

    /// What is missing in the published metadata, and why: by index or path.
    pub fn absent(&self) -> BTreeMap<String, String> {
        let all = self.left_out.iter().chain(&self.missing);
        all.map(|(name, reason)| (name.clone(), reason.clone()))
            .collect()
    }

    /// Warnings about missing metadata, for users.
    pub fn warnings(&self) -> impl Iterator<Item = String> + '_ {
        let left_out = self.left_out.iter().map(|(name, reason)| {
            format!("{name} skipped in the new metadata (clients cannot read it): {reason}")
        });
        let missing = self
            .missing
            .iter()
            .map(|(path, reason)| format!("{path} skipped (clients do not need it): {reason}"));
        left_out.chain(missing)
    }
}

/// A repository and its state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepositoryRecord {
    /// The state of the last successful sync.
    pub state: StateRecord,
    /// Digest of the upstream's URL and suite: records of one upstream are not valid for another.
    /// (The URL itself may contain a token.)
    pub origin: ObjectId,
    /// Digest of everything in the configuration that affects the state: selection, keys, signature
    /// checks.
    pub selection: ObjectId,
    /// When the upstream last confirmed that this is still its state.
    pub checked_at: i64,
    /// Once this upstream was verified, a missing signature is an error.
    pub was_signed: bool,
    /// If the root of the state has no date: the newest date of earlier roots.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newest_root_date: Option<i64>,
}

/// A name for a state, which never changes again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotRecord {
    /// The state when the snapshot was created.
    pub state: StateRecord,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    pub created_at: i64,
    /// The states that it was merged from, each as `REPOSITORY/NAME`; empty if it was not merged.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub merged_from: Vec<String>,
}

/// A state that a snapshot was merged from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MergeSource {
    pub repository: RepoId,
    /// `None` for the state of the repository at that time.
    pub snapshot: Option<SnapshotName>,
}

impl SnapshotRecord {
    /// The sources of a merge with their recorded names; `None` for what cannot be a name.
    pub fn sources(&self) -> impl Iterator<Item = (&String, Option<MergeSource>)> {
        self.merged_from
            .iter()
            .map(|name| (name, MergeSource::parse(name)))
    }
}

impl MergeSource {
    fn parse(name: &str) -> Option<Self> {
        let (repository, name) = name.split_once('/')?;
        Some(Self {
            repository: RepoId::parse(repository).ok()?,
            snapshot: match name {
                SnapshotName::LATEST => None,
                name => Some(SnapshotName::parse(name).ok()?),
            },
        })
    }
}
