//! The top-level error: repository, exit code, and a hint for the user.

mod bug;
mod media;
mod storage;
mod sync;

use std::io;
use std::path::PathBuf;

use crate::check::CheckError;
use crate::cleanup::CleanupError;
use crate::config::{ConfigError, UnknownRepository};
use crate::exit::Exit;
use crate::format::FormatError;
use crate::interrupt::Interrupted;
use crate::lock::LockError;
use crate::media::{MediaError, Refusal};
use crate::names::RepoId;
use crate::openpgp::{GenerateError, SigningKeyError};
use crate::pool::exit_of_io;
use crate::publish::{PublishError, RequestError};
use crate::repair::RepairError;
use crate::repository::{CheckFailure, RemoveError, RepositorySyncError};
use crate::signing_key::{KeyFileError, NewKeyError};
use crate::snapshot::SnapshotError;
use crate::snapshot::merge::MergeError;
use crate::state::StateError;
use crate::storage::StorageError;
use crate::store::StoreError;
use crate::sync::SyncError;
use crate::transfer::TransferError;

use self::sync::sync_hint;
use bug::BUG;
use media::{media_hint, refusal_hint};
use storage::{REPAIR, io_hint, lock_hint, storage_hint, store_hint};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{0}")]
    Usage(String),
    /// The errors of the file are printed instead, if they are known.
    #[error("repository {repository} has an invalid definition: {}", file.display())]
    InvalidDefinition { repository: RepoId, file: PathBuf },
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error("{repository}: {source}")]
    Sync {
        repository: RepoId,
        source: SyncError,
    },
    #[error(transparent)]
    Publish(#[from] RequestError),
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    #[error(transparent)]
    Merge(MergeError),
    #[error(transparent)]
    SigningKey(#[from] KeyFileError),
    #[error(transparent)]
    Remove(#[from] RemoveError),
    /// What a check found, which was printed.
    #[error("{findings} {} found", if *findings == 1 { "problem" } else { "problems" })]
    Findings { findings: usize, advice: String },
    #[error(transparent)]
    Media(#[from] MediaError),
    /// A repository of a transfer that was not imported.
    #[error("{repository}: not imported: {refusal}")]
    NotImported {
        repository: RepoId,
        refusal: Refusal,
    },
    /// Files of a medium, which were printed.
    #[error("{}: {objects} {} missing or damaged", folder.display(), if *objects == 1 { "file" } else { "files" })]
    DamagedMedium { folder: PathBuf, objects: u64 },
    /// A bug in chantal.
    #[error("{repository}: internal error: {what}")]
    Internal { repository: RepoId, what: String },
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
    /// Files that `init` created before it failed are kept.
    #[error("{source}\n  created before the error, and kept: {}", written.join(", "))]
    InitFailed {
        written: Vec<String>,
        source: Box<Error>,
    },
    /// The errors of several repositories.
    #[error("{}", errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Several { exit: Exit, errors: Vec<Error> },
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl From<UnknownRepository> for Error {
    fn from(error: UnknownRepository) -> Self {
        match error {
            UnknownRepository::InvalidDefinition { repository, file } => {
                Self::InvalidDefinition { repository, file }
            }
            UnknownRepository::MayBeInvalid { .. } | UnknownRepository::NotConfigured { .. } => {
                Self::Usage(error.to_string())
            }
        }
    }
}

impl From<MergeError> for Error {
    fn from(error: MergeError) -> Self {
        match error {
            MergeError::UnknownRepository(error) => error.into(),
            error => Self::Merge(error),
        }
    }
}

impl From<NewKeyError> for Error {
    fn from(error: NewKeyError) -> Self {
        match error {
            NewKeyError::Exists { .. } | NewKeyError::NotUtf8 { .. } => {
                Self::Usage(error.to_string())
            }
            NewKeyError::Generate(GenerateError::UserId) => {
                Self::Usage(format!("--user-id: {error}"))
            }
            NewKeyError::Generate(error) => Self::Io(io::Error::other(error)),
            NewKeyError::Create { ref source, .. } => {
                Self::Io(io::Error::new(source.kind(), error.to_string()))
            }
            NewKeyError::Passphrase(error) => error.into(),
        }
    }
}

impl From<TransferError> for Error {
    fn from(error: TransferError) -> Self {
        Self::Media(error.into())
    }
}

impl From<RepairError> for Error {
    fn from(error: RepairError) -> Self {
        match error {
            RepairError::Storage(error) => error.into(),
            RepairError::Store(error) => error.into(),
            RepairError::Lock(error) => error.into(),
            RepairError::Interrupted(error) => error.into(),
            RepairError::Pool(error) => Self::Storage(error.into()),
            RepairError::Io(error) => error.into(),
        }
    }
}

impl From<CleanupError> for Error {
    fn from(error: CleanupError) -> Self {
        match error {
            CleanupError::Storage(error) => error.into(),
            CleanupError::Store(error) => error.into(),
            CleanupError::Interrupted(error) => error.into(),
            CleanupError::Pool(error) => Self::Storage(error.into()),
            CleanupError::Io(error) => error.into(),
        }
    }
}

impl From<CheckError> for Error {
    fn from(error: CheckError) -> Self {
        match error {
            CheckError::Store(error) => error.into(),
            CheckError::Interrupted(error) => error.into(),
            CheckError::Io(error) => error.into(),
        }
    }
}

impl Error {
    /// What the check of a repository found.
    pub fn from_check(repository: &RepoId, failure: CheckFailure) -> Self {
        match failure {
            CheckFailure::Sync(source) => Self::Sync {
                repository: repository.clone(),
                source,
            },
            CheckFailure::UpstreamMissing { .. } => Self::Usage(failure.to_string()),
        }
    }

    /// The error of the sync, or dry run, of a repository.
    pub fn from_sync(repository: &RepoId, error: RepositorySyncError) -> Self {
        let repository = repository.clone();
        match error {
            RepositorySyncError::Sync(source) => Self::Sync { repository, source },
            RepositorySyncError::Publish(error) => error.into(),
            RepositorySyncError::Snapshot(error) => error.into(),
            RepositorySyncError::Store(error) => error.into(),
            RepositorySyncError::Io(error) => error.into(),
            RepositorySyncError::SnapshotName { .. } => Self::Usage(error.to_string()),
            RepositorySyncError::Panic { what } => Self::Internal { repository, what },
        }
    }
}

impl From<LockError> for Error {
    fn from(error: LockError) -> Self {
        Self::Storage(error.into())
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        Self::Storage(error.into())
    }
}

impl Error {
    pub fn exit(&self) -> Exit {
        match self {
            Self::Usage(_) | Self::InvalidDefinition { .. } | Self::Config(_) => Exit::Usage,
            Self::Remove(error) => error.exit(),
            Self::SigningKey(error) => error.exit(),
            Self::Storage(error) => error.exit(),
            Self::Sync { source, .. } => source.exit(),
            Self::Publish(error) => error.exit(),
            Self::Snapshot(error) => error.exit(),
            Self::Merge(error) => error.exit(),
            Self::Interrupted(_) => Exit::Interrupted,
            Self::Media(error) => error.exit(),
            Self::NotImported { refusal, .. } => refusal.exit(),
            Self::Findings { .. } | Self::DamagedMedium { .. } => Exit::Damaged,
            Self::InitFailed { source, .. } => source.exit(),
            Self::Several { exit, .. } => *exit,
            Self::Io(error) => exit_of_io(error),
            Self::Internal { .. } => Exit::Other,
        }
    }

    /// The exit code for all of these errors together; `None` if there are none.
    pub fn most_severe<'a>(errors: impl IntoIterator<Item = &'a Self>) -> Option<Exit> {
        errors
            .into_iter()
            .map(Self::exit)
            .max_by_key(|exit| exit.severity())
    }

    /// Each error with its hint.
    pub fn parts(&self) -> Vec<(String, Option<String>)> {
        match self {
            Self::Several { errors, .. } => errors.iter().flat_map(Self::parts).collect(),
            Self::Config(ConfigError::Problems(problems)) => problems
                .iter()
                .map(|problem| (problem.to_string(), problem.hint.clone()))
                .collect(),
            _ => vec![(self.to_string(), self.hint())],
        }
    }

    /// The messages as printed: errors, each followed by its hint.
    pub fn render(&self) -> String {
        let rendered = self.parts().into_iter().map(|(what, hint)| match hint {
            Some(hint) => format!("error: {what}\nhint: {hint}"),
            None => format!("error: {what}"),
        });
        rendered.collect::<Vec<_>>().join("\n")
    }

    /// The hint: what the user can do.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Config(ConfigError::NoDirectory(_)) => {
                Some("`chantal init` creates it; `--config-dir` sets another directory".to_owned())
            }
            Self::Config(ConfigError::Problems(problems)) => match &problems[..] {
                [one] => one.hint.clone(),
                _ => None,
            },
            Self::InitFailed { source, .. } => source.hint(),
            Self::Storage(error) => storage_hint(error),
            Self::Sync { repository, source } => sync_hint(repository, source),
            Self::Publish(error) => request_hint(error),
            Self::Internal { .. }
            | Self::Merge(MergeError::Format(FormatError::ReadBack { .. })) => Some(BUG.to_owned()),
            Self::Remove(error) => remove_hint(error),
            Self::Snapshot(SnapshotError::NeverSynced { repository }) => {
                Some(sync_first(repository))
            }
            Self::Snapshot(
                SnapshotError::Store(error) | SnapshotError::Stored(StateError::Store(error)),
            )
            | Self::Merge(MergeError::Store(error)) => store_hint(error),
            Self::Snapshot(SnapshotError::Stored(StateError::ObjectMissing { .. }))
            | Self::Merge(
                MergeError::Stored {
                    source: StateError::ObjectMissing { .. },
                    ..
                }
                | MergeError::Format(FormatError::ObjectDamaged { .. }),
            ) => Some(REPAIR.to_owned()),
            Self::Snapshot(SnapshotError::Exists { .. })
            | Self::Merge(MergeError::Exists { .. }) => Some(
                "snapshots are immutable: choose another name, or delete the existing snapshot \
                 first"
                    .to_owned(),
            ),
            Self::Snapshot(SnapshotError::PublishedAtOtherPaths { .. }) => Some(
                "publish another snapshot there first; `--force` removes it there, too".to_owned(),
            ),
            Self::SigningKey(error) | Self::Media(MediaError::SigningKey(error)) => {
                key_file_hint(error)
            }
            Self::Findings { advice, .. } => Some(advice.clone()),
            Self::Media(error) => media_hint(error),
            Self::NotImported {
                repository,
                refusal,
            } => refusal_hint(repository, refusal),
            Self::DamagedMedium { .. } => Some(
                "copy the transfer to the medium again, or export it again to another one"
                    .to_owned(),
            ),
            Self::Merge(MergeError::Io(error)) => io_hint(error),
            Self::Usage(_)
            | Self::InvalidDefinition { .. }
            | Self::Merge(_)
            | Self::Interrupted(_)
            | Self::Several { .. }
            | Self::Snapshot(_)
            | Self::Io(_) => None,
        }
    }
}

