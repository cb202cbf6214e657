//! Cleanup: what no state, snapshot or published tree needs is found first, shown, and then taken away.
//!
//! ```text
//! apply       the whole of it: killed publishings are ended, then the plan is made and carried out
//!   plan        what is needed and what is not; a dry run ends here
//!     expired     generations of published trees whose time is over
//! ```
//!
//! - The caller holds the storage alone, so nothing is on its way into the pool: there is no time to wait for.
//! - The store forgets first, in one transaction, and files go after it: killed in between, a file is left that nothing
//!   names, and the next cleanup finds it. Never is something named that is not there.
//! - What the plan says of trees is a forecast. Once they were published without their old generations, the store is asked
//!   again, and what a tree keeps after all stays.
//! - Each file is removed only while the lock is held: it may have been taken away from this run.
//! - Before the first file goes the store's generation is raised, and the marker's after it: a store that came out of a backup is behind.
//! - What lay in the pool when its store was put over it may be needed by a store that was lost: it stays until it is given up.
//! - Files in the pool's directories that do not have an object's name are not ours, and stay.

mod apply;
mod error;
mod expired;
mod plan;

pub use apply::{CleanupOutcome, cleanup};
pub use error::CleanupError;
pub use plan::{Plan, UnknownObjects, plan};
