//! What the store remembers. Times are seconds since the epoch, sizes are bytes.
//!
//! Fields may be added, with a default; a field that changes its meaning needs a new schema version.

use std::collections::BTreeMap;
use std::io;

use serde::{Deserialize, Serialize};

use crate::digest::{self, ObjectId};

/// Which store it is, and of which pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The id of the pool that it belongs to.
    pub pool: String,
    /// Its own.
    pub store: String,
    /// How often objects were removed from the pool.
    pub generation: u64,
    /// When it was put over a pool with objects that it does not know.
    pub adopting: Option<i64>,
}

impl Identity {
    /// Of a new store for a pool.
    #[cfg(test)]
    pub fn new(pool: &str) -> io::Result<Self> {
        Ok(Self {
            pool: pool.to_owned(),
            store: random_id()?,
            generation: 0,
            adopting: None,
        })
    }
}

/// For a pool or a store.
pub fn random_id() -> io::Result<String> {
    let mut bytes = [0_u8; 16];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())?;
    Ok(digest::hex(&bytes))
}

/// A repository and its state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepositoryRecord {
    /// `rpm` or `apt`.
    pub format: String,
    /// Digest of the upstream's URL and suite: what is remembered of one upstream does not hold for another. (The URL itself may
    /// hold a token.)
    pub upstream: ObjectId,
    /// Digest of everything in the configuration that shapes the state: selection, keys, how strictly signatures are checked.
    pub selection: ObjectId,
    /// The manifest of the last good sync.
    pub manifest: ObjectId,
    /// The root file that the state was derived from.
    pub root: ObjectId,
    /// When the upstream made that root, as it says itself.
    pub root_date: Option<i64>,
    /// Until when that root may be believed, as it says itself.
    pub root_valid_until: Option<i64>,
    /// Its number among the upstream's states, if it has one.
    pub root_revision: Option<u64>,
    /// When the state was taken.
    pub synced_at: i64,
    /// When the upstream last said that this is still its state.
    pub checked_at: i64,
    /// Fingerprints of the trusted keys that signed the root; empty when it is unsigned.
    pub signed_by: Vec<String>,
    /// By fingerprint of a trusted key, how many packages it signed; empty where packages are not checked.
    #[serde(default)]
    pub packages_signed_by: BTreeMap<String, u64>,
    /// Whether the indexes are new ones, because the selection leaves packages out: publishing makes the root over them.
    #[serde(default)]
    pub regenerated: bool,
    /// Once this upstream was verified, a missing signature is an error.
    pub was_signed: bool,
    pub packages: u64,
    /// Sum of the sizes of all published paths.
    pub bytes: u64,
}

/// What is known of an object beyond its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObjectRecord {
    pub size: u64,
    /// When its digest was last computed from its bytes.
    pub verified_at: i64,
}

/// What was found in a package that is signed inside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackageRecord {
    /// Fingerprints of the trusted keys that signed it.
    pub signed_by: Vec<String>,
    /// Which package it says it is.
    pub name: String,
    pub version: String,
    /// What an index may call its architecture.
    pub architectures: Vec<String>,
}

/// What an upstream gave to recognise an unchanged file by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ValidatorRecord {
    pub etag: Option<String>,
    pub last_modified: Option<String>,
    /// When the body came.
    pub stored_at: i64,
}

/// A name for a state, which never changes again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotRecord {
    /// As it was.
    pub state: RepositoryRecord,
    pub description: Option<String>,
    pub created_at: i64,
    /// The states that it was merged from, `REPOSITORY/NAME` each; empty where it is one state.
    #[serde(default)]
    pub merged_from: Vec<String>,
}

/// A published tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TreeRecord {
    pub repository: String,
    /// The snapshot that it shows; `None` for a repository's state.
    #[serde(default)]
    pub snapshot: Option<String>,
    /// The newest date of a root that clients may have seen here, where they refuse or ignore older ones.
    #[serde(default)]
    pub newest_root_date: Option<i64>,
    /// Where its root is one of our own: the manifest that it was made for.
    #[serde(default)]
    pub source: Option<ObjectId>,
    /// The fingerprint of the key that signed that root; `None` where nobody did.
    #[serde(default)]
    pub root_key: Option<String>,
    /// What it shows; `None` while its first publishing is under way, and when it was taken away but for the rest.
    pub manifest: Option<ObjectId>,
    pub published_at: i64,
    /// Manifests that it showed before and whose files are still reachable, the newest first.
    pub earlier: Vec<Generation>,
    /// The directory that is being staged for it, or was when a run was killed.
    pub staging: Option<Staging>,
    /// Device and inode of the directory that the tree was before, which is taken away last.
    #[serde(default)]
    pub leftover: Option<(u64, u64)>,
}

/// A manifest that a tree no longer shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Generation {
    pub manifest: ObjectId,
    pub replaced_at: i64,
}

/// A staging directory, recognisable after it was exchanged with the tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Staging {
    /// What it shows when it is complete, and of its root what [`TreeRecord`] says.
    pub manifest: ObjectId,
    #[serde(default)]
    pub source: Option<ObjectId>,
    #[serde(default)]
    pub root_key: Option<String>,
    pub device: u64,
    pub inode: u64,
}

/// One run of sync.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryRecord {
    pub started: i64,
    pub finished: i64,
    pub outcome: SyncOutcome,
    /// The state after it.
    pub manifest: Option<ObjectId>,
    /// The root that a new state was derived from.
    pub root: Option<ObjectId>,
    pub packages: u64,
    pub packages_added: u64,
    pub packages_removed: u64,
    pub requests: u64,
    pub bytes_downloaded: u64,
    /// Fingerprints of the trusted keys that signed the root.
    pub signed_by: Vec<String>,
    /// Fingerprints of the trusted keys that signed packages.
    #[serde(default)]
    pub packages_signed_by: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SyncOutcome {
    #[default]
    Unchanged,
    Changed,
    Failed(String),
}
