//! `chantal snapshot list`.

use serde::Serialize;

use crate::cli::SnapshotList;
use crate::commands::Context;
use crate::error::Error;
use crate::names::{RepoId, SnapshotName};
use crate::output::{bytes, table};
use crate::snapshot;
use crate::storage;
use crate::time::rfc3339;

#[derive(Serialize)]
struct SnapshotRow {
    repository: RepoId,
    snapshot: SnapshotName,
    created_at: String,
    upstream_date: Option<String>,
    packages: u64,
    bytes: u64,
    manifest: String,
    description: Option<String>,
}

pub fn list(context: &Context<'_>, arguments: &SnapshotList) -> Result<(), Error> {
    let repository = arguments.repo_id.as_ref();
    let snapshots = match storage::open_to_read(&context.config.storage)? {
        Some(store) => store.read(|reader| snapshot::list(reader, repository))?,
        None => Vec::new(),
    };
    // Snapshots may exist for a repository that is no longer configured; a name that is unknown in
    // both places is a typo.
    if snapshots.is_empty()
        && let Some(repository) = repository
    {
        context.repository(repository)?;
    }
    let listed: Vec<SnapshotRow> = snapshots
        .into_iter()
        .map(|snapshot| {
            let state = snapshot.record.state;
            SnapshotRow {
                repository: snapshot.repository,
                snapshot: snapshot.name,
                created_at: rfc3339(snapshot.record.created_at),
                upstream_date: state.date().map(rfc3339),
                packages: state.packages,
                bytes: state.bytes,
                manifest: state.manifest.to_string(),
                description: snapshot.record.description,
            }
        })
        .collect();
    context.output.result(&listed, |listed| {
        if listed.is_empty() {
            return "no snapshots".to_owned();
        }
        let rows: Vec<Vec<String>> = listed
            .iter()
            .map(|listed| {
                vec![
                    listed.repository.to_string(),
                    listed.snapshot.to_string(),
                    listed.created_at.clone(),
                    listed
                        .upstream_date
                        .clone()
                        .unwrap_or_else(|| "-".to_owned()),
                    listed.packages.to_string(),
                    bytes(listed.bytes),
                    listed.description.clone().unwrap_or_default(),
                ]
            })
            .collect();
        let headings = [
            "REPOSITORY",
            "SNAPSHOT",
            "CREATED",
            "UPSTREAM DATE",
            "PACKAGES",
            "SIZE",
            "DESCRIPTION",
        ];
        table(&headings, &rows)
    })?;
    Ok(())
}
