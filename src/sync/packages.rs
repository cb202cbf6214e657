//! The files of a plan: packages in the pool are verified, missing ones are downloaded and
//! verified.

use std::collections::{HashMap, HashSet};

use super::error::SyncError;
use super::failures::Failures;
use super::fetch::{Fetcher, OnMissing};
use super::planned::{FileKind, Missing, SyncPlan, WantedFile, describe};
use super::verify::{KnownPackageCheck, PackageChecks};
use crate::digest::{Digest, ObjectRef};
use crate::format::Reference;

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
    let mut wants = plan.wanted_files();
    let failures = Failures::new((plan.known.len() + wants.len()) as u64);
    let describe =
        |file: &Reference| format!("{}, {}", describe(file), fetcher.upstream.shown(&file.path));
    if let Some(checks) = &checks {
        let mut seen = HashSet::new();
        let packages: Vec<_> = packages_of(plan, &plan.known)
            .filter(|(file, _)| seen.insert(file.digest))
            .collect();
        failures.count_checked((plan.known.len() - packages.len()) as u64);
        let work = KnownPackageCheck {
            workers: fetcher.workers,
            progress: fetcher.progress,
            label: format!("{} (verifying signatures)", fetcher.repository),
            describe: &describe,
            failures: &failures,
        };
        let damaged = checks.check_known(&packages, work)?;
        if !damaged.is_empty() {
            plan.known.retain(|digest, _| !damaged.contains(digest));
            wants = plan.wanted_files();
        }
    } else {
        failures.count_checked(plan.known.len() as u64);
    }
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
        checks.check_identities(packages_of(plan, &objects), &describe, &failures)?;
    }
    Ok(FetchedFiles { objects, checks })
}

/// The packages of a plan that are among these objects.
fn packages_of<'p>(
    plan: &'p SyncPlan,
    objects: &'p HashMap<Digest, ObjectRef>,
) -> impl Iterator<Item = (&'p Reference, ObjectRef)> {
    let packages = plan.files.iter().filter(|file| file.package.is_some());
    packages.filter_map(|file| Some((file, *objects.get(&file.digest)?)))
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
