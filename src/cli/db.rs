//! `chantal db` and `chantal pool`.

use clap::{Args, Subcommand};

use super::WaitOptions;

#[derive(Debug, Subcommand)]
pub enum Db {
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
