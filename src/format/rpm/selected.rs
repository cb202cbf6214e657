//! A selected RPM repository, as syncs and merges use it.

use std::collections::{BTreeSet, HashMap};
use std::io::BufRead;

use super::format::RpmFormat;
use super::repomd::{REPOMD, static_path};
use super::selection::Rpm;
use super::{architectures, choose, evr, files, modules, regenerate, repomd};
use crate::config::Filters;
use crate::format::error::FormatError;
use crate::format::index::{Index, IndexKind, Reference};
use crate::format::interface::{Format, Selected};
use crate::format::regenerate::{Indexes, PackageChoice, Regenerated, Sink, Source};
use crate::format::root::{Companion, Root, RootSource};
use crate::manifest::Package;
use crate::openpgp::Trusted;

impl Selected for Rpm {
    fn format(&self) -> &'static dyn Format {
        &RpmFormat
    }

    fn selection(&self) -> String {
        format!("{:?}", self.selection)
    }

    fn suite(&self) -> String {
        String::new()
    }

    fn roots(&self) -> Vec<RootSource> {
        vec![RootSource::Detached {
            path: static_path(REPOMD),
            signature: static_path("repodata/repomd.xml.asc"),
        }]
    }

    fn companions(&self, _root: &RootSource) -> Vec<Companion> {
        vec![Companion::Opaque {
            path: static_path("repodata/repomd.xml.key"),
        }]
    }

    fn open_root(&self, root: &Trusted) -> Result<Root, FormatError> {
        repomd::read(REPOMD, root.bytes())
    }

    fn read_index(
        &self,
        index: &Index,
        text: &mut dyn BufRead,
        each: &mut dyn FnMut(Reference) -> Result<(), FormatError>,
    ) -> Result<(), FormatError> {
        match index.kind {
            IndexKind::Packages => files::read_primary(&index.name, text, each),
            IndexKind::OtherFiles => files::read_deltas(&index.name, text, each),
            IndexKind::Sources | IndexKind::Opaque => Ok(()),
        }
    }

    fn choose(&self, indexes: &dyn Indexes) -> Result<PackageChoice, FormatError> {
        let selection = &self.selection;
        let takes_all = selection.architectures.is_none() && selection.sources;
        if takes_all && selection.filters == Filters::default() {
            return Ok(PackageChoice::default());
        }
        choose::choose(self, indexes, evr::compare)
    }

    /// Of modules, as `NAME:STREAM`.
    fn streams(&self, indexes: &dyn Indexes) -> Result<HashMap<Package, String>, FormatError> {
        let mut streams = HashMap::new();
        for index in indexes.all().iter().filter(|index| index.name == "modules") {
            indexes.read(index, &mut |text| {
                modules::read_streams(&index.name, text, &mut streams)
            })?;
        }
        Ok(streams)
    }

    fn regenerate(
        &self,
        sources: &[Source<'_>],
        sink: &mut dyn Sink,
    ) -> Result<Regenerated, FormatError> {
        regenerate::regenerate(sources, sink)
    }

    /// With another file name a package would be published without verification.
    fn unmatched_architectures(&self, seen: &BTreeSet<String>) -> Vec<String> {
        architectures::unmatched(
            self.selection.architectures.as_deref().unwrap_or_default(),
            seen,
        )
    }
}
