//! `chantal snapshot merge`.

use super::create::{describe, result_of};
use crate::cli::{MergeStrategy, SnapshotMerge};
use crate::commands::{Context, requester};
use crate::error::Error;
use crate::publish::PublishMode;
use crate::snapshot::merge::{self, Identity, MergeRequest, Strategy};
use crate::snapshot::{State, find_state};
use crate::storage::Storage;

pub fn merge(context: &Context<'_>, arguments: &SnapshotMerge) -> Result<(), Error> {
    let requester = requester("snapshot merge", &arguments.waiting)?;
    let storage = Storage::open(&context.config.storage, &requester)?;
    let mut sources: Vec<State> = Vec::new();
    for reference in &arguments.sources {
        sources.push(find_state(&storage.store, reference)?);
    }
    let identity = Identity {
        suite: arguments.suite.clone(),
        codename: arguments.codename.clone(),
        origin: arguments.origin.clone(),
        label: arguments.label.clone(),
    };
    let publisher = context.publisher(&storage, PublishMode::Always);
    let request = MergeRequest {
        sources: &sources,
        strategy: match arguments.strategy {
            MergeStrategy::Rightmost => Strategy::Rightmost,
            MergeStrategy::Latest => Strategy::Latest,
            MergeStrategy::KeepAll => Strategy::KeepAll,
        },
        repository: arguments.repo_id.as_ref(),
        name: &arguments.name,
        description: arguments.description.as_deref(),
        identity: &identity,
        publisher: (!arguments.no_publish).then_some(publisher),
    };
    let created = merge::merge(&storage, context.config, request)?;
    for warning in created.snapshot.record.state.warnings() {
        log::warn!("{}: {warning}", created.snapshot.full_name());
    }
    let (created, failed) = result_of(created);
    context.output.result(&created, describe)?;
    failed.map_or(Ok(()), Err)
}
