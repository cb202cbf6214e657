//! The records of the store. Times are seconds since the epoch, sizes are bytes.
//!
//! Fields may be added, with a default; a field that changes its meaning needs a new schema
//! version.

mod generated_root;
mod state;
mod transfer;
mod until_version_3;

use std::io;

use serde::{Deserialize, Serialize};

use crate::digest::{self, ObjectId};
use crate::names::{RepoId, SnapshotName};
use crate::rel_path::RelPath;

pub use generated_root::{GeneratedRootKey, GeneratedRootRecord, RootValidity};
pub use state::{MergeSource, RepositoryRecord, RootRecord, SnapshotRecord, StateRecord};
pub use transfer::{Fate, ImportedRecord, SentRecord, TransferOwner};
pub use until_version_3::{RepositoryRecord3, SnapshotRecord3};

/// The identity of a store and its pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The id of the pool that it belongs to.
    pub pool: String,
    /// The id of the store.
    pub store: String,
    /// Incremented with each new manifest and snapshot, and before objects are removed from the
    /// pool.
    pub generation: u64,
    /// When it took over a pool with unknown objects.
    pub adopting: Option<i64>,
    /// The generation of the backup that it was restored from. Later changes do not restore the
    /// lost records.
    pub restored: Option<u64>,
}

impl Identity {
    /// The identity of a new store for a pool.
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
    /// The identity of a store from before schema version 3. A copy of that store gets the same
    /// one.
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

/// A new id for a pool or a store.
pub fn random_id() -> io::Result<String> {
    let mut bytes = [0_u8; 16];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())?;
    Ok(digest::hex(&bytes))
}

/// The record of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObjectRecord {
    pub size: u64,
    /// When its digest was last computed from its bytes.
    pub verified_at: i64,
}

/// The result of verifying a signed package.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackageRecord {
    /// Fingerprints of the trusted keys that signed it.
    pub signed_by: Vec<String>,
    /// The package according to its header.
    pub name: String,
    pub version: String,
    /// The architectures under which an index may list it.
    pub architectures: Vec<String>,
}

/// The HTTP validators of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ValidatorRecord {
    pub etag: Option<String>,
    pub last_modified: Option<String>,
    /// When the body was received.
    pub stored_at: i64,
}

/// A published tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TreeRecord {
    pub repository: RepoId,
    /// The snapshot that it shows; `None` for a repository's state.
    #[serde(default)]
    pub snapshot: Option<SnapshotName>,
    /// The newest date of a root that clients may have seen here, for formats whose clients reject
    /// older ones.
    #[serde(default)]
    pub newest_root_date: Option<i64>,
    /// If its root was generated: the manifest for which it was.
    #[serde(default)]
    pub source: Option<ObjectId>,
    /// The fingerprint of the key that signed that root; `None` if it is not signed.
    #[serde(default)]
    pub root_key: Option<String>,
    /// The manifest that it shows; `None` until it is published for the first time, and after it
    /// was unpublished.
    pub manifest: Option<ObjectId>,
    /// The published directory; `None` in older records.
    #[serde(default)]
    pub directory: Option<DirectoryId>,
    /// False after it was unpublished: syncs ignore the path until it is published again.
    #[serde(default = "yes")]
    pub wanted: bool,
    pub published_at: i64,
    /// Earlier manifests whose files are still available, the newest first.
    pub earlier: Vec<Generation>,
    /// Manifests of which some files may be in the tree besides those above: a run that was killed
    /// was adding or removing them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unfinished: Vec<ObjectId>,
    /// The modification time of the directory when the last run had finished, in nanoseconds since
    /// the epoch, by the clock of its file system. Every run sets that time, so another one means
    /// that this record does not describe the tree. `None` in records from before schema version 5.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settled_at: Option<i64>,
    /// A run is changing files in place, or was killed. When it began, the directory had the time
    /// of `settled_at`, and as long as its staging directory exists, nothing came after it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub changing_in_place: bool,
    /// The staging directory, if a run is publishing or was killed.
    pub staging: Option<Staging>,
    /// The previous directory of the tree, which is removed last.
    #[serde(default, deserialize_with = "directory_of_any_version")]
    pub leftover: Option<DirectoryId>,
}

