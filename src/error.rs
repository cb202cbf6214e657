//! The top-level error: which repository, which exit code, and what the user can do.

mod storage;

use std::io;
use std::path::PathBuf;

use crate::cleanup::CleanupError;
use crate::config::ConfigError;
use crate::exit::Exit;
use crate::format::FormatError;
use crate::interrupt::Interrupted;
use crate::lock::LockError;
use crate::manifest::ManifestError;
use crate::openpgp::{SigningKeyError, VerifyError};
use crate::pool::exit_of_io;
use crate::publish::{PublishError, RequestError};
use crate::snapshot::SnapshotError;
use crate::signing_key::KeyFileError;
use crate::snapshot::merge::MergeError;
use crate::state::StateError;
use crate::storage::StorageError;
use crate::store::StoreError;
use crate::sync::{FreshnessError, RootError, SyncError, most_severe};
use crate::trust::KeyError;
use crate::upstream::{TlsFailure, UpstreamError};

use storage::{io_hint, lock_hint, storage_hint, store_hint};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{0}")]
    Usage(String),
    /// The problems of the file are told in its place.
    #[error("repository {repository} cannot be used: {} has a mistake", file.display())]
    Unusable { repository: String, file: PathBuf },
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error("{repository}: {source}")]
    Sync {
        repository: String,
        source: SyncError,
    },
    #[error(transparent)]
    Publish(#[from] RequestError),
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    #[error(transparent)]
    Merge(#[from] MergeError),
    #[error(transparent)]
    SigningKey(#[from] KeyFileError),
    #[error("{repository} is still configured ({})", file.display())]
    StillConfigured { repository: String, file: PathBuf },
    /// A fault of chantal itself.
    #[error("{repository}: internal error: {what}")]
    Internal { repository: String, what: String },
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
    /// What `init` wrote before it failed stays.
    #[error("{source}\n  written before that, and left there: {}", written.join(", "))]
    HalfMade {
        written: Vec<String>,
        source: Box<Error>,
    },
    /// What went wrong with each of several repositories.
    #[error("{}", errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Several { exit: Exit, errors: Vec<Error> },
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl From<CleanupError> for Error {
    fn from(error: CleanupError) -> Self {
        match error {
            CleanupError::Store(error) => error.into(),
            CleanupError::Lock(error) => error.into(),
            CleanupError::Pool(error) => Self::Storage(error.into()),
            CleanupError::Io(error) => error.into(),
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
            Self::Usage(_)
            | Self::Unusable { .. }
            | Self::Config(_)
            | Self::StillConfigured { .. } => Exit::Usage,
            Self::SigningKey(error) => error.exit(),
            Self::Storage(error) => error.exit(),
            Self::Sync { source, .. } => source.exit(),
            Self::Publish(error) => error.exit(),
            Self::Snapshot(error) => error.exit(),
            Self::Merge(error) => error.exit(),
            Self::Interrupted(_) => Exit::Interrupted,
            Self::HalfMade { source, .. } => source.exit(),
            Self::Several { exit, .. } => *exit,
            Self::Io(error) => exit_of_io(error),
            Self::Internal { .. } => Exit::Other,
        }
    }

    /// What all of these together end with; `None` when there are none.
    pub fn gravest<'a>(errors: impl IntoIterator<Item = &'a Self>) -> Option<Exit> {
        errors
            .into_iter()
            .map(Self::exit)
            .max_by_key(|exit| exit.gravity())
    }

    /// Each thing that went wrong, and what to do about it.
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

    /// The messages as they are shown: what happened, then what to do.
    pub fn render(&self) -> String {
        let rendered = self.parts().into_iter().map(|(what, hint)| match hint {
            Some(hint) => format!("error: {what}\nhint: {hint}"),
            None => format!("error: {what}"),
        });
        rendered.collect::<Vec<_>>().join("\n")
    }

    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Config(ConfigError::NoDirectory(_)) => {
                Some("`chantal init` creates it, `--config-dir` names another one".to_owned())
            }
            Self::Config(ConfigError::Problems(problems)) => match &problems[..] {
                [one] => one.hint.clone(),
                _ => None,
            },
            Self::HalfMade { source, .. } => source.hint(),
            Self::Storage(error) => storage_hint(error),
            Self::Sync { repository, source } => sync_hint(repository, source),
            Self::Publish(error) => request_hint(error),
            Self::Internal { .. } | Self::Merge(MergeError::Format(FormatError::ReadBack { .. })) => {
                Some(FAULT.to_owned())
            }
            Self::StillConfigured { .. } => Some(
                "only what left the configuration is removed: take the file away first".to_owned(),
            ),
            Self::Snapshot(SnapshotError::NeverSynced { repository }) => {
                Some(sync_first(repository))
            }
            Self::Snapshot(
                SnapshotError::Store(error) | SnapshotError::Stored(StateError::Store(error)),
            )
            | Self::Merge(MergeError::Store(error)) => store_hint(error),
            Self::Snapshot(SnapshotError::Stored(StateError::ObjectMissing { .. })) => Some(
                "`chantal repo sync --refresh` fetches again what the upstream still has; for anything else restore the pool"
                    .to_owned(),
            ),
            Self::Snapshot(SnapshotError::Exists { .. })
            | Self::Merge(MergeError::Exists { .. }) => Some(
                "a snapshot is never changed: take another name, or delete it first".to_owned(),
            ),
            Self::SigningKey(error) => key_file_hint(error),
            Self::Merge(MergeError::Io(error)) => io_hint(error),
            Self::Usage(_)
            | Self::Unusable { .. }
            | Self::Merge(_)
            | Self::Interrupted(_)
            | Self::Several { .. }
            | Self::Snapshot(_)
            | Self::Io(_) => None,
        }
    }
}

