//! A storage is a store and its pool, which are opened, created or refused together.
//!
//! - A missing path is not treated as empty: its disk may not be mounted. Only `init` creates a
//!   storage, or a sync with `storage.create` ([`make`]); every other command that needs one fails
//!   if there is none, and creates nothing.
//! - A pool belongs to one store ([`ownership`]).
//! - Store and pool contain the same pool id. A store without its pool is damaged; no new pool is
//!   created for it.
//! - A command that changes the storage gets the store in the current schema version: an older one
//!   is migrated first, by a run that holds the storage lock exclusively. A command that only reads
//!   uses it as it is.

pub mod dry_run;
mod error;
mod make;
mod open;
mod opened;
mod ownership;
mod unchanged;

pub use error::StorageError;
pub use make::half_made;
pub use opened::Storage;
pub use ownership::{TakeOver, adopting};
pub use unchanged::{is_made, is_made_or_warn, open_to_count, open_to_plan_cleanup, open_to_read};
