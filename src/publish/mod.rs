//! Publishing: makes a directory tree look exactly like a manifest, in one step.
//!
//! The tree is staged beside its target out of hard links into the pool, and then exchanged with
//! what stood there. Every path lookup of a client sees one complete generation, and a killed run
//! leaves the old one. Files that only earlier generations had stay reachable for a while, so that
//! a client that holds an older root can finish; earlier roots and keys do not stay.
//!
//! ```text
//! choose      which state, which place, which root, what is refused
//!   replace     stages the next generation and exchanges it
//!     recover     finishes what a killed run began
//!     presence    what stands there; strays, generations, root, layout, stage, exchange
//!     target      what is to be shown, and with which key
//!     tree        one place: its lock and its record
//! unpublish   removes a tree
//! ```
//!
//! A root that must be newer than one that clients know, or that stands over indexes which we
//! wrote, is made here ([`root`]).
//!
//! Which trees are ours is recorded in the store: with the staging directory's identity before the
//! exchange and with the manifest after it, so that a run killed between the two is understood by
//! the next. What is not ours is never touched. The record is read once, under the tree's lock
//! ([`recover`]).
//!
//! A place that is not there is not empty: a tree that was published and is missing may be on a
//! disk that is not mounted, and nothing is made in its stead unless [`PublishMode::RecreateMissing`] says so
//! ([`presence`]). A run that failed leaves the record that it found; one that was killed is ended
//! by the next one ([`recover`]).

mod directory;
mod error;
mod exchange;
mod existing;
mod foreign_files;
mod generations;
mod layout;
mod publisher;
mod recover;
mod replace;
mod request;
mod root;
mod stage;
mod tree;
mod unpublish;

pub use error::{PublishError, RequestError};
pub use existing::is_missing;
pub use generations::expired_generations;
pub use publisher::{
    Destination, Published, Publisher, TreeSelection, remove_expired_generations, snapshot_path,
    trees_on_disk, was_never_published,
};
pub use recover::recover_tree;
pub use replace::{Outcome, Summary};
pub use request::{Caller, PublishMode};
pub use root::GeneratedRoot;
pub use unpublish::{MissingTree, RecordFate, Removal, Unpublished, unpublish_tree};

#[cfg(test)]
mod tests;
