//! `chantal media`.

use std::path::PathBuf;

use clap::{ArgAction, Args, Subcommand};

use super::WaitOptions;
use crate::names::{DestinationName, RepoId};
use crate::snapshot::SnapshotReference;

#[derive(Debug, Subcommand)]
pub enum Media {
    /// Show what an export would write, without writing anything
    Plan(MediaPlan),

    /// Write states and snapshots to a directory for another host
    ///
    /// Everything is written into one new folder `chantal-EXPORTER-NUMBER` of the directory: the
    /// objects as plain files, a manifest, and its signature by `signing.key_file`. Other files of
    /// the directory are not changed. FAT32 and exFAT are supported.
    ///
    /// An export contains only what the destination does not have: it builds on the last transfer
    /// that the destination confirmed (`media confirm`), otherwise on nothing.
    ///
    /// What was written is read back from the medium. An interrupted export is continued by the
    /// next one to the same directory.
    Export(MediaExport),

    /// Show what is on a medium: who made it, when, for whom, what, and whether it is complete
    ///
    /// Needs neither a configuration nor a storage, and writes nothing. Signatures and checksums
    /// are not verified: `media verify` does that.
    Status(MediaStatus),

    /// Verify the signature and every file of a medium
    ///
    /// Needs neither a configuration nor a storage, and writes nothing. The exit code is 4 if the
    /// signature is not good or if there are undeclared files, 5 if files are missing or damaged.
    Verify(MediaVerify),

    /// Import the transfers of a medium
    ///
    /// A transfer is imported if it is signed by one of `media.trusted_keys` and made for
    /// `media.destination`. Every file is hashed while it is copied into the pool. Then each state
    /// is proved from the signature of its upstream, with the keys and checks that the repository
    /// is configured with here. A repository is imported completely or not at all; the others are
    /// still imported.
    ///
    /// The newest state of each repository becomes its current one and is published like after a
    /// sync. Snapshots are created and published. A transfer that was imported before is skipped.
    ///
    /// A repository without a definition is imported if its upstream is signed, after
    /// `--accept-keys` accepted the keys on the medium once. It is published below
    /// `media.publish_root`.
    ///
    /// The medium is not changed. At the end a code is shown that confirms the transfer outside
    /// (`media confirm`).
    Import(MediaImport),

    /// Write a receipt of the transfers that were imported here
    ///
    /// It is a short text: the exporter, this destination, the transfers and what was missing of
    /// them, nothing else. It is signed if `signing.key_file` is set.
    Receipt(MediaReceipt),

    /// Tell the exporter that a transfer has arrived
    ///
    /// Takes the code that the import has shown, or the file of a receipt. The next export builds
    /// on the newest confirmed transfer. A confirmed transfer also confirms those that it builds
    /// on.
    Confirm(MediaConfirm),

    /// Tell the exporter that a transfer will not arrive
    ///
    /// Its objects are no longer kept for it. Later exports never build on it.
    Lost(MediaLost),

    /// Forget a destination and its transfers
    ///
    /// The next export for it is a full one.
    Forget(MediaForget),

    /// List exported and imported transfers
    History,

    /// List the files on a medium: SHA-256, size, package, version and path of each
    ///
    /// Needs neither a configuration nor a storage, and verifies nothing.
    List(MediaStatus),
}

/// What is exported.
#[derive(Debug, Args)]
pub struct ExportedStates {
    /// Name of the host that imports the medium (`media.destination` in its configuration)
    #[arg(
        long = "for",
        value_name = "DEST",
        required_unless_present_any = ["base", "repair"],
        value_parser = DestinationName::parse
    )]
    pub destination: Option<DestinationName>,

    /// Snapshot (NAME of every repository that has it, or REPOSITORY/NAME); can be repeated
    #[arg(long = "snapshot", value_name = "NAME", value_parser = SnapshotReference::parse)]
    pub snapshots: Vec<SnapshotReference>,

    /// Current state of a repository; can be repeated
    #[arg(long = "repo-id", value_name = "NAME", value_parser = RepoId::parse)]
    pub repo_ids: Vec<RepoId>,

    /// Current states of all repositories
    #[arg(long)]
    pub all: bool,

    /// Build on nothing: write everything
    #[arg(long, group = "builds_on")]
    pub full: bool,

    /// Build on the newest complete transfer of a receipt, and confirm it
    #[arg(long, value_name = "RECEIPT", group = "builds_on")]
    pub base: Option<PathBuf>,

    /// Write only what a receipt says was missing or damaged
    ///
    /// Without other states, those of the incomplete transfer are exported as they are now.
    #[arg(long, value_name = "RECEIPT", group = "builds_on")]
    pub repair: Option<PathBuf>,

    /// Build on the Nth last transfer (1: the last one) as if it had been confirmed
    ///
    /// For destinations that cannot send anything back. With 2 or more, a lost transfer does no
    /// harm to the next ones, as long as all of them have the same repositories.
    #[arg(long, value_name = "N", group = "builds_on")]
    pub base_last: Option<std::num::NonZeroUsize>,
}

