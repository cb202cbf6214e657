//! `chantal snapshot create`, and the snapshots that `repo sync --create-snapshot` makes.

use serde::Serialize;

use crate::cli::SnapshotCreate;
use crate::commands::publish::{Manner, PublishedTree, describe, snapshot_at, snapshot_path};
use crate::commands::{Context, Failure, conclude, requester};
use crate::config::Repository;
use crate::error::Error;
use crate::output::{bytes, count};
use crate::publish::Effort;
use crate::snapshot::{self, Snapshot, SnapshotName};
use crate::storage::Storage;
use crate::store::Reader;
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
    #[serde(flatten)]
    pub failure: Option<Failure>,
}

pub fn create(context: &Context<'_>, arguments: &SnapshotCreate) -> Result<(), Error> {
    let repositories = context.repositories(&arguments.which)?;
    let requester = requester("snapshot create", &arguments.waiting)?;
    let storage = Storage::open(&context.config.storage, &requester)?;
    let names: Vec<&str> = repositories
        .iter()
        .map(|repository| repository.id.as_str())
        .collect();
    let wanted = New {
        repositories: &names,
        name: &arguments.name,
        description: arguments.description.as_deref(),
        is_published: !arguments.no_publish,
    };
    let mut errors = Vec::new();
    let mut created = Vec::new();
    for (snapshot, effort) in wanted.make(context, &storage)? {
        let mut made = Created::of(&snapshot);
        if !arguments.no_publish
            && let Some(path) = snapshot_path(context, &snapshot)
        {
            let manner = Manner::new_snapshot(effort);
            match snapshot_at(context, &storage, &snapshot, &path, manner) {
                Ok(tree) => made.published = Some(tree),
                Err(error) => {
                    made.error = Some(error.to_string());
                    made.failure = Some(Failure::from(&error));
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
    repository: &Repository,
    name: &SnapshotName,
) -> Result<Created, Error> {
    let wanted = New {
        repositories: &[repository.id.as_str()],
        name,
        description: None,
        is_published: true,
    };
    let made = wanted.make(context, storage)?;
    let (snapshot, effort) = &made[0];
    let mut created = Created::of(snapshot);
    if let Some(path) = snapshot_path(context, snapshot) {
        let manner = Manner::new_snapshot(*effort);
        let tree = snapshot_at(context, storage, snapshot, &path, manner)?;
        created.published = Some(tree);
    }
    Ok(created)
}

/// Snapshots that are wanted of the repositories' current states.
struct New<'a> {
    repositories: &'a [&'a str],
    name: &'a SnapshotName,
    description: Option<&'a str>,
    is_published: bool,
}

impl New<'_> {
    /// Makes them, all or none. Where a run was killed that had made them and not published all of them, its work is finished:
    /// those that are there are the same.
    fn make(
        &self,
        context: &Context<'_>,
        storage: &Storage,
    ) -> Result<Vec<(Snapshot, Effort)>, Error> {
        let there = self.there(storage)?;
        let mut is_unfinished = false;
        for snapshot in there.iter().filter(|_| self.is_published) {
            is_unfinished |= is_unpublished(context, storage, snapshot)?;
        }
        let is_made = |id: &&str| is_unfinished && there.iter().any(|made| made.repository == *id);
        let missing: Vec<&str> = self
            .repositories
            .iter()
            .copied()
            .filter(|id| !is_made(id))
            .collect();
        let new = snapshot::create(storage, &missing, self.name, self.description, now())?;
        let mut made: Vec<(Snapshot, Effort)> =
            new.into_iter().map(|new| (new, Effort::Always)).collect();
        if is_unfinished {
            made.extend(there.into_iter().map(|old| (old, Effort::WhenChanged)));
            let place = |snapshot: &Snapshot| {
                self.repositories
                    .iter()
                    .position(|id| *id == snapshot.repository)
            };
            made.sort_by_key(|(snapshot, _)| place(snapshot));
        }
        Ok(made)
    }

    /// Those that have the name already, and the state that they would get.
    fn there(&self, storage: &Storage) -> Result<Vec<Snapshot>, Error> {
        let all = storage.store.read(|reader| snapshot::list(reader, None))?;
        let states = storage.store.read(Reader::repositories)?;
        let is_same = |snapshot: &Snapshot| {
            snapshot.name == self.name.as_str()
                && self.repositories.contains(&snapshot.repository.as_str())
                && states
                    .get(&snapshot.repository)
                    .is_some_and(|record| record.state.manifest == snapshot.record.state.manifest)
        };
        Ok(all.into_iter().filter(is_same).collect())
    }
}

/// Whether a snapshot has a place of its own where it was never published: the run that made it was killed.
pub fn is_unpublished(
    context: &Context<'_>,
    storage: &Storage,
    snapshot: &Snapshot,
) -> Result<bool, Error> {
    let Some(path) = snapshot_path(context, snapshot) else {
        return Ok(false);
    };
    let record = storage.store.read(|reader| reader.tree(&path))?;
    Ok(record.is_none_or(|record| record.wanted && record.manifest.is_none()))
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
            failure: None,
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
