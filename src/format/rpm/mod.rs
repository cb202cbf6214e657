//! RPM repositories: `repodata/repomd.xml` is the root, primary lists the packages.

mod architectures;
mod choose;
mod comps;
mod decoder;
mod dependencies;
mod elements;
pub mod evr;
mod files;
mod format;
mod header;
mod limited_reader;
mod modules;
mod package;
mod regenerate;
mod repomd;
mod rich;
mod tag;
pub mod updateinfo;
mod xml;

use std::collections::{BTreeSet, HashMap};
use std::io::BufRead;

use crate::config::Filters;
use crate::digest::{Algorithm, Digest};
use crate::format::error::FormatError;
use crate::format::index::{Index, IndexKind, Reference};
use crate::format::interface::{Format, Selected};
use crate::format::regenerate::{Indexes, PackageChoice, Regenerated, Sink, Source};
use crate::format::root::{Companion, Root, RootSource};
use crate::manifest::Package;
use crate::openpgp::Trusted;
use crate::rel_path::{RelPath, RelPathError};

pub use format::RpmFormat;

const REPOMD: &str = "repodata/repomd.xml";

/// Which packages are mirrored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    /// Base architectures, including compatible ones; `None` for all. `noarch` and sources are
    /// always included.
    pub architectures: Option<Vec<String>>,
    pub sources: bool,
    pub filters: Filters,
}

/// An RPM repository as the configuration selects it.
#[derive(Debug)]
pub struct Rpm {
    selection: Selection,
}

impl Rpm {
    pub fn new(selection: Selection) -> Self {
        Self { selection }
    }

    /// Whether packages of this architecture are mirrored.
    fn selects(&self, architecture: &str) -> bool {
        if architectures::is_source(architecture) {
            return self.selection.sources;
        }
        let wanted = self.selection.architectures.as_ref();
        wanted.is_none_or(|wanted| {
            wanted
                .iter()
                .any(|base| architectures::is_compatible(base, architecture))
        })
    }
}

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

/// Reads a repomd.xml.
fn read_root(file: &str, text: &[u8]) -> Result<Root, FormatError> {
    repomd::read(file, text)
}

fn static_path(path: &'static str) -> RelPath {
    RelPath::parse(path).expect("a plain path")
}

/// The location of a file in an element. `named_by` is for messages.
fn location(
    file: &str,
    named_by: &str,
    location: Option<&xml::Child>,
) -> Result<RelPath, FormatError> {
    let path_error = |source| FormatError::Path {
        file: file.to_owned(),
        named_by: named_by.to_owned(),
        source,
    };
    let href = location.and_then(|location| location.attribute("href"));
    let href =
        href.ok_or_else(|| FormatError::malformed(file, format!("{named_by} has no location")))?;
    // It would move the file to another server, which must not be contacted, especially not with
    // credentials.
    match location.and_then(|location| location.attribute("xml:base")) {
        None | Some("") => RelPath::parse_named(href)
            .and_then(RelPath::visible)
            .map_err(path_error),
        Some(base) => Err(path_error(RelPathError::Url(base.to_owned()))),
    }
}

fn digest(
    file: &str,
    named_by: &str,
    checksum: Option<&xml::Child>,
) -> Result<Digest, FormatError> {
    let algorithm = match checksum.and_then(|checksum| checksum.attribute("type")) {
        // The old name of SHA-1 in createrepo.
        Some("sha" | "sha1") => Some(Algorithm::Sha1),
        Some("sha256") => Some(Algorithm::Sha256),
        Some("sha384") => Some(Algorithm::Sha384),
        Some("sha512") => Some(Algorithm::Sha512),
        _ => None,
    };
    let (Some(algorithm), Some(checksum)) = (algorithm, checksum) else {
        return Err(FormatError::NoDigest {
            file: file.to_owned(),
            named_by: named_by.to_owned(),
        });
    };
    Digest::parse(algorithm, &checksum.text)
        .map_err(|error| FormatError::malformed(file, format!("{named_by}: {error}")))
}

/// A size in bytes; some tools write 0 for an unknown size.
fn size(
    file: &str,
    named_by: &str,
    what: &str,
    text: Option<&str>,
) -> Result<Option<u64>, FormatError> {
    Ok(number(file, named_by, what, text)?.filter(|size| *size > 0))
}

/// A size or a time, if present.
fn number<T: std::str::FromStr>(
    file: &str,
    named_by: &str,
    what: &str,
    text: Option<&str>,
) -> Result<Option<T>, FormatError> {
    text.map(|text| {
        text.parse().map_err(|_| {
            FormatError::malformed(file, format!("{named_by}: invalid {what} {text:?}"))
        })
    })
    .transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With sources.
    fn selection(architectures: Option<&[&str]>) -> Selection {
        Selection {
            architectures: architectures
                .map(|names| names.iter().map(ToString::to_string).collect()),
            sources: true,
            filters: Filters::default(),
        }
    }

    #[test]
    fn architectures_and_sources_are_chosen_apart() {
        let all = Rpm::new(selection(None));
        for architecture in ["x86_64", "ppc", "noarch", "src", "nosrc"] {
            assert!(all.selects(architecture));
        }
        let two = Rpm::new(selection(Some(&["aarch64", "x86_64"])));
        for architecture in ["x86_64", "i586", "noarch", "src"] {
            assert!(two.selects(architecture));
        }
        assert!(!Rpm::new(selection(Some(&["x86_64"]))).selects("ppc"));
        for wanted in [None, Some(&["x86_64"][..])] {
            let without_sources = Selection {
                sources: false,
                ..selection(wanted)
            };
            assert!(!Rpm::new(without_sources).selects("nosrc"));
        }
    }

    #[test]
    fn the_root_stands_in_repodata() {
        let rpm = Rpm::new(selection(None));
        let [RootSource::Detached { path, signature }] = &rpm.roots()[..] else {
            panic!("one root with its signature beside it");
        };
        assert_eq!(path.as_str(), "repodata/repomd.xml");
        assert_eq!(signature.as_str(), "repodata/repomd.xml.asc");
        let key = static_path("repodata/repomd.xml.key");
        assert_eq!(
            rpm.companions(&rpm.roots()[0]),
            [Companion::Opaque { path: key }]
        );
    }
}
