//! chantal mirrors RPM and APT repositories for networks without internet access.
//!
//! # Data flow
//!
//! ```text
//! config -> upstream (fetch, resume, verify) -> format (root, indexes, packages) -> plan -> pool
//!        -> manifest -> database (one transaction) -> publish (stage, exchange)
//! ```
//!
//! - [`sync`] turns one repository from its root into a new state. [`upstream`] downloads bytes,
//!   [`openpgp`] decides which of them can be trusted, a [`format::Selected`] repository parses
//!   them, and [`pool`] stores them.
//! - A state is a [`manifest`], an immutable list of all published paths, with its proof: roots,
//!   keys and, if it is filtered, the original indexes. Everything after a sync works on manifests,
//!   independent of the format.
//! - [`store`] is the database, one file that refers to manifests and objects. [`publish`] makes a
//!   directory tree equal to a manifest. A [`snapshot`] is another name for a manifest. [`cleanup`]
//!   removes what nothing refers to.
//! - [`media`] carries manifests and objects to a host without network: an export writes what the
//!   other host does not have as a [`transfer`], an import proves it like [`check`] and names it in
//!   one transaction.
//! - [`check`] proves without network what is stored and published, and finds what is damaged;
//!   [`repair`] gets it again, and mends the published trees that have it.
//! - [`repository`] has operations on whole repositories: sync with publishing, and removal.
//! - [`report`] has the results of commands and the status of the storage as data; [`commands`]
//!   print it.
//! - If the indexes of the upstream list more than is selected (filters, merges), a format writes
//!   new ones ([`format::Selected::regenerate`]): it streams the old ones and copies the original
//!   records of the selected packages. [`state`] reads and stores them. The root above them is
//!   dated and signed only when it is published, because it must be newer than the one published
//!   before. It is stored, so that all places of a state have the same one.
//!
//! # One package, from the configuration to a published file
//!
//! The functions in the order of a run; each is listed once.
//!
//! 1. [`run()`] parses the command line, and [`config::load`] the configuration: the URL of the
//!    upstream, the keys, the selection.
//! 2. [`commands::repo::sync`] opens the storage ([`storage::Storage::open_to_sync`]) with its
//!    [`lock`], and [`repository::RepositorySync::sync`] opens a session for each repository
//!    ([`sync::Session::open`]).
//! 3. [`sync::Session::sync`] runs the stages in order. `RootFetcher::fetch` requests the root
//!    ([`upstream::Upstream::small`]), and `RootVerifier::verify_inline` (or `verify_detached`)
//!    verifies it ([`openpgp::Keyring::verify_inline`]) with the trusted keys
//!    ([`trust::TrustedKeys::keyring`]).
//! 4. [`format::Selected::open_root`] returns the indexes that the root lists, and
//!    `freshness::check` rejects a root that is outdated. `Planner::plan` has the indexes
//!    downloaded (`indexes::fetch`), and [`format::Selected::choose`] reads from them which packages
//!    are selected: each with its path relative to the URL of the upstream, digest and size
//!    ([`format::Reference`]).
//! 5. `packages::fetch` passes the missing files to `Fetcher::fetch`: [`pool::Pool::begin`] reserves
//!    the digest, [`upstream::Upstream::download`] requests the URL, and
//!    [`pool::Incoming::commit`] gives the file its name in the pool after its digest was verified.
//! 6. `PackageChecks::check` verifies the signature inside the package.
//! 7. `StateBuilder::build` lists the package with all other files to be published
//!    ([`manifest::build`]), and `SyncRecorder::record_change` records the new state of the
//!    repository in one transaction ([`storage::Storage::write`]).
//! 8. [`publish::Publisher::state`] decides where the state is published and with which root.
//!    `publication::publish` locks the tree, completes an interrupted run (`recover::recover`),
//!    checks what exists at the path (`existing::inspect`), chooses the root (`root::choose_root`)
//!    and compares the manifests (`TreeChanges::plan`). `update::update` links the package to its
//!    path (`FileMaker::make`), stages the directory of the metadata and exchanges it with the
//!    published one (`exchange::exchange`). A first publication stages the whole tree
//!    (`replace::replace`).
//! 9. [`report`] has the result, and [`output::Output::step`] prints it.
//!
//! # Layers
//!
//! A module imports only from lower layers, and inside a directory dependencies also point one way;
//! `tests/all/layers.rs` has the list and checks it.
//!
//! # Invariants
//!
//! - Verified before parsed: parsers take [`openpgp::Trusted`], or readers of bytes whose digest is
//!   in a trusted root.
//! - Complete before named: an object gets its name after its digest was checked, and the database
//!   refers to it after it is durable.
//! - Runs share a storage, but only one of them at a time works on a repository, a tree or a
//!   partial file ([`lock`]).
//! - A state is recorded in one transaction, and clients see new metadata after one rename. Files
//!   are in a tree before the metadata that lists them, and stay for a while after it. After a kill
//!   at any point, what clients see is complete ([`kill_points`] are where tests kill).
//! - Missing is not empty: a base path, database, pool or published tree that is missing may be on
//!   a disk that is not mounted, and nothing is created in its place. A pool belongs to one
//!   database; a lock is valid only while its path refers to it.
//! - Records from the database are verified before they are used ([`store`]); a wait on the network
//!   ends with an interruption or its deadline ([`upstream`]).
//! - Published files are those of the upstream, byte for byte. The trusted keys for clients are
//!   added, and no file of the upstream can replace them. New indexes (see above) and a new root
//!   instead of one that clients would consider too old are generated, and signed with our key.
//! - A path from an upstream is used in a URL or the file system only as a [`rel_path::RelPath`],
//!   the name of a repository, snapshot or destination only as a type of [`names`].
//! - Credentials are sent only to the host that they were configured for.
//! - Memory usage does not depend on the size of the text of an index.

mod check;
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
mod kill_points;
mod lock;
mod logging;
mod manifest;
mod media;
mod mounts;
mod names;
mod openpgp;
mod output;
mod panics;
mod pool;
mod progress;
mod publish;
mod regular_file;
mod rel_path;
mod repair;
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
mod transfer;
mod trust;
mod upstream;

pub use run::run;
