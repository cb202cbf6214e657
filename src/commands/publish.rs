//! `chantal publish`.

use std::path::Path;

use serde::Serialize;

use super::{Context, conclude};
use crate::cli;
use crate::config::Repository;
use crate::error::Error;
use crate::interrupt::Interrupt;
use crate::output::count;
use crate::publish::{self, Effort, Outcome, Request, Summary};
use crate::storage::Storage;
use crate::time::{now, rfc3339};

/// What happened to a published tree.
#[derive(Clone, Debug, Serialize)]
pub struct PublishedTree {
    pub path: String,
    pub changed: bool,
    pub files: u64,
    pub copied: u64,
    pub retained: u64,
    /// Until when the upstream's root was valid, if that is past.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expired: Option<String>,
}

#[derive(Serialize)]
struct Published<'a> {
    repository: &'a str,
    #[serde(flatten)]
    tree: Option<PublishedTree>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

pub fn publish(context: &Context<'_>, arguments: &cli::Publish) -> Result<(), Error> {
    let repositories = context.repositories(&arguments.which)?;
    let interrupt = Interrupt::listen()?;
    let storage = Storage::open(&context.config.storage, "publish")?;
    let mut results = Vec::new();
    let mut errors = Vec::new();
    for repository in repositories {
        let Some(tree) = repository.publish.latest_path.as_deref() else {
            if !arguments.which.all {
                errors.push(Error::Usage(format!(
                    "{} has no publish.latest_path: there is nowhere to publish it",
                    repository.id
                )));
            }
            continue;
        };
        let (tree, error) = match latest(&storage, &interrupt, repository, tree, Effort::Always) {
            Ok(tree) => (Some(tree), None),
            Err(error) => {
                let text = error.to_string();
                errors.push(error);
                (None, Some(text))
            }
        };
        results.push(Published {
            repository: repository.id.as_str(),
            tree,
            error,
        });
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

/// Publishes a repository's last good state at its `latest_path`.
pub fn latest(
    storage: &Storage,
    interrupt: &Interrupt,
    repository: &Repository,
    tree: &Path,
    effort: Effort,
) -> Result<PublishedTree, Error> {
    let id = repository.id.as_str();
    let state = storage
        .store
        .read(|reader| reader.repository(id))?
        .ok_or_else(|| Error::NeverSynced {
            repository: id.to_owned(),
        })?;
    let context = publish::Context {
        store: &storage.store,
        lock: &storage.lock,
        pool: &storage.pool,
        interrupt,
        now: now(),
    };
    let request = Request {
        tree,
        repository: id,
        manifest: state.manifest,
        keep: repository.publish.keep,
        effort,
    };
    let outcome = publish::publish(context, request).map_err(|source| Error::Publish {
        repository: id.to_owned(),
        source,
    })?;
    let (changed, summary) = match outcome {
        Outcome::Unchanged => (false, Summary::default()),
        Outcome::Published(summary) => (true, summary),
    };
    Ok(PublishedTree {
        path: tree.display().to_string(),
        changed,
        files: summary.files,
        copied: summary.copied,
        retained: summary.retained,
        expired: state
            .root_valid_until
            .filter(|until| *until <= now())
            .map(rfc3339),
    })
}

/// For people.
pub fn describe(tree: &PublishedTree) -> String {
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
    if let Some(expired) = &tree.expired {
        text += &format!(
            "\n  it was valid until {expired}: clients refuse it unless they set `Check-Valid-Until: no`"
        );
    }
    text
}