fn key_file_hint(error: &KeyFileError) -> Option<String> {
    match error {
        KeyFileError::Unusable { source, .. } => Some(signing_key_hint(source)),
        KeyFileError::Read(error) => match error.kind() {
            io::ErrorKind::NotFound => Some(
                "restore it from a backup, or correct its path in the configuration".to_owned(),
            ),
            io::ErrorKind::PermissionDenied => {
                Some("run chantal as the owner of this file".to_owned())
            }
            _ => None,
        },
        KeyFileError::NotAFile { .. } | KeyFileError::EmptyPassphrase { .. } => None,
    }
}

fn signing_key_hint(error: &SigningKeyError) -> String {
    const EXPORT: &str = "export the key with `gpg --export-secret-keys --armor FINGERPRINT`";
    match error {
        SigningKeyError::NotAKey
        | SigningKeyError::Public
        | SigningKeyError::Armor(_)
        | SigningKeyError::Framing(_)
        | SigningKeyError::Damaged { .. }
        | SigningKeyError::TooLarge { .. } => EXPORT.to_owned(),
        SigningKeyError::Several { .. } => {
            format!("only one key per file is supported: {EXPORT}")
        }
        SigningKeyError::NoPassphrase { .. } => {
            "store the passphrase in a file that only you can read, and set \
             signing.passphrase_file to its path"
                .to_owned()
        }
        SigningKeyError::WrongPassphrase { .. } => {
            "the first line of signing.passphrase_file must be the passphrase".to_owned()
        }
        SigningKeyError::Protection { .. } => format!("import the key into gpg, then {EXPORT}"),
        SigningKeyError::NothingMaySign { .. } | SigningKeyError::Unsupported { .. } => {
            "use an Ed25519 or RSA key that can sign; if the key has expired, extend it in gpg \
             and export it again"
                .to_owned()
        }
    }
}