#[derive(Debug, Args)]
pub struct MediaPlan {
    #[command(flatten)]
    pub states: ExportedStates,
}

#[derive(Debug, Args)]
pub struct MediaExport {
    /// Existing directory on the medium
    #[arg(long, value_name = "DIR")]
    pub to: PathBuf,

    #[command(flatten)]
    pub states: ExportedStates,

    /// Only show what would be written
    #[arg(long)]
    pub dry_run: bool,

    /// Export without a signing key: the importer must allow that, too
    #[arg(long)]
    pub allow_unsigned: bool,

    /// Do not read back what was written
    #[arg(long)]
    pub no_read_back: bool,

    #[command(flatten)]
    pub waiting: WaitOptions,
}

#[derive(Debug, Args)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is an option of its own"
)]
pub struct MediaImport {
    /// Directory with one or more transfers
    #[arg(long, value_name = "DIR")]
    pub from: PathBuf,

    /// Only import the transfer with this number
    #[arg(long, value_name = "NUMBER")]
    pub transfer: Option<u64>,

    /// Only verify the signature and show what would be imported
    #[arg(long)]
    pub dry_run: bool,

    /// Trust the keys on the medium for repositories without a definition
    #[arg(long)]
    pub accept_keys: bool,

    /// Replace states that are newer or not from this exporter
    #[arg(long)]
    pub replace: bool,

    /// Import transfers again that were imported before: deleted snapshots come back
    #[arg(long)]
    pub again: bool,

    /// Import transfers that are not signed
    #[arg(long)]
    pub allow_unsigned: bool,

    /// Name of a file that another program may have added; can be repeated
    #[arg(long = "allow", value_name = "NAME", action = ArgAction::Append)]
    pub allowed: Vec<String>,

    /// Write a receipt next to each transfer
    #[arg(long)]
    pub receipt: bool,

    #[command(flatten)]
    pub waiting: WaitOptions,
}

#[derive(Debug, Args)]
pub struct MediaReceipt {
    /// File to write, or directory for it
    #[arg(long, value_name = "FILE")]
    pub to: PathBuf,

    /// ID of the exporter, if there are several
    #[arg(long, value_name = "ID")]
    pub exporter: Option<String>,
}

#[derive(Debug, Args)]
pub struct MediaConfirm {
    /// Name of the destination
    #[arg(long = "for", value_name = "DEST", value_parser = DestinationName::parse)]
    pub destination: DestinationName,

    /// Code, or file of a receipt
    #[arg(value_name = "CODE|FILE")]
    pub proof: String,

    #[command(flatten)]
    pub waiting: WaitOptions,
}

#[derive(Debug, Args)]
pub struct MediaLost {
    /// Number of the transfer
    #[arg(value_name = "TRANSFER")]
    pub transfer: u64,

    /// Name of the destination, if several have a transfer with this number
    #[arg(long = "for", value_name = "DEST", value_parser = DestinationName::parse)]
    pub destination: Option<DestinationName>,

    #[command(flatten)]
    pub waiting: WaitOptions,
}

#[derive(Debug, Args)]
pub struct MediaForget {
    /// Name of the destination
    #[arg(value_name = "DEST", value_parser = DestinationName::parse)]
    pub destination: DestinationName,

    #[command(flatten)]
    pub waiting: WaitOptions,
}

#[derive(Debug, Args)]
pub struct MediaStatus {
    /// Directory with one or more transfers
    #[arg(value_name = "DIR")]
    pub directory: PathBuf,
}

#[derive(Debug, Args)]
pub struct MediaVerify {
    /// Directory with one or more transfers
    #[arg(value_name = "DIR")]
    pub directory: PathBuf,

    /// File with the trusted keys; can be repeated
    #[arg(long = "key", value_name = "FILE", required = true)]
    pub keys: Vec<PathBuf>,

    /// Name of a file that another program may have added; can be repeated
    #[arg(long = "allow", value_name = "NAME", action = ArgAction::Append)]
    pub allowed: Vec<String>,
}
