//! RPM repositories: `repodata/repomd.xml` is the root, primary lists the packages.

mod architectures;
mod choose;
mod comps;
mod decoder;
mod dependencies;
mod elements;
pub mod evr;
mod fields;
mod files;
mod format;
mod header;
mod limited_reader;
mod modules;
mod package;
mod regenerate;
mod repomd;
mod rich;
mod selected;
mod selection;
mod tag;
#[cfg(test)]
mod tests;
pub mod updateinfo;
mod xml;

pub use format::RpmFormat;
pub use selection::{Rpm, Selection};
