//! Publishing: makes a directory tree look exactly like a manifest, in one step for clients.
//!
//! A published tree is updated in place, so that publishing costs what changed ([`update`]): files
//! are added to it, then the directory with the root and the indexes is exchanged for a staged one,
//! and files that outlived their retention are removed. What changes is found by comparing the
//! chunks of manifests ([`changes`]). Where more than one directory would have to be exchanged, or
//! nothing is published yet, the whole tree is staged and exchanged ([`replace`]).
//!
//! Every path lookup of a client sees one complete generation, even if the run is killed: new files
//! are there before the root that refers to them, and files of earlier generations are retained for
//! a while, so that clients with an older root can finish. Earlier roots and keys are not.
//!
//! ```text
//! publisher     decides which state, path and root; rejects invalid requests
//!   publication   compares request and tree, chooses how to change the tree
//!     update        in place; changes plans it, modified checks that the tree is the recorded one
//!     replace       the whole tree
//!       stage         creates the files: links, or copies
//!     recover       completes an interrupted run
//!     existing      inspects the path; foreign_files, generations, layout, exchange
//!     root          the root of the manifest, a stored one (stored_root), or a new one (root_files)
//!     request       what is published where, and the key that it needs
//!     tree          one published tree: its lock and its record
//! mend          replaces damaged files of a tree
//! unpublish     removes a tree
//! ```
//!
//! A root is generated here if the indexes were generated, or if it must be newer than one that
//! clients know ([`root`]). In the first case it is generated once: all places of a state have the
//! same one, unless clients of a place know a newer one.
//!
//! The store records which trees chantal published and what a run is about to do, before it does
//! it: the identity of a staged directory before the exchange, and manifests as unfinished before
//! their files are added or removed. So the next run completes a killed one, and files of killed
//! runs are known as ours. Other directories and files are never changed. The record is read once,
//! under the lock of the tree ([`recover`]).
//!
//! At its end a run sets the modification time of the tree and records it. If the tree has another
//! one, the record does not describe it (the store was restored from a backup, a run was killed, or
//! someone put a file there): all files are compared before anything changes ([`existing`]).
//!
//! Foreign files are looked for in directories that change, in the exchanged one and at the top;
//! elsewhere they are not in danger.
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
mod root_files;
mod stage;
mod stored_root;
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
pub use recover::{complete_all_interrupted, complete_interrupted, recover_tree};
pub use request::{Caller, PublishMode};
pub use root::{GeneratedRoot, root_to_carry};
pub use root_files::RootSigner;
pub use stage::FileSystemFeature;
pub use unpublish::{MissingTree, RecordFate, Removal, Unpublished, unpublish_tree};

#[cfg(test)]
mod tests;
