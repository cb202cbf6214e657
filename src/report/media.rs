//! Results of exports, imports and inspections of offline media.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Serialize;

use super::encode::{Timestamp, path};
use super::published::PublishedTree;
use crate::digest::ObjectId;
use crate::media::{
    Confirmed, ExportOutcome, ExportPlan, ImportedRepository, ImportedTransfer, LatestOutcome,
    ReadBackProof, TransferResult,
};
use crate::names::{DestinationName, ExporterId, RepoId};
use crate::store::SentTransfers;
use crate::store::records::{Fate, ImportedRecord};
use crate::transfer::code::ConfirmationCode;
use crate::transfer::receipt::{Arrival, Receipt};
use crate::transfer::{Contents, ListedObject, ObjectError};

/// A planned or written transfer.
#[derive(Clone, Debug, Serialize)]
pub struct ExportedTransfer {
    pub dry_run: bool,
    pub destination: DestinationName,
    pub exporter: ExporterId,
    pub transfer: u64,
    /// `None` for a full transfer.
    pub builds_on: Option<u64>,
    pub repositories: Vec<ExportedRepository>,
    pub packages: u64,
    pub objects: u64,
    pub bytes: u64,
    /// What a full transfer would carry.
    pub full_bytes: u64,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub written: Option<WrittenTransfer>,
}

#[derive(Clone, Debug, Serialize)]
pub struct ExportedRepository {
    pub repository: RepoId,
    /// `latest`, and the names of snapshots.
    pub states: Vec<String>,
    pub packages: u64,
    pub bytes: u64,
    /// Advisories for these packages, all of them and by severity.
    pub advisories: u64,
    pub advisory_severities: BTreeMap<String, u64>,
}

#[derive(Clone, Debug, Serialize)]
pub struct WrittenTransfer {
    #[serde(serialize_with = "path")]
    pub folder: PathBuf,
    pub manifest_sha256: ObjectId,
    pub manifest_bytes: u64,
    pub signed_by: Option<String>,
    /// Objects that an interrupted export had written.
    pub resumed_objects: u64,
    /// `from_medium`, `not_proved` or `skipped`.
    pub read_back: &'static str,
}

impl ExportedTransfer {
    pub fn planned(plan: &ExportPlan) -> Self {
        let header = &plan.header;
        let repositories = plan.repositories.iter();
        Self {
            dry_run: true,
            destination: header.destination.clone(),
            exporter: header.exporter.clone(),
            transfer: header.number,
            builds_on: header.builds_on.map(|base| base.number),
            repositories: repositories
                .map(|(id, planned)| ExportedRepository {
                    repository: id.clone(),
                    states: planned.states.clone(),
                    packages: planned.packages,
                    bytes: planned.bytes,
                    advisories: planned.advisories.count,
                    advisory_severities: planned.advisories.severities.clone(),
                })
                .collect(),
            packages: plan.packages(),
            objects: plan.carried.len() as u64,
            bytes: plan.bytes(),
            full_bytes: plan.full_bytes,
            written: None,
        }
    }
}

impl From<&ExportOutcome> for ExportedTransfer {
    fn from(outcome: &ExportOutcome) -> Self {
        let written = WrittenTransfer {
            folder: outcome.folder.clone(),
            manifest_sha256: outcome.written.digest,
            manifest_bytes: outcome.written.manifest_bytes,
            signed_by: outcome.signed_by.clone(),
            resumed_objects: outcome.written.found,
            read_back: match outcome.written.proof {
                ReadBackProof::FromMedium => "from_medium",
                ReadBackProof::NotProved => "not_proved",
                ReadBackProof::Skipped => "skipped",
            },
        };
        Self {
            dry_run: false,
            written: Some(written),
            ..Self::planned(&outcome.plan)
        }
    }
}

/// The transfers that an import found on a medium.
#[derive(Clone, Debug, Serialize)]
pub struct ImportedMedium {
    pub dry_run: bool,
    pub transfers: Vec<ImportResult>,
}

