//! `chantal snapshot list`.

use crate::cli::SnapshotList;
use crate::commands::Context;
use crate::error::Error;
use crate::output::{bytes, table};
use crate::report::ListedSnapshot;
use crate::snapshot;
use crate::storage;

pub fn list(context: &Context<'_>, arguments: &SnapshotList) -> Result<(), Error> {
    let repository = arguments.repo_id.as_ref();
    let snapshots = match storage::open_to_read(&context.config.storage)? {
        Some(store) => store.read(|reader| snapshot::list(reader, repository))?,
        None => Vec::new(),
    };
    // Snapshots may exist for a repository that is no longer configured.
    if let Some(repository) = repository {
        let stored = snapshots.iter().map(|snapshot| &snapshot.repository);
        context.config.unless_stored(repository, stored)?;
    }
    let listed: Vec<ListedSnapshot> = snapshots.into_iter().map(ListedSnapshot::from).collect();
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
                    listed.created_at.to_string(),
                    listed
                        .upstream_date
                        .map_or_else(|| "-".to_owned(), |date| date.to_string()),
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