impl TreeRecord {
    /// The record of a path where nothing is published yet.
    pub fn new(repository: RepoId) -> Self {
        Self {
            repository,
            snapshot: None,
            newest_root_date: None,
            source: None,
            root_key: None,
            manifest: None,
            directory: None,
            wanted: true,
            published_at: 0,
            earlier: Vec::new(),
            unfinished: Vec::new(),
            settled_at: None,
            changing_in_place: false,
            staging: None,
            leftover: None,
        }
    }

    /// The manifests of the files that are in the tree, the current one first.
    pub fn promised(&self) -> impl Iterator<Item = ObjectId> {
        let earlier = self.earlier.iter().map(|generation| generation.manifest);
        self.manifest.into_iter().chain(earlier)
    }

    /// The manifests of all files that chantal may have put into the tree, the current one first.
    pub fn manifests(&self) -> impl Iterator<Item = ObjectId> {
        self.promised().chain(self.unfinished.iter().copied())
    }

    /// The manifest that a run is publishing, or was when it was killed.
    pub fn staged(&self) -> Option<ObjectId> {
        self.staging.as_ref().map(|staging| staging.manifest)
    }

    /// The manifests for which its root was generated, and the one that is being published.
    pub fn sources(&self) -> impl Iterator<Item = ObjectId> {
        let staged = self.staging.as_ref().and_then(|staging| staging.source);
        self.source.into_iter().chain(staged)
    }

    /// The manifest of the state or snapshot that it shows, even if its root was generated.
    pub fn content(&self) -> Option<ObjectId> {
        self.source.or(self.manifest)
    }

    /// Whether it shows this snapshot, or may do so because a run was interrupted.
    pub fn is_of_snapshot(&self, repository: &RepoId, name: &SnapshotName) -> bool {
        let staged = self.staging.as_ref();
        let staged = staged.and_then(|staging| staging.snapshot.as_ref());
        self.repository == *repository && [self.snapshot.as_ref(), staged].contains(&Some(name))
    }

    /// Whether some of its files may be on disk.
    pub fn is_on_disk(&self) -> bool {
        self.manifest.is_some() || self.staging.is_some() || self.is_being_removed()
    }

    /// Marks it as unpublished. The date of its newest root is kept, because clients may know it.
    pub fn forget_content(&mut self) {
        self.wanted = false;
        self.manifest = None;
        self.directory = None;
        self.snapshot = None;
        self.source = None;
        self.root_key = None;
        self.earlier.clear();
        self.unfinished.clear();
        self.settled_at = None;
        self.changing_in_place = false;
    }

    /// Whether it was unpublished by a run that may not have removed everything.
    pub fn is_being_removed(&self) -> bool {
        !self.wanted && self.leftover.is_some()
    }
}

fn yes() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "demanded by serde")]
fn is_false(value: &bool) -> bool {
    !value
}

/// Identifies a directory, independent of its path and where its file system is mounted.
///
/// Device numbers change with reboots (USB, LVM, btrfs, NFS), so they are not sufficient. The
/// creation time belongs to the inode, if the file system supports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirectoryId {
    pub device: u64,
    pub inode: u64,
    /// Creation time, in nanoseconds since the epoch.
    #[serde(default)]
    pub born: Option<i64>,
    /// The file system id of statvfs; 0 if it has none.
    #[serde(default)]
    pub file_system: u64,
}

impl DirectoryId {
    pub fn is_same(self, other: Self) -> bool {
        self.inode == other.inode
            && match (self.born, other.born) {
                (Some(one), Some(other)) => one == other,
                // Older records have no creation time.
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
    /// The manifest that it shows when it is complete, and the fields of its root as in
    /// [`TreeRecord`].
    pub manifest: ObjectId,
    #[serde(default)]
    pub source: Option<ObjectId>,
    #[serde(default)]
    pub root_key: Option<String>,
    /// The snapshot that it shows; `None` for the repository's state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<SnapshotName>,
    /// The generations that the tree retains then; `None` in records from before schema version 5.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub earlier: Option<Vec<Generation>>,
    /// The directory of the tree that it replaces; `None` for the whole tree.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<RelPath>,
    #[serde(flatten)]
    pub directory: DirectoryId,
}

/// One run of sync.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryRecord {
    pub started: i64,
    pub finished: i64,
    pub outcome: SyncOutcome,
    /// The state after the sync.
    pub manifest: Option<ObjectId>,
    /// The root of a new state.
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
    /// Names of indexes that are not in new metadata because clients cannot read them, and paths of
    /// files that do not match the upstream's metadata.
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
