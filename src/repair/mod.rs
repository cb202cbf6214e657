//! Repair: damaged and missing objects are got again, and published trees with their files are
//! mended.
//!
//! ```text
//! run         all steps in order; put_aside follows with the exclusive lock
//!   places      where an object may be: paths in published trees and on upstreams
//!   local       other files on this machine that have the same bytes
//!   keys        keyrings and key files, made again from keys that are known here
//!   own         generated metadata, made again from the evidence of its state
//!   fetch       the upstreams
//! generated_roots  roots that no tree shows are forgotten instead, before that
//! put_aside   damaged objects that could not be replaced
//! ```
//!
//! - Whatever the source, a file is accepted because of the object's SHA-256 and for no other
//!   reason: it is exactly what was verified when it was stored.
//! - A replacement is renamed over the damaged file. Nothing is removed before its replacement
//!   exists.
//! - Objects are replaced under the shared lock of the storage, as a sync does it. Only damaged
//!   objects without a replacement need the exclusive lock: they lose their name, so that they are
//!   never published again. It is taken anew, never by upgrading, so everything is compared again.
//! - A published tree may have the damaged bytes where the pool is right: a replaced object is
//!   another file than the one that the tree links to. Every tree that has the object is compared.

mod context;
mod error;
mod fetch;
mod generated_roots;
mod keys;
mod local;
mod outcome;
mod own;
mod places;
mod put_aside;
mod run;

#[cfg(test)]
mod tests;

pub use context::RepairContext;
pub use error::RepairError;
pub use generated_roots::{forget_roots, is_of_roots_only};
pub use outcome::{Fate, MendedTree, RepairOutcome, RepairSource, Repaired, Unrepaired};
pub use put_aside::put_aside;
pub use run::{DamagedTreeFile, mend_trees_of, repair};
