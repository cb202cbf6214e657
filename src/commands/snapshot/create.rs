//! `chantal snapshot create`, and the snapshots that `repo sync --create-snapshot` makes.

use serde::Serialize;

use crate::cli::SnapshotCreate;
use crate::commands::publish::{PublishedTree, describe, snapshot_at, snapshot_path};
use crate::commands::{Context, conclude};
use crate::config::Repository;
use crate::error::Error;
use crate::interrupt::Interrupt;
use crate::output::{bytes, count};
use crate::snapshot::{self, Snapshot, SnapshotName};
use crate::storage::Storage;
use crate::time::now;

/// A snapshot that was made.
#[derive(Clone, Debug, Serialize)]
pub struct Created {
    pub repository: String,
    pub snapshot: String,
    pub manifest: String,
    pub packages: u64,
    pub bytes: u64,
    pub published: Option<PublishedTree>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

pub fn create(context: &Context<'_>, arguments: &SnapshotCreate) -> Result<(), Error> {
    let repositories = context.repositories(&arguments.which)?;
    let interrupt = Interrupt::listen()?;
    let storage = Storage::open(&context.config.storage, "snapshot create")?;
    let names: Vec<&str> = repositories
        .iter()
        .map(|repository| repository.id.as_str())
        .collect();
    let snapshots = snapshot::create(
        &storage.store,
        &storage.lock,
        &names,
        &arguments.name,
        arguments.description.as_deref(),
        now(),
    )?;
    let mut errors = Vec::new();
    let mut created = Vec::new();
    for snapshot in &snapshots {
        let mut made = Created::of(snapshot);
        if !arguments.no_publish
            && let Some(path) = snapshot_path(context, snapshot)
        {
            match snapshot_at(context, &storage, &interrupt, snapshot, &path) {
                Ok(tree) => made.published = Some(tree),
                Err(error) => {
                    made.error = Some(error.to_string());
                    errors.push(error);
                }
            }
        }
        created.push(made);
    }
    context.output.result(&created, |created| {
        let lines: Vec<String> = created.iter().map(Created::describe).collect();
        lines.join("\n")
    })?;
    conclude(errors)
}

/// Makes and publishes a snapshot of the state that a sync has just brought.
pub fn of_synced(
    context: &Context<'_>,
    storage: &Storage,
    interrupt: &Interrupt,
    repository: &Repository,
    name: &SnapshotName,
) -> Result<Created, Error> {
    let id = repository.id.as_str();
    let made = snapshot::create(&storage.store, &storage.lock, &[id], name, None, now())?;
    let snapshot = &made[0];
    let mut created = Created::of(snapshot);
    if let Some(path) = snapshot_path(context, snapshot) {
        created.published = Some(snapshot_at(context, storage, interrupt, snapshot, &path)?);
    }
    Ok(created)
}

impl Created {
    pub fn of(snapshot: &Snapshot) -> Self {
        let state = &snapshot.record.state;
        Self {
            repository: snapshot.repository.clone(),
            snapshot: snapshot.name.clone(),
            manifest: state.manifest.to_string(),
            packages: state.packages,
            bytes: state.bytes,
            published: None,
            error: None,
        }
    }

    /// For people.
    pub fn describe(&self) -> String {
        let mut text = format!(
            "{}/{}: {}, {}",
            self.repository,
            self.snapshot,
            count(self.packages, "package"),
            bytes(self.bytes)
        );
        text += &match &self.published {
            Some(tree) => format!("\n  {}", describe(tree)),
            None => "\n  not published".to_owned(),
        };
        text
    }
}
