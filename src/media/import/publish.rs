//! Publishes what was imported.

use super::request::{ImportRequest, ImportedRepository, LatestOutcome};
use crate::names::RepoId;
use crate::publish::{
    Caller, Destination, PublishMode, Published, Publisher, RequestError, snapshot_path,
};
use crate::transfer::CarriedRepository;

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
    let definition = request.config.repository(id);
    let mut trees = Vec::new();
    // Where a repository without a definition is published.
    let root = match definition {
        Some(definition) if !definition.publish.auto => return trees,
        Some(_) => None,
        None => request
            .config
            .media
            .publish_root
            .as_ref()
            .map(|root| root.join(id.as_str())),
    };
    for name in carried.snapshots.keys() {
        let snapshot = request.storage.read(|reader| reader.snapshot(id, name));
        let record = match snapshot {
            Ok(Some(record)) => record,
            Ok(None) => continue,
            Err(error) => {
                trees.push(Err(error.into()));
                continue;
            }
        };
        let path = root
            .as_ref()
            .map(|root| root.join("snapshots").join(name.as_str()));
        let destination = match &path {
            Some(path) => Destination::Path(path),
            None if snapshot_path(request.config, id, name).is_some() => Destination::Configured,
            None => continue,
        };
        trees.push(publisher.snapshot(id, name, &record, destination));
    }
    if matches!(
        imported.latest,
        Some(LatestOutcome::Replaced | LatestOutcome::Same)
    ) {
        let path = root.as_ref().map(|root| root.join("latest"));
        let has_place =
            definition.is_some_and(|definition| definition.publish.latest_path.is_some());
        let destination = match &path {
            Some(path) => Some(Destination::Path(path)),
            None => has_place.then_some(Destination::Configured),
        };
        if let Some(destination) = destination {
            trees.push(publisher.state(id, destination));
        }
    }
    trees
}
