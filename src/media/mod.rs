//! Offline media: carries states and snapshots to a host without network, and takes them in there.
//!
//! ```text
//! sent        the transfers so far
//! selection   which states a transfer has; definition: how their repositories are shown
//!   advisories  for the packages that are carried
//!   plan        what it builds on, what is carried, how much space it needs
//!     write       objects, manifest, signature; read back; recorded as sent
//! receipt     what an importer tells the exporter; confirm: what the exporter makes of it
//! import      signature, objects, proofs; one transaction; then publishing
//! medium_keys the keys of a repository that a medium carries
//! ```
//!
//! The format is that of [`crate::transfer`].
//!
//! # Sent is not arrived
//!
//! An export builds on the last transfer that its destination confirmed, with a receipt or a typed
//! code. So a lost medium costs nothing but that medium. The exporter keeps the manifests of that
//! transfer, to compare with, and for `media.hold` the objects of unconfirmed ones, to send them
//! again. The importer keeps everything that transfers from the base of the last one on refer to.
//!
//! # What an importer believes
//!
//! The signature over the packed manifest, by a key in `media.trusted_keys`, says which states were
//! sent and by whom. It says nothing about packages: each state is proved from the upstream's
//! signature with the importer's own keys, by the same code as `db check`.

mod advisories;
mod confirm;
mod definition;
mod error;
mod export;
mod import;
mod medium_keys;
mod plan;
mod read_back;
pub mod receipt;
mod selection;
mod sent;
mod space;
mod write;

pub use confirm::{Confirmed, check_receipt, confirm_code, confirm_receipt, forget, history, lose};
pub use error::MediaError;
pub use export::{ExportOutcome, ExportRequest, export, plan_export};
pub use import::{
    CurrentState, Extent, ImportRequest, ImportedRepository, ImportedTransfer, KnownTransfer,
    LatestOutcome, MediumKeys, Refusal, TransferResult, UnsignedTransfer, import,
};
pub use medium_keys::keys_of_medium;
pub use plan::{BaseChoice, ExportPlan, Incomplete};
pub use read_back::{ReadBack, ReadBackProof};
pub use selection::{ExportSelection, states_of};