/// A transfer that was imported, or not.
#[derive(Clone, Debug, Serialize)]
pub struct ImportResult {
    #[serde(serialize_with = "path")]
    pub folder: PathBuf,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub imported: Option<ImportDetails>,
    pub error: Option<String>,
}

#[derive(Clone, Debug, Serialize)]
pub struct ImportDetails {
    pub exporter: ExporterId,
    pub transfer: u64,
    pub destination: DestinationName,
    pub made_at: Timestamp,
    pub builds_on: Option<u64>,
    pub manifest_sha256: ObjectId,
    pub signed_by: Vec<String>,
    /// It was imported before: only what was not published yet is published.
    pub already_imported: bool,
    /// Carried objects.
    pub objects: u64,
    pub bytes: u64,
    /// Objects that were new here.
    pub objects_copied: u64,
    pub bytes_copied: u64,
    pub damaged: Vec<DamagedCarriedObject>,
    pub repositories: Vec<ImportedRepositoryResult>,
    /// For `media confirm` outside; only if everything was imported.
    pub confirmation_code: Option<String>,
    pub warnings: Vec<String>,
}

#[derive(Clone, Debug, Serialize)]
pub struct ImportedRepositoryResult {
    pub repository: RepoId,
    pub packages: u64,
    pub signed_by: Vec<String>,
    pub snapshots_created: Vec<String>,
    /// `replaced`, `same`, `older_transfer`, `older_root` or `other_origin`.
    pub latest: Option<&'static str>,
    pub accepted_keys: Vec<String>,
    pub published: Vec<PublishedTree>,
    /// False if it was refused.
    pub imported: bool,
    pub errors: Vec<String>,
}

impl ImportResult {
    pub fn new(result: &TransferResult) -> Self {
        Self {
            folder: result.folder.clone(),
            imported: result.result.as_ref().ok().map(ImportDetails::new),
            error: result.result.as_ref().err().map(ToString::to_string),
        }
    }
}

impl ImportDetails {
    fn new(imported: &ImportedTransfer) -> Self {
        let repositories = imported.repositories.iter();
        let damaged = imported.copied.damaged.iter();
        Self {
            exporter: imported.exporter.clone(),
            transfer: imported.number,
            destination: imported.destination.clone(),
            made_at: Timestamp(imported.made_at),
            builds_on: imported.builds_on,
            manifest_sha256: imported.digest,
            signed_by: imported.signed_by.clone(),
            already_imported: imported.is_known,
            objects: imported.objects,
            bytes: imported.bytes,
            objects_copied: imported.copied.objects,
            bytes_copied: imported.copied.bytes,
            damaged: damaged
                .map(|(number, (object, error))| DamagedCarriedObject {
                    number: *number,
                    object: *object,
                    what: error.to_string(),
                })
                .collect(),
            repositories: repositories
                .map(|(id, repository)| ImportedRepositoryResult::new(id, repository))
                .collect(),
            confirmation_code: imported.code.clone(),
            warnings: imported.warnings.clone(),
        }
    }
}

impl ImportedRepositoryResult {
    fn new(id: &RepoId, imported: &ImportedRepository) -> Self {
        let refused = imported.refused.iter().map(ToString::to_string);
        let unpublished = imported
            .published
            .iter()
            .filter_map(|tree| tree.as_ref().err());
        let trees = imported
            .published
            .iter()
            .filter_map(|tree| tree.as_ref().ok());
        Self {
            repository: id.clone(),
            packages: imported.packages,
            signed_by: imported.signed_by.clone(),
            snapshots_created: imported.created.iter().map(ToString::to_string).collect(),
            latest: imported.latest.map(|outcome| match outcome {
                LatestOutcome::Replaced => "replaced",
                LatestOutcome::Same => "same",
                LatestOutcome::OlderTransfer => "older_transfer",
                LatestOutcome::OlderRoot => "older_root",
                LatestOutcome::OtherOrigin => "other_origin",
            }),
            accepted_keys: imported.accepted_keys.clone(),
            imported: imported.refused.is_none(),
            published: trees.cloned().map(PublishedTree::from).collect(),
            errors: refused
                .chain(unpublished.map(ToString::to_string))
                .collect(),
        }
    }
}

