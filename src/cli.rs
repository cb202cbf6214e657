//! The command line. This one definition gives the parser, `--help` and the man pages.

use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};

use crate::config::{RepoId, parse_duration};
use crate::lock::Wait;
use crate::snapshot::{Reference, SnapshotName, StateReference};

/// In every command's help below what is its own.
const GLOBAL: &str = "Global options";

const EXIT_STATUS: &str = "\
Exit status:
  0    done
  1    another failure
  2    usage or configuration
  3    an upstream cannot be reached or lags behind: worth a retry
  4    refused: a root, index or package is not what it should be; a person must look
  5    the pool or the store is damaged or missing
  6    busy: another run holds the lock
  130  interrupted

With several repositories the others still run; the gravest counts, in the order 130, 5, 4, 2, 1, 3, 6.";

/// Mirror RPM and APT repositories for networks that have no internet.
///
/// chantal syncs upstream repositories into a content-addressed pool and publishes them as plain files for any web server. What it
/// publishes is what the upstream has, byte for byte, signatures included.
#[derive(Debug, Parser)]
#[command(name = "chantal", version, max_term_width = 100, after_long_help = EXIT_STATUS)]
pub struct Cli {
    /// Directory that holds conf.d and repos.d
    #[arg(
        long,
        global = true,
        help_heading = GLOBAL,
        value_name = "DIR",
        env = "CHANTAL_CONFIG_DIR",
        default_value = "/etc/chantal"
    )]
    pub config_dir: PathBuf,

    /// Say more: -v for what is asked of upstreams, -vv for everything
    #[arg(short, long, global = true, help_heading = GLOBAL, action = ArgAction::Count)]
    pub verbose: u8,

    /// Say only what went wrong
    #[arg(short, long, global = true, help_heading = GLOBAL, conflicts_with = "verbose")]
    pub quiet: bool,

    /// How results are printed
    #[arg(long, global = true, help_heading = GLOBAL, value_enum, default_value_t = OutputFormat::Text)]
    pub format: OutputFormat,

    #[command(subcommand)]
    pub command: Command,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    /// For people
    Text,
    /// One JSON document on standard output
    Json,
    /// One table with headings (RFC 4180); `snapshot diff` alone has it
    Csv,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make the storage, and an example configuration where there is none
    ///
    /// Nothing that exists is overwritten. Run it with the disks mounted: no other command makes a storage, because a disk that is
    /// not mounted looks like one that was never made. Only where the configuration says `storage.create: true` the first sync makes
    /// it, if nothing has its name and no disk seems to be missing.
    Init(Waiting),

    /// Sync and list repositories
    #[command(subcommand)]
    Repo(Repo),

    /// Name states that never change again, and look at them
    #[command(subcommand)]
    Snapshot(Snapshot),

    /// Publish the last good state of repositories at their `latest_path`, or a snapshot
    ///
    /// A sync does the former by itself unless `publish.auto` is false. The tree is made anew from the pool and takes the old one's
    /// place in one step; files of earlier generations stay for `publish.keep`.
    ///
    /// apt silently ignores a state that is older than the one it knows: at a place that had a newer one it gets a new date and is
    /// signed with `signing.key_file`; without such a key it is refused. Indexes that chantal wrote itself (filters, merges) are signed
    /// with that key too, or unsigned without one.
    Publish(Publish),

    /// Take published trees away; states and snapshots stay
    ///
    /// It lasts: syncs skip a place that was unpublished until `chantal publish` publishes it again.
    Unpublish(Unpublish),

    /// Look after the store and the pool
    #[command(subcommand)]
    Db(Db),

    /// Say whose the pool is
    #[command(subcommand)]
    Pool(Pool),

    /// Look at the configuration, and make a signing key
    #[command(subcommand)]
    Config(Config),

    /// Generate files from this program
    #[command(subcommand)]
    Generate(Generate),
}

