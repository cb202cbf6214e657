//! Results of `repo sync`, with and without `--dry-run`.

use serde::Serialize;

use super::failure::Failure;
use super::published::PublishedTree;
use super::snapshot::CreatedSnapshot;
use crate::digest::ObjectId;
use crate::names::RepoId;
use crate::openpgp::Signer;
use crate::repository::{Forecast, RepositorySyncOutcome};
use crate::store::records::SyncOutcome;
use crate::sync::{PackageSigner, Report};

/// The outcome of the sync of one repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SyncResult {
    Changed,
    Unchanged,
    Failed,
}

impl SyncResult {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Changed => "changed",
            Self::Unchanged => "unchanged",
            Self::Failed => "failed",
        }
    }
}

impl From<&SyncOutcome> for SyncResult {
    fn from(outcome: &SyncOutcome) -> Self {
        match outcome {
            SyncOutcome::Changed => Self::Changed,
            SyncOutcome::Unchanged => Self::Unchanged,
            SyncOutcome::Failed(_) => Self::Failed,
        }
    }
}

/// The result of the sync of one repository.
#[derive(Debug, Serialize)]
pub struct SyncedRepository {
    pub repository: RepoId,
    pub outcome: SyncResult,
    pub packages: u64,
    pub packages_added: u64,
    pub packages_removed: u64,
    pub requests: u64,
    pub bytes_downloaded: u64,
    pub manifest: Option<ObjectId>,
    /// Trusted keys that signed the root.
    pub verified_by: Vec<RootSigner>,
    /// Trusted keys that signed packages.
    pub packages_verified_by: Vec<PackageSignerResult>,
    pub warnings: Vec<String>,
    pub published: Option<PublishedTree>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<CreatedSnapshot>,
    pub error: Option<String>,
    #[serde(flatten)]
    pub failure: Option<Failure>,
}

#[derive(Debug, Serialize)]
pub struct RootSigner {
    pub fingerprint: String,
    pub user_id: String,
}

#[derive(Debug, Serialize)]
pub struct PackageSignerResult {
    pub fingerprint: String,
    pub user_id: Option<String>,
    pub packages: u64,
}

impl SyncedRepository {
    /// A repository before its sync.
    pub fn new(repository: &RepoId) -> Self {
        Self {
            repository: repository.clone(),
            outcome: SyncResult::Failed,
            packages: 0,
            packages_added: 0,
            packages_removed: 0,
            requests: 0,
            bytes_downloaded: 0,
            manifest: None,
            verified_by: Vec::new(),
            packages_verified_by: Vec::new(),
            warnings: Vec::new(),
            published: None,
            snapshot: None,
            error: None,
            failure: None,
        }
    }

    /// Adds the outcome of the sync, even of one that failed half-way.
    pub fn record(&mut self, synced: RepositorySyncOutcome) {
        self.requests = synced.requests;
        self.bytes_downloaded = synced.bytes_downloaded;
        if let Some(report) = synced.report {
            self.record_report(report);
        }
        self.published = synced.published.map(PublishedTree::from);
        let snapshot = synced.snapshot;
        self.snapshot =
            snapshot.map(|(snapshot, published)| CreatedSnapshot::new(&snapshot, published));
    }

    fn record_report(&mut self, report: Report) {
        self.outcome = if report.changed {
            SyncResult::Changed
        } else {
            SyncResult::Unchanged
        };
        self.packages = report.state.packages;
        self.packages_added = report.packages_added;
        self.packages_removed = report.packages_removed;
        self.requests = report.requests;
        self.bytes_downloaded = report.bytes_downloaded;
        self.manifest = Some(report.state.manifest);
        self.warnings = report.warnings;
        self.verified_by = report.signers.into_iter().map(RootSigner::from).collect();
        let signers = report.package_signers.into_iter();
        self.packages_verified_by = signers.map(PackageSignerResult::from).collect();
    }

    pub fn fail(&mut self, error: String, failure: Failure) {
        self.outcome = SyncResult::Failed;
        self.error = Some(error);
        self.failure = Some(failure);
    }
}

