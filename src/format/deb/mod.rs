//! APT repositories: Release is the root, Packages and Sources list the files.
//!
//! A repository is below `dists/` with components and architectures, or flat: Release is next to
//! Packages, without components.

mod choose;
mod dates;
mod dependencies;
mod format;
mod indexes;
mod metadata;
mod packages;
mod record_writer;
mod regenerate;
mod release;
mod sources;
mod stanza;
pub mod version;

use std::collections::BTreeSet;
use std::io::BufRead;

use crate::config::Filters;
use crate::format::error::FormatError;
use crate::format::index::{Index, IndexKind, Reference};
use crate::format::interface::{Format, Selected};
use crate::format::regenerate::{Indexes, PackageChoice, Regenerated, Sink, Source};
use crate::format::root::{Companion, Root, RootSource};
use crate::openpgp::Trusted;
use crate::rel_path::{RelPath, RelPathError};

pub use format::AptFormat;
use release::{Release, redated};

/// The mirrored part of an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    /// The directory below `dists/`; one that ends in `/` is the directory of a flat repository
    /// (`./` at the top).
    pub distribution: String,
    /// In full or by their last segment (`updates/main`, `main`). Not used in a flat repository.
    pub components: Vec<String>,
    /// `all` is always included. Not used in a flat repository.
    pub architectures: Vec<String>,
    pub sources: bool,
    pub udebs: bool,
    pub installer: bool,
    pub filters: Filters,
}

/// An APT repository as the configuration selects it.
#[derive(Debug)]
pub struct Apt {
    selection: Selection,
    scope: Scope,
    /// The directory of Release; `None` is the top.
    directory: Option<RelPath>,
    layout: Layout,
}

/// The selected indexes of Release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scope {
    /// Those of the selection.
    Selected,
    /// Everything that any selection can include.
    Everything,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layout {
    Dists,
    Flat,
}

impl Apt {
    pub fn new(selection: Selection) -> Result<Self, FormatError> {
        let distribution = selection.distribution.clone();
        let path_error = |source| FormatError::Path {
            file: "apt.distribution".to_owned(),
            named_by: distribution.clone(),
            source,
        };
        let (layout, directory) = if let Some(flat) = distribution.strip_suffix('/') {
            let directory = match flat.trim_matches('/') {
                "" | "." => None,
                directory => Some(RelPath::parse(directory)),
            };
            (Layout::Flat, directory)
        } else {
            // Checked separately, so that it cannot leave `dists`.
            let suite = RelPath::parse(&distribution);
            let directory = suite.and_then(|suite| RelPath::parse(&format!("dists/{suite}")));
            (Layout::Dists, Some(directory))
        };
        let apt = Self {
            selection,
            scope: Scope::Selected,
            directory: directory.transpose().map_err(path_error)?,
            layout,
        };
        apt.beside("Release.gpg").map_err(path_error)?;
        Ok(apt)
    }

    /// Selects everything in the repository with this root.
    pub fn everything(root: &RelPath) -> Self {
        let directory = root.parent();
        let suite = directory
            .as_ref()
            .and_then(|directory| directory.as_str().strip_prefix("dists/"));
        Self {
            selection: Selection {
                distribution: suite.unwrap_or_default().to_owned(),
                components: Vec::new(),
                architectures: Vec::new(),
                sources: true,
                udebs: true,
                installer: true,
                filters: Filters::default(),
            },
            scope: Scope::Everything,
            layout: if suite.is_some() {
                Layout::Dists
            } else {
                Layout::Flat
            },
            directory,
        }
    }

    /// A path relative to the directory of Release.
    fn beside(&self, name: &str) -> Result<RelPath, RelPathError> {
        match &self.directory {
            Some(directory) => directory.join(name),
            None => RelPath::parse(name),
        }
    }

    fn root_file(&self, name: &'static str) -> RelPath {
        self.beside(name)
            .expect("the distribution was checked to leave room for the root's names")
    }

    fn release(&self) -> RootSource {
        RootSource::Detached {
            path: self.root_file("Release"),
            signature: self.root_file("Release.gpg"),
        }
    }
}

