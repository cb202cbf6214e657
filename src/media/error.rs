//! Why an export or import failed.

use std::io;
use std::path::PathBuf;

use crate::check::ProofError;
use crate::digest::ObjectId;
use crate::exit::Exit;
use crate::interrupt::Interrupted;
use crate::lock::LockError;
use crate::names::{DestinationName, ExporterId, RepoId, known_names};
use crate::openpgp::{SigningError, VerifyError};
use crate::pool::exit_of_io;
use crate::publish::PublishError;
use crate::signing_key::KeyFileError;
use crate::snapshot::{SnapshotError, SnapshotReference};
use crate::storage::StorageError;
use crate::store::StoreError;
use crate::transfer::TransferError;
use crate::transfer::code::CodeError;
use crate::transfer::receipt::ReceiptError;
use crate::trust::KeyError;

#[derive(Debug, thiserror::Error)]
pub enum MediaError {
    #[error("{} is not a directory", path.display())]
    NotADirectory { path: PathBuf },
    #[error("{}: is in the storage, a published tree or another transfer", path.display())]
    InsideStorage { path: PathBuf },
    #[error("{}", no_snapshot(name, known))]
    NoSnapshot {
        name: SnapshotReference,
        known: Vec<String>,
    },
    #[error("repository {repository} was never synced")]
    NeverSynced { repository: RepoId },
    #[error("nothing to export")]
    Empty,
    #[error("there is no signing key to sign the transfer with")]
    NoKey,
    #[error("{name} has generated metadata: it needs a signing key")]
    NoKeyForRoot { name: String },
    #[error("{name}: {source}")]
    Root { name: String, source: PublishError },
    #[error("transfer {number} for {destination} is not known here")]
    UnknownTransfer {
        destination: DestinationName,
        number: u64,
    },
    #[error("what {destination} has since transfer {number} is no longer in the database")]
    BaseForgotten {
        destination: DestinationName,
        number: u64,
    },
    #[error(
        "{}: not enough space: {} needed, {} free",
        path.display(), needed, free
    )]
    Space {
        path: PathBuf,
        needed: Bytes,
        free: Bytes,
    },
    #[error("pool {}: not enough space: {needed} needed, {free} free", pool.display())]
    PoolSpace {
        pool: PathBuf,
        needed: Bytes,
        free: Bytes,
    },
    #[error("{}: not enough space to publish: {needed} needed, {free} free", path.display())]
    PublishSpace {
        path: PathBuf,
        needed: Bytes,
        free: Bytes,
    },
    #[error("object {object} is missing or damaged in the pool")]
    PoolDamaged { object: ObjectId },
    #[error("{}: what was written is not what is read back", path.display())]
    ReadBack { path: PathBuf },
    #[error("{}: another export is writing here", path.display())]
    Busy { path: PathBuf },
    #[error("media.destination is not set: this host has no name for exporters")]
    NoDestination,
    #[error("{}: transfer {number} is for {destination}, this host is {here}", folder.display())]
    OtherDestination {
        folder: PathBuf,
        number: u64,
        destination: DestinationName,
        here: DestinationName,
    },
    #[error("{}: another transfer {number} of this exporter was imported before", folder.display())]
    OtherContent { folder: PathBuf, number: u64 },
    #[error("{}", gap(*number, *base, *is_known, *missing))]
    Gap {
        number: u64,
        /// The transfer that it builds on.
        base: Option<u64>,
        /// Whether that was imported.
        is_known: bool,
        missing: u64,
    },
    #[error("media.trusted_keys is not set: no key can be trusted to sign media")]
    NoTrustedKeys,
    #[error("media.trusted_keys: {0}")]
    TrustedKeys(String),
    #[error("the code is not valid: {0}")]
    Code(#[from] CodeError),
    #[error("not a code for {destination}; pending: {}", numbers(pending))]
    WrongCode {
        destination: DestinationName,
        pending: Vec<u64>,
    },
    #[error("{}: {source}", path.display())]
    Receipt { path: PathBuf, source: ReceiptError },
    #[error("a receipt cannot be written: {0}")]
    ReceiptText(#[from] ReceiptError),
    #[error("{}: too large for a receipt", path.display())]
    ReceiptTooLarge { path: PathBuf },
    #[error("{source}")]
    ReceiptSignature { source: VerifyError },
    #[error("{}: not signed, but {destination} has keys for receipts", path.display())]
    ReceiptUnsigned {
        path: PathBuf,
        destination: DestinationName,
    },
    #[error("the receipt is for exporter {exporter}, not for this one")]
    ReceiptOfOther { exporter: String },
    #[error("the receipt is of {found}, not of {expected}")]
    ReceiptOfOtherDestination {
        expected: DestinationName,
        found: DestinationName,
    },
    #[error("the receipt is of another transfer {number} for {destination}")]
    OtherTransfer {
        destination: DestinationName,
        number: u64,
    },
    #[error("transfer {number} has {listed} objects, the receipt says that later ones are missing")]
    NotInList { number: u64, listed: u64 },
    #[error("no transfer {number} was exported")]
    NoSuchTransfer { number: u64 },
    #[error(
        "transfer {number} was exported for several destinations{}",
        known_names(destinations)
    )]
    AmbiguousTransfer {
        number: u64,
        destinations: Vec<DestinationName>,
    },
    #[error("{destination} has confirmed transfer {number}")]
    AlreadyConfirmed {
        destination: DestinationName,
        number: u64,
    },
    #[error("nothing was exported for {destination}{}", known_names(known))]
    UnknownDestination {
        destination: DestinationName,
        known: Vec<DestinationName>,
    },
    #[error("nothing was imported{}", known_names(known))]
    NothingImported { known: Vec<ExporterId> },
    #[error("object {object} (a keyring) is missing or damaged on the medium")]
    KeyringMissing { object: ObjectId },
    #[error("{0}")]
    MediumKeyring(String),
    #[error("the medium has no keys of {repository}")]
    NoKeysOnMedium { repository: RepoId },
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error(transparent)]
    Transfer(#[from] TransferError),
    #[error(transparent)]
    SigningKey(#[from] KeyFileError),
    #[error(transparent)]
    Signing(#[from] SigningError),
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Lock(#[from] LockError),
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
    /// With the path.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// A number of bytes, for people.
#[derive(Clone, Copy, Debug)]
pub struct Bytes(pub u64);

impl std::fmt::Display for Bytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        indicatif::HumanBytes(self.0).fmt(f)
    }
}

/// Numbers of transfers, for people.
fn numbers(numbers: &[u64]) -> String {
    if numbers.is_empty() {
        return "none".to_owned();
    }
    let numbers: Vec<String> = numbers.iter().map(u64::to_string).collect();
    numbers.join(", ")
}

fn gap(number: u64, base: Option<u64>, is_known: bool, missing: u64) -> String {
    let objects = if missing == 1 {
        "object is"
    } else {
        "objects are"
    };
    let why = match (base, is_known) {
        (Some(base), false) => {
            format!("transfer {number} builds on {base}, which was never imported")
        }
        (Some(base), true) => format!("transfer {number} builds on {base}"),
        (None, _) => format!("transfer {number} is incomplete"),
    };
    format!("{why}: {missing} {objects} missing, nothing was changed")
}

impl From<ProofError> for MediaError {
    fn from(error: ProofError) -> Self {
        match error {
            ProofError::Store(error) => error.into(),
            ProofError::Interrupted(error) => error.into(),
        }
    }
}

fn no_snapshot(name: &SnapshotReference, known: &[String]) -> String {
    format!("snapshot {name} does not exist{}", known_names(known))
}

impl MediaError {
    pub fn exit(&self) -> Exit {
        match self {
            Self::InsideStorage { .. }
            | Self::NoSnapshot { .. }
            | Self::NeverSynced { .. }
            | Self::Empty
            | Self::NoKey
            | Self::NoKeyForRoot { .. }
            | Self::UnknownTransfer { .. }
            | Self::BaseForgotten { .. }
            | Self::Code(_)
            | Self::WrongCode { .. }
            | Self::Receipt { .. }
            | Self::ReceiptText(_)
            | Self::ReceiptTooLarge { .. }
            | Self::NoSuchTransfer { .. }
            | Self::AmbiguousTransfer { .. }
            | Self::AlreadyConfirmed { .. }
            | Self::UnknownDestination { .. }
            | Self::NothingImported { .. }
            | Self::NoDestination
            | Self::NoTrustedKeys
            | Self::TrustedKeys(_) => Exit::Usage,
            Self::MediumKeyring(_)
            | Self::NoKeysOnMedium { .. }
            | Self::ReceiptSignature { .. }
            | Self::ReceiptUnsigned { .. }
            | Self::NotInList { .. }
            | Self::OtherTransfer { .. }
            | Self::ReceiptOfOther { .. }
            | Self::ReceiptOfOtherDestination { .. }
            | Self::OtherDestination { .. }
            | Self::OtherContent { .. } => Exit::Refused,
            Self::NotADirectory { .. }
            | Self::PoolDamaged { .. }
            | Self::ReadBack { .. }
            | Self::KeyringMissing { .. }
            | Self::Gap { .. } => Exit::Damaged,
            Self::Space { .. }
            | Self::PoolSpace { .. }
            | Self::PublishSpace { .. }
            | Self::Signing(_) => Exit::Other,
            Self::Busy { .. } => Exit::Busy,
            Self::Interrupted(_) => Exit::Interrupted,
            Self::Root { source, .. } => source.exit(),
            Self::Key(error) => error.exit(),
            Self::Transfer(error) => error.exit(),
            Self::SigningKey(error) => error.exit(),
            Self::Snapshot(error) => error.exit(),
            Self::Storage(error) => error.exit(),
            Self::Store(error) => error.exit(),
            Self::Lock(error) => error.exit(),
            Self::Io(error) => exit_of_io(error),
        }
    }
}
