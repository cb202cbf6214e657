//! `chantal snapshot create`.

use crate::cli::SnapshotCreate;
use crate::commands::publish;
use crate::commands::{Context, Failure, conclude, requester};
use crate::error::Error;
use crate::names::RepoId;
use crate::output::{bytes, count};
use crate::publish::PublishMode;
use crate::report::CreatedSnapshot;
use crate::snapshot::{self, NewSnapshot, SnapshotRequest};
use crate::storage::Storage;

pub fn create(context: &Context<'_>, arguments: &SnapshotCreate) -> Result<(), Error> {
    let repositories = context.repositories(&arguments.which)?;
    let requester = requester("snapshot create", &arguments.waiting)?;
    let storage = Storage::open(&context.config.storage, &requester)?;
    let ids: Vec<&RepoId> = repositories
        .iter()
        .map(|repository| &repository.id)
        .collect();
    let publisher = context.publisher(&storage, PublishMode::Always);
    let request = SnapshotRequest {
        repositories: &ids,
        name: &arguments.name,
        description: arguments.description.as_deref(),
        publisher: (!arguments.no_publish).then_some(publisher),
    };
    let created = snapshot::create(&storage, &request)?.into_iter();
    let (created, failed): (Vec<CreatedSnapshot>, Vec<_>) = created.map(result_of).unzip();
    context.output.result(&created, |created| {
        let lines: Vec<String> = created.iter().map(describe).collect();
        lines.join("\n")
    })?;
    conclude(failed.into_iter().flatten().collect())
}

/// The result, which contains the text of the error, and the error itself.
pub(super) fn result_of(created: NewSnapshot) -> (CreatedSnapshot, Option<Error>) {
    let (published, failed) = match created.published.transpose() {
        Ok(published) => (published, None),
        Err(error) => (None, Some(Error::from(error))),
    };
    let result = CreatedSnapshot {
        error: failed.as_ref().map(ToString::to_string),
        failure: failed.as_ref().map(Failure::from),
        ..CreatedSnapshot::new(&created.snapshot, published)
    };
    (result, failed)
}

/// The text for a new snapshot.
pub fn describe(created: &CreatedSnapshot) -> String {
    let mut text = format!(
        "{}/{}: {}, {}",
        created.repository,
        created.snapshot,
        count(created.packages, "package"),
        bytes(created.bytes)
    );
    text += &match &created.published {
        Some(tree) => format!("\n  {}", publish::describe(tree)),
        None => "\n  not published".to_owned(),
    };
    text
}
