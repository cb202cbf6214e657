//! Publishing: makes a directory tree look exactly like a manifest, in one step.
//!
//! The tree is staged next to its path, as hard links into the pool, and then exchanged with the
//! previous one. Every path lookup of a client sees one complete generation, even if the run is
//! killed. Files of earlier generations are retained for a while, so that clients with an older
//! root can finish; earlier roots and keys are not.
//!
//! ```text
//! publisher   decides which state, path and root; rejects invalid requests
//!   replace     stages the next generation and exchanges it
//!     recover     completes an interrupted run
//!     existing    inspects the path; foreign_files, generations, root, layout, stage, exchange
//!     request     what is published where, and the key that it needs
//!     tree        one published tree: its lock and its record
//! unpublish   removes a tree
//! mend        replaces damaged files of a tree
//! ```
//!
//! A root is generated here if the indexes were generated, or if it must be newer than one that
//! clients know ([`root`]).
//!
//! The store records which trees chantal published: the identity of the staging directory before
//! the exchange, and the manifest after it, so that the next run can recover from a kill in
//! between. Other directories and files are never changed. The record is read once, under the lock
//! of the tree ([`recover`]).
//!
//! A missing tree is not treated as unpublished: its disk may not be mounted, so nothing is created
//! in its place without [`PublishMode::RecreateMissing`] ([`existing`]). A run that fails restores
//! the record that it found; an interrupted run is completed by the next one ([`recover`]).

mod changes;
mod directory;
mod error;
mod exchange;
mod existing;
mod foreign_files;
mod generations;
mod layout;
mod mend;
mod modified;
mod publication;
mod publisher;
mod recover;
mod replace;
mod request;
mod root;
mod stage;
mod tree;
mod unpublish;
mod update;

pub use error::{PublishError, RequestError};
pub use existing::is_missing;
pub use generations::expired_generations;
pub use layout::Layout;
pub use mend::mend_files;
pub use publication::{Outcome, Summary};
pub use publisher::{
    Destination, Published, Publisher, TreeSelection, remove_expired_generations, snapshot_path,
    trees_on_disk, was_never_published,
};
pub use recover::{complete_interrupted, recover_tree};
pub use request::{Caller, PublishMode};
pub use root::GeneratedRoot;
pub use stage::FileSystemFeature;
pub use unpublish::{MissingTree, RecordFate, Removal, Unpublished, unpublish_tree};

#[cfg(test)]
mod tests;
