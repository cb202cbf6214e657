//! Selects the packages of a repository by architecture, `rpm.sources` and filters, and their
//! dependencies.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::io::BufRead;

use super::dependencies::RpmRules;
use super::files::{CHILDREN, package};
use super::selection::Rpm;
use super::xml::{Child, Records};
use super::{architectures, comps, dependencies};
use crate::format::choose::{Chooser, UnfilteredIndexes};
use crate::format::dependency_closure::{Candidate, LimitExceeded, PackageSet, Target};
use crate::format::error::FormatError;
use crate::format::filter::FilterAttributes;
use crate::format::index::IndexKind;
use crate::format::interface::Selected;
use crate::format::regenerate::{Indexes, PackageChoice};
use crate::manifest::Package;
use crate::rel_path::RelPath;

/// The source package, then the fields for [`package`].
const NAMES: [&str; 7] = {
    let [name, architecture, version, checksum, size, location] = CHILDREN;
    [
        "format/rpm:sourcerpm",
        name,
        architecture,
        version,
        checksum,
        size,
        location,
    ]
};

/// Without filters, nothing is chosen explicitly if all packages are selected: the signer of the
/// metadata must not depend on the content of the upstream, because clients have one key.
pub(super) fn choose(
    rpm: &Rpm,
    indexes: &dyn Indexes,
    compare: fn(&str, &str) -> Ordering,
) -> Result<PackageChoice, FormatError> {
    let filters = &rpm.selection.filters;
    let rules = || RpmRules::of(rpm.selection.architectures.as_deref());
    let mut reader = PrimaryReader {
        rpm,
        groups: HashMap::new(),
        // Needed even without a filter for modules: `newest` counts per stream.
        modules: rpm.streams(indexes)?,
        chooser: Chooser::new(filters, compare, rules),
        sources: Vec::new(),
    };
    for index in indexes.all() {
        if matches!(index.name.as_str(), "group" | "group_gz") && !filters.groups.is_empty() {
            indexes.read(index, &mut |text| {
                comps::read_members(&index.name, text, &mut reader.groups)
            })?;
        }
    }
    for index in indexes.all() {
        if index.kind == IndexKind::Packages {
            indexes.read(index, &mut |text| reader.read_primary(&index.name, text))?;
        }
    }
    let close = |packages: &mut PackageSet<RpmRules>, chosen: &_| {
        dependencies::add_needed(packages, indexes, chosen)
    };
    reader.chooser.close(close)?;
    reader.judge_sources();
    Ok(reader.chooser.finish(UnfilteredIndexes::Upstream))
}

struct PrimaryReader<'a> {
    rpm: &'a Rpm,
    /// The groups by package name.
    groups: HashMap<String, Vec<String>>,
    /// By a modular package's name, version and architecture, its `NAME:STREAM`.
    modules: HashMap<Package, String>,
    chooser: Chooser<'a, RpmRules>,
    /// Source packages, checked after the binary packages.
    sources: Vec<(Package, RelPath, Option<u64>)>,
}

impl PrimaryReader<'_> {
    fn read_primary(&mut self, file: &str, text: &mut dyn BufRead) -> Result<(), FormatError> {
        let lists = if self.chooser.adds_needed() {
            dependencies::NEEDS
        } else {
            &[]
        };
        let mut records = Records::new(file, text, &["metadata", "package"], NAMES)
            .with_lists(lists)
            .listing_up_to(dependencies::LISTED_LIMIT);
        while let Some((_, [source, of_package @ ..])) = records.next()? {
            let reference = package(file, &of_package)?;
            let (package, path, size) = (
                reference.package.clone(),
                reference.path.clone(),
                reference.size,
            );
            let (true, Some(package)) = (self.chooser.note(reference), package) else {
                continue;
            };
            if !self.rpm.selects(&package.architecture) {
                continue;
            }
            if architectures::is_source(&package.architecture) {
                self.sources.push((package, path, size));
                continue;
            }
            let source = source.map(|source| source.text).unwrap_or_default();
            self.judge(file, (&package, &path, size), &source, records.listed())?;
        }
        Ok(())
    }

    /// `needs` are the listed dependencies of the package.
    fn judge(
        &mut self,
        file: &str,
        (package, path, size): (&Package, &RelPath, Option<u64>),
        source: &str,
        needs: &[Vec<Child>],
    ) -> Result<(), FormatError> {
        let groups = self.groups.get(&package.name);
        let module = self.modules.get(package).map(String::as_str);
        let attributes = FilterAttributes {
            package,
            size,
            source: name_of_source(source),
            section: None,
            priority: None,
            groups: groups.map_or(&[], Vec::as_slice),
            module,
        };
        let stream = module.unwrap_or_default();
        let dependencies = self.rpm.selection.filters.with_dependencies;
        let add = |packages: &mut PackageSet<RpmRules>| -> Result<(), LimitExceeded> {
            packages.add(Candidate {
                name: &package.name,
                version: &package.version,
                target: Target {
                    architecture: &package.architecture,
                    stream,
                    multi_arch: "",
                },
                source,
                path: path.clone(),
            })?;
            dependencies::note_needs(packages, needs, dependencies)
        };
        self.chooser
            .judge(&attributes, (source, stream), path, |packages| {
                add(packages).map_err(|exceeded| exceeded.in_index(file))
            })
    }

    fn judge_sources(&mut self) {
        for (package, path, size) in std::mem::take(&mut self.sources) {
            let stream = self.modules.get(&package).map_or("", String::as_str);
            let names = (path.file_name(), stream);
            self.chooser.judge_source(&package, names, size, [&path]);
        }
    }
}

/// `bash-5.1-2.el9.src.rpm` was built from `bash`.
fn name_of_source(file: &str) -> Option<&str> {
    let stem = file.strip_suffix(".rpm")?;
    let (stem, _architecture) = stem.rsplit_once('.')?;
    let (stem, _release) = stem.rsplit_once('-')?;
    let (name, _version) = stem.rsplit_once('-')?;
    Some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_source_has_a_name() {
        for (file, name) in [
            ("bash-5.1-2.el9.src.rpm", Some("bash")),
            ("a-b-1-2.nosrc.rpm", Some("a-b")),
            ("", None),
            ("x.rpm", None),
        ] {
            assert_eq!(name_of_source(file), name, "{file}");
        }
    }
}
