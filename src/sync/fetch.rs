//! Parallel downloads: each content once, and finished ones are recorded even if the run fails
//! later.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use crate::digest::{Digest, ObjectRef};
use crate::interrupt::Interrupt;
use crate::names::RepoId;
use crate::pool::{Begin, Held};
use crate::progress::{Downloads, Progress};
use crate::rel_path::RelPath;
use crate::storage::Storage;
use crate::store::records::ObjectRecord;
use crate::threads::lock;
use crate::time::now;
use crate::upstream::{Expected, Upstream, UpstreamError};

use super::error::SyncError;
use super::failures::Failures;
use super::planned::{Missing, WantedFile, download_error};

/// After this many files, they are made durable and recorded in the database, so that an
/// interrupted run does not have to hash them again.
const CHECKPOINT_FILES: usize = 5000;

/// What to do about a file that is missing on the upstream or has different content.
#[derive(Clone, Copy)]
pub enum OnMissing<'a> {
    /// It is returned in [`FetchResult::absent`].
    Skip,
    /// It is reported as a failure after the others were fetched; immediately if the upstream has
    /// changed (`has_root_changed`), because files of the old root are then useless.
    Report {
        failures: &'a Failures,
        has_root_changed: &'a (dyn Fn(&SyncError) -> bool + Sync),
    },
}

/// The downloaded files, and the missing ones that are not an error yet.
#[derive(Default)]
pub struct FetchResult {
    pub objects: HashMap<Digest, ObjectRef>,
    /// The errors by digest; each concerns one file.
    pub absent: HashMap<Digest, UpstreamError>,
}

/// The shared state of the download threads.
struct FetchProgress {
    fetched: FetchResult,
    /// In the pool, but not in the database yet.
    unrecorded: Vec<(Digest, ObjectRef)>,
}

/// Downloads files of one repository into the pool.
#[derive(Clone, Copy)]
pub struct Fetcher<'a> {
    pub storage: &'a Storage,
    pub upstream: &'a Upstream,
    /// For messages, and because a weak digest is only valid within its repository.
    pub repository: &'a RepoId,
    pub workers: Workers<'a>,
    pub progress: &'a Progress,
}

/// Threads for parallel work on files.
#[derive(Clone, Copy)]
pub struct Workers<'a> {
    pub pool: &'a rayon::ThreadPool,
    /// Interrupts the transfers of the upstream.
    pub transfers: &'a Interrupt,
}

impl Workers<'_> {
    /// Runs `work` for each item in parallel. The first error stops it: transfers are interrupted,
    /// and items that were not started are skipped.
    pub fn in_parallel<T: Sync>(
        &self,
        items: &[T],
        work: impl Fn(&T) -> Result<(), SyncError> + Sync,
    ) -> Result<(), SyncError> {
        let failure = Mutex::new(None);
        self.pool.in_place_scope_fifo(|scope| {
            for item in items {
                let (failure, work) = (&failure, &work);
                scope.spawn_fifo(move |_| {
                    if lock(failure).is_some() {
                        return;
                    }
                    if let Err(error) = work(item) {
                        lock(failure).get_or_insert(error);
                        // Large downloads may be in progress: their data is kept, but they are not
                        // finished.
                        self.transfers.stop_part();
                    }
                });
            }
        });
        self.transfers.resume_part();
        let failure = failure.into_inner().unwrap_or_else(PoisonError::into_inner);
        failure.map_or(Ok(()), Err)
    }
}

