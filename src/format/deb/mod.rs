//! APT repositories: Release is the root, Packages and Sources list the files.
//!
//! A repository is below `dists/` with components and architectures, or flat: Release is next to
//! Packages, without components.

mod choose;
mod dates;
mod dependencies;
mod fields;
mod format;
mod indexes;
mod metadata;
mod packages;
mod record_writer;
mod regenerate;
mod release;
mod selected;
mod selection;
mod sources;
mod stanza;
#[cfg(test)]
mod tests;
pub mod version;

pub use format::AptFormat;
pub use selection::{Apt, Selection};
