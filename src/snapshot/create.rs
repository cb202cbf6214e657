//! Creates snapshots of current states, either all of them or none, and publishes each one whose
//! repository has a `snapshots_path`.

use super::error::SnapshotError;
use super::named::{Snapshot, list};
use crate::names::{RepoId, SnapshotName};
use crate::publish::{Destination, PublishMode, Published, Publisher, RequestError};
use crate::publish::{snapshot_path, was_never_published};
use crate::storage::Storage;
use crate::store::StoreError;
use crate::store::records::{SnapshotRecord, StateRecord};
use crate::time::now;

/// A request for snapshots of the current states of these repositories.
pub struct SnapshotRequest<'a> {
    pub repositories: &'a [&'a RepoId],
    pub name: &'a SnapshotName,
    pub description: Option<&'a str>,
    /// `None` if the snapshots are not to be published.
    pub publisher: Option<Publisher<'a>>,
}

/// A snapshot that was created.
#[derive(Debug)]
pub struct NewSnapshot {
    pub snapshot: Snapshot,
    /// `None` if it was not to be published, or its repository has no `snapshots_path`.
    pub published: Option<Result<Published, RequestError>>,
}

/// Fails if the snapshot exists, unless it is one of the current state whose creation was
/// interrupted. A sync asks this first, and not when everything is downloaded and published.
pub fn reject_existing(
    publisher: Publisher<'_>,
    repository: &RepoId,
    name: &SnapshotName,
) -> Result<(), SnapshotError> {
    let (state, existing) = publisher.storage.read(|reader| {
        let state = reader.repository(repository)?.map(|record| record.state);
        Ok((state, reader.snapshot(repository, name)?))
    })?;
    let Some(existing) = existing else {
        return Ok(());
    };
    let is_current = state.is_some_and(|state| state.manifest == existing.state.manifest);
    if is_current && is_unfinished(Some(publisher), repository, name)? {
        return Ok(());
    }
    Err(SnapshotError::Exists {
        repository: repository.clone(),
        name: name.clone(),
    })
}

/// Creates all of them or none, and publishes them. If an earlier run with the same states was
/// killed before it had published all snapshots, this completes its work. A snapshot that cannot be
/// published does not prevent the others from being published.
pub fn create(
    storage: &Storage,
    request: &SnapshotRequest<'_>,
) -> Result<Vec<NewSnapshot>, SnapshotError> {
    let existing = existing(storage, request)?;
    let mut has_unfinished = false;
    for snapshot in &existing {
        let (repository, name) = (&snapshot.repository, &snapshot.name);
        has_unfinished |= is_unfinished(request.publisher, repository, name)?;
    }
    let is_created = |id: &&RepoId| {
        has_unfinished && existing.iter().any(|snapshot| snapshot.repository == **id)
    };
    let missing = request.repositories.iter().copied();
    let missing: Vec<&RepoId> = missing.filter(|id| !is_created(id)).collect();
    let new = create_snapshots(storage, &missing, request)?.into_iter();
    let mut created: Vec<(Snapshot, PublishMode)> =
        new.map(|new| (new, PublishMode::Always)).collect();
    if has_unfinished {
        created.extend(
            existing
                .into_iter()
                .map(|old| (old, PublishMode::IfChanged)),
        );
        created.sort_by_key(|(snapshot, _)| {
            let mut repositories = request.repositories.iter();
            repositories.position(|id| **id == snapshot.repository)
        });
    }
    let publish = |(snapshot, mode)| {
        let publisher = request.publisher;
        let publisher = publisher.map(|publisher| Publisher { mode, ..publisher });
        publish(publisher, snapshot)
    };
    Ok(created.into_iter().map(publish).collect())
}

/// Publishes a new snapshot, or completes an interrupted publishing, if its repository has a
/// `snapshots_path`.
pub(super) fn publish(publisher: Option<Publisher<'_>>, snapshot: Snapshot) -> NewSnapshot {
    let (repository, name) = (&snapshot.repository, &snapshot.name);
    let has_place = |to: &Publisher<'_>| snapshot_path(to.config, repository, name).is_some();
    let outcome = publisher
        .filter(has_place)
        .map(|to| to.snapshot(repository, name, &snapshot.record, Destination::Configured));
    NewSnapshot {
        snapshot,
        published: outcome,
    }
}

/// Whether the snapshot has a configured path but was never published there: the run that created
/// it was killed.
pub(super) fn is_unfinished(
    publisher: Option<Publisher<'_>>,
    repository: &RepoId,
    name: &SnapshotName,
) -> Result<bool, StoreError> {
    let Some(publisher) = publisher else {
        return Ok(false);
    };
    match snapshot_path(publisher.config, repository, name) {
        Some(path) => was_never_published(publisher.storage, &path),
        None => Ok(false),
    }
}

/// Existing snapshots with this name and the same state.
fn existing(storage: &Storage, request: &SnapshotRequest<'_>) -> Result<Vec<Snapshot>, StoreError> {
    let (all, states) = storage.read(|reader| Ok((list(reader, None)?, reader.repositories()?)))?;
    let is_same = |snapshot: &Snapshot| {
        snapshot.name == *request.name
            && request.repositories.contains(&&snapshot.repository)
            && states
                .get(&snapshot.repository)
                .is_some_and(|record| record.state.manifest == snapshot.record.state.manifest)
    };
    Ok(all.into_iter().filter(is_same).collect())
}

/// Creates snapshots of the current states of these repositories: all of them, or none.
fn create_snapshots(
    storage: &Storage,
    repositories: &[&RepoId],
    request: &SnapshotRequest<'_>,
) -> Result<Vec<Snapshot>, SnapshotError> {
    let name = request.name;
    let created_at = now();
    let found: Vec<(Option<StateRecord>, Option<SnapshotRecord>)> = storage.read(|reader| {
        let find = |repository: &&RepoId| {
            let record = reader.repository(repository)?;
            let state = record.map(|record| record.state);
            Ok((state, reader.snapshot(repository, name)?))
        };
        repositories.iter().map(find).collect()
    })?;
    let mut created = Vec::new();
    for (repository, (state, existing)) in repositories.iter().zip(found) {
        let repository = (*repository).clone();
        if existing.is_some() {
            let name = name.clone();
            return Err(SnapshotError::Exists { repository, name });
        }
        let Some(state) = state else {
            return Err(SnapshotError::NeverSynced { repository });
        };
        created.push(Snapshot {
            repository,
            name: name.clone(),
            record: SnapshotRecord {
                state,
                description: request.description.map(ToOwned::to_owned),
                created_at,
                merged_from: Vec::new(),
            },
        });
    }
    let taken = storage.write(|writer| {
        for snapshot in &created {
            // Another run may have created it in the meantime.
            if writer.has_snapshot(&snapshot.repository, &snapshot.name)? {
                return Ok(Some(snapshot.repository.clone()));
            }
        }
        for snapshot in &created {
            writer.put_snapshot(&snapshot.repository, &snapshot.name, &snapshot.record)?;
        }
        Ok(None)
    })?;
    match taken {
        Some(repository) => Err(SnapshotError::Exists {
            repository,
            name: name.clone(),
        }),
        None => Ok(created),
    }
}