/// Of every command that changes something.
#[derive(Debug, Args)]
pub struct Waiting {
    /// Wait for another run that is in the way, for at most TIME (30s, 10m, 2h), or as long as it takes
    ///
    /// Without this option such a command ends at once with exit code 6.
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

#[derive(Debug, Subcommand)]
pub enum Repo {
    /// Bring repositories to their upstream's state, and publish them
    ///
    /// Only what is new is downloaded. If anything goes wrong with a repository, its last good state and its published tree stay as
    /// they were, and the next run continues with what was downloaded.
    Sync(RepoSync),

    /// List the configured repositories
    List,

    /// Show one repository: configuration, state, published trees
    Show(OneRepository),

    /// Show the syncs of one repository, the newest first
    History(RepoHistory),

    /// Trust the keys that a repository's key URLs have now
    ///
    /// Keys that a `gpgkey_url` has the first time are trusted and kept; a sync that has something new to verify takes updates of them.
    /// When the URL has other keys, syncs fail until somebody who knows that the change is genuine says so with this command. Keys
    /// that the URLs no longer have are not trusted any more, nor are those that `gpgkey_fingerprints` does not name.
    Trust(RepoTrust),

    /// Forget a repository that is not configured any more, and take away what is published of its state
    ///
    /// Its state, its history and the keys that its key URLs gave are forgotten. `--dry-run` shows what that is and how much nothing
    /// else needs; `chantal db cleanup` frees that afterwards. A published tree that is missing keeps its repository, unless
    /// `--forget-absent` is given. Snapshots are kept, with what they need and wherever they are published, unless
    /// `--snapshots` is given. A repository that is still configured, enabled or not, is refused.
    Remove(RepoRemove),
}

#[derive(Debug, Args)]
#[group(id = "which", required = true, multiple = false)]
pub struct Which {
    /// Name of a repository; can be given several times
    #[arg(long = "repo-id", value_name = "NAME", group = "which")]
    pub repo_ids: Vec<String>,

    /// All enabled repositories
    #[arg(long, group = "which")]
    pub all: bool,
}

#[derive(Debug, Args)]
pub struct RepoSync {
    #[command(flatten)]
    pub which: Which,

    /// How many repositories are synced at a time
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=100))]
    pub workers: u16,

    /// Show what would be downloaded, and change no state and no published tree
    ///
    /// New indexes are downloaded for it, to the cache's directory. Nothing in the storage is locked or changed.
    #[arg(long)]
    pub dry_run: bool,

    /// Ask the upstream for its root and derive the state anew, even if it seems unchanged
    #[arg(long)]
    pub refresh: bool,

    /// Follow an upstream that went back to an older state, this once
    #[arg(long)]
    pub allow_rollback: bool,

    #[command(flatten)]
    pub snapshot: SyncedSnapshot,

    #[command(flatten)]
    pub waiting: Waiting,
}

#[derive(Debug, Args)]
pub struct SyncedSnapshot {
    /// Make a snapshot of each repository that was synced, and publish it below its `snapshots_path`
    #[arg(long, conflicts_with = "dry_run")]
    pub create_snapshot: bool,

    /// Its name [default: the repository's name and the time, NAME-YYYY-MM-DD-HHMMSS]
    #[arg(long, value_name = "NAME", requires = "create_snapshot", value_parser = SnapshotName::parse)]
    pub snapshot_name: Option<SnapshotName>,
}

#[derive(Debug, Args)]
pub struct RepoRemove {
    /// Name of the repository
    #[arg(long = "repo-id", value_name = "NAME", value_parser = RepoId::parse)]
    pub repo_id: RepoId,

    /// Say what would be forgotten and how much nothing else needs, and change nothing
    #[arg(long)]
    pub dry_run: bool,

    /// Delete its snapshots too
    #[arg(long)]
    pub snapshots: bool,

    /// Take snapshots away also where they are published
    #[arg(long, requires = "snapshots")]
    pub force: bool,

    #[command(flatten)]
    pub absent: ForgetAbsent,

    #[command(flatten)]
    pub waiting: Waiting,
}

