//! Proves what is stored and published, without network, and changes nothing but the times when
//! objects were verified.
//!
//! ```text
//! run          the whole check
//!   proofs       every state, snapshot and tree in scope
//!     chain        one state: signature, root, indexes, packages
//!     published_root  a root that was generated
//!       roots, indexes, listing, source, proof
//!     revocations  all that are known
//!   objects      what is needed, and whether it exists
//!   trees        published trees against their manifests, by inode
//!   hashing      files read on all cores; subset: which ones
//!   uses         what damaged objects affect
//! ```
//!
//! - A quick check looks at the presence and size of every needed object, at every row of the
//!   database, at every file of the published trees, and proves the chains ([`chain`]) from the
//!   bytes of roots, signatures, keys and indexes. It also reads files of trees that are copies
//!   although links are possible. A full one hashes every object, and the files of trees on other
//!   file systems. A part of the objects can be hashed every night: the ones that were verified
//!   longest ago come first.
//! - A finding never ends a check: what else can be checked still is. One row of the database, one
//!   file or one tree that is damaged hides no other.
//! - The storage is locked like by a sync: other commands work meanwhile, and nothing that is needed
//!   is removed.
//!
//! Not proved: the signatures inside packages, which were verified before the package was recorded;
//! pages of the database that no row is in; the retained files of earlier generations, which must
//! be those of their manifests, but whose roots are gone.

mod chain;
mod error;
mod finding;
mod hashing;
mod indexes;
mod listing;
mod objects;
mod proof;
mod proofs;
mod published_root;
mod revocations;
mod roots;
mod run;
mod scope;
mod source;
mod subset;
mod tree_finding;
mod trees;
mod uses;

pub use chain::{Origin, Trust, TrustedKeyring, prove};
pub use error::CheckError;
pub use finding::{Damage, DamagedObject, ObjectUse, Owner};
pub use proof::{Problem, ProblemKind, Proof, ProofError, Verdict};
pub use proofs::Proved;
pub use published_root::{GeneratedManifest, OwnKeys, prove_generated};
pub use roots::WeakSignatures;
pub use run::{CheckOutcome, Depth, check};
pub use scope::Scope;
pub use source::{ProofSource, StorageSource};
pub use subset::Subset;
pub use tree_finding::{TreeDamage, TreeFinding};
