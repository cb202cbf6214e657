//! `chantal snapshot merge`.

use super::create::{describe, is_unfinished_snapshot, publish_new};
use crate::cli::{MergeStrategy, SnapshotMerge};
use crate::commands::{Context, requester};
use crate::error::Error;
use crate::names::RepoId;
use crate::publish::Effort;
use crate::report::CreatedSnapshot;
use crate::snapshot::merge::{self, Existing, Identity, Request, Strategy};
use crate::snapshot::{Snapshot, State, find_state};
use crate::storage::Storage;

pub fn merge(context: &Context<'_>, arguments: &SnapshotMerge) -> Result<(), Error> {
    let requester = requester("snapshot merge", &arguments.waiting)?;
    let storage = Storage::open(&context.config.storage, &requester)?;
    let mut sources: Vec<State> = Vec::new();
    for reference in &arguments.sources {
        sources.push(find_state(&storage.store, reference)?);
    }
    let repository = match &arguments.repo_id {
        // It need not be configured, but a name that nobody knows is a slip.
        Some(name) if sources.iter().any(|source| source.repository == *name) => name.clone(),
        Some(name) => {
            let repository = context.repository(name)?;
            let format = repository.format.kind();
            if format != sources[0].record.format {
                return Err(Error::Usage(format!(
                    "{name} is of type {format}, and the sources are of type {}",
                    sources[0].record.format
                )));
            }
            repository.id.clone()
        }
        None => sources[0].repository.clone(),
    };
    let identity = Identity {
        suite: arguments.suite.clone(),
        codename: arguments.codename.clone(),
        origin: arguments.origin.clone(),
        label: arguments.label.clone(),
    };
    let unfinished = unfinished(context, &storage, &repository, arguments)?;
    let request = Request {
        sources: &sources,
        strategy: match arguments.strategy {
            MergeStrategy::Rightmost => Strategy::Rightmost,
            MergeStrategy::Latest => Strategy::Latest,
            MergeStrategy::KeepAll => Strategy::KeepAll,
        },
        repository: &repository,
        name: &arguments.name,
        description: arguments.description.as_deref(),
        identity: &identity,
        existing: if unfinished {
            Existing::Finished
        } else {
            Existing::Refused
        },
    };
    let snapshot = merge::merge(&storage, request)?;
    for warning in snapshot.record.state.warnings() {
        log::warn!("{repository}/{}: {warning}", snapshot.name);
    }
    let mut created = CreatedSnapshot::from(&snapshot);
    let failed = if arguments.no_publish {
        None
    } else {
        publish_new(context, &storage, &snapshot, Effort::Always, &mut created)
    };
    context.output.result(&created, describe)?;
    failed.map_or(Ok(()), Err)
}

/// Whether the snapshot is there and was never published, although it should be: the run that made
/// it was killed.
fn unfinished(
    context: &Context<'_>,
    storage: &Storage,
    repository: &RepoId,
    arguments: &SnapshotMerge,
) -> Result<bool, Error> {
    let name = &arguments.name;
    let record = storage
        .store
        .read(|reader| reader.snapshot(repository, name))?;
    match record {
        Some(record) if !arguments.no_publish => {
            let snapshot = Snapshot {
                repository: repository.clone(),
                name: name.clone(),
                record,
            };
            is_unfinished_snapshot(context, storage, &snapshot)
        }
        _ => Ok(false),
    }
}