#[derive(Debug, Args)]
pub struct ForgetAbsent {
    /// Forget trees that are missing because their disk is lost for good
    #[arg(long)]
    pub forget_absent: bool,
}

#[derive(Debug, Args)]
pub struct OneRepository {
    /// Name of the repository
    #[arg(long = "repo-id", value_name = "NAME")]
    pub repo_id: String,
}

#[derive(Debug, Args)]
pub struct RepoTrust {
    #[command(flatten)]
    pub repository: OneRepository,

    #[command(flatten)]
    pub waiting: Waiting,
}

#[derive(Debug, Args)]
pub struct RepoHistory {
    #[command(flatten)]
    pub repository: OneRepository,

    /// How many syncs to show
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub limit: usize,
}

#[derive(Debug, Subcommand)]
pub enum Snapshot {
    /// Name the last good state of repositories, and publish it below their `snapshots_path`
    ///
    /// No file is copied: a snapshot is a name in the store, and what is published are hard links. With several repositories, all
    /// get the name or none.
    Create(SnapshotCreate),

    /// List the snapshots
    List(SnapshotList),

    /// Show one snapshot: what is in it, what it alone takes, where it is published
    Show(OneSnapshot),

    /// Show how one state became another: packages, bytes, and why
    ///
    /// Packages are compared by name and architecture, versions in the order of dpkg or rpm: added, removed, upgraded, downgraded,
    /// rebuilt (the same version of other bytes). For RPM the new advisories about what changed are shown, for APT the source packages
    /// that changed packages were built from. With `--format csv` there is one line for each package.
    Diff(SnapshotDiff),

    /// Make a snapshot out of several snapshots or states of one format
    ///
    /// Packages come from the sources as the strategy says; new indexes are written over them, and signed with `signing.key_file`.
    /// Nothing is downloaded.
    Merge(SnapshotMerge),

    /// Forget snapshots, and take away what is published of them
    ///
    /// `chantal db cleanup` frees what nothing else needs.
    Delete(SnapshotDelete),
}

#[derive(Debug, Args)]
pub struct SnapshotCreate {
    #[command(flatten)]
    pub which: Which,

    /// Name of the snapshot: letters, digits, `.`, `_` and `-`
    #[arg(long, value_name = "NAME", value_parser = SnapshotName::parse)]
    pub name: SnapshotName,

    /// What is special about it
    #[arg(long, value_name = "TEXT")]
    pub description: Option<String>,

    /// Do not publish it below `snapshots_path`
    #[arg(long)]
    pub no_publish: bool,

    #[command(flatten)]
    pub waiting: Waiting,
}

#[derive(Debug, Args)]
pub struct SnapshotList {
    /// Only those of this repository
    #[arg(long = "repo-id", value_name = "NAME")]
    pub repo_id: Option<String>,
}

#[derive(Debug, Args)]
pub struct OneSnapshot {
    /// Name of the snapshot; REPOSITORY/NAME where several repositories have it
    #[arg(long, value_name = "NAME", value_parser = Reference::parse)]
    pub name: Reference,
}

#[derive(Debug, Args)]
pub struct SnapshotDiff {
    /// The old state: a snapshot, NAME or REPOSITORY/NAME, or the last good state of a repository, REPOSITORY or REPOSITORY/latest
    #[arg(long, value_name = "STATE", value_parser = StateReference::parse)]
    pub from: StateReference,

    /// The new state, named in the same ways
    #[arg(long, value_name = "STATE", value_parser = StateReference::parse)]
    pub to: StateReference,

    /// Show numbers only
    #[arg(long)]
    pub summary: bool,
}

#[derive(Debug, Args)]
pub struct SnapshotMerge {
    /// A snapshot, NAME or REPOSITORY/NAME, or the last good state of a repository, REPOSITORY or REPOSITORY/latest; given for each
    /// source, the one that counts most last
    #[arg(long = "source", value_name = "STATE", required = true, value_parser = StateReference::parse)]
    pub sources: Vec<StateReference>,

    /// Name of the new snapshot: letters, digits, `.`, `_` and `-`
    #[arg(long, value_name = "NAME", value_parser = SnapshotName::parse)]
    pub name: SnapshotName,

