//! Syncs repositories and everything that follows: publishes the new state, and creates a snapshot
//! if requested.
//!
//! A failure of one repository does not affect the others.

use std::collections::VecDeque;
use std::io;
use std::sync::{Mutex, PoisonError};

use crate::config::Repository;
use crate::interrupt::Interrupted;
use crate::names::{SnapshotName, SnapshotNameError};
use crate::panics;
use crate::publish::{Caller, Destination, PublishMode, Published, Publisher, RequestError};
use crate::repair;
use crate::signing_key::ConfiguredKey;
use crate::snapshot::{self, Snapshot, SnapshotError, SnapshotRequest};
use crate::store::StoreError;
use crate::sync::{self, Preview, Report, RequestMode, Session, SyncError};
use crate::threads::{self, lock};
use crate::time::{compact, now};

/// The operation that is run for each repository.
#[derive(Clone, Copy)]
pub struct RepositorySync<'a> {
    pub sync: sync::SyncContext<'a>,
    /// Signs the roots that chantal generates.
    pub key: &'a ConfiguredKey<'a>,
    pub snapshots: SnapshotNaming<'a>,
}

/// Whether synced repositories get a snapshot, and with which name.
#[derive(Clone, Copy, Debug)]
pub enum SnapshotNaming<'a> {
    NoSnapshot,
    Given(&'a SnapshotName),
    /// Generated from the repository and the time.
    ByTime,
}

/// Why the sync of a repository failed.
#[derive(Debug, thiserror::Error)]
pub enum RepositorySyncError {
    #[error(transparent)]
    Sync(#[from] SyncError),
    #[error(transparent)]
    Publish(#[from] RequestError),
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    #[error("{name} is not a valid snapshot name: {source}; set one with --snapshot-name")]
    SnapshotName {
        name: String,
        source: SnapshotNameError,
    },
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A bug in chantal.
    #[error("{what}")]
    Panic { what: String },
}

/// The outcome for one repository, including a partial one.
#[derive(Debug, Default)]
pub struct RepositorySyncOutcome {
    pub requests: u64,
    pub bytes_downloaded: u64,
    pub report: Option<Report>,
    pub published: Option<Published>,
    pub snapshot: Option<(Snapshot, Option<Published>)>,
    pub error: Option<RepositorySyncError>,
}

/// What a sync would do to one repository, as far as known.
#[derive(Debug, Default)]
pub struct Forecast {
    pub requests_made: u64,
    /// Free bytes on the file system of the pool.
    pub free: u64,
    /// `None` if nothing would change.
    pub change: Option<PlannedDownload>,
    pub error: Option<RepositorySyncError>,
}

/// What would be downloaded.
#[derive(Debug)]
pub struct PlannedDownload {
    pub packages: u64,
    /// Number of files; each is one request.
    pub files: u64,
    pub bytes: u64,
    pub warnings: Vec<String>,
}

impl RepositorySync<'_> {
    /// Syncs one repository.
    pub fn sync(&self, repository: &Repository) -> RepositorySyncOutcome {
        let mut synced = RepositorySyncOutcome::default();
        let result = catch_panic(|| self.try_sync(repository, &mut synced));
        synced.error = result.err();
        synced
    }

    fn try_sync(
        &self,
        repository: &Repository,
        synced: &mut RepositorySyncOutcome,
    ) -> Result<(), RepositorySyncError> {
        if let SnapshotNaming::Given(name) = self.snapshots {
            let publisher = self.publisher(Caller::Command, PublishMode::Always);
            snapshot::reject_existing(publisher, &repository.id, name)?;
        }
        let session = Session::open(self.sync, repository)?;
        let result = session.sync();
        // Also recorded for a sync that failed.
        (synced.requests, synced.bytes_downloaded) = session.traffic();
        let report = result?;
        for warning in &report.warnings {
            log::warn!("{}: {warning}", repository.id);
        }
        synced.report = Some(report);
        self.mend_trees();
        if repository.publish.auto && repository.publish.latest_path.is_some() {
            let mode = match self.sync.request_mode {
                RequestMode::Conditional => PublishMode::IfChanged,
                // Files that were damaged in the pool and downloaded again are not yet in the tree.
                RequestMode::Refresh => PublishMode::Always,
            };
            let publisher = self.publisher(Caller::Sync, mode);
            let tree = publisher.state(&repository.id, Destination::Configured)?;
            synced.published = Some(tree);
        }
        if let Some(name) = self.snapshot_name(repository)? {
            let request = SnapshotRequest {
                repositories: &[&repository.id],
                name: &name,
                description: None,
                publisher: Some(self.publisher(Caller::Command, PublishMode::Always)),
            };
            for created in snapshot::create(self.sync.storage, &request)? {
                let published = created.published.transpose()?;
                synced.snapshot = Some((created.snapshot, published));
            }
        }
        Ok(())
    }

    /// Objects that were damaged in the pool were downloaded again, but published trees of any
    /// repository still have the damaged files. The state does not depend on it, so that errors are
    /// only logged: `db check` finds what is left.
    fn mend_trees(&self) {
        let storage = self.sync.storage;
        let replaced = storage.pool.take_replaced();
        if replaced.is_empty() || storage.is_dry_run() {
            return;
        }
        let mended = match repair::mend_trees_of(storage, &replaced) {
            Ok(mended) => mended,
            Err(error) => return log::warn!("cannot repair published trees: {error}"),
        };
        for tree in mended {
            let path = tree.path.display();
            for error in &tree.errors {
                log::warn!("{path}: {error}");
            }
            if tree.files > 0 {
                log::warn!("{path}: damaged files replaced: {}", tree.files);
            }
        }
    }

    fn publisher(&self, caller: Caller, mode: PublishMode) -> Publisher<'_> {
        Publisher {
            storage: self.sync.storage,
            config: self.sync.config,
            key: self.key,
            caller,
            mode,
        }
    }