/// The transfers on a medium.
#[derive(Clone, Debug, Serialize)]
pub struct InspectedMedium {
    pub transfers: Vec<InspectedTransfer>,
    /// Why others cannot be used.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<String>,
}

/// A transfer on a medium.
#[derive(Clone, Debug, Serialize)]
pub struct InspectedTransfer {
    #[serde(serialize_with = "path")]
    pub folder: PathBuf,
    pub exporter: ExporterId,
    pub transfer: u64,
    pub destination: DestinationName,
    pub made_at: Timestamp,
    pub made_with: String,
    pub builds_on: Option<u64>,
    pub manifest_sha256: ObjectId,
    /// Whether its signature was verified.
    pub verified: bool,
    /// The keys that signed it, or that the signature names.
    pub signed_by: Vec<String>,
    pub repositories: Vec<InspectedRepository>,
    pub objects: u64,
    pub bytes: u64,
    /// Objects that are missing or damaged.
    pub damaged: Vec<DamagedCarriedObject>,
}

#[derive(Clone, Debug, Serialize)]
pub struct InspectedRepository {
    pub repository: RepoId,
    pub states: Vec<String>,
    pub packages: u64,
    pub bytes: u64,
    /// How the exporter defines it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub definition: String,
}

#[derive(Clone, Debug, Serialize)]
pub struct DamagedCarriedObject {
    /// In the object list of the transfer, from 1.
    pub number: u64,
    pub object: ObjectId,
    pub what: String,
}

impl DamagedCarriedObject {
    pub fn all(damaged: &[(ListedObject, ObjectError)]) -> Vec<Self> {
        let damaged = damaged.iter().map(|(object, error)| Self {
            number: object.number,
            object: object.content.object,
            what: error.to_string(),
        });
        damaged.collect()
    }
}

impl InspectedTransfer {
    pub fn new(
        folder: PathBuf,
        manifest: ObjectId,
        contents: &Contents,
        signed_by: Vec<String>,
        verified: bool,
    ) -> Self {
        let header = &contents.header;
        let repositories = header.repositories.iter().map(|(id, repository)| {
            let carried = contents.repositories.get(id).copied().unwrap_or_default();
            InspectedRepository {
                repository: id.clone(),
                states: repository.state_names().map(str::to_owned).collect(),
                packages: carried.packages,
                bytes: carried.bytes,
                definition: repository.definition.clone(),
            }
        });
        Self {
            folder,
            exporter: header.exporter.clone(),
            transfer: header.number,
            destination: header.destination.clone(),
            made_at: Timestamp(header.made_at),
            made_with: header.made_with.clone(),
            builds_on: header.builds_on.map(|base| base.number),
            manifest_sha256: manifest,
            verified,
            signed_by,
            repositories: repositories.collect(),
            objects: contents.carried.len() as u64,
            bytes: contents.bytes(),
            damaged: Vec::new(),
        }
    }
}

/// A file on a medium.
#[derive(Clone, Debug, Serialize)]
pub struct ListedFile {
    pub object: ObjectId,
    pub size: u64,
    pub repository: RepoId,
    /// In the published tree.
    pub path: String,
    pub package: Option<String>,
    pub version: Option<String>,
    pub architecture: Option<String>,
}

/// A receipt that was written.
#[derive(Clone, Debug, Serialize)]
pub struct WrittenReceipt {
    #[serde(serialize_with = "path")]
    pub path: PathBuf,
    pub exporter: String,
    pub destination: DestinationName,
    pub transfers: Vec<u64>,
    pub signed: bool,
}

impl WrittenReceipt {
    pub fn new(path: PathBuf, receipt: &Receipt, signed: bool) -> Self {
        Self {
            path,
            exporter: receipt.exporter.clone(),
            destination: receipt.destination.clone(),
            transfers: receipt.transfers.iter().map(|entry| entry.number).collect(),
            signed,
        }
    }
}

