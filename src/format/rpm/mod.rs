//! RPM repositories: `repodata/repomd.xml` is the root, primary names the packages.

mod architectures;
pub mod evr;
mod files;
mod header;
mod package;
mod repomd;
mod xml;

use std::collections::BTreeSet;
use std::io::{BufRead, Read};

use super::{
    Companion, Format, FormatError, Index, IndexKind, Inside, KeyFile, PackageError, Reference,
    Root, RootSource,
};
use crate::digest::{Algorithm, Digest};
use crate::openpgp::{Keyring, Trusted};
use crate::rel_path::{RelPath, RelPathError};

const REPOMD: &str = "repodata/repomd.xml";

/// Which packages are mirrored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    /// Base architectures, each with those that rpm counts as compatible; `None` for all. `noarch` and sources
    /// belong to every one of them.
    pub architectures: Option<Vec<String>>,
    pub sources: bool,
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

    /// The metadata lists all packages: as long as it is published as it is, none of them may be left out.
    fn check_selected(&self, reference: &Reference) -> Result<(), FormatError> {
        let Some(package) = &reference.package else {
            return Ok(());
        };
        let architecture = package.architecture.as_str();
        let setting = match &self.selection.architectures {
            _ if architectures::is_source(architecture) => {
                (!self.selection.sources).then_some("rpm.sources")
            }
            Some(wanted) => {
                let fits = |base: &String| architectures::belongs(base, architecture);
                (!wanted.iter().any(fits)).then_some("rpm.architectures")
            }
            None => None,
        };
        match setting {
            Some(setting) => Err(FormatError::NeedsFiltering {
                package: format!("{}-{}", package.name, package.version),
                architecture: architecture.to_owned(),
                setting,
            }),
            None => Ok(()),
        }
    }
}

impl Format for Rpm {
    fn name(&self) -> &'static str {
        "rpm"
    }

    fn selection(&self) -> String {
        format!("{:?}", self.selection)
    }

    fn suite(&self) -> String {
        String::new()
    }

    fn roots(&self) -> Vec<RootSource> {
        vec![RootSource::Detached {
            path: fixed(REPOMD),
            signature: fixed("repodata/repomd.xml.asc"),
        }]
    }

    fn companions(&self, _root: &RootSource) -> Vec<Companion> {
        vec![Companion::Opaque {
            path: fixed("repodata/repomd.xml.key"),
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
            IndexKind::RpmPrimary => files::read_primary(&index.name, text, &mut |reference| {
                self.check_selected(&reference)?;
                each(reference)
            }),
            IndexKind::RpmPrestodelta => files::read_deltas(&index.name, text, each),
            IndexKind::DebPackages
            | IndexKind::DebSources
            | IndexKind::DebInstallerSums
            | IndexKind::Opaque => Ok(()),
        }
    }

    /// Under another name a package would reach clients that nobody has verified.
    fn objection_to(&self, start: &[u8]) -> Option<&'static str> {
        package::is_package(start).then_some("it is a package")
    }

    fn look_inside(&self, package: &mut dyn Read) -> Result<Inside, PackageError> {
        package::look_inside(package)
    }

    fn key_files(&self, name: &RelPath, keyring: &Keyring) -> Vec<KeyFile> {
        vec![KeyFile {
            path: name.clone(),
            bytes: keyring.to_armored_each().into_bytes(),
        }]
    }

    fn unmatched_architectures(&self, seen: &BTreeSet<String>) -> Vec<String> {
        architectures::unmatched(
            self.selection.architectures.as_deref().unwrap_or_default(),
            seen,
        )
    }
}

fn fixed(path: &'static str) -> RelPath {
    RelPath::parse(path).expect("a plain path")
}

/// Where an element says that a file lies. `named_by` is for messages.
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
    // It moves the file to another server, which nothing here may ask, least of all with credentials.
    match location.and_then(|location| location.attribute("xml:base")) {
        None | Some("") => RelPath::parse(href)
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
        // What createrepo called SHA-1 before there were others.
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

/// A size or a time, when it is there.
fn number<T: std::str::FromStr>(
    file: &str,
    named_by: &str,
    what: &str,
    text: Option<&str>,
) -> Result<Option<T>, FormatError> {
    text.map(|text| {
        text.parse().map_err(|_| {
            FormatError::malformed(file, format!("{named_by}: the {what} is {text:?}"))
        })
    })
    .transpose()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::Package;

    fn check(
        architectures: Option<&[&str]>,
        sources: bool,
        architecture: &str,
    ) -> Result<(), String> {
        let rpm = Rpm::new(Selection {
            architectures: architectures
                .map(|names| names.iter().map(ToString::to_string).collect()),
            sources,
        });
        let reference = Reference {
            path: fixed("a.rpm"),
            digest: Digest::from_bytes(Algorithm::Sha1, &[0; 20]).unwrap(),
            size: None,
            package: Some(Package::new("primary", "a", "1-1", architecture).unwrap()),
        };
        rpm.check_selected(&reference)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn what_the_selection_would_leave_out_needs_filtering() {
        for architecture in ["x86_64", "ppc", "noarch", "src", "nosrc"] {
            assert_eq!(check(None, true, architecture), Ok(()));
        }
        for architecture in ["x86_64", "i586", "noarch", "src"] {
            assert_eq!(
                check(Some(&["aarch64", "x86_64"]), true, architecture),
                Ok(())
            );
        }
        assert_eq!(
            check(Some(&["x86_64"]), true, "ppc").unwrap_err(),
            "a-1-1 (ppc) is outside rpm.architectures: a filtered repository cannot be published yet"
        );
        for wanted in [None, Some(&["x86_64"][..])] {
            assert_eq!(
                check(wanted, false, "nosrc").unwrap_err(),
                "a-1-1 (nosrc) is outside rpm.sources: a filtered repository cannot be published yet"
            );
        }
    }

    #[test]
    fn the_root_stands_in_repodata() {
        let rpm = Rpm::new(Selection {
            architectures: None,
            sources: true,
        });
        let [RootSource::Detached { path, signature }] = &rpm.roots()[..] else {
            panic!("one root with its signature beside it");
        };
        assert_eq!(path.as_str(), "repodata/repomd.xml");
        assert_eq!(signature.as_str(), "repodata/repomd.xml.asc");
        let key = fixed("repodata/repomd.xml.key");
        assert_eq!(
            rpm.companions(&rpm.roots()[0]),
            [Companion::Opaque { path: key }]
        );
    }
}
