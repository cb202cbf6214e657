//! Many downloads at once, each content once, and what came is remembered even if the sync fails later.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::digest::{Digest, ObjectRef};
use crate::pool::{Begin, Held};
use crate::progress::Downloads;
use crate::rel_path::RelPath;
use crate::storage::Storage;
use crate::store::records::ObjectRecord;
use crate::time::now;
use crate::upstream::{Expected, UpstreamError};

use super::failures::Failures;
use super::packages::PackageChecks;
use super::planned::{Missing, Plan, Want, WantKind, failed};
use super::root::Pinned;
use super::{Session, SyncError};

/// After so many files they are made durable and the store is told, so that an interrupted run is not hashed again.
const CHECKPOINT_FILES: usize = 5000;

/// What is done about a file that the upstream does not have, or has otherwise than it says.
#[derive(Clone, Copy)]
pub enum Absent<'a> {
    /// It is told of in [`Brought::absent`].
    LeftOut,
    /// The others are still fetched, and then it is an error; at once if the upstream has another root by now than this one.
    Noted(&'a Failures, &'a Pinned),
}

/// What came of many files, and what did not where that is no error yet.
#[derive(Default)]
pub struct Brought {
    pub objects: HashMap<Digest, ObjectRef>,
    /// Why, by what was wanted: each is about one file.
    pub absent: HashMap<Digest, UpstreamError>,
}

/// What the workers have brought.
struct Arrived {
    brought: Brought,
    /// In the pool, but the store does not know them yet.
    unrecorded: Vec<(Digest, ObjectRef)>,
}

/// All objects of a plan.
pub struct Fetched {
    pub objects: HashMap<Digest, ObjectRef>,
    /// `None` where packages are not checked.
    pub checks: Option<PackageChecks>,
}