/// What a destination has confirmed.
#[derive(Clone, Debug, Serialize)]
pub struct ConfirmedTransfers {
    pub destination: DestinationName,
    /// The transfers that are confirmed now, and were not before.
    pub confirmed: Vec<u64>,
    pub incomplete: Vec<IncompleteTransfer>,
}

#[derive(Clone, Debug, Serialize)]
pub struct IncompleteTransfer {
    pub transfer: u64,
    /// As in the receipt.
    pub missing: String,
}

impl ConfirmedTransfers {
    pub fn new(destination: DestinationName, confirmed: &Confirmed) -> Self {
        let incomplete = confirmed.incomplete.iter();
        Self {
            destination,
            confirmed: confirmed.numbers.clone(),
            incomplete: incomplete
                .map(|(transfer, missing)| IncompleteTransfer {
                    transfer: *transfer,
                    missing: Arrival::Missing(missing.clone()).to_string(),
                })
                .collect(),
        }
    }
}

#[derive(Clone, Debug, Serialize)]
pub struct LostTransfer {
    pub destination: DestinationName,
    pub transfer: u64,
}

#[derive(Clone, Debug, Serialize)]
pub struct ForgottenDestination {
    pub destination: DestinationName,
    pub transfers: usize,
}

/// All transfers, exported and imported.
#[derive(Clone, Debug, Serialize)]
pub struct TransferHistory {
    pub exported: Vec<SentTransfer>,
    pub imported: Vec<ArrivedTransfer>,
}

#[derive(Clone, Debug, Serialize)]
pub struct SentTransfer {
    pub destination: DestinationName,
    pub transfer: u64,
    pub builds_on: Option<u64>,
    pub made_at: Timestamp,
    pub states: Vec<String>,
    pub objects: u64,
    pub bytes: u64,
    /// `pending`, `confirmed` or `lost`.
    pub fate: &'static str,
    pub manifest_sha256: ObjectId,
}

#[derive(Clone, Debug, Serialize)]
pub struct ArrivedTransfer {
    pub exporter: ExporterId,
    pub transfer: u64,
    pub destination: DestinationName,
    pub builds_on: Option<u64>,
    pub made_at: Timestamp,
    pub imported_at: Timestamp,
    pub signed_by: Vec<String>,
    pub states: Vec<String>,
    /// `None` if an earlier transfer that it builds on was never imported.
    pub confirmation_code: Option<String>,
    pub manifest_sha256: ObjectId,
}

impl TransferHistory {
    pub fn new(
        sent: &BTreeMap<DestinationName, SentTransfers>,
        imported: &BTreeMap<(ExporterId, u64), (ImportedRecord, bool)>,
    ) -> Self {
        let sent = sent.iter().flat_map(|(destination, transfers)| {
            transfers.iter().map(move |(number, record)| SentTransfer {
                destination: destination.clone(),
                transfer: *number,
                builds_on: record.builds_on,
                made_at: Timestamp(record.made_at),
                states: record.names.clone(),
                objects: record.objects,
                bytes: record.bytes,
                fate: match record.fate {
                    Fate::Pending => "pending",
                    Fate::Confirmed(_) => "confirmed",
                    Fate::Lost(_) | Fate::Forgotten => "lost",
                },
                manifest_sha256: record.digest,
            })
        });
        let imported = imported
            .iter()
            .map(|((exporter, number), (record, is_base))| {
                let (id, destination) = (exporter.as_str(), &record.destination);
                let code = ConfirmationCode::of(id, destination, *number, &record.digest);
                ArrivedTransfer {
                    exporter: exporter.clone(),
                    transfer: *number,
                    destination: destination.clone(),
                    builds_on: record.builds_on,
                    made_at: Timestamp(record.made_at),
                    imported_at: Timestamp(record.imported_at),
                    signed_by: record.signed_by.clone(),
                    states: record.names.clone(),
                    confirmation_code: is_base.then(|| code.to_string()),
                    manifest_sha256: record.digest,
                }
            });
        Self {
            exported: sent.collect(),
            imported: imported.collect(),
        }
    }
}