fn sync_first(repository: &RepoId) -> String {
    format!("run `chantal repo sync --repo-id {repository}` first")
}

fn request_hint(error: &RequestError) -> Option<String> {
    match error {
        RequestError::NeverSynced { repository } => Some(sync_first(repository)),
        RequestError::KeyFile(error) => key_file_hint(error),
        RequestError::Failed { source, .. } => publish_hint(source),
        RequestError::Store(error) => store_hint(error),
        RequestError::NoLatestPath { .. }
        | RequestError::NoSnapshotsPath { .. }
        | RequestError::UnusableDefinition { .. }
        | RequestError::Conflict { .. }
        | RequestError::Overlap { .. }
        | RequestError::NotPublished { .. } => None,
    }
}

fn remove_hint(error: &RemoveError) -> Option<String> {
    match error {
        RemoveError::StillConfigured { .. } => Some(
            "remove this file first: only repositories that are no longer configured can be \
             removed"
                .to_owned(),
        ),
        RemoveError::SnapshotsPublished { .. } => {
            Some("publish something else there first; `--force` removes them there, too".to_owned())
        }
        RemoveError::Store(error) => store_hint(error),
        RemoveError::Lock(error) => lock_hint(error),
        RemoveError::MayBeConfigured { .. }
        | RemoveError::Unknown { .. }
        | RemoveError::Interrupted(_)
        | RemoveError::Io(_) => None,
    }
}