const FAULT: &str = "this is a fault of chantal: report it with what it printed above; the last good state is untouched";

fn key_file_hint(error: &KeyFileError) -> Option<String> {
    match error {
        KeyFileError::Unusable { source, .. } => Some(signing_key_hint(source)),
        KeyFileError::Read(error) => match error.kind() {
            io::ErrorKind::NotFound => {
                Some("restore it from your backup, or correct the path that names it".to_owned())
            }
            io::ErrorKind::PermissionDenied => {
                Some("run chantal as the user who owns it".to_owned())
            }
            _ => None,
        },
        KeyFileError::NotAFile { .. } | KeyFileError::EmptyPassphrase { .. } => None,
    }
}

fn signing_key_hint(error: &SigningKeyError) -> String {
    const EXPORT: &str = "`gpg --export-secret-keys --armor FINGERPRINT` writes the file";
    match error {
        SigningKeyError::NotAKey
        | SigningKeyError::Public
        | SigningKeyError::Armor(_)
        | SigningKeyError::Framing(_)
        | SigningKeyError::Damaged { .. }
        | SigningKeyError::TooLarge { .. } => EXPORT.to_owned(),
        SigningKeyError::Several { .. } => {
            format!("one key for each file: {EXPORT}")
        }
        SigningKeyError::NoPassphrase { .. } => {
            "write the passphrase into a file that only you can read, and name that as signing.passphrase_file".to_owned()
        }
        SigningKeyError::WrongPassphrase { .. } => {
            "signing.passphrase_file must have it in its first line".to_owned()
        }
        SigningKeyError::Protection { .. } => format!("import the key into gpg; {EXPORT}"),
        SigningKeyError::NothingMaySign { .. } | SigningKeyError::Unsupported { .. } => {
            "an Ed25519 or RSA key that may sign is needed; of an expired one, extend it in gpg and export it again".to_owned()
        }
    }
}

