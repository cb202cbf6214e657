//! What is imported and how, and the result.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::objects::Copied;
use super::refusal::Refusal;
use crate::config::Config;
use crate::digest::ObjectId;
use crate::media::error::MediaError;
use crate::names::{DestinationName, ExporterId, RepoId, SnapshotName};
use crate::progress::Progress;
use crate::publish::{Published, RequestError};
use crate::signing_key::ConfiguredKey;
use crate::storage::Storage;

/// How far an import goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    Import,
    /// Verify the signature, and plan.
    Plan,
}

/// What to do with a transfer that was imported before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KnownTransfer {
    Skip,
    /// Import it again: deleted snapshots come back.
    Repeat,
}

/// What to do with a current state that is newer or of other origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CurrentState {
    Keep,
    Replace,
}

/// What to do with the medium's keys of a repository without a definition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MediumKeys {
    Refuse,
    Accept,
}

/// What to do with a transfer that is not signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnsignedTransfer {
    Refuse,
    Accept,
}

/// What became of the state of a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LatestOutcome {
    /// It is the current state now.
    Replaced,
    /// It was the current state before.
    Same,
    /// A later transfer of this exporter was imported before.
    OlderTransfer,
    /// The current state has a newer root.
    OlderRoot,
    /// The current state is not from this exporter.
    OtherOrigin,
}

/// What is imported, and how.
#[derive(Clone, Copy)]
pub struct ImportRequest<'a> {
    pub storage: &'a Storage,
    pub config: &'a Config,
    pub config_dir: &'a Path,
    pub key: &'a ConfiguredKey<'a>,
    pub progress: &'a Progress,
    /// Names of files that other programs may have added to a transfer.
    pub allowed: &'a [String],
    /// Only the transfer with this number.
    pub number: Option<u64>,
    pub medium_keys: MediumKeys,
    pub current: CurrentState,
    pub known: KnownTransfer,
    pub unsigned: UnsignedTransfer,
    pub extent: Extent,
}

/// A transfer of the medium.
#[derive(Debug)]
pub struct TransferResult {
    pub folder: PathBuf,
    pub result: Result<ImportedTransfer, MediaError>,
}

/// A transfer that was imported, or planned to be, at least partly.
#[derive(Debug)]
pub struct ImportedTransfer {
    pub exporter: ExporterId,
    pub number: u64,
    pub destination: DestinationName,
    pub made_at: i64,
    pub builds_on: Option<u64>,
    /// The SHA-256 of its packed manifest.
    pub digest: ObjectId,
    /// Fingerprints of the keys that signed it.
    pub signed_by: Vec<String>,
    /// It was imported before: only what was not published yet is published.
    pub is_known: bool,
    pub objects: u64,
    pub bytes: u64,
    pub copied: Copied,
    pub repositories: BTreeMap<RepoId, ImportedRepository>,
    /// For the exporter, if everything was imported.
    pub code: Option<String>,
    pub warnings: Vec<String>,
}

/// One repository of a transfer.
#[derive(Debug, Default)]
pub struct ImportedRepository {
    pub packages: u64,
    /// Fingerprints of the keys that signed its roots.
    pub signed_by: Vec<String>,
    /// The snapshots that are new here.
    pub created: Vec<SnapshotName>,
    /// `None` if the transfer has no state for it.
    pub latest: Option<LatestOutcome>,
    /// The medium's keys were accepted.
    pub accepted_keys: Vec<String>,
    pub refused: Option<Refusal>,
    pub published: Vec<Result<Published, RequestError>>,
}