impl Fetcher<'_> {
    /// Contents that need no download, because both the database and the pool have them.
    pub fn known(
        &self,
        contents: impl Iterator<Item = Digest>,
    ) -> Result<HashMap<Digest, ObjectRef>, SyncError> {
        let recorded = self.storage.read(|reader| {
            let mut recorded = HashMap::new();
            for digest in contents {
                if let Some(object) = reader.object_with(&digest, self.repository)?
                    && let Some(record) = reader.object(object)?
                {
                    let size = record.size;
                    recorded.insert(digest, ObjectRef { object, size });
                }
            }
            Ok(recorded)
        })?;
        let mut known = HashMap::new();
        for (digest, stored) in recorded {
            if self.storage.pool.size_of(stored.object)? == Some(stored.size) {
                known.insert(digest, stored);
            } else {
                self.storage.pool.note_replaced(stored.object);
                log::warn!(
                    "object {} is missing or damaged: getting it again",
                    stored.object
                );
            }
        }
        Ok(known)
    }

    /// Downloads these files in parallel and calls `check` for each. The first error that is not
    /// about a single file stops it; files that were downloaded by then stay in the pool.
    pub fn fetch(
        &self,
        wants: &[WantedFile],
        on_missing: OnMissing<'_>,
        check: &(dyn Fn(&WantedFile, ObjectRef) -> Result<(), SyncError> + Sync),
    ) -> Result<FetchResult, SyncError> {
        if wants.is_empty() {
            return Ok(FetchResult::default());
        }
        let Missing { files, bytes, .. } = Missing::of(wants, self.repository, &Held::default());
        let downloads = self
            .progress
            .downloads(self.repository.as_str(), files, bytes);
        let shared = Mutex::new(FetchProgress {
            fetched: FetchResult {
                objects: HashMap::with_capacity(wants.len()),
                absent: HashMap::new(),
            },
            unrecorded: Vec::new(),
        });
        let result = self.workers.in_parallel(wants, |want| {
            let stored = match (self.fetch_one(want, &downloads, on_missing)?, on_missing) {
                (Ok(stored), _) => stored,
                (Err(error), OnMissing::Skip) => {
                    lock(&shared).fetched.absent.insert(want.digest, error);
                    return Ok(());
                }
                (
                    Err(error),
                    OnMissing::Report {
                        failures,
                        has_root_changed,
                    },
                ) => {
                    failures.count_checked(1);
                    let error = download_error(&want.what, error);
                    if failures.is_empty() && has_root_changed(&error) {
                        return Err(error);
                    }
                    return failures.report(error);
                }
            };
            self.add_object(&shared, want, stored)?;
            let checked = check(want, stored);
            let OnMissing::Report { failures, .. } = on_missing else {
                return checked;
            };
            failures.count_checked(1);
            match checked {
                Err(refused @ SyncError::PackageRefused { .. }) => failures.report(refused),
                checked => checked,
            }
        });
        downloads.finish();
        let FetchProgress {
            fetched,
            unrecorded,
        } = shared.into_inner().unwrap_or_else(PoisonError::into_inner);
        let recorded = self.record(&unrecorded);
        result?;
        recorded.map(|()| fetched)
    }

    fn fetch_one(
        &self,
        want: &WantedFile,
        downloads: &Downloads,
        on_missing: OnMissing<'_>,
    ) -> Result<Result<ObjectRef, UpstreamError>, SyncError> {
        self.storage.interrupt.check()?;
        // The file may be from a run that was killed before it was recorded, or from a dry run.
        if let Some(object) = want.digest.object_id() {
            let storage = self.storage;
            if let Some(stored) = storage.pool.adopt(object)? {
                return Ok(Ok(stored));
            }
            if let Some(stored) = storage.take_from_dry_run(object)? {
                return Ok(Ok(stored));
            }
        }
        let mut worst: Option<UpstreamError> = None;
        for place in &want.places {
            match self.fetch_from(place, want, downloads)? {
                Ok(stored) => return Ok(Ok(stored)),
                Err(UpstreamError::Interrupted(error)) => return Err(error.into()),
                Err(error)
                    if error.affects_one_file()
                        || matches!(on_missing, OnMissing::Skip) && error.is_server_error() =>
                {
                    if worst
                        .as_ref()
                        .is_none_or(|known| error.is_more_severe_than(known))
                    {
                        worst = Some(error);
                    }
                }
                Err(source) => return Err(download_error(&want.what, source)),
            }
        }
        Ok(Err(worst.expect("a file has at least one place")))
    }

    fn fetch_from(
        &self,
        place: &RelPath,
        want: &WantedFile,
        downloads: &Downloads,
    ) -> Result<Result<ObjectRef, UpstreamError>, SyncError> {
        let Storage { pool, locks, .. } = self.storage;
        let incoming =
            match pool.begin(locks, want.digest, self.repository, self.workers.transfers)? {
                Begin::Present(stored) => return Ok(Ok(stored)),
                Begin::Interrupted(interrupted) => return Ok(Err(interrupted.into())),
                Begin::Download(incoming) => incoming,
            };
        let expected = Expected {
            digest: want.digest,
            size: want.size,
        };
        let active = downloads.file(&crate::terminal::escape(place.file_name()), want.size);
        let fetched = self.upstream.download(place, expected, incoming, &active);
        if fetched.is_ok() {
            active.done();
        }
        Ok(fetched)
    }

    fn add_object(
        &self,
        shared: &Mutex<FetchProgress>,
        want: &WantedFile,
        stored: ObjectRef,
    ) -> Result<(), SyncError> {
        let batch = {
            let mut shared = lock(shared);
            shared.fetched.objects.insert(want.digest, stored);
            shared.unrecorded.push((want.digest, stored));
            if shared.unrecorded.len() < CHECKPOINT_FILES {
                return Ok(());
            }
            std::mem::take(&mut shared.unrecorded)
        };
        self.record(&batch)
    }

    /// Makes objects durable and then records them in the database.
    fn record(&self, batch: &[(Digest, ObjectRef)]) -> Result<(), SyncError> {
        if batch.is_empty() {
            return Ok(());
        }
        self.storage.pool.flush()?;
        let verified_at = now();
        self.storage.remember(|writer| {
            for (digest, stored) in batch {
                let size = stored.size;
                writer.put_object(stored.object, ObjectRecord { size, verified_at })?;
                writer.put_alias(digest, self.repository, stored.object)?;
            }
            Ok(())
        })?;
        Ok(())
    }
}
