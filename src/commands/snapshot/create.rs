//! `chantal snapshot create`, and the snapshots that `repo sync --create-snapshot` makes.

use crate::cli::SnapshotCreate;
use crate::commands::publish;
use crate::commands::{Context, Failure, conclude, requester};
use crate::config::Repository;
use crate::error::Error;
use crate::names::{RepoId, SnapshotName};
use crate::output::{bytes, count};
use crate::publish::{Caller, Effort, Place, is_unpublished, snapshot_path};
use crate::report::CreatedSnapshot;
use crate::snapshot::{self, Snapshot};
use crate::storage::Storage;
use crate::store::Reader;
use crate::time::now;

pub fn create(context: &Context<'_>, arguments: &SnapshotCreate) -> Result<(), Error> {
    let repositories = context.repositories(&arguments.which)?;
    let requester = requester("snapshot create", &arguments.waiting)?;
    let storage = Storage::open(&context.config.storage, &requester)?;
    let names: Vec<&RepoId> = repositories
        .iter()
        .map(|repository| &repository.id)
        .collect();
    let wanted = NewSnapshots {
        repositories: &names,
        name: &arguments.name,
        description: arguments.description.as_deref(),
        publishing: if arguments.no_publish {
            Publishing::No
        } else {
            Publishing::Yes
        },
    };
    let mut errors = Vec::new();
    let mut created = Vec::new();
    for (snapshot, effort) in wanted.make(context, &storage)? {
        let mut made = CreatedSnapshot::from(&snapshot);
        if !arguments.no_publish {
            errors.extend(publish_new(context, &storage, &snapshot, effort, &mut made));
        }
        created.push(made);
    }
    context.output.result(&created, |created| {
        let lines: Vec<String> = created.iter().map(describe).collect();
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
) -> Result<CreatedSnapshot, Error> {
    let wanted = NewSnapshots {
        repositories: &[&repository.id],
        name,
        description: None,
        publishing: Publishing::Yes,
    };
    let made = wanted.make(context, storage)?;
    let (snapshot, effort) = &made[0];
    let mut created = CreatedSnapshot::from(snapshot);
    match publish_new(context, storage, snapshot, *effort, &mut created) {
        Some(error) => Err(error),
        None => Ok(created),
    }
}

/// Publishes a snapshot that was just made, or whose publishing is finished, where its repository
/// has a place for snapshots. Returns the error, which is noted.
pub fn publish_new(
    context: &Context<'_>,
    storage: &Storage,
    snapshot: &Snapshot,
    effort: Effort,
    created: &mut CreatedSnapshot,
) -> Option<Error> {
    let (repository, name) = (&snapshot.repository, &snapshot.name);
    snapshot_path(context.config, repository, name)?;
    let publisher = context.publisher(storage, Caller::Command, effort);
    match publisher.snapshot(repository, name, &snapshot.record, Place::Configured) {
        Ok(tree) => {
            created.published = Some(tree.into());
            None
        }
        Err(error) => {
            let error = Error::from(error);
            created.error = Some(error.to_string());
            created.failure = Some(Failure::from(&error));
            Some(error)
        }
    }
}

/// Whether new snapshots are published where their repositories have a place for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Publishing {
    Yes,
    No,
}

/// Snapshots that are wanted of the repositories' current states.
struct NewSnapshots<'a> {
    repositories: &'a [&'a RepoId],
    name: &'a SnapshotName,
    description: Option<&'a str>,
    publishing: Publishing,
}

impl NewSnapshots<'_> {
    /// Makes them, all or none. Where a run was killed that had made them and not published all of
    /// them, its work is finished: those that are there are the same.
    fn make(
        &self,
        context: &Context<'_>,
        storage: &Storage,
    ) -> Result<Vec<(Snapshot, Effort)>, Error> {
        let existing = self.existing(storage)?;
        let mut is_unfinished = false;
        if self.publishing == Publishing::Yes {
            for snapshot in &existing {
                is_unfinished |= is_unfinished_snapshot(context, storage, snapshot)?;
            }
        }
        let is_made =
            |id: &&RepoId| is_unfinished && existing.iter().any(|made| made.repository == **id);
        let missing: Vec<&RepoId> = self
            .repositories
            .iter()
            .copied()
            .filter(|id| !is_made(id))
            .collect();
        let new = snapshot::create(storage, &missing, self.name, self.description, now())?;
        let mut made: Vec<(Snapshot, Effort)> =
            new.into_iter().map(|new| (new, Effort::Always)).collect();
        if is_unfinished {
            made.extend(existing.into_iter().map(|old| (old, Effort::WhenChanged)));
            let place = |snapshot: &Snapshot| {
                self.repositories
                    .iter()
                    .position(|id| **id == snapshot.repository)
            };
            made.sort_by_key(|(snapshot, _)| place(snapshot));
        }
        Ok(made)
    }

    /// Those that have the name already, and the state that they would get.
    fn existing(&self, storage: &Storage) -> Result<Vec<Snapshot>, Error> {
        let all = storage.store.read(|reader| snapshot::list(reader, None))?;
        let states = storage.store.read(Reader::repositories)?;
        let is_same = |snapshot: &Snapshot| {
            snapshot.name == *self.name
                && self.repositories.contains(&&snapshot.repository)
                && states
                    .get(&snapshot.repository)
                    .is_some_and(|record| record.state.manifest == snapshot.record.state.manifest)
        };
        Ok(all.into_iter().filter(is_same).collect())
    }
}

/// Whether a snapshot has a place of its own where it was never published: the run that made it was
/// killed.
pub fn is_unfinished_snapshot(
    context: &Context<'_>,
    storage: &Storage,
    snapshot: &Snapshot,
) -> Result<bool, Error> {
    match snapshot_path(context.config, &snapshot.repository, &snapshot.name) {
        Some(path) => Ok(is_unpublished(storage, &path)?),
        None => Ok(false),
    }
}

/// For people.
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