impl Selected for Apt {
    fn format(&self) -> &'static dyn Format {
        &AptFormat
    }

    fn selection(&self) -> String {
        format!("{:?}", self.selection)
    }

    fn suite(&self) -> String {
        self.selection.distribution.clone()
    }

    fn roots(&self) -> Vec<RootSource> {
        let inline = RootSource::Inline {
            path: self.root_file("InRelease"),
        };
        vec![inline, self.release()]
    }

    fn companions(&self, root: &RootSource) -> Vec<Companion> {
        match (root, self.release()) {
            (RootSource::Inline { .. }, RootSource::Detached { path, signature }) => {
                vec![Companion::SameRoot { path, signature }]
            }
            _ => Vec::new(),
        }
    }

    fn open_root(&self, root: &Trusted) -> Result<Root, FormatError> {
        let file = self.root_file("Release");
        let release = Release::parse(file.as_str(), root.bytes())?;
        let chosen = indexes::select_indexes(self, file.as_str(), &release)?;
        let mut warnings = release.warnings;
        warnings.extend(chosen.warnings);
        Ok(Root {
            date: release.date,
            revision: None,
            valid_until: release.valid_until,
            unread_valid_until: release.unread_valid_until,
            indexes: chosen.indexes,
            warnings,
        })
    }

    fn read_index(
        &self,
        index: &Index,
        text: &mut dyn BufRead,
        each: &mut dyn FnMut(Reference) -> Result<(), FormatError>,
    ) -> Result<(), FormatError> {
        match index.kind {
            IndexKind::Packages => packages::read(&index.name, text, each),
            IndexKind::Sources => sources::read(&index.name, text, each),
            IndexKind::OtherFiles => sources::read_sums(index, text, each),
            IndexKind::Opaque => Ok(()),
        }
    }

    fn choose(&self, indexes: &dyn Indexes) -> Result<PackageChoice, FormatError> {
        let filters = &self.selection.filters;
        if *filters == Filters::default() {
            return Ok(PackageChoice::default());
        }
        choose::choose(filters, indexes, version::compare)
    }

    fn regenerate(
        &self,
        sources: &[Source<'_>],
        sink: &mut dyn Sink,
    ) -> Result<Regenerated, FormatError> {
        regenerate::regenerate(self, sources, sink)
    }

    /// Only in a flat repository can an architecture be missing: otherwise Release lists them.
    fn unmatched_architectures(&self, seen: &BTreeSet<String>) -> Vec<String> {
        if self.layout == Layout::Dists || seen.contains("all") {
            return Vec::new();
        }
        self.selection
            .architectures
            .iter()
            .filter(|wanted| !seen.contains(*wanted))
            .cloned()
            .collect()
    }
}

/// The value of a required field. `above` is the line before the stanza, to identify it in
/// messages.
fn required<'v>(
    file: &str,
    above: u64,
    field: &str,
    value: Option<&'v [u8]>,
) -> Result<&'v str, FormatError> {
    let value = value.ok_or_else(|| {
        FormatError::malformed(
            file,
            format!("the stanza after line {above} has no {field}"),
        )
    })?;
    text(file, field, value)
}

/// A field value as text.
fn text<'v>(file: &str, field: &str, value: &'v [u8]) -> Result<&'v str, FormatError> {
    std::str::from_utf8(value)
        .map_err(|_| FormatError::malformed(file, format!("{field} is not UTF-8")))
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn selection(distribution: &str) -> Selection {
        Selection {
            distribution: distribution.to_owned(),
            components: vec!["main".to_owned()],
            architectures: vec!["amd64".to_owned()],
            sources: false,
            udebs: false,
            installer: false,
            filters: Filters::default(),
        }
    }

    #[test]
    fn release_stands_where_apt_looks_for_it() {
        for (distribution, place) in [
            ("bookworm", "dists/bookworm/"),
            ("buster/updates", "dists/buster/updates/"),
            ("./", ""),
            ("/", ""),
            ("stable/", "stable/"),
            ("./amd64/", "amd64/"),
        ] {
            let apt = Apt::new(selection(distribution)).unwrap();
            let path = |name: &str| RelPath::parse(&format!("{place}{name}")).unwrap();
            let roots = apt.roots();
            assert_eq!(
                roots,
                [
                    RootSource::Inline {
                        path: path("InRelease")
                    },
                    RootSource::Detached {
                        path: path("Release"),
                        signature: path("Release.gpg")
                    }
                ]
            );
            assert_eq!(
                apt.companions(&roots[0]),
                [Companion::SameRoot {
                    path: path("Release"),
                    signature: path("Release.gpg")
                }]
            );
            assert_eq!(apt.companions(&roots[1]), []);
        }
        let long = "x/".repeat(1498) + "x";
        for distribution in ["", "../../etc", "../x/", "/abs", &long, &format!("{long}/")] {
            assert!(
                matches!(
                    Apt::new(selection(distribution)),
                    Err(FormatError::Path { .. })
                ),
                "{distribution:?}"
            );
        }
    }

    #[test]
    fn only_a_flat_repository_can_miss_an_architecture() {
        let seen = |names: &[&str]| names.iter().map(ToString::to_string).collect();
        let flat = Apt::new(selection("./")).unwrap();
        assert_eq!(flat.unmatched_architectures(&seen(&["i386"])), ["amd64"]);
        assert!(flat.unmatched_architectures(&seen(&["all"])).is_empty());
        let dists = Apt::new(selection("sid")).unwrap();
        assert!(dists.unmatched_architectures(&seen(&["i386"])).is_empty());
    }
}
