//! Repository formats: bytes in, references out.
//!
//! A format defines where the root is, which indexes a trusted root contains, and which files an
//! index contains. It has no access to network, pool or store, and parses only verified bytes: the
//! root is [`Trusted`](crate::openpgp::Trusted), an index is a reader of bytes whose digest is in
//! the root. Indexes are streamed; memory does not grow with their text.

mod choose;
pub mod compression;
pub mod deb;
mod dependency_closure;
mod error;
mod filter;
mod index;
mod interface;
mod lines;
mod members;
mod package;
mod read_text;
mod reasons;
mod regenerate;
mod root;
pub mod rpm;
mod select;
mod version;
mod yaml;

pub use compression::Open;
pub use error::{FormatError, PackageError};
pub use index::{Index, IndexKind, Presence, Reference, Variant};
pub use interface::{Format, Selected, VersionOrder};
pub use package::Identity;
pub use read_text::read_text;
pub use reasons::{AdvisoryRecord, ChangeReasons, ReadAdvisories, ReadOrigins};
pub use regenerate::{Chosen, Indexes, ReadBack, Sink, Source, Work, Written};
pub use root::{Companion, KeyFile, Root, RootSource, ValidUntil, is_same_text, root_text};
pub use select::select;
