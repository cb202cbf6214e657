//! `chantal repo sync`.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};

use crate::cli::RepoSync;
use crate::commands::{Context, Failure, conclude, publish, requester, snapshot};
use crate::config::Repository;
use crate::error::Error;
use crate::output::{bytes, count};
use crate::publish::{Caller, Effort, Place};
use crate::report::{PlanOutcome, PlannedSync, SyncResult, SyncSummary, SyncedRepository};
use crate::snapshot::{NewSnapshots, SnapshotName};
use crate::storage::{Storage, dry_run};
use crate::sync::{self, Asking, Preview, Rollback, Session};
use crate::terminal::escape;
use crate::threads;
use crate::time::{compact, now};
use crate::upstream::Limiter;

/// One run over several repositories.
struct Run<'a> {
    context: &'a Context<'a>,
    arguments: &'a RepoSync,
    storage: &'a Storage,
    sync: sync::Context<'a>,
    errors: Mutex<Vec<Error>>,
}

pub fn sync(context: &Context<'_>, arguments: &RepoSync) -> Result<(), Error> {
    let repositories = context.repositories(&arguments.which)?;
    let requester = requester("repo sync", &arguments.waiting)?;
    let storage = if arguments.dry_run {
        dry_run::open(context.config, &requester)?
    } else {
        Storage::open_to_sync(context.config, &requester)?
    };
    let workers = threads::pool("download", context.config.download.workers)?;
    let limiter = context
        .config
        .download
        .bandwidth_limit
        .map(|rate| Arc::new(Limiter::new(rate.get())));
    let run = Run {
        context,
        arguments,
        storage: &storage,
        sync: sync::Context {
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
            asking: if arguments.refresh {
                Asking::Refresh
            } else {
                Asking::Conditional
            },
        },
        errors: Mutex::new(Vec::new()),
    };
    let at_a_time = usize::from(arguments.workers);
    if arguments.dry_run {
        let planned = run.each(&repositories, at_a_time, |repository| {
            run.plan_one(repository)
        });
        context
            .output
            .result(&planned, |planned| join(planned, describe_plan))?;
    } else {
        let synced = run.each(&repositories, at_a_time, |repository| {
            run.sync_one(repository)
        });
        if context.output.is_json() {
            context.output.result(&synced, |_| String::new())?;
        } else if repositories.len() > 1 {
            let summary = SyncSummary::of(&synced, repositories.len());
            context.output.step(&describe_summary(summary))?;
        }
    }
    conclude(
        run.errors
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner),
    )
}

