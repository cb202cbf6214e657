//! `chantal publish` and `chantal unpublish`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;

use super::{Context, conclude, requester};
use crate::cli;
use crate::commands::Failure;
use crate::commands::repo::packages_verified;
use crate::config::{self, PackageCheck, Repository};
use crate::error::Error;
use crate::lock::Requester;
use crate::output::count;
use crate::publish::{
    self, Absent, Afterwards, Caller, Effort, OlderRoot, Outcome, Own, OwnRoot, Removal, Request,
    Root, Summary,
};
use crate::repo_format::RepoFormat;
use crate::snapshot::{self, Snapshot};
use crate::storage::Storage;
use crate::store::records::{RepositoryRecord, StateRecord, TreeRecord};
use crate::time::{now, rfc3339};

/// What happened to a published tree.
#[derive(Clone, Debug, Serialize)]
pub struct PublishedTree {
    pub path: String,
    /// It was unpublished: a sync leaves the place alone.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub unpublished: bool,
    pub changed: bool,
    pub files: u64,
    pub copied: u64,
    pub retained: u64,
    /// `signed` or `unsigned` where the root was made here, because the selection leaves packages out or the place had a newer one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub own_root: Option<&'static str>,
    /// Fingerprint of the key that signed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub own_root_key: Option<String>,
    #[serde(skip)]
    pub format: RepoFormat,
    /// Until when the upstream's root was valid, if that is past.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expired: Option<String>,
}

#[derive(Serialize)]
struct Published<'a> {
    repository: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    snapshot: Option<String>,
    #[serde(flatten)]
    tree: Option<PublishedTree>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(flatten)]
    failure: Option<Failure>,
}

/// A state, and how it is to be shown.
struct Showing<'a> {
    repository: &'a str,
    snapshot: Option<&'a str>,
    state: &'a StateRecord,
    keep: Duration,
    manner: Manner,
}

/// Who publishes, and what may be done for it.
#[derive(Clone, Copy)]
pub struct Manner {
    pub caller: Caller,
    pub effort: Effort,
    pub older: OlderRoot,
}

impl Manner {
    /// `older`: what `--allow-rollback` took is meant to be published at `latest_path`, whatever clients make of it; at a place of
    /// its own it is not.
    fn command(arguments: &cli::Publish, older: OlderRoot) -> Self {
        Self {
            caller: Caller::Command,
            effort: if arguments.recreate {
                Effort::Recreate
            } else {
                Effort::Always
            },
            older,
        }
    }

    /// For a snapshot that was just made, or whose publishing is finished.
    pub fn new_snapshot(effort: Effort) -> Self {
        Self {
            caller: Caller::Command,
            effort,
            older: OlderRoot::Redate,
        }
    }
}

pub fn publish(context: &Context<'_>, arguments: &cli::Publish) -> Result<(), Error> {
    let to = arguments
        .to
        .as_deref()
        .map(|path| context.free_place(path))
        .transpose()?;
    if let Some(reference) = &arguments.what.snapshot_name {
        let manner = Manner::command(arguments, OlderRoot::Redate);
        let requester = requester("publish", &arguments.waiting)?;
        return publish_snapshot(context, reference, to, manner, &requester);
    }
    let repositories = context.chosen(&arguments.what.repo_ids, arguments.what.all)?;
    if to.is_some() && repositories.len() > 1 {
        return Err(Error::Usage(
            "--to is one place, and these are several repositories".to_owned(),
        ));
    }
    let requester = requester("publish", &arguments.waiting)?;
    let storage = Storage::open(&context.config.storage, &requester)?;
    let mut results = Vec::new();
    let mut errors = Vec::new();
    for repository in repositories {
        let published = match (&to, repository.publish.latest_path.as_deref()) {
            (Some(to), _) => refuse_taken(context, &storage, to).and_then(|()| {
                let manner = Manner::command(arguments, OlderRoot::Redate);
                state_at(context, &storage, repository, to, manner)
            }),
            (None, Some(tree)) => {
                let manner = Manner::command(arguments, OlderRoot::Accept);
                state_at(context, &storage, repository, tree, manner)
            }
            (None, None) if arguments.what.all => continue,
            (None, None) => {
                errors.push(Error::Usage(format!(
                    "{} has no publish.latest_path: there is nowhere to publish it",
                    repository.id
                )));
                continue;
            }
        };
        let mut result = Published {
            repository: repository.id.as_str(),
            snapshot: None,
            tree: None,
            error: None,
            failure: None,
        };
        match published {
            Ok(tree) => result.tree = Some(tree),
            Err(error) => {
                result.error = Some(error.to_string());
                result.failure = Some(Failure::from(&error));
                errors.push(error);
            }
        }
        results.push(result);
    }
    if results.is_empty() && errors.is_empty() {
        log::warn!("nothing is published: no enabled repository has publish.latest_path");
    }
    context.output.result(&results, |results| {
        let lines: Vec<String> = results
            .iter()
            .filter_map(|result| {
                let tree = result.tree.as_ref()?;
                Some(format!("{}: {}", result.repository, describe(tree)))
            })
            .collect();
        lines.join("\n")
    })?;
    conclude(errors)
}

