//! The end of a sync: one transaction that records the new state, that nothing changed, or why it
//! failed.

use std::collections::{BTreeMap, HashSet};

use super::build::BuiltState;
use super::error::SyncError;
use super::freshness::{Rollback, newest_date};
use super::packages::FetchedFiles;
use super::planned::SyncPlan;
use super::previous::Previous;
use super::root::PinnedRoot;
use super::validators;
use super::verify::PackageSigner;
use crate::config::RootCheck;
use crate::digest::ObjectId;
use crate::manifest::{self, Built, ChunkRef, Entry};
use crate::names::RepoId;
use crate::openpgp::Signer;
use crate::repo_format::RepoFormat;
use crate::storage::Storage;
use crate::store::records::{
    HistoryRecord, RepositoryRecord, RootRecord, StateRecord, SyncOutcome, ValidatorRecord,
};
use crate::time::now;
use crate::upstream::Upstream;

/// The result of a sync.
#[derive(Clone, Debug)]
pub struct Report {
    pub changed: bool,
    /// The current state.
    pub state: StateRecord,
    pub signers: Vec<Signer>,
    /// Empty if packages are not checked, or if nothing changed.
    pub package_signers: Vec<PackageSigner>,
    pub packages_added: u64,
    pub packages_removed: u64,
    pub requests: u64,
    pub bytes_downloaded: u64,
    /// Warnings for the user about problems that did not stop the sync.
    pub warnings: Vec<String>,
}

/// Records the result of a sync in the database.
#[derive(Clone, Copy)]
pub struct SyncRecorder<'a> {
    pub storage: &'a Storage,
    pub repository: &'a RepoId,
    pub previous: &'a Previous,
    /// Its requests and bytes are recorded.
    pub upstream: &'a Upstream,
    /// When the sync started, in seconds since the epoch.
    pub started: i64,
}

/// A new state and its origin.
#[derive(Clone, Copy)]
pub struct NewState<'a> {
    pub built: &'a BuiltState,
    pub pinned: &'a PinnedRoot,
    pub plan: &'a SyncPlan,
    pub fetched: &'a FetchedFiles<'a>,
    pub format: RepoFormat,
    /// Settings that affected it, see [`super::previous::selection`].
    pub selection: ObjectId,
    pub root_check: RootCheck,
    pub rollback: Rollback,
}

/// The number of packages that differ between two states.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct PackageChange {
    added: u64,
    removed: u64,
}

