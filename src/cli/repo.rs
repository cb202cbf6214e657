//! `chantal repo`.

use std::num::NonZeroUsize;

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{ForgetAbsent, RepositorySelection, WaitOptions};
use crate::names::{RepoId, SnapshotName};

#[derive(Debug, Subcommand)]
pub enum Repo {
    /// Sync repositories with their upstreams and publish them
    ///
    /// Only new files are downloaded. If the sync of a repository fails, the state of its last
    /// successful sync and its published tree stay unchanged. The next sync continues with the
    /// files that were already downloaded.
    ///
    /// Syncs of different repositories can run at the same time.
    Sync(RepoSync),

    /// List the configured repositories
    List,

    /// Show a repository: configuration, state, published trees
    Show(OneRepository),

    /// Show the sync history of a repository, newest first
    History(RepoHistory),

    /// Trust the keys that the key URLs of a repository serve now
    ///
    /// The keys that a `gpgkey_url` serves on the first request are trusted and stored. Syncs accept
    /// updates of these keys. If the URL serves different keys, syncs fail until you run this
    /// command. Verify first that the change is genuine.
    ///
    /// Keys that the URLs no longer serve are not trusted any more. If `gpgkey_fingerprints` is
    /// set, only the listed keys are trusted.
    Trust(RepoTrust),

    /// Remove a repository that is no longer configured
    ///
    /// Deletes the state, the sync history and the stored keys of the repository, and its
    /// published trees. `chantal db cleanup` then frees the disk space. Use `--dry-run` to see
    /// what would be removed, and how much space no other repository or snapshot needs.
    ///
    /// Snapshots are kept and stay published unless `--snapshots` is given.
    ///
    /// The command fails if the repository is still configured, even if it is disabled. It also
    /// fails if a published tree is missing, unless `--forget-absent` is given.
    Remove(RepoRemove),
}

#[derive(Debug, Args)]
pub struct RepoSync {
    #[command(flatten)]
    pub which: RepositorySelection,

    /// Number of repositories to sync in parallel
    #[arg(
        long,
        value_name = "N",
        default_value_t = 1,
        value_parser = clap::value_parser!(u16).range(1..=100)
    )]
    pub workers: u16,

    /// Show what would be downloaded, without changing any state or published tree
    ///
    /// Only new indexes are downloaded, to the cache directory. The storage is neither locked nor
    /// changed.
    #[arg(long)]
    pub dry_run: bool,

    /// Fetch Release or repomd.xml again and rebuild the state, even if it seems unchanged
    #[arg(long)]
    pub refresh: bool,

    /// Accept upstream metadata that is older than the last sync, for this run only
    #[arg(long)]
    pub allow_rollback: bool,

    #[command(flatten)]
    pub snapshot: SyncedSnapshot,

    #[command(flatten)]
    pub waiting: WaitOptions,
}

#[derive(Debug, Args)]
pub struct SyncedSnapshot {
    /// Create a snapshot of each synced repository, and publish it below its `snapshots_path`
    #[arg(long, conflicts_with = "dry_run")]
    pub create_snapshot: bool,

    /// Name of the snapshot [default: REPOSITORY-YYYY-MM-DD-HHMMSS]
    #[arg(
        long,
        value_name = "NAME",
        requires = "create_snapshot",
        value_parser = SnapshotName::parse
    )]
    pub snapshot_name: Option<SnapshotName>,
}

#[derive(Debug, Args)]
pub struct RepoRemove {
    /// Name of the repository
    #[arg(long = "repo-id", value_name = "NAME", value_parser = RepoId::parse)]
    pub repo_id: RepoId,

    /// Show what would be removed, without removing anything
    #[arg(long)]
    pub dry_run: bool,

    /// Delete the snapshots of the repository, too
    #[arg(long)]
    pub snapshots: bool,

    /// Delete snapshots even if they are published
    #[arg(long, requires = "snapshots")]
    pub force: bool,

    #[command(flatten)]
    pub absent: ForgetAbsent,

    #[command(flatten)]
    pub waiting: WaitOptions,
}

#[derive(Debug, Args)]
pub struct OneRepository {
    /// Name of the repository
    #[arg(long = "repo-id", value_name = "NAME", value_parser = RepoId::parse)]
    pub repo_id: RepoId,
}

#[derive(Debug, Args)]
pub struct RepoTrust {
    #[command(flatten)]
    pub repository: OneRepository,

    /// Trust the keys on a medium instead of those of the URLs
    #[arg(long, value_name = "DIR")]
    pub from_medium: Option<PathBuf>,

    #[command(flatten)]
    pub waiting: WaitOptions,
}

#[derive(Debug, Args)]
pub struct RepoHistory {
    #[command(flatten)]
    pub repository: OneRepository,

    /// Maximum number of syncs to show
    #[arg(long, value_name = "N", default_value = "20")]
    pub limit: NonZeroUsize,
}
