//! Downloads objects from the upstreams of the repositories that use them.

use std::collections::{BTreeSet, HashMap};

use super::context::RepairContext;
use super::error::RepairError;
use super::outcome::RepairSource;
use super::places::Places;
use crate::check::DamagedObject;
use crate::config::UpstreamUrl;
use crate::digest::ObjectId;
use crate::manifest::Role;
use crate::names::RepoId;
use crate::rel_path::RelPath;
use crate::sync::{FetchResult, Fetcher, FileKind, OnMissing, WantedFile, Workers};
use crate::upstream::{Upstream, UpstreamError};

/// What the upstreams had.
#[derive(Default)]
pub struct Fetched {
    pub sources: HashMap<ObjectId, RepairSource>,
    /// Why the others were not found, by object.
    pub reasons: HashMap<ObjectId, Vec<String>>,
    pub requests: u64,
    pub bytes: u64,
}

/// Asks the repositories one after the other, until all objects are found.
pub fn fetch(
    context: RepairContext<'_>,
    places: &Places,
    wanted: &[&DamagedObject],
) -> Result<Fetched, RepairError> {
    let mut fetched = Fetched::default();
    let places_of = |damaged: &DamagedObject| places.of(damaged.object);
    let repositories: BTreeSet<&RepoId> = wanted
        .iter()
        .filter_map(|damaged| places_of(damaged))
        .flat_map(|places| places.upstreams.keys())
        .collect();
    for repository in repositories {
        let wants: Vec<WantedFile> = wanted
            .iter()
            .filter(|damaged| !fetched.sources.contains_key(&damaged.object))
            .filter_map(|damaged| {
                let paths = places_of(damaged)?.upstreams.get(repository)?;
                (!paths.is_empty()).then(|| want(damaged, paths.clone()))
            })
            .collect();
        if !wants.is_empty() {
            fetch_from(context, repository, places, &wants, &mut fetched)?;
        }
    }
    Ok(fetched)
}

fn want(damaged: &DamagedObject, places: Vec<RelPath>) -> WantedFile {
    WantedFile {
        what: format!("object {}", damaged.object),
        places,
        digest: damaged.object.digest(),
        size: Some(damaged.size),
        kind: FileKind::Other,
    }
}

fn fetch_from(
    context: RepairContext<'_>,
    repository: &RepoId,
    places: &Places,
    wants: &[WantedFile],
    result: &mut Fetched,
) -> Result<(), RepairError> {
    let definition = context.config.repository(repository);
    if definition.is_some_and(|definition| definition.upstream == UpstreamUrl::Media) {
        let reason = format!("{repository} is filled by media: import one again that has it");
        result.add_reason(wants, &reason);
        return Ok(());
    }
    let Some(definition) = definition else {
        let reason = format!("{repository} is not configured, so that its upstream is not known");
        result.add_reason(wants, &reason);
        return Ok(());
    };
    let transfers = context.storage.interrupt.part();
    let upstream = match Upstream::open(context.config, definition, context.limiter, &transfers) {
        Ok(upstream) => upstream,
        Err(error) => {
            context.storage.interrupt.check()?;
            result.add_reason(wants, &format!("{repository}: {error}"));
            return Ok(());
        }
    };
    let fetcher = Fetcher {
        storage: context.storage,
        upstream: &upstream,
        repository,
        workers: Workers {
            pool: context.workers,
            transfers: &transfers,
        },
        progress: context.progress,
    };
    let found = fetcher.fetch(wants, OnMissing::Skip, &|_, _| Ok(()));
    result.requests += upstream.requests();
    result.bytes += upstream.bytes();
    let failure = match found {
        Ok(found) => {
            result.add(repository, places, wants, &found);
            return Ok(());
        }
        Err(error) => error,
    };
    let failure = match RepairError::of_download(failure) {
        Ok(error) => return Err(error),
        Err(failure) => failure,
    };
    // What it had before it failed is in the pool.
    for want in wants {
        let Some(object) = want.digest.object_id() else {
            continue;
        };
        if context.storage.pool.is_intact(object)? {
            result.add_source(object, repository, want);
        } else {
            result.add_reason(
                std::slice::from_ref(want),
                &format!("{repository}: {failure}"),
            );
        }
    }
    Ok(())
}

impl Fetched {
    fn add(
        &mut self,
        repository: &RepoId,
        places: &Places,
        wants: &[WantedFile],
        found: &FetchResult,
    ) {
        for want in wants {
            if let Some(stored) = found.objects.get(&want.digest) {
                self.add_source(stored.object, repository, want);
            } else if let Some(error) = found.absent.get(&want.digest) {
                let object = want.digest.object_id();
                let places = object.and_then(|object| places.of(object));
                let is_root = places.is_some_and(|places| places.roles.contains(&Role::Root));
                let is_other = matches!(
                    error,
                    UpstreamError::Missing { .. } | UpstreamError::Mismatch { .. }
                );
                let reason = if is_root && is_other {
                    format!(
                        "{repository}: the upstream has another root by now, and no older ones: \
                         {error}"
                    )
                } else {
                    format!("{repository}: {error}")
                };
                self.add_reason(std::slice::from_ref(want), &reason);
            }
        }
    }

    fn add_source(&mut self, object: ObjectId, repository: &RepoId, want: &WantedFile) {
        let source = RepairSource::Upstream {
            repository: repository.clone(),
            path: want.places[0].clone(),
        };
        self.sources.insert(object, source);
    }

    fn add_reason(&mut self, wants: &[WantedFile], reason: &str) {
        for object in wants.iter().filter_map(|want| want.digest.object_id()) {
            let reasons = self.reasons.entry(object).or_default();
            reasons.push(reason.to_owned());
        }
    }
}
