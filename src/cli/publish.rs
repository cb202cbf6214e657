//! `chantal publish` and `chantal unpublish`.

use std::path::PathBuf;

use clap::Args;

use super::{ForgetAbsent, WaitOptions};
use crate::names::RepoId;
use crate::snapshot::SnapshotReference;

#[derive(Debug, Args)]
#[group(id = "what", required = true, multiple = false)]
pub struct PublishSelection {
    /// Publish the latest state of this repository; can be repeated
    #[arg(long = "repo-id", value_name = "NAME", group = "what", value_parser = RepoId::parse)]
    pub repo_ids: Vec<RepoId>,

    /// Publish all enabled repositories
    #[arg(long, group = "what")]
    pub all: bool,

    /// Publish this snapshot: NAME, or REPOSITORY/NAME if several repositories have it
    #[arg(long, value_name = "NAME", group = "what", value_parser = SnapshotReference::parse)]
    pub snapshot_name: Option<SnapshotReference>,
}

#[derive(Debug, Args)]
pub struct Publish {
    #[command(flatten)]
    pub what: PublishSelection,

    /// Publish at this path, which can be switched to another snapshot in one step
    #[arg(long, value_name = "PATH", conflicts_with = "all")]
    pub to: Option<PathBuf>,

    /// Publish the whole tree again, even if it is missing
    ///
    /// Without this option, only what changed is added to the published tree and exchanged. A
    /// missing tree may be on a disk that is not mounted: without this option, the command fails
    /// and creates nothing there.
    #[arg(long)]
    pub recreate: bool,

    #[command(flatten)]
    pub waiting: WaitOptions,
}

#[derive(Debug, Args)]
pub struct Unpublish {
    #[command(flatten)]
    pub which: UnpublishSelection,

    #[command(flatten)]
    pub absent: ForgetAbsent,

    #[command(flatten)]
    pub waiting: WaitOptions,
}

#[derive(Debug, Args)]
#[group(id = "trees", required = true, multiple = false)]
pub struct UnpublishSelection {
    /// Remove all published trees of this repository, but not those of its snapshots
    #[arg(long = "repo-id", value_name = "NAME", group = "trees", value_parser = RepoId::parse)]
    pub repo_id: Option<RepoId>,

    /// Remove all published trees of this snapshot
    #[arg(long, value_name = "NAME", group = "trees", value_parser = SnapshotReference::parse)]
    pub snapshot_name: Option<SnapshotReference>,

    /// Remove the published tree at this path
    #[arg(long, value_name = "PATH", group = "trees")]
    pub path: Option<PathBuf>,
}
