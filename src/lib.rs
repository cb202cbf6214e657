//! chantal mirrors RPM and APT repositories for networks that have no internet.
//!
//! # The way of the data
//!
//! ```text
//! config -> upstream (fetch, resume, verify) -> format (root, indexes, packages) -> plan -> pool -> manifest
//!        -> store (one transaction) -> publish (stage, exchange)
//! ```
//!
//! - [`sync`] takes one repository from its root to a new state. [`upstream`] brings bytes, [`openpgp`] says which of them may
//!   be believed, a [`format::Selected`] repository says what they refer to, [`pool`] keeps them.
//! - A state is a [`manifest`], an immutable list of every published path, with what proves it: roots, keys and, where it is
//!   filtered, what it was chosen from. Everything after sync works on manifests, whatever the format.
//! - [`store`] is the one file that names manifests and objects. [`publish`] makes a directory tree look like a manifest. A
//!   [`snapshot`] is a further name for one. [`cleanup`] takes away what nothing names.
//! - [`repository`] does what concerns a whole repository: it syncs one and publishes what came of it, and removes one.
//! - [`report`] has what a run did and what is there as data; [`commands`] print it.
//! - Where the upstream's indexes name more than is wanted (filters, merges), a format writes new ones
//!   ([`format::Selected::regenerate`]) by streaming the old ones and copying the chosen packages' own bytes; [`state`] reads and
//!   stores them. The root over them is dated and signed when it is published, not before: it must be newer than what its place had.
//!
//! # One package, from the configuration to a published file
//!
//! Every function is named once, in the order in which one run passes them; none leads back up.
//!
//! 1. [`run()`] reads the command line and [`config::load`] the configuration: the URL of the
//!    upstream, the keys, what is selected.
//! 2. [`commands::repo::sync`] opens the storage ([`storage::Storage::open_to_sync`]) under its
//!    [`lock`], and [`repository::RepositorySync::sync`] for each repository a session
//!    ([`sync::Session::open`]).
//! 3. [`sync::Session::sync`] orders the stages. The first one fetches the root
//!    (`sync::root::RootFetcher`, [`upstream::Upstream::small`]), loads the trusted keys
//!    ([`trust::TrustedKeys::keyring`]) and verifies it ([`openpgp::Keyring::verify_inline`] or
//!    `verify_detached`).
//! 4. [`format::Selected::open_root`] says which indexes the root names. `sync::plan::Planner`
//!    downloads them, and [`format::Selected::choose`] reads from them which packages are taken:
//!    each with its path below the upstream's URL, digest and size ([`format::Reference`]).
//! 5. `sync::fetch::Fetcher` brings what the pool lacks: [`pool::Pool::begin`] claims the digest,
//!    [`upstream::Upstream::download`] asks for the URL of the path, and [`pool::Incoming::commit`]
//!    gives the file its name in the pool once its digest is right.
//! 6. `sync::verify::PackageChecks` verifies the signature inside of the package.
//! 7. `sync::build::StateBuilder` lists the package with everything else that is to be published
//!    ([`manifest::build`]), and `sync::commit::Recorder` makes that the repository's state, in one
//!    transaction ([`storage::Storage::write`]).
//! 8. [`publish::Publisher::state`] decides where the state is shown and with which root; the tree is
//!    staged out of hard links and exchanged with the one before ([`publish`] says how). The package
//!    has its path in it.
//! 9. [`report`] holds what was done, and [`output::Output::step`] prints it.
//!
//! # Layers
//!
//! A module imports only from lower layers, and inside a folder files point one way too;
//! `tests/all/layers.rs` holds the list and checks it.
//!
//! # Invariants
//!
//! - Verified before parsed: parsers take [`openpgp::Trusted`], or readers over bytes whose digest a trusted root vouches for.
//! - Whole before named: an object's name is given after its digest was checked, and the store names it after it is durable.
//! - Runs share a storage, and each repository, tree and partial file is worked on by one of them at a time ([`lock`]).
//! - One transaction makes a state; one rename makes a published tree. Killed anywhere, the old state and tree are intact.
//! - A place that is not there is not empty: a base path, store, pool or published tree that is missing may be on a disk that is not
//!   mounted, and nothing is made in its stead. A pool belongs to one store; a lock counts while its path names it.
//! - What is read from the store is checked first ([`store`]); a wait on the network ends with an interruption or its deadline
//!   ([`upstream`]).
//! - Published files are the upstream's own, byte for byte; beside them stand the trusted keys for clients, and nothing
//!   of the upstream's in their place. New indexes (see above) and a root that clients would find too old are ours, and signed so.
//! - No path from an upstream reaches a URL or the file system except as a [`rel_path::RelPath`], and no name of a repository or
//!   snapshot except as a [`names::RepoId`] or [`names::SnapshotName`].
//! - Credentials go to the host they were configured for and nowhere else.
//! - Memory does not grow with the size of an index's text.

mod cleanup;
mod cli;
mod commands;
mod config;
mod digest;
mod error;
mod exit;
mod format;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod interrupt;
mod lock;
mod logging;
mod manifest;
mod mounts;
mod names;
mod openpgp;
mod output;
mod pool;
mod progress;
mod publish;
mod regular_file;
mod rel_path;
mod repo_format;
mod report;
mod repository;
mod run;
mod signing_key;
mod snapshot;
mod state;
mod storage;
mod store;
mod sync;
mod terminal;
mod threads;
mod time;
mod trust;
mod upstream;

pub use run::run;
