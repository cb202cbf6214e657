//! Publishes what was imported: where the repository is defined to be published, or below
//! `media.publish_root`.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::request::{ImportRequest, ImportedRepository, LatestOutcome};
use crate::config::publish_path_conflict;
use crate::media::error::{Bytes, MediaError};
use crate::names::{RepoId, SnapshotName};
use crate::publish::{
    Caller, Destination, PublishMode, Published, Publisher, RequestError, snapshot_path,
};
use crate::transfer::CarriedRepository;

/// A tree to be published.
struct Place<'a> {
    /// `None` for the current state.
    snapshot: Option<&'a SnapshotName>,
    path: PathBuf,
    /// It is below `media.publish_root`: no definition names it.
    is_below_root: bool,
}

/// The trees of the states and snapshots that the transfer has of a repository.
fn places<'a>(
    request: &ImportRequest<'_>,
    id: &RepoId,
    carried: &'a CarriedRepository,
    imported: &ImportedRepository,
) -> Vec<Place<'a>> {
    let definition = request.config.repository(id);
    if definition.is_some_and(|definition| !definition.publish.auto) {
        return Vec::new();
    }
    let has_latest = matches!(
        imported.latest,
        Some(LatestOutcome::Replaced | LatestOutcome::Same)
    );
    let names = carried.snapshots.keys().map(Some);
    let names = names.chain(has_latest.then_some(None));
    let place = |snapshot: Option<&'a SnapshotName>| {
        let (path, is_below_root) = match (definition, snapshot) {
            (Some(_), Some(name)) => (snapshot_path(request.config, id, name)?, false),
            (Some(definition), None) => (definition.publish.latest_path.clone()?, false),
            (None, snapshot) => {
                let root = request
                    .config
                    .media
                    .publish_root
                    .as_ref()?
                    .join(id.as_str());
                let path = match snapshot {
                    Some(name) => root.join("snapshots").join(name.as_str()),
                    None => root.join(SnapshotName::LATEST),
                };
                (path, true)
            }
        };
        Some(Place {
            snapshot,
            path,
            is_below_root,
        })
    };
    names.filter_map(place).collect()
}

/// Publishes the states and snapshots of a repository that was imported.
pub fn publish_repository(
    request: &ImportRequest<'_>,
    id: &RepoId,
    carried: &CarriedRepository,
    imported: &ImportedRepository,
) -> Vec<Result<Published, RequestError>> {
    let publisher = Publisher {
        storage: request.storage,
        config: request.config,
        key: request.key,
        caller: Caller::Sync,
        mode: PublishMode::IfChanged,
    };
    let mut trees = Vec::new();
    for place in places(request, id, carried, imported) {
        if place.is_below_root
            && let Some(conflict) =
                publish_path_conflict(request.config, request.config_dir, &place.path)
        {
            trees.push(Err(RequestError::Conflict { conflict }));
            continue;
        }
        let destination = if place.is_below_root {
            Destination::Path(&place.path)
        } else {
            Destination::Configured
        };
        let Some(name) = place.snapshot else {
            trees.push(publisher.state(id, destination));
            continue;
        };
        match request.storage.read(|reader| reader.snapshot(id, name)) {
            Ok(Some(record)) => {
                trees.push(publisher.snapshot(id, name, &record, destination));
            }
            // It was deleted here.
            Ok(None) => {}
            Err(error) => trees.push(Err(error.into())),
        }
    }
    trees
}

/// The bytes that are published as copies, because the file system is not that of the pool, by
/// device. A tree that exists gets at most the new objects.
#[derive(Default)]
pub struct CopySpace {
    needed: BTreeMap<u64, Copies>,
}

/// The copies on one file system.
struct Copies {
    /// On that file system.
    path: PathBuf,
    bytes: u64,
    /// Each takes a part of a block more.
    files: u64,
}

/// Indexes, roots and keys of a tree, and its directories.
const OTHER_FILES: u64 = 16;

impl CopySpace {
    pub fn add(
        &mut self,
        request: &ImportRequest<'_>,
        id: &RepoId,
        carried: &CarriedRepository,
        imported: &ImportedRepository,
        new_bytes: u64,
    ) -> Result<(), MediaError> {
        let pool = std::fs::metadata(request.storage.pool.root())?.dev();
        for place in places(request, id, carried, imported) {
            let Some((existing, device)) = existing_parent(&place.path) else {
                continue;
            };
            if device == pool {
                continue;
            }
            let state = match place.snapshot {
                Some(name) => carried
                    .snapshots
                    .get(name)
                    .map(|carried| &carried.record.state),
                None => carried.states().next(),
            };
            let Some(state) = state else {
                continue;
            };
            let copies = self.needed.entry(device).or_insert(Copies {
                path: existing,
                bytes: 0,
                files: 0,
            });
            if place.path.exists() {
                copies.bytes = copies.bytes.saturating_add(state.bytes.min(new_bytes));
            } else {
                copies.bytes = copies.bytes.saturating_add(state.bytes);
                let files = state.packages.saturating_add(OTHER_FILES);
                copies.files = copies.files.saturating_add(files);
            }
        }
        Ok(())
    }

    /// Fails if a file system has less than that.
    pub fn check(&self) -> Result<(), MediaError> {
        for Copies { path, bytes, files } in self.needed.values() {
            let stat = rustix::fs::statvfs(path)
                .map_err(|error| crate::regular_file::named(path)(error.into()))?;
            let free = stat.f_bavail.saturating_mul(stat.f_frsize);
            // On average half a block.
            let blocks = files.saturating_mul(stat.f_frsize) / 2;
            let needed = bytes.saturating_add(blocks);
            if needed > free {
                return Err(MediaError::PublishSpace {
                    path: path.clone(),
                    needed: Bytes(needed),
                    free: Bytes(free),
                });
            }
        }
        Ok(())
    }
}

/// The nearest directory that exists, and its device.
fn existing_parent(path: &Path) -> Option<(PathBuf, u64)> {
    path.ancestors().find_map(|path| {
        let metadata = std::fs::metadata(path).ok()?;
        Some((path.to_owned(), metadata.dev()))
    })
}
