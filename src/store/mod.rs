//! The store: one redb file with the objects of the pool and the states of all repositories.
//!
//! - Writers hold [`Locks`](crate::lock::Locks). The file is open for writing only during a transaction
//!   ([`Store::write`]), so that readers work while a sync runs, and several runs take turns: a run
//!   waits for the transaction of another one. A transaction reads the rows that it changes itself:
//!   another run may have changed them before.
//! - A transaction is atomic; the objects that it refers to were flushed to disk before
//!   ([`crate::pool::Pool::flush`]).
//! - After a crash the first process that opens the file repairs it: a reader opens it for writing
//!   once if necessary.
//! - [`Reader`] has the queries, [`Writer`] the changes; [`tables`] alone defines the encoding of
//!   keys and values, and the schema version.
//! - Every row that is read is checked ([`seal`]): damage is an error with table and key, never a
//!   wrong result.
//! - A generated root is kept as long as something else needs the manifest that it was generated for
//!   ([`generated_roots`]).
//! - A newer store is refused. An older one is read as it is if possible; before anything is
//!   written it is [migrated](migrations), and a backup of the old one is kept next to it
//!   ([`backup`]).

mod backup;
mod database;
mod error;
mod files;
mod generated_roots;
mod migrations;
mod needed;
mod reader;
pub mod records;
mod rows;
mod seal;
mod tables;
mod transfers;
mod writer;

pub use database::Store;
pub use error::{StoreError, Transaction, TransactionError};
pub use files::{FileEntry, MissingPaths};
pub use migrations::Migrated;
pub use needed::Needed;
pub use reader::{Name, Reader};
pub use rows::{RowDamage, Table};
pub use transfers::SentTransfers;
pub use writer::Writer;