fn sync_hint(repository: &str, error: &SyncError) -> Option<String> {
    let untouched = "the last good state is untouched";
    Some(match error {
        SyncError::Files { errors, .. } => sync_hint(repository, most_severe(errors)?)?,
        SyncError::Key(KeyError::Replaced { .. }) => format!(
            "if the new keys are genuine, `chantal repo trust --repo-id {repository}` accepts them; {untouched}"
        ),
        SyncError::Key(KeyError::Lock(error)) | SyncError::Lock(error) => lock_hint(error)?,
        SyncError::Key(KeyError::Missing { .. }) => "check gpgkey_url".to_owned(),
        SyncError::Key(KeyError::Upstream(UpstreamError::Redirect { .. })) => {
            "name the address that it leads to as gpgkey_url".to_owned()
        }
        SyncError::Key(KeyError::File(_) | KeyError::Unusable(_)) => {
            format!("check gpgkey_file or gpgkey_url; {untouched}")
        }
        SyncError::Root(RootError::NoDirectory { .. }) => format!(
            "mount it, or correct upstream.url, where a URL begins with https:// or http://; {untouched}"
        ),
        SyncError::Root(RootError::NotFound { .. }) => {
            "check upstream.url; for APT also distribution".to_owned()
        }
        SyncError::Root(RootError::SignatureMissing { .. }) => format!(
            "an upstream without signatures needs `gpgcheck: false` (apt) or `repo_gpgcheck: false` (rpm); {untouched}"
        ),
        SyncError::Root(RootError::SignatureGone { .. }) => format!(
            "if the upstream really stopped signing, say `repo_gpgcheck: false`; {untouched}"
        ),
        SyncError::Root(RootError::NotVerified(VerifyError::NotClearSigned { .. }))
        | SyncError::Format(FormatError::Malformed { .. } | FormatError::Read { .. }) => {
            format!(
                "the upstream may be broken, or this may not be the repository that was meant; {untouched}"
            )
        }
        SyncError::Root(RootError::NotVerified(error)) if error.is_weakness() => format!(
            "such a signature can be forged; `allow_weak_signatures: true` accepts it all the same; {untouched}"
        ),
        SyncError::Root(RootError::NotVerified(_)) => {
            format!(
                "check gpgkey_file or gpgkey_url against what the upstream announces; {untouched}"
            )
        }
        SyncError::PackageRefused { .. } => format!(
            "if a key is missing that the upstream announces, add it to gpgkey_file or gpgkey_url; anything else only the upstream can explain (`rpm.gpgcheck: false` takes packages unseen); {untouched}"
        ),
        SyncError::Root(RootError::Upstream(error))
        | SyncError::Download { source: error, .. }
        | SyncError::Key(KeyError::Upstream(error)) => upstream_hint(error, untouched)?,
        SyncError::Freshness(error) => freshness_hint(error, untouched),
        SyncError::IndexMissing { .. } | SyncError::KeepsChanging { .. } => {
            format!("the upstream may be mid-update; try again later; {untouched}")
        }
        SyncError::NothingChosen => {
            format!("widen the filters, or correct a name in them; {untouched}")
        }
        SyncError::Format(FormatError::Write { source, .. }) => io_hint(source)?,
        SyncError::Format(FormatError::ReadBack { .. }) => FAULT.to_owned(),
        SyncError::Format(FormatError::Compression { .. }) => {
            format!("ask the upstream for an index that is packed otherwise; {untouched}")
        }
        SyncError::Format(FormatError::Path { .. } | FormatError::NoDigest { .. }) => {
            format!("nothing of it can be mirrored safely: report it to the upstream; {untouched}")
        }
        SyncError::Format(FormatError::NotFound { what, .. }) => {
            format!("correct apt.{what}s; {untouched}")
        }
        SyncError::Key(KeyError::Kept(error)) | SyncError::Io(error) => io_hint(error)?,
        SyncError::Store(error) => store_hint(error)?,
        SyncError::NoSpace { .. } => "make room, or move the pool (storage.pool_path)".to_owned(),
        SyncError::TwoContents { .. }
        | SyncError::SizeConflict { .. }
        | SyncError::Manifest(
            ManifestError::TwoContents { .. } | ManifestError::FileAndDirectory { .. },
        ) => {
            format!("the upstream's indexes contradict each other: report it there; {untouched}")
        }
        SyncError::KeyPlace { .. } => format!(
            "whoever answers for the upstream would choose what clients trust; if the file is meant to be there, publish.key_name gives \
             the key files another name; {untouched}"
        ),
        _ => return None,
    })
}

fn freshness_hint(error: &FreshnessError, untouched: &str) -> String {
    match error {
        FreshnessError::Expired { .. } => format!(
            "somebody may be serving an old state; for an archive that no longer moves say `check_valid_until: false`; {untouched}"
        ),
        FreshnessError::Future { .. } => format!(
            "check this machine's clock; if the upstream's is wrong, `check_date: false` lets it pass; {untouched}"
        ),
        FreshnessError::UnreadValidUntil { .. } => format!(
            "apt refuses it too: report it to the upstream; `check_valid_until: false` lets it pass; {untouched}"
        ),
        FreshnessError::Undated { .. } => format!(
            "somebody may be serving an old state; if the upstream no longer writes dates that can be read, `check_date: false` takes its roots without them; {untouched}"
        ),
        FreshnessError::Lagging { .. } => {
            format!("one of its servers may not be up to date yet: try again later; {untouched}")
        }
        FreshnessError::RolledBack { .. } => format!(
            "somebody may be serving an old state; if the upstream really went back, `--allow-rollback` follows it once; {untouched}"
        ),
    }
}

fn upstream_hint(error: &UpstreamError, untouched: &str) -> Option<String> {
    Some(match error {
        UpstreamError::Tls { why, .. } => tls_hint(why).to_owned(),
        UpstreamError::UnknownHost { .. } => {
            "correct the host in the URL, or this machine's name resolution".to_owned()
        }
        UpstreamError::Denied {
            with_certificate: true,
            ..
        } => "the certificate of credentials.cert may have expired, or be of another entitlement"
            .to_owned(),
        UpstreamError::Denied { status: 403, .. } => {
            "the credentials or the entitlement may be missing, wrong or expired".to_owned()
        }
        UpstreamError::Denied { .. } => "check credentials".to_owned(),
        UpstreamError::Missing { .. } | UpstreamError::Mismatch { .. } => {
            format!("the upstream may be mid-update; {untouched}")
        }
        UpstreamError::Status { status, .. } if *status < 400 => format!(
            "nothing that was asked for is answered so: the server, or a proxy before it, may be broken; {untouched}"
        ),
        UpstreamError::Unreachable { .. } | UpstreamError::Status { .. } => {
            format!("try again later; {untouched}")
        }
        UpstreamError::Local(error) => io_hint(error)?,
        UpstreamError::Redirect { .. } => {
            "name the address that it leads to as upstream.url".to_owned()
        }
        _ => return None,
    })
}

