//! Sync: one repository from its root to a new state.
//!
//! The stages, each with its own inputs; `session.rs` runs them in order:
//!
//! ```text
//! root       fetched once, verified (root_verifier), with the files next to it (companions)
//! freshness  not older than what was synced before (previous)
//! plan       indexes are downloaded (indexes) and read: which files, and which of them are missing
//! packages   missing files are downloaded (fetch), packages are verified (verify)
//! build      manifest, new indexes if packages were excluded, evidence, keys
//! commit     one transaction: state, history, validators
//! ```
//!
//! - The root is fetched once and its bytes are pinned; everything is derived from them. If a file
//!   below it is missing or has another digest, the root is fetched again: if it changed, the sync
//!   starts again from the new one, otherwise it is an error.
//! - An index is complete if one of its variants was downloaded. A variant that is refused, or
//!   differs from what the root declares, is skipped with a warning, and the next sync requests it
//!   again: such a state never counts as unchanged. If no variant was downloaded, the most severe
//!   failure is the error.
//! - Damage in the pool is not blamed on the upstream: if an index there is found to be damaged, all
//!   indexes are compared with their digests, and the damaged ones are downloaded again. Packages
//!   are compared when their signatures are verified.
//! - A state becomes visible only after every object of its manifest is durable in the pool. A
//!   failure leaves the previous state unchanged, and the next run uses what was already
//!   downloaded.
//! - An upstream whose root did not change costs one request. If the trusted keys changed, the
//!   state is built again: the root is verified with them, and they are published with it.
//!
//! Nothing here depends on rpm or deb; see [`crate::format::Selected`].

mod build;
mod commit;
mod companions;
mod error;
mod failures;
mod fetch;
mod freshness;
mod indexes;
mod packages;
mod plan;
mod planned;
mod previous;
mod root;
mod root_verifier;
mod session;
mod validators;
mod verify;

pub use commit::Report;
pub use error::{RootError, SyncError, most_severe};
pub use fetch::{FetchResult, Fetcher, OnMissing, Workers};
pub use freshness::{FreshnessError, Rollback};
pub use planned::{FileKind, WantedFile};
pub use session::{Preview, RequestMode, Session, SyncContext};
pub use verify::PackageSigner;
