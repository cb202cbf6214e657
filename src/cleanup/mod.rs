//! Cleanup: removes what no state, snapshot or published tree needs. Plan first, print the plan,
//! then apply it.
//!
//! ```text
//! apply       all steps: recover from killed publishings, plan, apply the plan
//!   plan        what can be removed; a dry run ends here
//!     expired     expired generations of published trees
//! ```
//!
//! - The caller holds the storage exclusively. No download is in progress, so no grace period is
//!   needed.
//! - The database is changed first, in one transaction, and files are removed after it: a kill in
//!   between leaves unreferenced files, which the next cleanup finds. The database never refers to
//!   a missing file.
//! - What the plan says about trees is a forecast. After the trees were published without their
//!   expired generations, the database is read again, and what a tree still needs is kept.
//! - Each file is removed only while the lock is valid: another run may have taken over.
//! - Before the first file is removed, the generation of the database is increased, and after it
//!   that of the pool marker: this detects a database that was restored from an older backup.
//! - Objects that are older than the database may be needed by a database that was lost: they are
//!   kept until the user gives them up (`--forget-unknown`).
//! - Files in the directories of the pool whose names are not object names are not ours and are
//!   kept.

mod apply;
mod error;
mod expired;
mod plan;

pub use apply::{CleanupOutcome, cleanup};
pub use error::CleanupError;
pub use plan::{Plan, UnknownObjects, plan};
