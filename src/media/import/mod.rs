//! `media import`: takes the transfers of a medium into the storage.
//!
//! ```text
//! transfer    one transfer: signature, destination, order, what is missing, files, names
//!   scan        its manifest, read once: what is carried, what the storage lacks
//!   objects     every file, hashed while it is copied into the pool
//!   repository  one repository: all its states, or nothing
//!     prove       one state, from the upstream's signature, with the importer's keys
//!       packages    the signatures inside packages
//!     keys        which keys are believed
//!     order       which states become current
//!   publish     like after a sync
//! request     what is imported and how, and the result; refusal: why a repository is not
//! ```
//!
//! Nothing has a name in the database before it was proved: the manifests of a transfer are stored
//! first, without names, so that the code of `db check` proves them in the storage. Then one
//! transaction names all repositories that are whole. What is not named is removed by the next
//! cleanup, unless a second import needs it first.

mod keys;
mod objects;
mod order;
mod packages;
mod prove;
mod publish;
mod refusal;
mod repository;
mod request;
mod scan;
mod transfer;

pub use refusal::Refusal;
pub use request::{
    CurrentState, Extent, ImportRequest, ImportedRepository, ImportedTransfer, KnownTransfer,
    LatestOutcome, MediumKeys, TransferResult, UnsignedTransfer,
};
pub use transfer::{import, trusted_keys};