fn publish_snapshot(
    context: &Context<'_>,
    reference: &snapshot::Reference,
    to: Option<PathBuf>,
    manner: Manner,
    requester: &Requester,
) -> Result<(), Error> {
    let storage = Storage::open(&context.config.storage, requester)?;
    let snapshot = snapshot::find(&storage.store, reference)?;
    let tree = match to {
        Some(to) => {
            refuse_taken(context, &storage, &to)?;
            snapshot_at(context, &storage, &snapshot, &to, manner)?
        }
        None => match snapshot_path(context, &snapshot) {
            Some(path) => snapshot_at(context, &storage, &snapshot, &path, manner)?,
            None => {
                return Err(Error::Usage(format!(
                    "{} has no publish.snapshots_path: say where with --to",
                    snapshot.repository
                )));
            }
        },
    };
    let name = snapshot.full_name();
    let published = Published {
        repository: &snapshot.repository,
        snapshot: Some(snapshot.name.clone()),
        tree: Some(tree),
        error: None,
        failure: None,
    };
    context.output.result(&published, |published| {
        let tree = published.tree.as_ref().map(describe);
        format!("{name}: {}", tree.unwrap_or_default())
    })?;
    Ok(())
}

/// Where a snapshot stands by its repository's configuration.
pub fn snapshot_path(context: &Context<'_>, snapshot: &Snapshot) -> Option<PathBuf> {
    let repository = context.config.repository(&snapshot.repository)?;
    Some(
        repository
            .publish
            .snapshots_path
            .as_ref()?
            .join(&snapshot.name),
    )
}

/// Publishes a snapshot.
pub fn snapshot_at(
    context: &Context<'_>,
    storage: &Storage,
    snapshot: &Snapshot,
    tree: &Path,
    manner: Manner,
) -> Result<PublishedTree, Error> {
    let repository = context.config.repository(&snapshot.repository);
    // Of a merge nobody noted which keys signed its packages: its sources show that.
    if let Some(repository) = repository
        && snapshot.record.merged_from.is_empty()
    {
        warn_of_unverified(repository, &snapshot.full_name(), &snapshot.record.state);
    }
    let showing = Showing {
        repository: &snapshot.repository,
        snapshot: Some(&snapshot.name),
        state: &snapshot.record.state,
        keep: context.config.keep(&snapshot.repository),
        manner,
    };
    show(context, storage, &showing, tree)
}

/// Publishes a repository's last good state.
pub fn state_at(
    context: &Context<'_>,
    storage: &Storage,
    repository: &Repository,
    tree: &Path,
    manner: Manner,
) -> Result<PublishedTree, Error> {
    let id = repository.id.as_str();
    let RepositoryRecord { state, .. } = storage
        .store
        .read(|reader| reader.repository(id))?
        .ok_or_else(|| Error::NeverSynced {
            repository: id.to_owned(),
        })?;
    warn_of_unverified(repository, id, &state);
    let showing = Showing {
        repository: id,
        snapshot: None,
        state: &state,
        keep: repository.publish.keep,
        manner,
    };
    show(context, storage, &showing, tree)
}