impl Run<'_> {
    /// Runs `work` on every repository, some at a time, and gives the results in the order of the
    /// repositories. An interruption leaves those out that were not begun.
    fn each<T: Send>(
        &self,
        repositories: &[&Repository],
        at_a_time: usize,
        work: impl Fn(&Repository) -> T + Sync,
    ) -> Vec<T> {
        let queue: Mutex<VecDeque<(usize, &Repository)>> =
            Mutex::new(repositories.iter().copied().enumerate().collect());
        let results: Mutex<Vec<(usize, T)>> = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for number in 0..at_a_time.min(repositories.len()) {
                let (queue, results, work) = (&queue, &results, &work);
                let worker = move || {
                    loop {
                        let next = queue
                            .lock()
                            .unwrap_or_else(PoisonError::into_inner)
                            .pop_front();
                        let Some((index, repository)) = next else {
                            return;
                        };
                        if let Err(error) = self.storage.interrupt.check() {
                            self.fail(error.into());
                            return;
                        }
                        let result = work(repository);
                        results
                            .lock()
                            .unwrap_or_else(PoisonError::into_inner)
                            .push((index, result));
                    }
                };
                let name = format!("repository-{number}");
                if let Err(error) = threads::start(scope, &name, worker) {
                    // Fewer do; where there is none, this one does.
                    log::debug!("{error}");
                    if number == 0 {
                        worker();
                    }
                    break;
                }
            }
        });
        let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
        results.sort_by_key(|(index, _)| *index);
        results.into_iter().map(|(_, result)| result).collect()
    }

    fn fail(&self, error: Error) {
        self.errors
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(error);
    }

    fn sync_one(&self, repository: &Repository) -> SyncedRepository {
        let mut synced = SyncedRepository::new(repository.id.as_str());
        if let Err(error) = catch_panic(&repository.id.to_string(), || {
            self.try_sync(repository, &mut synced)
        }) {
            synced.fail(error.to_string(), Failure::from(&error));
            self.fail(error);
        } else if let Err(error) = self.context.output.step(&describe(&synced)) {
            self.fail(error.into());
        }
        synced
    }

    fn try_sync(
        &self,
        repository: &Repository,
        synced: &mut SyncedRepository,
    ) -> Result<(), Error> {
        let session =
            Session::open(self.sync, repository).map_err(|source| failed(repository, source))?;
        let result = session.sync();
        // Also of a run that fails.
        (synced.requests, synced.bytes_downloaded) = session.traffic();
        let report = result.map_err(|source| failed(repository, source))?;
        for warning in &report.warnings {
            log::warn!("{}: {warning}", repository.id);
        }
        synced.note(report);
        if repository.publish.auto && repository.publish.latest_path.is_some() {
            let effort = match self.sync.asking {
                Asking::Conditional => Effort::WhenChanged,
                // What was damaged in the pool and fetched again is in the tree only now.
                Asking::Refresh => Effort::Always,
            };
            let publisher = self.context.publisher(self.storage, Caller::Sync, effort);
            let tree = publisher.state(repository.id.as_str(), Place::Configured)?;
            synced.published = Some(tree.into());
        }
        if let Some(name) = self.snapshot_name(repository)? {
            let publisher = self
                .context
                .publisher(self.storage, Caller::Command, Effort::Always);
            let wanted = NewSnapshots {
                repositories: &[repository.id.as_str()],
                name: &name,
                description: None,
                publisher: Some(publisher),
            };
            for created in crate::snapshot::create(self.storage, &wanted)? {
                let (created, failed) = snapshot::result_of(created);
                if let Some(error) = failed {
                    return Err(error);
                }
                synced.snapshot = Some(created);
            }
        }
        Ok(())
    }

    /// What the snapshot of a synced repository is called, if one is wanted.
    fn snapshot_name(&self, repository: &Repository) -> Result<Option<SnapshotName>, Error> {
        if !self.arguments.snapshot.create_snapshot {
            return Ok(None);
        }
        if let Some(name) = &self.arguments.snapshot.snapshot_name {
            return Ok(Some(name.clone()));
        }
        let name = format!("{}-{}", repository.id, compact(now()));
        // Two of one second are told apart by a number.
        let id = repository.id.as_str();
        let free = self.storage.store.read(|reader| {
            let mut free = name.clone();
            let mut number = 1;
            while reader.snapshot(id, &free)?.is_some() {
                number += 1;
                free = format!("{name}-{number}");
            }
            Ok(free)
        })?;
        match SnapshotName::parse(&free) {
            Ok(name) => Ok(Some(name)),
            Err(error) => Err(Error::Usage(format!(
                "{free} is no name for a snapshot: {error}; give one with --snapshot-name"
            ))),
        }
    }

    fn plan_one(&self, repository: &Repository) -> PlannedSync {
        let mut planned = PlannedSync::new(repository.id.as_str());
        if let Err(error) = catch_panic(&repository.id.to_string(), || {
            self.try_plan(repository, &mut planned)
        }) {
            planned.outcome = PlanOutcome::Failed;
            planned.error = Some(error.to_string());
            planned.failure = Some(Failure::from(&error));
            self.fail(error);
        }
        planned
    }

    fn try_plan(&self, repository: &Repository, planned: &mut PlannedSync) -> Result<(), Error> {
        let session =
            Session::open(self.sync, repository).map_err(|source| failed(repository, source))?;
        let preview = session
            .preview()
            .map_err(|source| failed(repository, source))?;
        (planned.requests_made, _) = session.traffic();
        let pool = self.storage.pool.lowest();
        planned.free_before = pool.free_bytes()?;
        planned.free_after = planned.free_before;
        match preview {
            Preview::Unchanged => planned.outcome = PlanOutcome::Unchanged,
            Preview::Change(plan) => {
                let held = pool.held()?;
                let missing = plan.missing(repository.id.as_str(), &held);
                planned.outcome = PlanOutcome::Change;
                planned.packages = plan.packages();
                planned.files = missing.files;
                planned.bytes = missing.remaining();
                planned.free_after = planned.free_before.saturating_sub(planned.bytes);
                let (needed, free) = (planned.bytes, planned.free_before);
                if needed > free {
                    let pool = pool.root().to_owned();
                    let error = sync::SyncError::NoSpace { pool, needed, free };
                    let error = failed(repository, error);
                    planned.error = Some(error.to_string());
                    planned.failure = Some(Failure::from(&error));
                    self.fail(error);
                }
                planned.warnings = plan.warnings;
                for warning in &planned.warnings {
                    log::warn!("{}: {warning}", repository.id);
                }
            }
        }
        Ok(())
    }
}

/// A panic while one repository is worked on is that repository's failure: the others go on.
/// Nothing is left half done, because a transaction that was not committed never happened, and what
/// lies in the pool was whole before it got its name.
fn catch_panic(repository: &str, work: impl FnOnce() -> Result<(), Error>) -> Result<(), Error> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let literal = panic.downcast_ref::<&str>().copied();
        let text = panic.downcast_ref::<String>().map(String::as_str);
        Err(Error::Internal {
            repository: repository.to_owned(),
            what: literal.or(text).unwrap_or("a panic").to_owned(),
        })
    })
}

fn failed(repository: &Repository, source: sync::SyncError) -> Error {
    Error::Sync {
        repository: repository.id.to_string(),
        source,
    }
}

/// For people, one repository.
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
                _ => format!("{} after that", bytes(planned.free_after)),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_the_failure_of_one_repository() {
        let numbers = [i64::MAX, 1];
        let overflow = || panic!("{} and {} are too much", numbers[0], numbers[1]);
        let error = catch_panic("r", overflow).unwrap_err();
        assert_eq!(error.exit().code(), 1);
        assert!(error.render().starts_with(
            "error: r: internal error: 9223372036854775807 and 1 are too much\nhint: this is a bug in chantal"
        ));
        let literal = catch_panic("r", || panic!("a literal")).unwrap_err();
        assert_eq!(literal.to_string(), "r: internal error: a literal");
        assert!(catch_panic("r", || Ok(())).is_ok());
    }
}