fn publish_hint(error: &PublishError) -> Option<String> {
    Some(match error {
        PublishError::Lock(error) => lock_hint(error)?,
        PublishError::Occupied { .. } => {
            "move it away, or set another publish path (a tree that was published elsewhere and \
             moved here with its storage can be removed); nothing was changed"
                .to_owned()
        }
        PublishError::ForeignFiles { .. } => {
            "move these files out of the published tree, where publishing would delete them; nothing \
             was changed"
                .to_owned()
        }
        PublishError::SymbolicLink { .. } => {
            "set the publish path to the target of the link".to_owned()
        }
        PublishError::MountPoint { .. } => {
            "set the publish path to a directory below the mount point".to_owned()
        }
        PublishError::TreeMissing { .. } => {
            "mount it; if the disk is lost, `chantal publish` with --recreate publishes the tree \
             again, and `chantal unpublish` with --forget-absent forgets it; nothing was changed \
             there"
                .to_owned()
        }
        PublishError::OtherGeneration { path, .. } => format!(
            "run `chantal repo sync`, which compares {} and publishes it again",
            path.display()
        ),
        PublishError::NotMounted { .. } => "mount it; nothing was created".to_owned(),
        PublishError::NeighbourMissing { .. } => {
            "mount it; if the disk is lost, `chantal unpublish` with --forget-absent forgets the \
             trees on it; nothing was created"
                .to_owned()
        }
        PublishError::RootTooOld { .. } => {
            "generate a signing key (`chantal config keygen`), so that it can be signed with a \
             new date, or publish it at another path; \
             nothing was changed"
                .to_owned()
        }
        PublishError::KeyPathTaken { .. } => {
            "set publish.key_name to give the key files another name; nothing was changed"
                .to_owned()
        }
        PublishError::SameFile { .. } | PublishError::NameRejected { .. } => {
            "publish it on a file system that supports all file names, such as ext4, XFS or \
             Btrfs; nothing was changed"
                .to_owned()
        }
        PublishError::NotOwner { .. } => {
            "run chantal as the owner of the pool (see fs.protected_hardlinks)".to_owned()
        }
        PublishError::Io(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            "run chantal as a user who can write there".to_owned()
        }
        PublishError::Io(error) => io_hint(error)?,
        PublishError::Store(error) => store_hint(error)?,
        PublishError::ObjectMissing { .. } => REPAIR.to_owned(),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_a_bug() {
        let what = "1 and 1 are too much".to_owned();
        let error = Error::from_sync(&RepoId::test("r"), RepositorySyncError::Panic { what });
        assert_eq!(error.exit().code(), 1);
        assert!(error.render().starts_with(
            "error: r: internal error: 1 and 1 are too much\nhint: this is a bug in chantal"
        ));
    }

    #[test]
    fn the_most_severe_failure_counts() {
        let order = [130, 5, 4, 2, 1, 3, 6];
        let all = [
            Exit::Other,
            Exit::Usage,
            Exit::Unreachable,
            Exit::Refused,
            Exit::Damaged,
            Exit::Busy,
            Exit::Interrupted,
        ];
        let mut sorted = all;
        sorted.sort_by_key(|exit| std::cmp::Reverse(exit.severity()));
        assert_eq!(sorted.map(Exit::code), order);
        let errors: Vec<_> = all
            .into_iter()
            .map(|exit| Error::Several {
                exit,
                errors: Vec::new(),
            })
            .collect();
        assert_eq!(Error::most_severe(&errors).map(Exit::code), Some(130));
        assert_eq!(Error::most_severe(&[]), None);
    }
}
