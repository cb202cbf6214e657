//! What the store remembers. Times are seconds since the epoch, sizes are bytes.
//!
//! Fields may be added, with a default; a field that changes its meaning needs a new schema version.

mod state;
mod until_version_3;

use std::io;

use serde::{Deserialize, Serialize};

use crate::digest::{self, ObjectId};
use crate::names::{RepoId, SnapshotName};

pub use state::{RepositoryRecord, RootRecord, SnapshotRecord, StateRecord};
pub use until_version_3::{RepositoryRecord3, SnapshotRecord3};

/// Which store it is, and of which pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The id of the pool that it belongs to.
    pub pool: String,
    /// Its own.
    pub store: String,
    /// Raised with each new manifest and snapshot, and before objects are removed from the pool.
    pub generation: u64,
    /// When it was put over a pool with objects that it does not know.
    pub adopting: Option<i64>,
    /// The generation with which it came out of a backup. What it does since does not make it know what was lost.
    pub restored: Option<u64>,
}

impl Identity {
    /// Of a new store for a pool.
    pub fn new(pool: &str) -> io::Result<Self> {
        Ok(Self {
            pool: pool.to_owned(),
            store: random_id()?,
            generation: 0,
            adopting: None,
            restored: None,
        })
    }
}

impl Identity {
    /// Of a store from before schema version 3, whose pool was made for it. A copy of it has the same.
    pub fn of_version_2(pool: String) -> Self {
        Self {
            store: pool.clone(),
            pool,
            generation: 0,
            adopting: None,
            restored: None,
        }
    }
}

/// For a pool or a store.
pub fn random_id() -> io::Result<String> {
    let mut bytes = [0_u8; 16];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())?;
    Ok(digest::hex(&bytes))
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

/// A published tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TreeRecord {
    pub repository: RepoId,
    /// The snapshot that it shows; `None` for a repository's state.
    #[serde(default)]
    pub snapshot: Option<SnapshotName>,
    /// The newest date of a root that clients may have seen here, where they refuse or ignore older ones.
    #[serde(default)]
    pub newest_root_date: Option<i64>,
    /// Where its root is one of our own: the manifest that it was made for.
    #[serde(default)]
    pub source: Option<ObjectId>,
    /// The fingerprint of the key that signed that root; `None` where nobody did.
    #[serde(default)]
    pub root_key: Option<String>,
    /// What it shows; `None` while its first publishing is under way, and after it was unpublished.
    pub manifest: Option<ObjectId>,
    /// The directory that was published; `None` in records of before this was noted.
    #[serde(default)]
    pub directory: Option<DirectoryId>,
    /// False after it was unpublished: syncs leave the place alone until it is published again.
    #[serde(default = "yes")]
    pub wanted: bool,
    pub published_at: i64,
    /// Manifests that it showed before and whose files are still reachable, the newest first.
    pub earlier: Vec<Generation>,
    /// The directory that is being staged for it, or was when a run was killed.
    pub staging: Option<Staging>,
    /// The directory that the tree was before, which is removed last.
    #[serde(default, deserialize_with = "directory_of_any_version")]
    pub leftover: Option<DirectoryId>,
}

impl TreeRecord {
    /// The manifest of the state or snapshot that it shows, also where its root is one of our own.
    pub fn content(&self) -> Option<ObjectId> {
        self.source.or(self.manifest)
    }

    /// Whether it shows this snapshot.
    pub fn is_of_snapshot(&self, repository: &RepoId, name: &SnapshotName) -> bool {
        self.repository == *repository && self.snapshot.as_ref() == Some(name)
    }

    /// Whether something of it is, or may be, on disk.
    pub fn is_on_disk(&self) -> bool {
        self.manifest.is_some() || self.staging.is_some() || self.is_being_removed()
    }

    /// It is unpublished. What clients may know of the place stays: the date of its newest root.
    pub fn forget_content(&mut self) {
        self.wanted = false;
        self.manifest = None;
        self.directory = None;
        self.snapshot = None;
        self.source = None;
        self.root_key = None;
        self.earlier.clear();
    }

    /// It was unpublished, and the run that did it may not have removed everything.
    pub fn is_being_removed(&self) -> bool {
        !self.wanted && self.leftover.is_some()
    }
}

