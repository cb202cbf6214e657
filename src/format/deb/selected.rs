//! A selected APT repository, as syncs and merges use it.

use std::collections::BTreeSet;
use std::io::BufRead;

use super::format::AptFormat;
use super::release::Release;
use super::selection::{Apt, Layout};
use super::{choose, indexes, packages, regenerate, sources, version};
use crate::config::Filters;
use crate::format::error::FormatError;
use crate::format::index::{Index, IndexKind, Reference};
use crate::format::interface::{Format, Selected};
use crate::format::regenerate::{Indexes, PackageChoice, Regenerated, Sink, Source};
use crate::format::root::{Companion, Root, RootSource};
use crate::openpgp::Trusted;

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