    /// The name of the snapshot, if one is requested.
    fn snapshot_name(
        &self,
        repository: &Repository,
    ) -> Result<Option<SnapshotName>, RepositorySyncError> {
        match self.snapshots {
            SnapshotNaming::NoSnapshot => return Ok(None),
            SnapshotNaming::Given(name) => return Ok(Some(name.clone())),
            SnapshotNaming::ByTime => {}
        }
        let id = &repository.id;
        let name = format!("{id}-{}", compact(now()));
        let mut free = generated_name(&name)?;
        // Several snapshots in the same second get a number.
        for number in 2_u64.. {
            let taken = self
                .sync
                .storage
                .read(|reader| reader.snapshot(id, &free))?;
            if taken.is_none() {
                break;
            }
            free = generated_name(&format!("{name}-{number}"))?;
        }
        Ok(Some(free))
    }

    /// Determines what a sync of one repository would do.
    pub fn plan(&self, repository: &Repository) -> Forecast {
        let mut forecast = Forecast::default();
        let result = catch_panic(|| self.try_plan(repository, &mut forecast));
        forecast.error = result.err();
        forecast
    }

    fn try_plan(
        &self,
        repository: &Repository,
        forecast: &mut Forecast,
    ) -> Result<(), RepositorySyncError> {
        let session = Session::open(self.sync, repository)?;
        let preview = session.preview()?;
        (forecast.requests_made, _) = session.traffic();
        let pool = self.sync.storage.pool.lowest();
        forecast.free = pool.free_bytes()?;
        let Preview::Change(plan) = preview else {
            return Ok(());
        };
        let missing = plan.missing(&repository.id, &pool.held()?);
        for warning in &plan.warnings {
            log::warn!("{}: {warning}", repository.id);
        }
        let change = PlannedDownload {
            packages: plan.packages(),
            files: missing.files,
            bytes: missing.remaining(),
            warnings: plan.warnings,
        };
        let (needed, free) = (change.bytes, forecast.free);
        forecast.change = Some(change);
        if needed > free {
            let pool = pool.root().to_owned();
            return Err(SyncError::NoSpace { pool, needed, free }.into());
        }
        Ok(())
    }

    /// Runs `work` for every repository in at most this many threads, and returns the results in
    /// the order of the repositories. After an interruption, repositories that were not started
    /// have no result.
    pub fn in_parallel<T: Send>(
        &self,
        repositories: &[&Repository],
        workers: usize,
        work: impl Fn(&Repository) -> T + Sync,
    ) -> (Vec<T>, Result<(), Interrupted>) {
        let queue: Mutex<VecDeque<(usize, &Repository)>> =
            Mutex::new(repositories.iter().copied().enumerate().collect());
        let results: Mutex<Vec<(usize, T)>> = Mutex::new(Vec::new());
        let interrupted = Mutex::new(Ok(()));
        let interrupt = &self.sync.storage.interrupt;
        std::thread::scope(|scope| {
            for number in 0..workers.min(repositories.len()) {
                let (queue, results, work) = (&queue, &results, &work);
                let interrupted = &interrupted;
                let worker = move || {
                    loop {
                        let next = lock(queue).pop_front();
                        let Some((index, repository)) = next else {
                            return;
                        };
                        if let Err(error) = interrupt.check() {
                            *lock(interrupted) = Err(error);
                            return;
                        }
                        let result = work(repository);
                        lock(results).push((index, result));
                    }
                };
                let name = format!("repository-{number}");
                if let Err(error) = threads::start(scope, &name, worker) {
                    // Fewer threads are enough; without any, this thread does the work.
                    log::debug!("{error}");
                    if number == 0 {
                        worker();
                    }
                    break;
                }
            }
        });
        let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
        results.sort_by_key(|(index, _)| *index);
        let interrupted = interrupted.into_inner();
        (
            results.into_iter().map(|(_, result)| result).collect(),
            interrupted.unwrap_or_else(PoisonError::into_inner),
        )
    }
}

fn generated_name(name: &str) -> Result<SnapshotName, RepositorySyncError> {
    SnapshotName::parse(name).map_err(|source| RepositorySyncError::SnapshotName {
        name: name.to_owned(),
        source,
    })
}

/// Turns a panic during the work on one repository into a failure of that repository, so that the
/// others continue. This is safe: a transaction that was not committed has no effect, and an object
/// in the pool was complete before it got its name.
fn catch_panic(
    work: impl FnOnce() -> Result<(), RepositorySyncError>,
) -> Result<(), RepositorySyncError> {
    panics::catch(work).unwrap_or_else(|what| Err(RepositorySyncError::Panic { what }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_the_failure_of_one_repository() {
        let numbers = [i64::MAX, 1];
        let overflow = || panic!("{} and {} are too much", numbers[0], numbers[1]);
        let error = catch_panic(overflow).unwrap_err();
        assert!(matches!(
            error,
            RepositorySyncError::Panic { what } if what == "9223372036854775807 and 1 are too much"
        ));
        let literal = catch_panic(|| panic!("a literal")).unwrap_err();
        assert_eq!(literal.to_string(), "a literal");
        assert!(catch_panic(|| Ok(())).is_ok());
    }
}
