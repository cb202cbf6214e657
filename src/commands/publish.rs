//! `chantal publish` and `chantal unpublish`.

use super::{Context, conclude, requester};
use crate::cli;
use crate::commands::Failure;
use crate::config::{self, Repository};
use crate::error::Error;
use crate::lock::Requester;
use crate::output::count;
use crate::publish::{
    self, Destination, MissingTree, PublishMode, Published, RecordFate, RequestError, TreeSelection,
};
use crate::report::{OwnRootKind, Publication, PublishedTree, UnpublishedTree};
use crate::snapshot::{self, SnapshotReference};
use crate::storage::Storage;
use crate::time::rfc3339;

pub fn publish(context: &Context<'_>, arguments: &cli::Publish) -> Result<(), Error> {
    let to = arguments
        .to
        .as_deref()
        .map(|path| context.publish_path(path))
        .transpose()?;
    let place = to
        .as_deref()
        .map_or(Destination::Configured, Destination::Path);
    let mode = if arguments.recreate {
        PublishMode::RecreateMissing
    } else {
        PublishMode::Always
    };
    if let Some(reference) = &arguments.what.snapshot_name {
        let requester = requester("publish", &arguments.waiting)?;
        return publish_snapshot(context, reference, place, mode, &requester);
    }
    let repositories = if arguments.what.all {
        context.enabled_repositories()?
    } else {
        context.named_repositories(&arguments.what.repo_ids)?
    };
    if to.is_some() && repositories.len() > 1 {
        return Err(Error::Usage(
            "--to cannot be used with several repositories".to_owned(),
        ));
    }
    let requester = requester("publish", &arguments.waiting)?;
    let storage = Storage::open(&context.config.storage, &requester)?;
    let publisher = context.publisher(&storage, mode);
    let mut results = Vec::new();
    let mut errors = Vec::new();
    for repository in repositories {
        match publisher.state(&repository.id, place) {
            Err(RequestError::NoLatestPath { .. }) if arguments.what.all => {}
            Err(error @ RequestError::NoLatestPath { .. }) => errors.push(error.into()),
            result => results.push(publication(repository, result, &mut errors)),
        }
    }
    if results.is_empty() && errors.is_empty() {
        log::warn!("nothing to publish: no enabled repository has publish.latest_path");
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

fn publication(
    repository: &Repository,
    result: Result<Published, RequestError>,
    errors: &mut Vec<Error>,
) -> Publication {
    let mut publication = Publication {
        repository: repository.id.clone(),
        snapshot: None,
        tree: None,
        error: None,
        failure: None,
    };
    match result {
        Ok(published) => publication.tree = Some(published.into()),
        Err(error) => {
            let error = Error::from(error);
            publication.error = Some(error.to_string());
            publication.failure = Some(Failure::from(&error));
            errors.push(error);
        }
    }
    publication
}

fn publish_snapshot(
    context: &Context<'_>,
    reference: &SnapshotReference,
    place: Destination<'_>,
    mode: PublishMode,
    requester: &Requester,
) -> Result<(), Error> {
    let storage = Storage::open(&context.config.storage, requester)?;
    let snapshot = snapshot::find(&storage.store, reference)?;
    let publisher = context.publisher(&storage, mode);
    let (repository, name) = (&snapshot.repository, &snapshot.name);
    let tree = publisher.snapshot(repository, name, &snapshot.record, place)?;
    let publication = Publication {
        repository: repository.clone(),
        snapshot: Some(name.clone()),
        tree: Some(tree.into()),
        error: None,
        failure: None,
    };
    context.output.result(&publication, |publication| {
        let tree = publication.tree.as_ref().map(describe);
        format!("{}: {}", snapshot.full_name(), tree.unwrap_or_default())
    })?;
    Ok(())
}

pub fn unpublish(context: &Context<'_>, arguments: &cli::Unpublish) -> Result<(), Error> {
    let requester = requester("unpublish", &arguments.waiting)?;
    let storage = Storage::open(&context.config.storage, &requester)?;
    let which = &arguments.which;
    let snapshot = which.snapshot_name.as_ref();
    let snapshot = snapshot.map(|reference| snapshot::find(&storage.store, reference));
    let snapshot = snapshot.transpose()?;
    let owner = snapshot.as_ref().map(|snapshot| &snapshot.repository);
    if let Some(repository) = owner.or(which.repo_id.as_ref()) {
        publish::complete_interrupted(&storage, repository)?;
    }
    let trees = publish::trees_on_disk(&storage)?;
    let chosen = if let Some(path) = &which.path {
        let written = config::absolute(path)?;
        let path = &config::real(&written);
        let written = &written;
        TreeSelection::Path { path, written }.select(&trees)?
    } else if let Some(snapshot) = &snapshot {
        let (repository, name) = (&snapshot.repository, &snapshot.name);
        TreeSelection::Snapshot { repository, name }.select(&trees)?
    } else if let Some(repository) = &which.repo_id {
        // Trees may exist for a repository that is no longer configured.
        let stored = trees.values().map(|tree| &tree.repository);
        context.config.unless_stored(repository, stored)?;
        TreeSelection::State { repository }.select(&trees)?
    } else {
        Vec::new()
    };
    let mut removed = Vec::new();
    let mut errors = Vec::new();
    let absent = absent(&arguments.absent);
    for (path, tree) in chosen {
        match publish::unpublish_tree(&storage, path, tree, RecordFate::Keep, absent) {
            Ok(tree) => removed.push(UnpublishedTree::from(tree)),
            Err(error) => errors.push(error.into()),
        }
    }
    context.output.result(&removed, |removed| {
        if removed.is_empty() && errors.is_empty() {
            return "nothing to remove: not published".to_owned();
        }
        let lines: Vec<String> = removed.iter().map(describe_removal).collect();
        lines.join("\n")
    })?;
    conclude(errors)
}

/// The text for an unpublished tree.
pub fn describe_removal(tree: &UnpublishedTree) -> String {
    let path = tree.path.display();
    if tree.missing {
        describe_forgotten(&path.to_string())
    } else {
        format!("removed {path}")
    }
}

/// The text for a tree that was missing.
pub fn describe_forgotten(path: &str) -> String {
    format!("forgot {path}: it is missing; files on its disk are kept")
}

/// The meaning of `--forget-absent`.
pub fn absent(arguments: &cli::ForgetAbsent) -> MissingTree {
    if arguments.forget_absent {
        MissingTree::Forget
    } else {
        MissingTree::Reject
    }
}

/// The text for a published tree.
pub fn describe(tree: &PublishedTree) -> String {
    let path = tree.path.display();
    if tree.unpublished {
        return format!(
            "not published: {path} was unpublished; `chantal publish` publishes it again"
        );
    }
    if !tree.changed {
        return format!("already published at {path}");
    }
    let mut text = format!("published at {path} ({}", count(tree.files, "file"));
    if tree.earlier_generations > 0 {
        let generations = count(tree.earlier_generations, "earlier generation");
        text += &format!(", {generations} retained");
    }
    if tree.copied > 0 {
        text += &format!(", {} copied", tree.copied);
    }
    text += ")";
    if !tree.not_supported.is_empty() {
        let lacking = tree.not_supported.join(" and ").replace('_', " ");
        text += &format!("\n  the file system does not support {lacking}");
    }
    match (&tree.own_root_key, tree.own_root) {
        (Some(key), _) => text += &format!("\n  signed with {key}"),
        (None, Some(OwnRootKind::Unsigned | OwnRootKind::Signed)) => {
            let setting = tree.format.rules().unsigned_setting();
            text += &format!(
                "\n  unsigned (no signing.key_file configured): clients reject it without {setting}"
            );
        }
        (None, None) => {}
    }
    if let Some(expired) = tree.expired {
        text += &format!(
            "\n  expired on {}: clients reject it without `Check-Valid-Until: no`",
            rfc3339(expired.0)
        );
    }
    text
}