    /// Which packages are taken where several sources have them
    #[arg(long, value_enum, default_value_t = MergeStrategy::Rightmost)]
    pub strategy: MergeStrategy,

    /// The repository that it belongs to [default: that of the first source]
    #[arg(long = "repo-id", value_name = "NAME")]
    pub repo_id: Option<String>,

    /// What is special about it
    #[arg(long, value_name = "TEXT")]
    pub description: Option<String>,

    /// Suite of its Release [default: that of the last source, and so for the next three; APT only]. The directory below dists is
    /// the last source's whatever this says
    #[arg(long, value_name = "TEXT", value_parser = release_value)]
    pub suite: Option<String>,

    /// Codename of its Release
    #[arg(long, value_name = "TEXT", value_parser = release_value)]
    pub codename: Option<String>,

    /// Origin of its Release
    #[arg(long, value_name = "TEXT", value_parser = release_value)]
    pub origin: Option<String>,

    /// Label of its Release
    #[arg(long, value_name = "TEXT", value_parser = release_value)]
    pub label: Option<String>,

    /// Do not publish it below `snapshots_path`
    #[arg(long)]
    pub no_publish: bool,

    #[command(flatten)]
    pub waiting: Waiting,
}

/// One line that is not empty, with nothing around it.
fn release_value(text: &str) -> Result<String, String> {
    if text.is_empty() || text.trim() != text || text.contains(char::is_control) {
        return Err("it must be one line without blanks around it".to_owned());
    }
    Ok(text.to_owned())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum MergeStrategy {
    /// The last source that has a name and architecture supplies all its versions
    Rightmost,
    /// The highest version of each name, architecture and module stream
    Latest,
    /// Every version; of those that several sources have the last source's
    KeepAll,
}

#[derive(Debug, Args)]
pub struct SnapshotDelete {
    /// Name of a snapshot; REPOSITORY/NAME where several repositories have it. Can be given several times
    #[arg(long = "name", value_name = "NAME", required = true, value_parser = Reference::parse)]
    pub names: Vec<Reference>,

    /// Take it away also where it was published with `--to`
    #[arg(long)]
    pub force: bool,

    #[command(flatten)]
    pub absent: ForgetAbsent,

    #[command(flatten)]
    pub waiting: Waiting,
}

#[derive(Debug, Args)]
#[group(id = "what", required = true, multiple = false)]
pub struct What {
    /// Name of a repository, for its last good state; can be given several times
    #[arg(long = "repo-id", value_name = "NAME", group = "what")]
    pub repo_ids: Vec<String>,

    /// All enabled repositories
    #[arg(long, group = "what")]
    pub all: bool,

    /// Name of a snapshot; REPOSITORY/NAME where several repositories have it
    #[arg(long, value_name = "NAME", group = "what", value_parser = Reference::parse)]
    pub snapshot_name: Option<Reference>,
}

#[derive(Debug, Args)]
pub struct Publish {
    #[command(flatten)]
    pub what: What,

    /// Publish it there: a tree of its own, which can be switched from snapshot to snapshot in one step
    #[arg(long, value_name = "PATH", conflicts_with = "all")]
    pub to: Option<PathBuf>,

    /// Publish it again where it was published and is missing
    ///
    /// A published tree that is not there may be on a disk that is not mounted. Without this option nothing is made in its place.
    #[arg(long)]
    pub recreate: bool,

    #[command(flatten)]
    pub waiting: Waiting,
}

#[derive(Debug, Args)]
pub struct Unpublish {
    #[command(flatten)]
    pub which: Trees,

    #[command(flatten)]
    pub absent: ForgetAbsent,

    #[command(flatten)]
    pub waiting: Waiting,
}

#[derive(Debug, Args)]
#[group(id = "trees", required = true, multiple = false)]
pub struct Trees {
    /// Every tree that shows this repository's state
    #[arg(long = "repo-id", value_name = "NAME", group = "trees")]
    pub repo_id: Option<String>,

    /// Every tree that shows this snapshot
    #[arg(long, value_name = "NAME", group = "trees", value_parser = Reference::parse)]
    pub snapshot_name: Option<Reference>,

    /// The tree there
    #[arg(long, value_name = "PATH", group = "trees")]
    pub path: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub enum Db {
    /// Remove what no state, snapshot or published tree needs
    ///
    /// Objects that nothing names, downloads that nobody continued for a day, what killed runs left, and files of earlier
    /// generations in published trees whose `publish.keep` is over (the last one stays). Then the store is made small again.
    Cleanup(DbCleanup),

    /// Bring the store of an earlier chantal to the schema version of this one
    ///
    /// A copy of the store is made beside it first. Every command that changes the storage does the same by itself; commands that only
    /// look at it read an older store as it is. Afterwards the earlier chantal refuses the store: to go back, put the copy in its place
    /// while nothing runs.
    Migrate(Waiting),

    /// Say how much is in the pool, and what sharing saves
    Stats,
}

#[derive(Debug, Args)]
pub struct DbCleanup {
    /// Say what would be removed, and remove nothing
    #[arg(long)]
    pub dry_run: bool,

    /// Remove also what the store does not know although it was in the pool before it
    ///
    /// A store that `init` put over the pool of a lost one, or that took a pool over, does not know what the store before it needed:
    /// until this is given once, cleanup keeps all objects that were there then.
    #[arg(long)]
    pub forget_unknown: bool,

    #[command(flatten)]
    pub waiting: Waiting,
}

#[derive(Debug, Subcommand)]
pub enum Pool {
    /// Make this storage's store the owner of the pool that another store owned
    ///
    /// A pool belongs to one store, which alone removes objects from it. This command is for a store that was moved or copied, that came
    /// out of a backup, or that is to use another store's pool: it says when both were last used, and from then on the other store is
    /// refused. Nothing is removed: objects that were in the pool stay until `chantal db cleanup --forget-unknown`.
    TakeOver(PoolTakeOver),
}

#[derive(Debug, Args)]
pub struct PoolTakeOver {
    /// The id of the store that the pool belongs to now, as the error names it
    #[arg(long, value_name = "ID")]
    pub from: String,

    #[command(flatten)]
    pub waiting: Waiting,
}

#[derive(Debug, Subcommand)]
pub enum Config {
    /// Read the whole configuration and say what it holds
    ///
    /// Also opens the keys, certificates and passwords that it names, and warns of secrets that others can read. Commands that print a
    /// secret are not run, and no upstream is asked.
    Check,

    /// Make a key that signs what chantal makes itself, and configure it
    ///
    /// Writes `keys/signing.sec.asc`, `keys/signing.pub.asc` and `conf.d/signing.yaml` below the configuration directory. Nothing that
    /// exists is overwritten. The key never expires. Clients need its public part: `keys/signing.pub.asc`.
    Keygen(ConfigKeygen),
}

#[derive(Debug, Args)]
pub struct ConfigKeygen {
    /// What the key computes with
    #[arg(long = "type", value_name = "TYPE", value_enum, default_value_t = KeyType::Ed25519)]
    pub key_type: KeyType,

    /// Whose key it is, as clients will see it [default: chantal mirror (HOSTNAME)]
    #[arg(long, value_name = "TEXT")]
    pub user_id: Option<String>,

    /// File whose first line becomes the key's passphrase; it is configured too, so that chantal can sign
    #[arg(long, value_name = "FILE")]
    pub passphrase_file: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum KeyType {
    /// Small and fast; for clients since RHEL 8, Debian 9 and Ubuntu 18.04
    Ed25519,
    /// For older clients, and for those in FIPS mode
    Rsa4096,
}

#[derive(Debug, Subcommand)]
pub enum Generate {
    /// Write the manual pages
    Man(GenerateMan),
}

#[derive(Debug, Args)]
pub struct GenerateMan {
    /// Directory to write them to; it must exist
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub to: PathBuf,
}