impl Session<'_> {
    /// Downloads what a plan lacks; returns all of its objects, and what was found out about its packages if they are
    /// checked.
    pub(super) fn fetch_files(
        &self,
        plan: &mut Plan,
        pinned: &Pinned,
    ) -> Result<Fetched, SyncError> {
        let all = (plan.known.len() + plan.wants().len()) as u64;
        let failures = Failures::among(all);
        let checks = self.check_known_packages(plan, &failures)?;
        let wants = plan.wants();
        let missing = Missing::of(&wants, self.id(), &self.context.storage.pool.held()?);
        let free = self.context.storage.pool.free_bytes()?;
        if missing.remaining() > free {
            failures.conclude_after(Err(SyncError::NoSpace {
                pool: self.context.storage.pool.root().to_owned(),
                needed: missing.remaining(),
                free,
            }))?;
        }
        let absent = Absent::Noted(&failures, pinned);
        let fetched = self.fetch(&wants, absent, checks.as_ref());
        if let Some(checks) = &checks {
            self.record_verdicts(checks)?;
        }
        let mut objects = failures.conclude_after(fetched)?.objects;
        objects.extend(&plan.known);
        if let Some(checks) = &checks {
            self.refuse_impostors(plan, &objects, checks, &failures)?;
        }
        Ok(Fetched { objects, checks })
    }

    /// Downloads all of these, in parallel, and checks the packages among them. The first error that is not about one file ends
    /// it; what had come by then stays in the pool.
    pub(super) fn fetch(
        &self,
        wants: &[Want],
        if_absent: Absent<'_>,
        checks: Option<&PackageChecks>,
    ) -> Result<Brought, SyncError> {
        if wants.is_empty() {
            return Ok(Brought::default());
        }
        let Missing { files, bytes, .. } = Missing::of(wants, self.id(), &Held::default());
        let downloads = self.context.progress.downloads(self.id(), files, bytes);
        let arrived = Mutex::new(Arrived {
            brought: Brought {
                objects: HashMap::with_capacity(wants.len()),
                absent: HashMap::new(),
            },
            unrecorded: Vec::new(),
        });
        let result = self.in_parallel(wants, |want| {
            let stored = match (self.fetch_one(want, &downloads, if_absent)?, if_absent) {
                (Ok(stored), _) => stored,
                (Err(error), Absent::LeftOut) => {
                    lock(&arrived).brought.absent.insert(want.digest, error);
                    return Ok(());
                }
                (Err(error), Absent::Noted(failures, pinned)) => {
                    failures.saw(1);
                    let error = failed(&want.what, error);
                    if failures.are_none() && self.has_moved(&error, pinned) {
                        return Err(error);
                    }
                    return failures.note(error);
                }
            };
            self.note(&arrived, want, stored)?;
            let checked = match checks {
                Some(checks) if want.kind == WantKind::Package => {
                    let url = self.upstream.shown(&want.places[0]);
                    self.check_package(checks, &format!("{}, {url}", want.what), stored.object)
                }
                _ => Ok(()),
            };
            let Absent::Noted(failures, _) = if_absent else {
                return checked;
            };
            failures.saw(1);
            match checked {
                Err(refused @ SyncError::PackageRefused { .. }) => failures.note(refused),
                checked => checked,
            }
        });
        downloads.finish();
        let Arrived {
            brought,
            unrecorded,
        } = arrived.into_inner().unwrap_or_else(PoisonError::into_inner);
        let recorded = self.record(&unrecorded);
        result?;
        recorded.map(|()| brought)
    }

    /// Whether a failure is that of an upstream whose root is another one by now: nothing below the old one is worth its way.
    fn has_moved(&self, failure: &SyncError, pinned: &Pinned) -> bool {
        failure.may_be_a_moving_upstream()
            && (self.root_again()).is_ok_and(|now| now.object != pinned.object)
    }

    /// Works on each of many at once. The first error ends it: transfers are stopped, and what was not begun is left.
    pub(super) fn in_parallel<T: Sync>(
        &self,
        items: &[T],
        work: impl Fn(&T) -> Result<(), SyncError> + Sync,
    ) -> Result<(), SyncError> {
        let failure = Mutex::new(None);
        self.context.workers.in_place_scope_fifo(|scope| {
            for item in items {
                let (failure, work) = (&failure, &work);
                scope.spawn_fifo(move |_| {
                    if lock(failure).is_some() {
                        return;
                    }
                    if let Err(error) = work(item) {
                        lock(failure).get_or_insert(error);
                        // Large files may be under way: what they have got is kept, but nobody waits for the rest.
                        self.transfers.stop_part();
                    }
                });
            }
        });
        self.transfers.resume_part();
        let failure = failure.into_inner().unwrap_or_else(PoisonError::into_inner);
        failure.map_or(Ok(()), Err)
    }

    fn fetch_one(
        &self,
        want: &Want,
        downloads: &Downloads,
        if_absent: Absent<'_>,
    ) -> Result<Result<ObjectRef, UpstreamError>, SyncError> {
        self.context.storage.interrupt.check()?;
        // From a run that was killed before it could tell the store, or from a dry run.
        if let Some(object) = want.digest.object_id() {
            let storage = self.context.storage;
            if let Some(stored) = storage.pool.adopt(object)? {
                return Ok(Ok(stored));
            }
            if let Some(stored) = storage.take_from_dry_run(object)? {
                return Ok(Ok(stored));
            }
        }
        let mut gravest: Option<UpstreamError> = None;
        for place in &want.places {
            match self.fetch_from(place, want, downloads)? {
                Ok(stored) => return Ok(Ok(stored)),
                Err(UpstreamError::Interrupted(error)) => return Err(error.into()),
                Err(error)
                    if error.is_about_one_file()
                        || matches!(if_absent, Absent::LeftOut) && error.is_a_servers_fault() =>
                {
                    if gravest
                        .as_ref()
                        .is_none_or(|known| error.is_graver_than(known))
                    {
                        gravest = Some(error);
                    }
                }
                Err(source) => return Err(failed(&want.what, source)),
            }
        }
        Ok(Err(gravest.expect("a file has at least one place")))
    }

    fn fetch_from(
        &self,
        place: &RelPath,
        want: &Want,
        downloads: &Downloads,
    ) -> Result<Result<ObjectRef, UpstreamError>, SyncError> {
        let Storage { pool, locks, .. } = self.context.storage;
        let incoming = match pool.begin(locks, want.digest, self.id(), &self.transfers)? {
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

    fn note(
        &self,
        arrived: &Mutex<Arrived>,
        want: &Want,
        stored: ObjectRef,
    ) -> Result<(), SyncError> {
        let batch = {
            let mut arrived = lock(arrived);
            arrived.brought.objects.insert(want.digest, stored);
            arrived.unrecorded.push((want.digest, stored));
            if arrived.unrecorded.len() < CHECKPOINT_FILES {
                return Ok(());
            }
            std::mem::take(&mut arrived.unrecorded)
        };
        self.record(&batch)
    }

    /// Makes objects durable, then tells the store of them.
    fn record(&self, batch: &[(Digest, ObjectRef)]) -> Result<(), SyncError> {
        if batch.is_empty() {
            return Ok(());
        }
        self.context.storage.pool.flush()?;
        let verified_at = now();
        self.context.storage.remember(|writer| {
            for (digest, stored) in batch {
                let size = stored.size;
                writer.put_object(stored.object, ObjectRecord { size, verified_at })?;
                writer.put_alias(digest, self.id(), stored.object)?;
            }
            Ok(())
        })?;
        Ok(())
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
