//! `chantal db` and `chantal pool`.

use clap::{Args, Subcommand};

use super::WaitOptions;
use crate::check::Subset;
use crate::names::RepoId;
use crate::snapshot::SnapshotReference;

#[derive(Debug, Subcommand)]
pub enum Db {
    /// Check everything that is stored and published, without network
    ///
    /// Checks:
    ///
    /// - the database: every row
    ///
    /// - the pool: every object that a state, snapshot or published tree needs exists and has the
    ///   right size; unless `--quick` is given, its content is read and compared with its SHA-256
    ///
    /// - every state, snapshot and published tree: the signature of its root as of the time of the
    ///   sync, with the keys that were trusted then and all revocations known now; its indexes; its
    ///   packages
    ///
    /// - every published tree: missing, replaced and foreign files; the content of files that are
    ///   copies although hard links are possible; without `--quick`, also of copies on another file
    ///   system
    ///
    /// Each state, snapshot and tree is `proved`, `proved to the evidence` (with filters: the
    /// upstream's signed indexes are stored, and list every package), `own` (merges), `not signed`
    /// (no signature was required) or `unproved` (what would prove it was not stored). Signatures
    /// inside packages are not verified again.
    ///
    /// The exit code is 5 if anything is wrong (with `--repair`, if anything still is), and the
    /// output lists what it affects. Notes do not change the exit code. Without `--repair` nothing
    /// is changed, except that the database records when an object was last verified. Syncs can run
    /// at the same time, `db cleanup` cannot.
    Check(DbCheck),

    /// Remove everything that no state, snapshot or published tree needs
    ///
    /// Removes:
    ///
    /// - unreferenced objects from the pool
    ///
    /// - partial downloads that were not resumed within 24 hours
    ///
    /// - leftovers of interrupted runs
    ///
    /// - damaged files of the pool that `db check --repair` moved away, if they were replaced or are
    ///   not needed any more
    ///
    /// - files of earlier generations from published trees, after `publish.keep` has passed (the
    ///   last generation is kept)
    ///
    /// Then the database is compacted. This command needs exclusive access to the storage: no other
    /// command that changes the storage can run at the same time.
    Cleanup(DbCleanup),

    /// Migrate the database of an earlier version to the current schema
    ///
    /// A backup of the database is created next to it first. Commands that change the storage
    /// migrate the database automatically. Commands that only read it can read the old schema.
    ///
    /// An earlier version of chantal cannot read the migrated database. To go back, replace it with
    /// the backup while no other command is running.
    ///
    /// This command needs exclusive access to the storage: no other command that changes the
    /// storage can run at the same time.
    Migrate(WaitOptions),

    /// Show the size of the pool, and how much space deduplication saves
    Stats,
}

#[derive(Debug, Args)]
pub struct DbCheck {
    /// Do not read packages: check only presence, sizes, indexes, the database and trees
    #[arg(long, conflicts_with = "read_data")]
    pub quick: bool,

    /// Read only a part of the objects: 5%, 20G or N/M
    ///
    /// With a percentage of all bytes or a size (K, M, G, T), the objects that were verified longest
    /// ago are read first, so that daily checks read everything in turn. N/M reads the Nth of M
    /// fixed parts. Everything else is checked as with --quick.
    #[arg(long, value_name = "SUBSET", value_parser = Subset::parse)]
    pub read_data: Option<Subset>,

    /// Replace what is damaged
    ///
    /// Publications that were interrupted are completed first. A damaged or missing object is looked
    /// for in published trees and complete downloads, then on the upstreams of the repositories that
    /// use it, and is accepted only with its SHA-256. Every published tree with a damaged or missing
    /// file is mended, without interrupting its clients.
    /// What cannot be found is listed with the snapshots and packages that need it; if it is
    /// damaged, it is moved to `damaged` in the pool, so that it is never published again.
    #[arg(long)]
    pub repair: bool,

    /// Check only this repository with its snapshots and trees; can be repeated
    #[arg(long = "repo-id", value_name = "NAME", value_parser = RepoId::parse)]
    pub repo_ids: Vec<RepoId>,

    /// Check only this snapshot with its trees: NAME, or REPOSITORY/NAME; can be repeated
    #[arg(
        long = "snapshot-name",
        visible_alias = "snapshot",
        value_name = "NAME",
        value_parser = SnapshotReference::parse
    )]
    pub snapshot_names: Vec<SnapshotReference>,

    #[command(flatten)]
    pub waiting: WaitOptions,
}

#[derive(Debug, Args)]
pub struct DbCleanup {
    /// Show what would be removed, without removing anything
    #[arg(long)]
    pub dry_run: bool,

    /// Also remove objects that were in the pool before the database was created
    ///
    /// A new database over an existing pool (after `init` or `pool take-over`) does not know what
    /// the previous database needed. Cleanup keeps all objects that were in the pool at that time
    /// until this option is given once.
    #[arg(long)]
    pub forget_unknown: bool,

    #[command(flatten)]
    pub waiting: WaitOptions,
}

#[derive(Debug, Subcommand)]
pub enum Pool {
    /// Take over a pool that belongs to another database
    ///
    /// A pool belongs to one database, and only commands that use this database may delete objects
    /// from the pool. Use this command if:
    ///
    /// - the database was moved or copied
    ///
    /// - the database was restored from a backup
    ///
    /// - the storage should use the pool of another database
    ///
    /// The command shows when both databases were last used. Afterwards, commands that use the
    /// other database fail. Objects in the pool are kept until `chantal db cleanup
    /// --forget-unknown`.
    ///
    /// This command needs exclusive access to the storage: no other command that changes the
    /// storage can run at the same time.
    TakeOver(PoolTakeOver),
}

#[derive(Debug, Args)]
pub struct PoolTakeOver {
    /// ID of the database that owns the pool now, as shown in the error message
    #[arg(long, value_name = "ID")]
    pub from: String,

    #[command(flatten)]
    pub waiting: WaitOptions,
}