fn tls_hint(failure: &TlsFailure) -> &'static str {
    match failure {
        TlsFailure::UnknownIssuer => {
            "name the certificate of its authority as tls.ca_file (or credentials.ca_cert), if it is to be trusted"
        }
        TlsFailure::OtherName => {
            "name the host in the URL that the certificate is for; tls.ca_file cannot make up for it"
        }
        TlsFailure::Expired | TlsFailure::NotValidYet => {
            "check this machine's clock; if it is right, the upstream has to renew its certificate (tls.ca_file cannot make up for it)"
        }
        TlsFailure::BadCertificate(_) => {
            "the upstream has to replace its certificate, or tls.ca_file names the wrong one"
        }
        TlsFailure::ClientCertificateWanted => {
            "name one with `credentials: {type: client_cert, cert: ..., key: ...}`"
        }
        TlsFailure::ClientCertificateRefused(_) => {
            "the certificate of credentials.cert may have expired, or be of another authority"
        }
        TlsFailure::NotTls => "check the port in the URL, and whether it is to be http://",
        TlsFailure::TlsWanted => "check the port in the URL, and whether it is to be https://",
    }
}

fn sync_first(repository: &str) -> String {
    format!("`chantal repo sync --repo-id {repository}` makes one")
}

fn request_hint(error: &RequestError) -> Option<String> {
    match error {
        RequestError::NeverSynced { repository } => Some(sync_first(repository)),
        RequestError::KeyFile(error) => key_file_hint(error),
        RequestError::Failed { repository, source } => publish_hint(repository, source),
        RequestError::Store(error) => store_hint(error),
        RequestError::NoLatestPath { .. }
        | RequestError::NoSnapshotsPath { .. }
        | RequestError::Unusable { .. }
        | RequestError::Nested { .. }
        | RequestError::NotPublished { .. } => None,
    }
}

fn publish_hint(repository: &str, error: &PublishError) -> Option<String> {
    Some(match error {
        PublishError::Lock(error) => lock_hint(error)?,
        PublishError::Occupied { .. } => {
            "move it away, or name another publish path (what was published elsewhere and moved here with its storage can be \
             removed); nothing was changed"
                .to_owned()
        }
        PublishError::ForeignFiles { .. } => {
            "move them out of the published tree: it is replaced as a whole; nothing was changed"
                .to_owned()
        }
        PublishError::SymbolicLink { .. } => "name the link's target as publish path".to_owned(),
        PublishError::MountPoint { .. } => {
            "name a directory below the mount point as publish path".to_owned()
        }
        PublishError::TreeMissing { .. } => {
            "mount it; if it is lost, `chantal publish` with --recreate publishes it again, and `chantal unpublish` with --forget-absent \
             forgets it; nothing was changed there"
                .to_owned()
        }
        PublishError::NotMounted { .. } => "mount it; nothing was made".to_owned(),
        PublishError::NeighbourMissing { .. } => {
            "mount it; if it is lost, `chantal unpublish` with --forget-absent forgets what was there; nothing was made".to_owned()
        }
        PublishError::Older { .. } => {
            "with a signing key (`chantal config keygen`) it gets a new date and our signature; or publish it at another place; \
             nothing was changed"
                .to_owned()
        }
        PublishError::KeyPlace { .. } => {
            "publish.key_name gives the key files another name; nothing was changed".to_owned()
        }
        PublishError::NotOwner { .. } => {
            "run chantal as the user that owns the pool (fs.protected_hardlinks)".to_owned()
        }
        PublishError::Io(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            "run chantal as a user that may write there".to_owned()
        }
        PublishError::Io(error) => io_hint(error)?,
        PublishError::Store(error) => store_hint(error)?,
        PublishError::ObjectMissing { .. } => {
            format!("`chantal repo sync --repo-id {repository} --refresh` fetches what the pool lacks")
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gravest_failure_counts() {
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
        sorted.sort_by_key(|exit| std::cmp::Reverse(exit.gravity()));
        assert_eq!(sorted.map(Exit::code), order);
        let errors: Vec<_> = all
            .into_iter()
            .map(|exit| Error::Several {
                exit,
                errors: Vec::new(),
            })
            .collect();
        assert_eq!(Error::gravest(&errors).map(Exit::code), Some(130));
        assert_eq!(Error::gravest(&[]), None);
    }
}
