//! The files of a plan: packages in the pool are verified, missing ones are downloaded and
//! verified.

use std::collections::HashMap;

use super::error::SyncError;
use super::failures::Failures;
use super::fetch::{Fetcher, OnMissing};
use super::planned::{FileKind, Missing, SyncPlan, WantedFile};
use super::verify::{KnownPackageCheck, PackageChecks};
use crate::digest::{Digest, ObjectRef};

/// All objects of a plan.
pub struct FetchedFiles<'a> {
    pub objects: HashMap<Digest, ObjectRef>,
    /// `None` if packages are not checked.
    pub checks: Option<PackageChecks<'a>>,
}

/// Downloads the missing files of a plan. `has_root_changed` checks whether the upstream has a new
/// root in the meantime.
pub fn fetch<'a>(
    fetcher: &Fetcher<'_>,
    plan: &mut SyncPlan,
    checks: Option<PackageChecks<'a>>,
    has_root_changed: &(dyn Fn() -> Result<bool, SyncError> + Sync),
) -> Result<FetchedFiles<'a>, SyncError> {
    let all = (plan.known.len() + plan.wanted_files().len()) as u64;
    let failures = Failures::new(all);
    if let Some(checks) = &checks {
        let work = KnownPackageCheck {
            workers: fetcher.workers,
            progress: fetcher.progress,
            label: format!("{} (verifying signatures)", fetcher.repository),
            failures: &failures,
        };
        checks.check_known(plan, fetcher.upstream, work)?;
    } else {
        failures.count_checked(plan.known.len() as u64);
    }
    let wants = plan.wanted_files();
    check_space(fetcher, &wants, &failures)?;
    let on_missing = OnMissing::Report {
        failures: &failures,
        // If the root has changed, files of the old one may be missing.
        has_root_changed: &|failure| {
            failure.may_be_upstream_change() && has_root_changed().is_ok_and(|changed| changed)
        },
    };
    let check = |want: &WantedFile, stored: ObjectRef| match &checks {
        Some(checks) if want.kind == FileKind::Package => {
            let url = fetcher.upstream.shown(&want.places[0]);
            checks.check(&format!("{}, {url}", want.what), stored.object)
        }
        _ => Ok(()),
    };
    let downloaded = fetcher.fetch(&wants, on_missing, &check);
    if let Some(checks) = &checks {
        checks.record()?;
    }
    let mut objects = failures.conclude_with(downloaded)?.objects;
    objects.extend(&plan.known);
    if let Some(checks) = &checks {
        checks.check_identities(plan, &objects, fetcher.upstream, &failures)?;
    }
    Ok(FetchedFiles { objects, checks })
}

/// Reports the failures so far together with a lack of space.
fn check_space(
    fetcher: &Fetcher<'_>,
    wants: &[WantedFile],
    failures: &Failures,
) -> Result<(), SyncError> {
    let pool = &fetcher.storage.pool;
    let missing = Missing::of(wants, fetcher.repository, &pool.held()?);
    let free = pool.free_bytes()?;
    if missing.remaining() <= free {
        return Ok(());
    }
    failures.conclude_with(Err(SyncError::NoSpace {
        pool: pool.root().to_owned(),
        needed: missing.remaining(),
        free,
    }))
}