impl From<Signer> for RootSigner {
    fn from(signer: Signer) -> Self {
        Self {
            fingerprint: signer.fingerprint,
            user_id: signer.user_id,
        }
    }
}

impl From<PackageSigner> for PackageSignerResult {
    fn from(signer: PackageSigner) -> Self {
        Self {
            fingerprint: signer.fingerprint,
            user_id: signer.user_id,
            packages: signer.packages,
        }
    }
}

/// The totals of a run over several repositories, including requests for those that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SyncSummary {
    pub repositories: usize,
    pub synced: usize,
    pub changed: usize,
    pub requests: u64,
    pub bytes_downloaded: u64,
}

impl SyncSummary {
    /// `repositories` includes those that were not started.
    pub fn of(synced: &[SyncedRepository], repositories: usize) -> Self {
        let count = |matches: fn(&SyncedRepository) -> bool| {
            synced.iter().filter(|synced| matches(synced)).count()
        };
        Self {
            repositories,
            synced: count(|synced| synced.error.is_none()),
            changed: count(|synced| synced.outcome == SyncResult::Changed),
            requests: synced.iter().map(|synced| synced.requests).sum(),
            bytes_downloaded: synced.iter().map(|synced| synced.bytes_downloaded).sum(),
        }
    }
}

/// The outcome of a dry run for one repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PlanOutcome {
    Change,
    Unchanged,
    Failed,
}

/// The result of a dry run for one repository.
#[derive(Debug, Serialize)]
pub struct PlannedSync {
    pub repository: RepoId,
    pub outcome: PlanOutcome,
    pub packages: u64,
    /// Number of files to download; each is one request.
    pub files: u64,
    pub bytes: u64,
    /// Free bytes on the pool's file system now and after the downloads.
    pub free_before: u64,
    pub free_after: u64,
    pub requests_made: u64,
    pub warnings: Vec<String>,
    pub error: Option<String>,
    #[serde(flatten)]
    pub failure: Option<Failure>,
}

impl PlannedSync {
    /// Creates the result from the forecast; the caller adds the error.
    pub fn new(repository: &RepoId, forecast: &Forecast) -> Self {
        let mut planned = Self {
            repository: repository.clone(),
            outcome: PlanOutcome::Unchanged,
            packages: 0,
            files: 0,
            bytes: 0,
            requests_made: forecast.requests_made,
            free_before: forecast.free,
            free_after: forecast.free,
            warnings: Vec::new(),
            error: None,
            failure: None,
        };
        if let Some(change) = &forecast.change {
            planned.outcome = PlanOutcome::Change;
            planned.packages = change.packages;
            planned.files = change.files;
            planned.bytes = change.bytes;
            planned.free_after = forecast.free.saturating_sub(change.bytes);
            planned.warnings.clone_from(&change.warnings);
        } else if forecast.error.is_some() {
            planned.outcome = PlanOutcome::Failed;
        }
        planned
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_have_one_name_for_people_and_programs() {
        for outcome in [
            SyncResult::Changed,
            SyncResult::Unchanged,
            SyncResult::Failed,
        ] {
            assert_eq!(serde_json::to_value(outcome).unwrap(), outcome.name());
        }
        let planned = [
            (PlanOutcome::Change, "change"),
            (PlanOutcome::Unchanged, "unchanged"),
            (PlanOutcome::Failed, "failed"),
        ];
        for (outcome, name) in planned {
            assert_eq!(serde_json::to_value(outcome).unwrap(), name);
        }
    }

    #[test]
    fn a_summary_counts_what_failed_and_what_was_not_begun() {
        let failure = Failure {
            hint: None,
            exit_code: 3,
        };
        let mut failed = SyncedRepository::new(&RepoId::test("b"));
        failed.requests = 2;
        failed.fail("unreachable".to_owned(), failure);
        let changed = SyncedRepository {
            outcome: SyncResult::Changed,
            requests: 5,
            bytes_downloaded: 7,
            ..SyncedRepository::new(&RepoId::test("a"))
        };
        let summary = SyncSummary {
            repositories: 3,
            synced: 1,
            changed: 1,
            requests: 7,
            bytes_downloaded: 7,
        };
        assert_eq!(SyncSummary::of(&[changed, failed], 3), summary);
    }
}
