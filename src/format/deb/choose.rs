//! Which packages of an archive the filters take.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::io::BufRead;

use super::stanza::Stanzas;
use super::{packages, sources, text};
use crate::config::Filters;
use crate::format::filter::{Candidates, Facts, wants, wants_source};
use crate::format::{Chosen, FormatError, IndexKind, Indexes};
use crate::rel_path::RelPath;

/// What packages are judged by, and then what [`packages::reference`] reads.
const FIELDS: [&str; 10] = {
    let [name, version, architecture, path, size, sha512, sha256] = packages::FIELDS;
    [
        "Source",
        "Section",
        "Priority",
        name,
        version,
        architecture,
        path,
        size,
        sha512,
        sha256,
    ]
};

/// Of all packages, also where that leaves none out.
pub(super) fn choose(
    filters: &Filters,
    indexes: &dyn Indexes,
    compare: fn(&str, &str) -> Ordering,
) -> Result<Chosen, FormatError> {
    let mut choice = Choice {
        filters,
        seen: HashSet::new(),
        candidates: Candidates::default(),
        source_names: HashSet::new(),
    };
    let of_kind = |kind: IndexKind| {
        let all = indexes.all().iter();
        all.filter(move |index| index.kind == kind && !indexes.present(index).is_empty())
    };
    for index in of_kind(IndexKind::DebPackages) {
        indexes.read(index, &mut |text| choice.read_packages(&index.name, text))?;
    }
    for index in of_kind(IndexKind::DebSources) {
        indexes.read(index, &mut |text| choice.read_sources(&index.name, text))?;
    }
    Ok(choice.candidates.choose(filters, compare))
}

struct Choice<'a> {
    filters: &'a Filters,
    /// The paths that were read: indexes repeat each other.
    seen: HashSet<RelPath>,
    candidates: Candidates,
    /// What the candidates were built from.
    source_names: HashSet<String>,
}

impl Choice<'_> {
    fn read_packages(&mut self, file: &str, input: &mut dyn BufRead) -> Result<(), FormatError> {
        let mut stanzas = Stanzas::new(file, input, FIELDS);
        loop {
            let above = stanzas.line_number();
            let Some(values) = stanzas.next()? else {
                return Ok(());
            };
            let [source, section, priority, of_reference @ ..] = values;
            let reference = packages::reference(file, above, of_reference)?;
            let word = |field, value: Option<&'_ [u8]>| {
                let value = value.map(|value| text(file, field, value)).transpose()?;
                Ok::<_, FormatError>(value.map(ToOwned::to_owned))
            };
            let source = word("Source", source)?;
            let (section, priority) = (word("Section", section)?, word("Priority", priority)?);
            if !self.seen.insert(reference.path.clone()) {
                continue;
            }
            let Some(package) = reference.package else {
                continue;
            };
            // Where the source's version differs it stands behind the name.
            let source = source
                .as_deref()
                .and_then(|text| text.split_whitespace().next());
            let source = source.unwrap_or(&package.name).to_owned();
            let facts = Facts {
                package: &package,
                size: reference.size,
                source: Some(&source),
                section: section.as_deref(),
                priority: priority.as_deref(),
                groups: &[],
                module: None,
            };
            if wants(self.filters, &facts) {
                self.source_names.insert(source);
                self.candidates.add(package, "", reference.path);
            }
        }
    }

    /// The sources of what is taken are taken too, as far as the filters do not say otherwise of themselves.
    fn read_sources(&mut self, file: &str, input: &mut dyn BufRead) -> Result<(), FormatError> {
        let mut stanzas = Stanzas::new(file, input, sources::FIELDS);
        loop {
            let above = stanzas.line_number();
            let Some(values) = stanzas.next()? else {
                return Ok(());
            };
            let (package, files) = sources::references(file, above, values)?;
            let sizes = files.iter().filter_map(|file| file.size);
            let facts = Facts {
                package: &package,
                size: Some(sizes.fold(0, u64::saturating_add)),
                source: Some(&package.name),
                section: None,
                priority: None,
                groups: &[],
                module: None,
            };
            let is_of_a_taken_one = self.source_names.contains(&package.name);
            let is_wanted = wants_source(self.filters, &facts, is_of_a_taken_one);
            for file in files {
                self.seen.insert(file.path.clone());
                if is_wanted {
                    self.candidates.add(package.clone(), "", file.path);
                }
            }
        }
    }
}
