//! `chantal repo sync`.

use std::sync::{Mutex, PoisonError};

use crate::cli::RepoSync;
use crate::commands::{Context, Failure, conclude, publish, requester, snapshot};
use crate::config::{Repository, UpstreamUrl};
use crate::error::Error;
use crate::output::{Output, bytes, count};
use crate::report::{PlanOutcome, PlannedSync, SyncResult, SyncSummary, SyncedRepository};
use crate::repository::{RepositorySync, SnapshotNaming};
use crate::storage::{Storage, dry_run};
use crate::sync::{self, RequestMode, Rollback};
use crate::terminal::escape;
use crate::threads::{self, lock};
use crate::upstream::Limiter;

pub fn sync(context: &Context<'_>, arguments: &RepoSync) -> Result<(), Error> {
    let mut repositories = context.repositories(&arguments.which)?;
    repositories.retain(|repository| {
        let is_filled = repository.upstream == UpstreamUrl::Media;
        if is_filled {
            log::info!(
                "{}: skipped: filled by `chantal media import`",
                repository.id
            );
        }
        !is_filled
    });
    let requester = requester("repo sync", &arguments.waiting)?;
    let storage = if arguments.dry_run {
        dry_run::open(context.config, &requester)?
    } else {
        Storage::open_to_sync(context.config, &requester)?
    };
    let workers = threads::pool("download", context.config.download.workers)?;
    let limiter = Limiter::shared(context.config.download.bandwidth_limit);
    let run = RepositorySync {
        sync: sync::SyncContext {
            config: context.config,
            storage: &storage,
            workers: &workers,
            progress: &context.progress,
            limiter: limiter.as_ref(),
            rollback: if arguments.allow_rollback {
                Rollback::Allowed
            } else {
                Rollback::Refused
            },
            request_mode: if arguments.refresh {
                RequestMode::Refresh
            } else {
                RequestMode::Conditional
            },
        },
        key: &context.key,
        snapshots: match (
            arguments.snapshot.create_snapshot,
            &arguments.snapshot.snapshot_name,
        ) {
            (false, _) => SnapshotNaming::NoSnapshot,
            (true, Some(name)) => SnapshotNaming::Given(name),
            (true, None) => SnapshotNaming::ByTime,
        },
    };
    let parallel = usize::from(arguments.workers);
    let failures = Failures::default();
    let interrupted = if arguments.dry_run {
        let plan = |repository: &Repository| plan_one(&run, repository, &failures);
        let (planned, interrupted) = run.in_parallel(&repositories, parallel, plan);
        context
            .output
            .result(&planned, |planned| join(planned, describe_plan))?;
        interrupted
    } else {
        let sync = |repository: &Repository| sync_one(&run, repository, context.output, &failures);
        let (synced, interrupted) = run.in_parallel(&repositories, parallel, sync);
        if context.output.is_json() {
            context.output.result(&synced, |_| String::new())?;
        } else if repositories.len() > 1 {
            let summary = SyncSummary::of(&synced, repositories.len());
            context.output.step(&describe_summary(summary))?;
        }
        interrupted
    };
    if let Err(error) = interrupted {
        failures.add(error.into());
    }
    conclude(failures.into_errors())
}

/// The errors of the repositories in the order of their occurrence.
#[derive(Default)]
struct Failures(Mutex<Vec<Error>>);

impl Failures {
    fn add(&self, error: Error) {
        lock(&self.0).push(error);
    }

    fn into_errors(self) -> Vec<Error> {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

fn sync_one(
    run: &RepositorySync<'_>,
    repository: &Repository,
    output: Output,
    failures: &Failures,
) -> SyncedRepository {
    let mut result = SyncedRepository::new(&repository.id);
    let mut synced = run.sync(repository);
    let failed = synced.error.take();
    result.record(synced);
    if let Some(error) = failed {
        let error = Error::from_sync(&repository.id, error);
        result.fail(error.to_string(), Failure::from(&error));
        failures.add(error);
    } else if let Err(error) = output.step(&describe(&result)) {
        failures.add(error.into());
    }
    result
}

fn plan_one(run: &RepositorySync<'_>, repository: &Repository, failures: &Failures) -> PlannedSync {
    let forecast = run.plan(repository);
    let mut planned = PlannedSync::new(&repository.id, &forecast);
    if let Some(error) = forecast.error {
        let error = Error::from_sync(&repository.id, error);
        planned.error = Some(error.to_string());
        planned.failure = Some(Failure::from(&error));
        failures.add(error);
    }
    planned
}

/// The text for one repository.
fn describe(synced: &SyncedRepository) -> String {
    let packages = count(synced.packages, "package");
    let traffic = format!(
        "{}, {} downloaded",
        count(synced.requests, "request"),
        bytes(synced.bytes_downloaded)
    );
    let mut text = if synced.outcome == SyncResult::Changed {
        format!(
            "{}: {packages} ({} added, {} removed), {traffic}",
            synced.repository, synced.packages_added, synced.packages_removed
        )
    } else {
        format!("{}: unchanged, {packages}, {traffic}", synced.repository)
    };
    for signer in &synced.verified_by {
        text += &format!(
            "\n  verified by {} {}",
            signer.fingerprint,
            escape(&signer.user_id)
        );
    }
    for signer in &synced.packages_verified_by {
        text += &format!(
            "\n  {} verified by {} {}",
            count(signer.packages, "package"),
            signer.fingerprint,
            escape(signer.user_id.as_deref().unwrap_or_default())
        );
    }
    if let Some(tree) = &synced.published
        && (tree.changed || tree.unpublished || synced.outcome == SyncResult::Changed)
    {
        text += &format!("\n  {}", publish::describe(tree));
    }
    if let Some(snapshot) = &synced.snapshot {
        text += &format!(
            "\n  snapshot {}",
            snapshot::describe(snapshot).replace('\n', "\n  ")
        );
    }
    text
}

fn describe_plan(planned: &PlannedSync) -> String {
    match planned.outcome {
        PlanOutcome::Failed => String::new(),
        PlanOutcome::Unchanged => format!("{}: unchanged, nothing to download", planned.repository),
        PlanOutcome::Change => {
            let after = match planned.bytes.checked_sub(planned.free_before) {
                Some(lacking) if lacking > 0 => {
                    format!("not enough space: {} short", bytes(lacking))
                }
                _ => format!("{} after the download", bytes(planned.free_after)),
            };
            format!(
                "{}: {}; would download {} ({})\n  disk: {} free, {after}",
                planned.repository,
                count(planned.packages, "package"),
                count(planned.files, "file"),
                bytes(planned.bytes),
                bytes(planned.free_before),
            )
        }
    }
}

fn describe_summary(summary: SyncSummary) -> String {
    format!(
        "{} of {} repositories synced, {} changed, {}, {} downloaded",
        summary.synced,
        summary.repositories,
        summary.changed,
        count(summary.requests, "request"),
        bytes(summary.bytes_downloaded),
    )
}

fn join(planned: &[PlannedSync], describe: impl Fn(&PlannedSync) -> String) -> String {
    let lines: Vec<String> = planned
        .iter()
        .map(describe)
        .filter(|line| !line.is_empty())
        .collect();
    lines.join("\n")
}
