//! `chantal snapshot`.

use clap::{Args, Subcommand, ValueEnum};

use super::{ForgetAbsent, RepositorySelection, WaitOptions};
use crate::names::{RepoId, SnapshotName};
use crate::snapshot::{SnapshotReference, StateReference};

#[derive(Debug, Subcommand)]
pub enum Snapshot {
    /// Create a snapshot of the latest state of repositories, and publish it
    ///
    /// The snapshot is published below the `snapshots_path` of the repository, if that is
    /// configured. No files are copied: a snapshot is a name in the database, and published files
    /// are hard links.
    ///
    /// With several repositories, either all snapshots are created or none.
    Create(SnapshotCreate),

    /// List snapshots
    List(SnapshotList),

    /// Show a snapshot: contents, exclusive disk usage, published trees
    Show(OneSnapshot),

    /// Show the differences between two states: packages, sizes, reasons
    ///
    /// Packages are compared by name and architecture, and versions in the order of dpkg or rpm. A
    /// package is added, removed, upgraded, downgraded, or rebuilt (same version, different
    /// content).
    ///
    /// For RPM, new advisories for changed packages are shown. For APT, the source packages of
    /// changed packages are shown.
    ///
    /// `--format csv` prints one line for each package.
    Diff(SnapshotDiff),

    /// Merge several snapshots or states of the same format into a new snapshot
    ///
    /// `--strategy` selects the packages. New indexes are generated and signed with
    /// `signing.key_file`. Nothing is downloaded.
    Merge(SnapshotMerge),

    /// Delete snapshots and their published trees
    ///
    /// `chantal db cleanup` then frees the disk space that nothing else needs.
    Delete(SnapshotDelete),
}

#[derive(Debug, Args)]
pub struct SnapshotCreate {
    #[command(flatten)]
    pub which: RepositorySelection,

    /// Name of the snapshot: letters, digits, `.`, `_` and `-`
    #[arg(long, value_name = "NAME", value_parser = SnapshotName::parse)]
    pub name: SnapshotName,

    /// Description of the snapshot
    #[arg(long, value_name = "TEXT")]
    pub description: Option<String>,

    /// Do not publish the snapshot
    #[arg(long)]
    pub no_publish: bool,

    #[command(flatten)]
    pub waiting: WaitOptions,
}

#[derive(Debug, Args)]
pub struct SnapshotList {
    /// List only the snapshots of this repository
    #[arg(long = "repo-id", value_name = "NAME", value_parser = RepoId::parse)]
    pub repo_id: Option<RepoId>,
}

#[derive(Debug, Args)]
pub struct OneSnapshot {
    /// Name of the snapshot, or REPOSITORY/NAME if several repositories have a snapshot NAME
    #[arg(long, value_name = "NAME", value_parser = SnapshotReference::parse)]
    pub name: SnapshotReference,
}

#[derive(Debug, Args)]
pub struct SnapshotDiff {
    /// Old state: a snapshot or the latest state of a repository
    ///
    /// A snapshot is NAME or REPOSITORY/NAME. The latest state of a repository is REPOSITORY or
    /// REPOSITORY/latest.
    #[arg(long, value_name = "STATE", value_parser = StateReference::parse)]
    pub from: StateReference,

    /// New state, in the same notation
    #[arg(long, value_name = "STATE", value_parser = StateReference::parse)]
    pub to: StateReference,

    /// Show totals only
    #[arg(long)]
    pub summary: bool,
}

#[derive(Debug, Args)]
pub struct SnapshotMerge {
    /// Snapshot or latest state to merge; repeat for each source, highest priority last
    ///
    /// A snapshot is NAME or REPOSITORY/NAME. The latest state of a repository is REPOSITORY or
    /// REPOSITORY/latest.
    #[arg(
        long = "source",
        value_name = "STATE",
        required = true,
        value_parser = StateReference::parse
    )]
    pub sources: Vec<StateReference>,

    /// Name of the new snapshot: letters, digits, `.`, `_` and `-`
    #[arg(long, value_name = "NAME", value_parser = SnapshotName::parse)]
    pub name: SnapshotName,

    /// Which packages to take if several sources have them
    #[arg(long, value_enum, default_value_t = MergeStrategy::Rightmost)]
    pub strategy: MergeStrategy,

    /// Repository of the new snapshot [default: the repository of the first source]
    #[arg(long = "repo-id", value_name = "NAME", value_parser = RepoId::parse)]
    pub repo_id: Option<RepoId>,

    /// Description of the snapshot
    #[arg(long, value_name = "TEXT")]
    pub description: Option<String>,

    /// Suite in the Release file (APT only) [default: from the last source]
    ///
    /// The directory below dists is always that of the last source.
    #[arg(long, value_name = "TEXT", value_parser = release_value)]
    pub suite: Option<String>,

    /// Codename in the Release file (APT only) [default: from the last source]
    #[arg(long, value_name = "TEXT", value_parser = release_value)]
    pub codename: Option<String>,

    /// Origin in the Release file (APT only) [default: from the last source]
    #[arg(long, value_name = "TEXT", value_parser = release_value)]
    pub origin: Option<String>,

    /// Label in the Release file (APT only) [default: from the last source]
    #[arg(long, value_name = "TEXT", value_parser = release_value)]
    pub label: Option<String>,

    /// Do not publish the snapshot
    #[arg(long)]
    pub no_publish: bool,

    #[command(flatten)]
    pub waiting: WaitOptions,
}

/// A single line, not empty, without leading and trailing spaces.
fn release_value(text: &str) -> Result<String, String> {
    if text.is_empty() || text.trim() != text || text.contains(char::is_control) {
        return Err("must be one line without leading or trailing spaces".to_owned());
    }
    Ok(text.to_owned())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum MergeStrategy {
    /// All versions of the last source that has the name and architecture
    Rightmost,
    /// The highest version for each name, architecture and module stream
    Latest,
    /// Every version; if several sources have the same version, that of the last source
    KeepAll,
}

#[derive(Debug, Args)]
pub struct SnapshotDelete {
    /// Name of a snapshot, or REPOSITORY/NAME if several repositories have it; can be repeated
    #[arg(long = "name", value_name = "NAME", required = true, value_parser = SnapshotReference::parse)]
    pub names: Vec<SnapshotReference>,

    /// Delete the snapshot even if it is published at a path given with `publish --to`
    #[arg(long)]
    pub force: bool,

    #[command(flatten)]
    pub absent: ForgetAbsent,

    #[command(flatten)]
    pub waiting: WaitOptions,
}
