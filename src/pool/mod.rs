//! The pool: every object of a storage once, named by its SHA-256.
//!
//! ```text
//! {pool}/CHANTAL-POOL          marker: layout version, pool id (also in the store), owner
//! {pool}/sha256/ab/<64 hex>    objects, mode 0444
//! {pool}/partial/              running and interrupted downloads, named by their expected digest
//!                              (weak digests with the name of the repository), and new indexes
//!                              while they are written
//! {pool}/damaged/<64 hex>      damaged objects that could not be replaced, until `db cleanup`
//!                              finds that they are replaced or not needed any more
//! ```
//!
//! What this module guarantees:
//! - A file under `sha256/` is complete: it was renamed there after the digest of the written bytes
//!   was computed. Nothing is written under its final name.
//! - An object is durable only after [`Pool::flush`], and the store must not refer to it before. An
//!   object that the store does not know may be damaged by a power failure and is hashed again
//!   ([`Pool::adopt`]).
//! - Later damage is noticed by what reads an object: it is hashed while it is read
//!   ([`Pool::read_intact`]), and a damaged one is replaced by the next download of it.
//! - A weak digest is valid only within the repository that declared it: other repositories neither
//!   wait for its download nor resume it.
//! - If the disk of a pool is unmounted while it is used, nothing is created at its path: no
//!   directory above `sha256/ab` is ever created, and the error is [`error::PoolUnmounted`].
//! - One download per digest at a time: threads of a process wait for each other, runs by a lock on
//!   the partial file.
//! - Functions that change the pool require the locks of the run ([`crate::lock::Locks`]); only a
//!   run that holds the storage lock exclusively removes objects.

mod contents;
mod damaged;
mod error;
mod incoming;
mod layout;
mod marker;
mod new_object;
mod objects;
mod partials;
mod place;

#[cfg(test)]
mod tests;

pub use contents::{SMALL_MAX, UPSTREAM_SMALL_MAX};
pub use damaged::DamagedFile;
pub use error::{PoolError, exit_of_io};
pub use incoming::{Begin, Incoming};
pub use marker::{Marker, Owner};
pub use objects::{BUFFER, hash};
pub use partials::{Held, Partial, PartialKind};
pub use place::Pool;
