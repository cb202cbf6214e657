//! Sync: one repository from its root to a new state.
//!
//! Stages, each with inputs of its own; `session.rs` orders them:
//!
//! ```text
//! root       fetched once, verified (root_verifier), with what belongs beside it (companions)
//! freshness  not older than what was synced before (previous)
//! plan       indexes are downloaded (indexes) and read: which files, and which of them are missing
//! packages   missing files are downloaded (fetch), packages are verified (verify)
//! build      manifest, new indexes where packages were left out, evidence, keys
//! commit     one transaction: state, history, validators
//! ```
//!
//! - The root is fetched once and its bytes are pinned; everything is derived from them. When
//!   something below it is missing or has another digest, the root is asked for again: if it changed,
//!   the sync starts over from the new one, if not, it is an error.
//! - An index that came in one of its variants is complete. A variant that is refused, or has other
//!   bytes or other content than the root declares, is left out of the tree with a warning, and the
//!   next sync asks for it again: such a state never counts as unchanged. Where no variant came, the
//!   most severe of the failures is the error.
//! - A state becomes visible only after every object of its manifest is durable in the pool. Any
//!   failure leaves the previous state as it was, and what was downloaded is used by the next run.
//! - An upstream whose root did not change costs one request. When the trusted keys did change, the
//!   state is made anew: the root is verified with them, and they are published with it.
//!
//! Nothing here knows rpm or deb; see [`crate::format::Selected`].

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
pub use freshness::{FreshnessError, Rollback};
pub use session::{Preview, RequestMode, Session, SyncContext};
pub use verify::PackageSigner;
