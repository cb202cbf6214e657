//! Selects the packages of an archive by filters, and their dependencies.

use std::cmp::Ordering;
use std::io::BufRead;

use super::dependencies::{DependencyFields, Dpkg, UDEB, add_dependencies};
use super::fields::text;
use super::stanza::{Stanzas, Values};
use super::{packages, sources};
use crate::config::{Dependencies, Filters};
use crate::format::choose::{Chooser, UnfilteredIndexes};
use crate::format::dependency_closure::{Candidate, PackageSet, Target};
use crate::format::error::FormatError;
use crate::format::filter::FilterAttributes;
use crate::format::index::IndexKind;
use crate::format::regenerate::{Indexes, PackageChoice};
use crate::rel_path::RelPath;

/// The fields for the filters, then those for [`packages::reference`].
const FIELDS: [&str; 15] = {
    let [name, version, architecture, path, size, sha512, sha256] = packages::FIELDS;
    [
        "Source",
        "Section",
        "Priority",
        "Pre-Depends",
        "Depends",
        "Recommends",
        "Provides",
        "Multi-Arch",
        name,
        version,
        architecture,
        path,
        size,
        sha512,
        sha256,
    ]
};

/// For all packages, even if none is excluded.
pub(super) fn choose(
    filters: &Filters,
    indexes: &dyn Indexes,
    compare: fn(&str, &str) -> Ordering,
) -> Result<PackageChoice, FormatError> {
    let mut chooser = Chooser::new(filters, compare, || Dpkg);
    let of_kind = |kind: IndexKind| {
        let all = indexes.all().iter();
        all.filter(move |index| index.kind == kind && !indexes.present(index).is_empty())
    };
    for index in of_kind(IndexKind::Packages) {
        indexes.read(index, &mut |text| {
            read_packages(&mut chooser, filters, &index.name, text)
        })?;
    }
    chooser.close(|set, chosen| {
        let closure = set.close(chosen);
        closure.map_err(|exceeded| exceeded.in_index("Packages"))
    })?;
    for index in of_kind(IndexKind::Sources) {
        indexes.read(index, &mut |text| {
            read_sources(&mut chooser, &index.name, text)
        })?;
    }
    Ok(chooser.finish(UnfilteredIndexes::Rewritten))
}

fn read_packages(
    chooser: &mut Chooser<'_, Dpkg>,
    filters: &Filters,
    file: &str,
    input: &mut dyn BufRead,
) -> Result<(), FormatError> {
    Stanzas::new(file, input, FIELDS).for_each(&mut |above, values| {
        let [
            source,
            section,
            priority,
            pre_depends,
            depends,
            recommends,
            provides,
            multi_arch,
            of_reference @ ..,
        ] = values;
        let reference = packages::reference(file, above, of_reference)?;
        let optional = |field, value: Option<&'_ [u8]>| {
            let value = value.map(|value| text(file, field, value)).transpose()?;
            Ok::<_, FormatError>(value.map(ToOwned::to_owned))
        };
        let source = optional("Source", source)?;
        let section = optional("Section", section)?;
        let priority = optional("Priority", priority)?;
        let (package, path, size) = (
            reference.package.clone(),
            reference.path.clone(),
            reference.size,
        );
        let (true, Some(package)) = (chooser.note(reference), package) else {
            return Ok(());
        };
        // The version of the source follows its name if it differs.
        let source = source
            .as_deref()
            .and_then(|text| text.split_whitespace().next());
        let source = source.unwrap_or(&package.name);
        let attributes = FilterAttributes {
            package: &package,
            size,
            source: Some(source),
            section: section.as_deref(),
            priority: priority.as_deref(),
            groups: &[],
            module: None,
        };
        let recommends = match filters.with_dependencies {
            Dependencies::Recommended => recommends,
            Dependencies::LeftOut | Dependencies::Required => None,
        };
        let needs = [pre_depends, depends, recommends, provides, multi_arch];
        chooser.judge(&attributes, (source, ""), &path, |set| {
            add_to_set(set, file, &attributes, &path, needs)
        })
    })
}

/// Adds the needs and provisions of a package.
fn add_to_set(
    set: &mut PackageSet<Dpkg>,
    file: &str,
    attributes: &FilterAttributes<'_>,
    path: &RelPath,
    [pre_depends, depends, recommends, provides, multi_arch]: Values<'_, 5>,
) -> Result<(), FormatError> {
    let value = |field, value: Option<&'_ [u8]>| {
        let value = text(file, field, value.unwrap_or_default())?;
        Ok::<_, FormatError>(value.to_owned())
    };
    let fields = DependencyFields {
        required: [
            value("Pre-Depends", pre_depends)?,
            value("Depends", depends)?,
        ],
        recommended: value("Recommends", recommends)?,
        provides: value("Provides", provides)?,
    };
    let is_udeb = path
        .as_str()
        .rsplit_once('.')
        .is_some_and(|(_, end)| end == "udeb");
    let architecture = attributes.package.architecture.as_str();
    let candidate = Candidate {
        name: &attributes.package.name,
        version: &attributes.package.version,
        target: Target {
            architecture,
            stream: if is_udeb { UDEB } else { "" },
            multi_arch: &value("Multi-Arch", multi_arch)?,
        },
        source: attributes.source.unwrap_or_default(),
        path: path.clone(),
    };
    set.add(candidate)
        .and_then(|member| add_dependencies(set, member, architecture, &fields))
        .map_err(|exceeded| exceeded.in_index(file))
}

/// The sources of chosen packages are included, unless the filters exclude them.
fn read_sources(
    chooser: &mut Chooser<'_, Dpkg>,
    file: &str,
    input: &mut dyn BufRead,
) -> Result<(), FormatError> {
    Stanzas::new(file, input, sources::FIELDS).for_each(&mut |above, values| {
        let (package, files) = sources::references(file, above, values)?;
        let sizes = files.iter().filter_map(|file| file.size);
        let size = sizes.fold(0, u64::saturating_add);
        let paths = files.iter().map(|file| &file.path);
        chooser.judge_source(&package, (&package.name, ""), Some(size), paths);
        for file in files {
            chooser.note(file);
        }
        Ok(())
    })
}
