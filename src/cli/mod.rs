//! The command line: one definition for the parser, `--help` and the man pages.
//!
//! One file for each noun. Lines of help texts fit 100 columns.

mod config;
mod db;
mod media;
mod publish;
mod repo;
mod snapshot;

use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};

use crate::config::parse_duration;
use crate::lock::Wait;
use crate::names::RepoId;

pub use config::{Config, ConfigKeygen, KeyType};
pub use db::{Db, DbCheck, DbCleanup, Pool, PoolTakeOver};
pub use media::{
    ExportedStates, Media, MediaConfirm, MediaExport, MediaForget, MediaImport, MediaLost,
    MediaPlan, MediaReceipt, MediaStatus, MediaVerify,
};
pub use publish::{Publish, Unpublish};
pub use repo::{OneRepository, Repo, RepoHistory, RepoRemove, RepoSync, RepoTrust};
pub use snapshot::{
    MergeStrategy, OneSnapshot, Snapshot, SnapshotCreate, SnapshotDelete, SnapshotDiff,
    SnapshotList, SnapshotMerge,
};

/// The heading of global options, below the options of the command itself.
const GLOBAL: &str = "Global options";

const EXIT_STATUS: &str = "\
Exit status:
  0    success
  1    other failure
  2    invalid usage or configuration
  3    upstream unreachable or not up to date: try again later
  4    verification failed: manual intervention required
  5    pool, database, published tree or medium missing or damaged
  6    busy: another run holds a lock
  130  interrupted

If a repository fails, the other repositories are still processed. The exit code is that of the \
most severe failure, in the order 130, 5, 4, 2, 1, 3, 6.";

/// Mirror RPM and APT repositories for networks without internet access
///
/// chantal downloads repositories from their upstreams, verifies signatures and checksums, stores
/// every file once, and publishes the result as plain files for any web server.
///
/// By default, the published files are those of the upstream, byte for byte, with the upstream's
/// signatures.
#[derive(Debug, Parser)]
#[command(name = "chantal", version, max_term_width = 100, after_long_help = EXIT_STATUS)]
pub struct Cli {
    /// Directory that contains conf.d and repos.d
    #[arg(
        long,
        global = true,
        help_heading = GLOBAL,
        value_name = "DIR",
        env = "CHANTAL_CONFIG_DIR",
        default_value = "/etc/chantal"
    )]
    pub config_dir: PathBuf,

    /// Increase verbosity (-v: requests to upstreams, -vv: all details)
    #[arg(short, long, global = true, help_heading = GLOBAL, action = ArgAction::Count)]
    pub verbose: u8,

    /// Suppress warnings and progress messages
    #[arg(short, long, global = true, help_heading = GLOBAL, conflicts_with = "verbose")]
    pub quiet: bool,

    /// Output format
    #[arg(
        long,
        global = true,
        help_heading = GLOBAL,
        value_enum,
        default_value_t = OutputFormat::Text
    )]
    pub format: OutputFormat,

    #[command(subcommand)]
    pub command: Command,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    /// Human-readable text
    Text,
    /// One JSON document on standard output
    Json,
    /// CSV table with a header row (RFC 4180), for `snapshot diff` only
    Csv,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Create the storage, and an example configuration if there is none
    ///
    /// Existing files are not overwritten.
    ///
    /// Mount all disks before you run this command. No other command creates a storage, because
    /// an unmounted disk looks like a storage that was never created. The only exception is `repo
    /// sync` with `storage.create: true` in the configuration.
    Init(WaitOptions),

    /// Sync, show and remove repositories
    #[command(subcommand)]
    Repo(Repo),

    /// Create and inspect immutable snapshots
    #[command(subcommand)]
    Snapshot(Snapshot),

    /// Publish the latest state of repositories, or a snapshot
    ///
    /// Repositories are published at `publish.latest_path`, snapshots below
    /// `publish.snapshots_path`. `--to` publishes at another path.
    ///
    /// A sync publishes automatically unless `publish.auto` is false.
    ///
    /// New files are added to the published tree, then clients see the new metadata in one step.
    /// Files that only earlier generations had stay available for `publish.keep`.
    ///
    /// apt silently ignores metadata that is older than what it already has. If a path had a newer
    /// state before, the Release file gets a new date and is signed with `signing.key_file`.
    /// Without a signing key, the command fails.
    ///
    /// Metadata that chantal generates (filters, merges) is signed with the same key. Without a
    /// signing key, it is unsigned.
    Publish(Publish),

    /// Remove published trees, but keep the states and snapshots
    ///
    /// Syncs skip an unpublished path until `chantal publish` publishes it again.
    Unpublish(Unpublish),

    /// Carry states and snapshots to a host without network on offline media
    #[command(subcommand)]
    Media(Media),

    /// Maintain the database and the package pool
    #[command(subcommand)]
    Db(Db),

    /// Manage the ownership of the package pool
    #[command(subcommand)]
    Pool(Pool),

    /// Validate the configuration; generate a signing key
    #[command(subcommand)]
    Config(Config),

    /// Generate manual pages
    #[command(subcommand)]
    Generate(Generate),
}

/// An option of every command that changes the storage.
#[derive(Debug, Args)]
pub struct WaitOptions {
    /// Wait for at most TIME (30s, 10m, 2h) if another run holds a lock
    ///
    /// Without TIME, the command waits without limit. Without this option, it fails with exit
    /// code 6.
    #[arg(
        long,
        value_name = "TIME",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = ALWAYS,
        value_parser = wait
    )]
    pub wait: Option<Wait>,
}

const ALWAYS: &str = "always";

fn wait(text: &str) -> Result<Wait, String> {
    match text {
        ALWAYS => Ok(Wait::Always),
        _ => parse_duration(text).map(Wait::UpTo),
    }
}

#[derive(Debug, Args)]
#[group(id = "which", required = true, multiple = false)]
pub struct RepositorySelection {
    /// Name of a repository; can be repeated
    #[arg(long = "repo-id", value_name = "NAME", group = "which", value_parser = RepoId::parse)]
    pub repo_ids: Vec<RepoId>,

    /// All enabled repositories
    #[arg(long, group = "which")]
    pub all: bool,
}

#[derive(Debug, Args)]
pub struct ForgetAbsent {
    /// Forget published trees that are missing because their disk is permanently lost
    #[arg(long)]
    pub forget_absent: bool,
}

#[derive(Debug, Subcommand)]
pub enum Generate {
    /// Write the manual pages
    Man(GenerateMan),
}

#[derive(Debug, Args)]
pub struct GenerateMan {
    /// Write to this directory, which must exist
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub to: PathBuf,
}