impl SyncRecorder<'_> {
    /// Makes this the state of the repository, after its objects are durable.
    pub fn record_change(&self, new: NewState<'_>) -> Result<Report, SyncError> {
        let NewState {
            built: BuiltState { built, .. },
            pinned,
            plan,
            ..
        } = new;
        let change = self.change_from_previous(built)?;
        self.storage.interrupt.check()?;
        self.storage.pool.flush()?;

        // A different root or different settings can result in the same files.
        let changed = self.previous.manifest() != Some(built.id);
        let package_signers = package_signers(plan, new.fetched);
        let record = self.repository_record(new, &package_signers);
        let history = HistoryRecord {
            outcome: if changed {
                SyncOutcome::Changed
            } else {
                SyncOutcome::Unchanged
            },
            root: Some(pinned.object),
            packages_added: change.added,
            packages_removed: change.removed,
            left_out: record.state.absent().into_keys().collect(),
            ..self.history_of(&record.state)
        };
        let (path, validators) = (pinned.source.path(), &pinned.validators);
        let validators = validators::records(path, validators, self.started);
        self.storage.write(|writer| {
            writer.put_objects(&new.built.objects, self.started)?;
            writer.put_manifest(built)?;
            if let Some(evidence) = &new.built.evidence {
                writer.put_manifest(evidence)?;
            }
            writer.put_repository(self.repository, &record)?;
            writer.put_validators(self.repository, self.previous.origin, &validators)?;
            writer.add_history(self.repository, &history)
        })?;
        let warnings = plan.warnings.iter().cloned();
        Ok(Report {
            changed,
            warnings: warnings.chain(record.state.warnings()).collect(),
            state: record.state,
            signers: pinned.signers().to_vec(),
            package_signers,
            packages_added: change.added,
            packages_removed: change.removed,
            requests: history.requests,
            bytes_downloaded: history.bytes_downloaded,
        })
    }

    /// Records that the upstream still has the root of the current state. `validators` are those
    /// received with the root, if it was sent.
    pub fn record_unchanged(
        &self,
        known: &RepositoryRecord,
        validators: Option<&BTreeMap<String, ValidatorRecord>>,
    ) -> Result<Report, SyncError> {
        let history = self.history_of(&known.state);
        // Without a request there is nothing to record.
        if history.requests > 0 {
            let record = RepositoryRecord {
                checked_at: self.started,
                ..known.clone()
            };
            self.storage.write(|writer| {
                writer.put_repository(self.repository, &record)?;
                if let Some(validators) = validators {
                    writer.put_validators(self.repository, self.previous.origin, validators)?;
                }
                writer.add_history(self.repository, &history)
            })?;
        }
        Ok(Report {
            changed: false,
            state: known.state.clone(),
            signers: Vec::new(),
            package_signers: Vec::new(),
            packages_added: 0,
            packages_removed: 0,
            requests: history.requests,
            bytes_downloaded: history.bytes_downloaded,
            warnings: Vec::new(),
        })
    }

    /// Adds a failed sync to the history. An error while doing so must not hide why the sync
    /// failed.
    pub fn record_failure(&self, error: &SyncError) {
        let previous = self.previous.record.as_ref().map(|record| &record.state);
        let history = HistoryRecord {
            outcome: SyncOutcome::Failed(error.to_string()),
            manifest: previous.map(|state| state.manifest),
            packages: previous.map_or(0, |state| state.packages),
            ..self.history()
        };
        let written = self
            .storage
            .write(|writer| writer.add_history(self.repository, &history));
        if let Err(error) = written {
            log::warn!(
                "{}: cannot record the failed sync: {error}",
                self.repository
            );
        }
    }

    fn history(&self) -> HistoryRecord {
        HistoryRecord {
            started: self.started,
            finished: now(),
            outcome: SyncOutcome::Unchanged,
            requests: self.upstream.requests(),
            bytes_downloaded: self.upstream.bytes(),
            ..HistoryRecord::default()
        }
    }

    fn history_of(&self, state: &StateRecord) -> HistoryRecord {
        HistoryRecord {
            manifest: Some(state.manifest),
            packages: state.packages,
            signed_by: state.signed_by(),
            packages_signed_by: state.packages_signed_by.keys().cloned().collect(),
            ..self.history()
        }
    }

    /// The new record of the repository.
    fn repository_record(
        &self,
        new: NewState<'_>,
        package_signers: &[PackageSigner],
    ) -> RepositoryRecord {
        let NewState {
            built,
            pinned,
            plan,
            ..
        } = new;
        let totals = built.built.manifest.totals();
        let signers = pinned.signers().iter();
        let root = RootRecord {
            path: Some(pinned.source.path().clone()),
            object: pinned.object,
            date: plan.root_date,
            valid_until: plan.root_valid_until,
            revision: plan.root_revision,
            signed_by: signers.map(|signer| signer.fingerprint.clone()).collect(),
        };
        // An explicit `off` means that signatures are not required any more.
        let was_signed = self.previous.was_signed() && new.root_check != RootCheck::Off;
        RepositoryRecord {
            origin: self.previous.origin,
            selection: new.selection,
            checked_at: self.started,
            was_signed: was_signed || !root.signed_by.is_empty(),
            newest_root_date: match plan.root_date {
                Some(_) => None,
                None => self.previous.baseline(new.rollback).and_then(newest_date),
            },
            state: StateRecord {
                format: new.format,
                manifest: built.built.id,
                roots: vec![root],
                regenerated: plan.chosen.is_some(),
                evidence: built.evidence.as_ref().map(|evidence| evidence.id),
                keyring: built.keyring,
                packages_signed_by: package_signers
                    .iter()
                    .map(|signer| (signer.fingerprint.clone(), signer.packages))
                    .collect(),
                left_out: built.left_out.clone(),
                missing: plan.upstream.missing.clone(),
                packages: totals.packages,
                bytes: totals.bytes,
                synced_at: self.started,
            },
        }
    }

    /// Counts the changes since the previous state; chunks that both have are not read.
    fn change_from_previous(&self, built: &Built) -> Result<PackageChange, SyncError> {
        let Some(previous) = &self.previous.record else {
            return Ok(PackageChange {
                added: built.manifest.totals().packages,
                removed: 0,
            });
        };
        let new: HashSet<ObjectId> = built.manifest.chunks.iter().map(|chunk| chunk.id).collect();
        let mut removed: HashSet<(String, ObjectId)> = HashSet::new();
        let mut shared: HashSet<ObjectId> = HashSet::new();
        self.storage.read(|reader| {
            for ChunkRef { id, .. } in reader.manifest(previous.state.manifest)?.chunks {
                if new.contains(&id) {
                    shared.insert(id);
                } else {
                    removed.extend(packages(reader.chunk(id)?));
                }
            }
            Ok(())
        })?;
        let mut change = PackageChange::default();
        for (id, encoded) in &built.chunks {
            if shared.contains(id) {
                continue;
            }
            for package in packages(manifest::decode_chunk(encoded)?) {
                if !removed.remove(&package) {
                    change.added += 1;
                }
            }
        }
        change.removed = removed.len() as u64;
        Ok(change)
    }
}

/// Empty if packages are not checked.
fn package_signers(plan: &SyncPlan, fetched: &FetchedFiles<'_>) -> Vec<PackageSigner> {
    let Some(checks) = &fetched.checks else {
        return Vec::new();
    };
    let packages = plan.files.iter().filter(|file| file.package.is_some());
    checks.signers(packages.filter_map(|file| Some(fetched.objects.get(&file.digest)?.object)))
}

fn packages(entries: Vec<Entry>) -> impl Iterator<Item = (String, ObjectId)> {
    entries
        .into_iter()
        .filter(|entry| entry.package.is_some())
        .map(|entry| (entry.path.as_str().to_owned(), entry.object))
}
