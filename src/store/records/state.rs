//! A state, and what names one: a repository or a snapshot.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::digest::ObjectId;
use crate::rel_path::RelPath;
use crate::repo_format::RepoFormat;

/// What one sync brought, or one merge made. It says nothing of the configuration, so that it means the same on another host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateRecord {
    pub format: RepoFormat,
    /// What is published.
    pub manifest: ObjectId,
    /// The upstream's roots that it was derived from; of a merge the new one. Never empty.
    pub roots: Vec<RootRecord>,
    /// Whether the indexes are new ones, because the selection leaves packages out: publishing makes the root over them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub regenerated: bool,
    /// Where the indexes are new ones: a manifest of what they were chosen from, the upstream's roots with their signatures and its
    /// indexes, by their paths there. It proves later that the packages are the upstream's. `None` of a merge, whose sources have their
    /// own, and in records from before schema version 4.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<ObjectId>,
    /// The object that holds the keys which were trusted when the state was taken, as a binary keyring. `None` where there were none,
    /// and in records from before schema version 4.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keyring: Option<ObjectId>,
    /// By fingerprint of a trusted key, how many packages it signed; empty where packages are not checked.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub packages_signed_by: BTreeMap<String, u64>,
    /// Indexes of the upstream's that new ones were not made from, because no client can read them: by name, what is wrong with
    /// them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub left_out: BTreeMap<String, String>,
    /// Files that the root lists and that the upstream did not give as it declares them, where others have the same content: by
    /// path, what was wrong. The next sync asks for them again.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub missing: BTreeMap<String, String>,
    pub packages: u64,
    /// Sum of the sizes of all published paths.
    pub bytes: u64,
    /// When the state was taken; of a merge, when the newest of its sources was.
    pub synced_at: i64,
}

/// A root as it was taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootRecord {
    /// Where the upstream has it; `None` in records from before schema version 4.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<RelPath>,
    pub object: ObjectId,
    /// When the upstream made it, as it says itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub date: Option<i64>,
    /// Until when it may be believed, as it says itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_until: Option<i64>,
    /// Its number among the upstream's states, if it has one.
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

    /// Until when all of its roots may be believed.
    pub fn valid_until(&self) -> Option<i64> {
        self.roots.iter().filter_map(|root| root.valid_until).min()
    }

    /// The number of its newest root, where that one has a date.
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

    /// Whether its packages' signatures were verified when it was taken.
    pub fn has_verified_packages(&self) -> bool {
        self.packages == 0 || !self.packages_signed_by.is_empty()
    }

    /// Whether one of its roots is this object.
    pub fn has_root(&self, object: ObjectId) -> bool {
        self.roots.iter().any(|root| root.object == object)
    }

    /// What it needs: what is published, and what proves it.
    pub fn manifests(&self) -> impl Iterator<Item = ObjectId> {
        [self.manifest].into_iter().chain(self.evidence)
    }

    /// What the published metadata lacks of the upstream's, and why: by index or path.
    pub fn absent(&self) -> BTreeMap<String, String> {
        let all = self.left_out.iter().chain(&self.missing);
        all.map(|(name, reason)| (name.clone(), reason.clone()))
            .collect()
    }

    /// For the user, in whose metadata something is missing.
    pub fn warnings(&self) -> impl Iterator<Item = String> + '_ {
        let left_out = self.left_out.iter().map(|(name, reason)| {
            format!("{name} is left out of the new metadata, for clients cannot read it: {reason}")
        });
        let missing = self.missing.iter().map(|(path, reason)| {
            format!("{path} is left out, for clients can do without it: {reason}")
        });
        left_out.chain(missing)
    }
}

/// A repository and its state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepositoryRecord {
    /// That of the last successful sync.
    pub state: StateRecord,
    /// Digest of the upstream's URL and suite: what is remembered of one upstream does not hold for another. (The URL itself may
    /// hold a token.)
    pub origin: ObjectId,
    /// Digest of everything in the configuration that shapes the state: selection, keys, how strictly signatures are checked.
    pub selection: ObjectId,
    /// When the upstream last said that this is still its state.
    pub checked_at: i64,
    /// Once this upstream was verified, a missing signature is an error.
    pub was_signed: bool,
    /// Where the state's root says no date: the newest date of the roots that were taken before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newest_root_date: Option<i64>,
}

/// A name for a state, which never changes again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotRecord {
    /// As it was.
    pub state: StateRecord,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    pub created_at: i64,
    /// The states that it was merged from, `REPOSITORY/NAME` each; empty where it is one state.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub merged_from: Vec<String>,
}
