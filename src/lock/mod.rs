//! Locks: which changes can run at the same time.
//!
//! | command | storage | further locks |
//! |---|---|---|
//! | `repo sync` | shared | the repository, while it is synced; the trees it publishes |
//! | `repo trust`, `repo remove` | shared | the repository; the trees it removes |
//! | `snapshot create`, `merge`, `delete` | shared | the trees it publishes or removes |
//! | `publish`, `unpublish` | shared | the trees |
//! | `db check --repair` | shared, then exclusive to put damaged objects aside | the trees it mends, one at a time |
//! | `db cleanup` | exclusive | the trees it changes, one at a time |
//! | `init`, `db migrate`, `pool take-over` | exclusive | |
//! | `--dry-run`, commands that only read | none | |
//!
//! - The order is always the same: the storage, one repository, one tree, one partial file
//!   ([`crate::pool`]) or the marker. A run that holds a later lock never waits for an earlier one,
//!   and never holds two of a kind, so there are no deadlocks.
//! - The storage lock is never upgraded: a run that needs it exclusively takes it exclusively from
//!   the start, or releases it first and compares everything again. While it is held exclusively no run adds objects to the pool, so unreferenced
//!   objects can be deleted.
//! - Runs that wait for the storage lock (`--wait`) are served in turn: they take the turn first. So
//!   a waiting cleanup is not overtaken by syncs that wait, however many overlap. A run without
//!   `--wait`, or whose time is over, does not need the turn: otherwise a cleanup that waits for a
//!   long sync would make all other runs fail.
//! - Rows that none of the further locks covers (snapshots, the identity of the store) are read
//!   again in the transaction that changes them ([`crate::store`]).
//! - Every lock is checked before anything is deleted or committed: if a lock file was removed or
//!   replaced, the run fails ([`LockError::Lost`]).
//!
//! ```text
//! {base_path}/chantal.lock                      the storage
//! {base_path}/locks/turn.lock                   the turn, held while waiting for the storage
//! {base_path}/locks/run-<pid>-<n>.lock          a run that shares it, held and removed by that run
//! {base_path}/locks/repository-<name>.lock      one repository
//! {base_path}/locks/tree-<sha256 of path>.lock  one published tree
//! {base_path}/locks/pool-marker.lock            the pool's marker, while it is written
//! ```

mod error;
mod file;
mod locks;
mod requester;

pub use error::LockError;
pub use file::Mode;
pub use locks::{Guard, Locks};
pub use requester::{Requester, Wait};