/// Whoever turned gpgcheck on since would take what is published for verified. `what` is the repository or the snapshot.
fn warn_of_unverified(repository: &Repository, what: &str, state: &StateRecord) {
    let is_wanted = repository.trust.packages == PackageCheck::Required;
    if is_wanted && packages_verified(repository, Some(state)) == Some(false) {
        log::warn!("{what}: its packages were not verified: it was synced without gpgcheck");
    }
}

fn show(
    context: &Context<'_>,
    storage: &Storage,
    showing: &Showing<'_>,
    tree: &Path,
) -> Result<PublishedTree, Error> {
    let state = showing.state;
    let format = state.format.rules();
    let key_name = match context.config.repository(showing.repository) {
        Some(repository) => repository.publish.key_name.clone(),
        None => config::default_key_name(state.format, showing.repository),
    };
    let own = Own {
        format,
        key: &context.key,
        key_name: &key_name,
    };
    let date = state.date().filter(|_| format.compares_dates());
    let root = if state.regenerated {
        Root::Own(own)
    } else {
        Root::Upstream {
            date,
            own,
            older: showing.manner.older,
        }
    };
    let request = Request {
        caller: showing.manner.caller,
        tree,
        repository: showing.repository,
        snapshot: showing.snapshot,
        manifest: state.manifest,
        root,
        keep: showing.keep,
        effort: showing.manner.effort,
    };
    let outcome = publish::publish(storage, request)
        .map_err(|source| Error::publish(showing.repository, source))?;
    let unpublished = outcome == Outcome::NotWanted;
    let (changed, summary) = match outcome {
        Outcome::Unchanged | Outcome::NotWanted => (false, Summary::default()),
        Outcome::Published(summary) => (true, summary),
    };
    Ok(PublishedTree {
        path: tree.display().to_string(),
        unpublished,
        changed,
        files: summary.files,
        copied: summary.copied,
        retained: summary.retained,
        own_root: match &summary.root {
            OwnRoot::None => None,
            OwnRoot::Unsigned => Some("unsigned"),
            OwnRoot::SignedBy(_) => Some("signed"),
        },
        own_root_key: match &summary.root {
            OwnRoot::SignedBy(key) => Some(key.clone()),
            OwnRoot::None | OwnRoot::Unsigned => None,
        },
        format: state.format,
        expired: state
            .valid_until()
            // A root of ours says no more how long a snapshot is valid.
            .filter(|_| summary.root == OwnRoot::None || showing.snapshot.is_none())
            .filter(|until| *until <= now())
            .map(rfc3339),
    })
}

/// A tree is replaced as a whole: none may lie in another. Nor is one replaced that a file which cannot be used may define.
fn refuse_taken(context: &Context<'_>, storage: &Storage, tree: &Path) -> Result<(), Error> {
    let mut trees = storage.store.read(crate::store::Reader::trees)?;
    trees.retain(|_, tree| tree.is_on_disk());
    let record = trees.get(tree);
    if let Some(file) = record.and_then(|record| context.config.may_be_about(&record.repository)) {
        return Err(Error::Usage(format!(
            "{} is not replaced: {} cannot be used, and may publish there",
            tree.display(),
            file.display()
        )));
    }
    let is_nested =
        |other: &&PathBuf| *other != tree && (tree.starts_with(other) || other.starts_with(tree));
    match trees.keys().find(is_nested) {
        Some(other) => Err(Error::Usage(format!(
            "{} and the published tree {} would lie in each other",
            tree.display(),
            other.display()
        ))),
        None => Ok(()),
    }
}

#[derive(Serialize)]
struct Unpublished {
    path: String,
    /// Only forgotten: it was not there.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    missing: bool,
    repository: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    snapshot: Option<String>,
}