fn yes() -> bool {
    true
}

/// Which directory it is, whatever it is called and wherever its file system is mounted.
///
/// Device numbers change over reboots (USB, LVM, btrfs, NFS), so that they alone say nothing. The time at which a directory was
/// made stays with its inode, where the file system keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirectoryId {
    pub device: u64,
    pub inode: u64,
    /// When it was made, in nanoseconds since the epoch.
    #[serde(default)]
    pub born: Option<i64>,
    /// What statvfs calls its file system; 0 where it says nothing.
    #[serde(default)]
    pub file_system: u64,
}

impl DirectoryId {
    pub fn is_same(self, other: Self) -> bool {
        self.inode == other.inode
            && match (self.born, other.born) {
                (Some(one), Some(other)) => one == other,
                // As far as it was noted.
                _ => self.is_on_file_system_of(other),
            }
    }

    pub fn is_on_file_system_of(self, other: Self) -> bool {
        self.device == other.device
            || (self.file_system != 0 && self.file_system == other.file_system)
    }
}

/// Schema versions 1 and 2 wrote a device and an inode.
fn directory_of_any_version<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<DirectoryId>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        Pair(u64, u64),
        Directory(DirectoryId),
    }
    let written: Option<Written> = Deserialize::deserialize(deserializer)?;
    Ok(written.map(|written| match written {
        Written::Directory(directory) => directory,
        Written::Pair(device, inode) => DirectoryId {
            device,
            inode,
            born: None,
            file_system: 0,
        },
    }))
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
    #[serde(flatten)]
    pub directory: DirectoryId,
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
    /// Names of indexes that are not in new metadata, because no client can read them, and paths of files that the upstream did not
    /// give as it declares them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SyncOutcome {
    #[default]
    Unchanged,
    Changed,
    Failed(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: DirectoryId = DirectoryId {
        device: 1,
        inode: 2,
        born: Some(3),
        file_system: 4,
    };

    #[test]
    fn a_directory_is_the_same_wherever_it_is_mounted() {
        let is_same = |other: DirectoryId| HERE.is_same(other) && other.is_same(HERE);
        assert!(is_same(HERE));
        // After a reboot, on file systems whose id comes from the device's number.
        assert!(is_same(DirectoryId {
            device: 9,
            file_system: 9,
            ..HERE
        }));
        assert!(!is_same(DirectoryId { inode: 9, ..HERE }));
        // The inode was used again.
        assert!(!is_same(DirectoryId {
            born: Some(9),
            ..HERE
        }));
        // Where the time is not known, the file system decides.
        assert!(is_same(DirectoryId { born: None, ..HERE }));
        assert!(is_same(DirectoryId {
            born: None,
            device: 9,
            ..HERE
        }));
        assert!(is_same(DirectoryId {
            born: None,
            file_system: 9,
            ..HERE
        }));
        assert!(!is_same(DirectoryId {
            born: None,
            device: 9,
            file_system: 9,
            ..HERE
        }));
        let unknown = DirectoryId {
            born: None,
            device: 8,
            inode: 2,
            file_system: 0,
        };
        assert!(!unknown.is_same(DirectoryId {
            device: 9,
            ..unknown
        }));
    }

    #[test]
    fn trees_of_older_schema_versions_are_read() {
        let manifest = "0".repeat(64);
        let old = format!(
            r#"{{"repository": "r", "manifest": "{manifest}", "published_at": 1, "earlier": [],
                "staging": {{"manifest": "{manifest}", "device": 5, "inode": 6}}, "leftover": [7, 8]}}"#
        );
        let record: TreeRecord = serde_json::from_str(&old).unwrap();
        let found = |directory: DirectoryId| (directory.device, directory.inode, directory.born);
        assert_eq!(record.leftover.map(found), Some((7, 8, None)));
        assert_eq!(
            record.staging.as_ref().map(|s| found(s.directory)),
            Some((5, 6, None))
        );
        assert!(record.wanted && record.directory.is_none());
        let again = serde_json::to_string(&record).unwrap();
        assert_eq!(serde_json::from_str::<TreeRecord>(&again).unwrap(), record);
    }
}
