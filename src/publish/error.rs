//! Errors of publishing and unpublishing.

use std::io;
use std::path::PathBuf;

use crate::digest::ObjectId;
use crate::exit::Exit;
use crate::format::FormatError;
use crate::interrupt::Interrupted;
use crate::lock::LockError;
use crate::manifest::ManifestError;
use crate::names::RepoId;
use crate::openpgp::SigningError;
use crate::pool::exit_of_io;
use crate::rel_path::RelPath;
use crate::signing_key::KeyFileError;
use crate::state::RootError;
use crate::store::StoreError;

/// An error of a request to publish or unpublish.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    #[error("{repository} has never been synced: there is no state to publish")]
    NeverSynced { repository: RepoId },
    #[error("{repository} has no publish.latest_path")]
    NoLatestPath { repository: RepoId },
    #[error("{repository} has no publish.snapshots_path: specify a path with --to")]
    NoSnapshotsPath { repository: RepoId },
    #[error("{path} is not replaced: the invalid file {file} may configure it as its publish path")]
    UnusableDefinition { path: PathBuf, file: PathBuf },
    #[error("{path} and the published tree {other} overlap")]
    Overlap { path: PathBuf, other: PathBuf },
    /// The path is that of something else in the configuration.
    #[error("{conflict}")]
    Conflict { conflict: String },
    #[error("{path} is not a published tree of this storage")]
    NotPublished { path: PathBuf },
    /// The key does not belong to a repository.
    #[error(transparent)]
    KeyFile(KeyFileError),
    #[error("{repository}: {source}")]
    Failed {
        repository: RepoId,
        source: PublishError,
    },
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl RequestError {
    /// An error of publishing or unpublishing a tree of this repository.
    pub fn failed(repository: &RepoId, source: PublishError) -> Self {
        match source {
            PublishError::KeyFile(error) => Self::KeyFile(error),
            source => Self::Failed {
                repository: repository.clone(),
                source,
            },
        }
    }

    pub fn exit(&self) -> Exit {
        match self {
            Self::NeverSynced { .. } => Exit::Other,
            Self::NoLatestPath { .. }
            | Self::NoSnapshotsPath { .. }
            | Self::UnusableDefinition { .. }
            | Self::Conflict { .. }
            | Self::Overlap { .. }
            | Self::NotPublished { .. } => Exit::Usage,
            Self::KeyFile(error) => error.exit(),
            Self::Failed { source, .. } => source.exit(),
            Self::Store(error) => error.exit(),
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    #[error("{path} exists and was not published by this storage")]
    Occupied { path: PathBuf },
    #[error("{tree} contains {first}{}, not published by chantal", and_more(*count))]
    ForeignFiles {
        tree: PathBuf,
        first: PathBuf,
        count: usize,
    },
    #[error("{path} is a symbolic link, which cannot be replaced by a published tree")]
    SymbolicLink { path: PathBuf },
    #[error("{path} is not a valid publish path: it has no file name")]
    NoFileName { path: PathBuf },
    #[error("{path} is a mount point, which cannot be replaced by a published tree")]
    MountPoint { path: PathBuf },
    #[error("published tree {path} does not exist: is its file system mounted?")]
    TreeMissing { path: PathBuf },
    /// Nothing was published at this path yet, but a tree was next to it.
    #[error(
        "cannot create {path}: {neighbour} was published on another file system and does not exist: is it mounted?"
    )]
    NeighbourMissing { path: PathBuf, neighbour: PathBuf },
    #[error(
        "cannot create {path}: /etc/fstab lists a file system for {mount_point}, but it is not mounted"
    )]
    NotMounted { path: PathBuf, mount_point: PathBuf },
    #[error("{path} is not a published tree of this storage")]
    NotPublished { path: PathBuf },
    #[error(
        "{root} is not the file that was published last, and the tree was modified since (older \
         database restored from a backup?)"
    )]
    OtherGeneration { path: PathBuf, root: PathBuf },
    /// Times are in seconds since the epoch.
    #[error(
        "{path} was last published with the date {}, this state {}: apt ignores metadata that is older than what it has",
        crate::time::utc(*newest),
        date.map_or("has no date".to_owned(), |date| format!("has {}", crate::time::utc(date)))
    )]
    RootTooOld {
        path: PathBuf,
        newest: i64,
        date: Option<i64>,
    },
    #[error("{path} is a file of the upstream, but clients expect the signing key there")]
    KeyPathTaken { path: RelPath },
    #[error("manifest {manifest} has no root")]
    NoRoot { manifest: ObjectId },
    #[error("cannot generate the metadata: {0}")]
    Root(FormatError),
    #[error("cannot sign the metadata: {0}")]
    Signing(#[from] SigningError),
    /// The configured key is required and cannot be read.
    #[error(transparent)]
    KeyFile(#[from] KeyFileError),
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    #[error("object {object} of {path} is missing from the pool or damaged")]
    ObjectMissing { path: String, object: ObjectId },
    /// Another path of the tree refers to the same file or directory.
    #[error(
        "{path} cannot be published: the file system does not distinguish it from another file or \
         directory of the repository (upper and lower case?)"
    )]
    SameFile { path: String },
    #[error("{path} cannot be published: the file system does not support this file name")]
    NameRejected { path: RelPath },
    #[error("{path} is owned by user {owner}: only that user or root can create hard links to it")]
    NotOwner { path: PathBuf, owner: u32 },
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
    #[error(transparent)]
    Lock(#[from] LockError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl PublishError {
    pub fn exit(&self) -> Exit {
        match self {
            Self::Occupied { .. }
            | Self::ForeignFiles { .. }
            | Self::SymbolicLink { .. }
            | Self::NoFileName { .. }
            | Self::NotPublished { .. }
            | Self::RootTooOld { .. }
            | Self::Signing(SigningError::Expired { .. } | SigningError::Time { .. })
            | Self::SameFile { .. }
            | Self::NameRejected { .. }
            | Self::MountPoint { .. } => Exit::Usage,
            Self::KeyPathTaken { .. } | Self::Root(_) | Self::Signing(_) => Exit::Refused,
            Self::TreeMissing { .. }
            | Self::OtherGeneration { .. }
            | Self::NeighbourMissing { .. }
            | Self::NotMounted { .. }
            | Self::ObjectMissing { .. }
            | Self::NoRoot { .. }
            | Self::Manifest(_) => Exit::Damaged,
            Self::KeyFile(error) => error.exit(),
            Self::Store(error) => error.exit(),
            Self::Interrupted(_) => Exit::Interrupted,
            Self::Lock(error) => error.exit(),
            Self::Io(error) => exit_of_io(error),
            Self::NotOwner { .. } => Exit::Other,
        }
    }
}

impl From<RootError> for PublishError {
    fn from(error: RootError) -> Self {
        match error {
            RootError::NotFound { manifest } => Self::NoRoot { manifest },
            RootError::ObjectMissing { path, object } => {
                let path = path.to_string();
                Self::ObjectMissing { path, object }
            }
            RootError::Io(error) => Self::Io(error),
        }
    }
}

fn and_more(count: usize) -> String {
    match count {
        1 => String::new(),
        _ => format!(" and {} more", count - 1),
    }
}