pub fn unpublish(context: &Context<'_>, arguments: &cli::Unpublish) -> Result<(), Error> {
    let requester = requester("unpublish", &arguments.waiting)?;
    let storage = Storage::open(&context.config.storage, &requester)?;
    let mut all = storage.store.read(crate::store::Reader::trees)?;
    all.retain(|_, tree| tree.is_on_disk());
    let mut chosen: Vec<(&PathBuf, &TreeRecord)> = Vec::new();
    if let Some(path) = &arguments.which.path {
        let written = config::absolute(path)?;
        let path = config::real(&written);
        match all
            .get_key_value(&path)
            .or_else(|| all.get_key_value(&written))
        {
            Some(tree) => chosen.push(tree),
            None => {
                return Err(Error::Usage(format!(
                    "{} is not a published tree of this storage",
                    path.display()
                )));
            }
        }
    } else if let Some(reference) = &arguments.which.snapshot_name {
        let snapshot = snapshot::find(&storage.store, reference)?;
        chosen.extend(all.iter().filter(|(_, tree)| shows(tree, &snapshot)));
    } else if let Some(repository) = &arguments.which.repo_id {
        // What was published may outlive its definition; a name that neither knows is a slip.
        if !all.values().any(|tree| tree.repository == *repository) {
            context.repository(repository)?;
        }
        chosen.extend(
            all.iter()
                .filter(|(_, tree)| tree.repository == *repository && tree.snapshot.is_none()),
        );
    }
    let mut gone = Vec::new();
    let mut errors = Vec::new();
    let absent = absent(&arguments.absent);
    for (path, tree) in chosen {
        let removed = take_away(&storage, path, tree, Afterwards::NotWanted, absent);
        match removed {
            Ok(removal) => gone.push(Unpublished {
                path: path.display().to_string(),
                missing: removal == Removal::Forgotten,
                repository: tree.repository.clone(),
                snapshot: tree.snapshot.clone(),
            }),
            Err(error) => errors.push(error),
        }
    }
    context.output.result(&gone, |gone| {
        if gone.is_empty() && errors.is_empty() {
            return "nothing is published of it".to_owned();
        }
        let lines: Vec<String> = gone
            .iter()
            .map(|tree| became(&tree.path, tree.missing))
            .collect();
        lines.join("\n")
    })?;
    conclude(errors)
}

/// For people: what became of a tree.
pub fn became(path: &str, missing: bool) -> String {
    if missing {
        format!("{path} is forgotten; it was not there, and what may be on its disk stays")
    } else {
        format!("{path} is gone")
    }
}

/// What `--forget-absent` means.
pub fn absent(arguments: &cli::ForgetAbsent) -> Absent {
    if arguments.forget_absent {
        Absent::Forgotten
    } else {
        Absent::Refused
    }
}

/// Whether a tree shows a snapshot.
pub fn shows(tree: &TreeRecord, snapshot: &Snapshot) -> bool {
    tree.repository == snapshot.repository && tree.snapshot.as_deref() == Some(&snapshot.name)
}

/// Takes one published tree away.
pub fn take_away(
    storage: &Storage,
    path: &Path,
    tree: &TreeRecord,
    afterwards: Afterwards,
    absent: Absent,
) -> Result<Removal, Error> {
    publish::unpublish(storage, path, afterwards, absent)
        .map_err(|source| Error::publish(&tree.repository, source))
}

/// For people.
pub fn describe(tree: &PublishedTree) -> String {
    if tree.unpublished {
        return format!(
            "not published: {} was unpublished; `chantal publish` publishes it again",
            tree.path
        );
    }
    if !tree.changed {
        return format!("already published at {}", tree.path);
    }
    let mut text = format!("published at {} ({}", tree.path, count(tree.files, "file"));
    if tree.retained > 0 {
        text += &format!(", {} of earlier generations", tree.retained);
    }
    if tree.copied > 0 {
        text += &format!(", {} copied", tree.copied);
    }
    text += ")";
    match (&tree.own_root_key, tree.own_root) {
        (Some(key), _) => text += &format!("\n  signed with {key}"),
        (None, Some(_)) => {
            let setting = tree.format.rules().unsigned_setting();
            text += &format!(
                "\n  not signed, no signing.key_file is configured: clients take it only with {setting}"
            );
        }
        (None, None) => {}
    }
    if let Some(expired) = &tree.expired {
        text += &format!(
            "\n  it was valid until {expired}: clients refuse it unless they set `Check-Valid-Until: no`"
        );
    }
    text
}
