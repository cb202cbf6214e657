//! Which packages of an archive the filters take, and what those need.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::io::BufRead;

use super::dependencies::{Dpkg, Fields, UDEB, note};
use super::stanza::Stanzas;
use super::{packages, sources, text};
use crate::config::{Dependencies, Filters};
use crate::format::closure::{Candidate, Place, Universe};
use crate::format::filter::{Candidates, Facts, admits_as_needed, wants, wants_source};
use crate::format::{Chosen, FormatError, IndexKind, Indexes, Taken};
use crate::rel_path::RelPath;

/// What packages are judged by, and then what [`packages::reference`] reads.
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

/// Of all packages, also where that leaves none out.
pub(super) fn choose(
    filters: &Filters,
    indexes: &dyn Indexes,
    compare: fn(&str, &str) -> Ordering,
) -> Result<Taken, FormatError> {
    let adds_needed = filters.with_dependencies != Dependencies::LeftOut;
    let mut choice = Choice {
        filters,
        seen: HashSet::new(),
        candidates: Candidates::default(),
        source_names: HashSet::new(),
        universe: adds_needed.then(|| Universe::new(Dpkg)),
    };
    let of_kind = |kind: IndexKind| {
        let all = indexes.all().iter();
        all.filter(move |index| index.kind == kind && !indexes.present(index).is_empty())
    };
    for index in of_kind(IndexKind::DebPackages) {
        indexes.read(index, &mut |text| choice.read_packages(&index.name, text))?;
    }
    let mut chosen = std::mem::take(&mut choice.candidates).choose(filters, compare);
    let warning = choice.add_needed(&mut chosen)?;
    for index in of_kind(IndexKind::DebSources) {
        indexes.read(index, &mut |text| choice.read_sources(&index.name, text))?;
    }
    chosen.extend(choice.candidates.choose(filters, compare));
    Ok(Taken {
        chosen: Some(chosen),
        warnings: warning.into_iter().collect(),
    })
}

struct Choice<'a> {
    filters: &'a Filters,
    /// The paths that were read: indexes repeat each other.
    seen: HashSet<RelPath>,
    candidates: Candidates,
    /// What the candidates were built from.
    source_names: HashSet<String>,
    /// Where dependencies are added: what may be needed.
    universe: Option<Universe<Dpkg>>,
}

impl Choice<'_> {
    fn read_packages(&mut self, file: &str, input: &mut dyn BufRead) -> Result<(), FormatError> {
        let mut stanzas = Stanzas::new(file, input, FIELDS);
        loop {
            let above = stanzas.line_number();
            let Some(values) = stanzas.next()? else {
                return Ok(());
            };
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
            let needs = [pre_depends, depends, recommends, provides, multi_arch];
            self.note_needs(file, &facts, &reference.path, needs)?;
            if wants(self.filters, &facts) {
                self.source_names.insert(source);
                self.candidates.add(package, "", reference.path);
            }
        }
    }

    /// Where dependencies are added, notes what a package needs and provides that may be taken.
    fn note_needs(
        &mut self,
        file: &str,
        facts: &Facts<'_>,
        path: &RelPath,
        [pre_depends, depends, recommends, provides, multi_arch]: [Option<&[u8]>; 5],
    ) -> Result<(), FormatError> {
        let Some(universe) = &mut self.universe else {
            return Ok(());
        };
        if !admits_as_needed(self.filters, facts) {
            return Ok(());
        }
        let word = |field, value: Option<&'_ [u8]>| {
            let value = text(file, field, value.unwrap_or_default())?;
            Ok::<_, FormatError>(value.to_owned())
        };
        let recommended = match self.filters.with_dependencies {
            Dependencies::Recommended => recommends,
            Dependencies::LeftOut | Dependencies::Required => None,
        };
        let fields = Fields {
            required: [word("Pre-Depends", pre_depends)?, word("Depends", depends)?],
            recommended: word("Recommends", recommended)?,
            provides: word("Provides", provides)?,
        };
        let is_udeb = path
            .as_str()
            .rsplit_once('.')
            .is_some_and(|(_, end)| end == "udeb");
        let architecture = facts.package.architecture.as_str();
        let candidate = Candidate {
            name: &facts.package.name,
            version: &facts.package.version,
            place: Place {
                architecture,
                stream: if is_udeb { UDEB } else { "" },
                multi_arch: &word("Multi-Arch", multi_arch)?,
            },
            source: facts.source.unwrap_or_default(),
            path: path.clone(),
        };
        universe
            .add(candidate)
            .and_then(|member| note(universe, member, architecture, &fields))
            .map_err(|excess| excess.of(file))
    }

    /// Takes what the chosen packages need too.
    fn add_needed(&mut self, chosen: &mut Chosen) -> Result<Option<String>, FormatError> {
        let Some(mut universe) = self.universe.take() else {
            return Ok(None);
        };
        let closure = universe.close(chosen);
        let closure = closure.map_err(|excess| excess.of("Packages"))?;
        for member in &closure.members {
            self.source_names
                .insert(universe.source(*member).to_owned());
            if let Some(path) = universe.path(*member) {
                chosen.take(path.clone());
            }
        }
        Ok(universe.warning(&closure))
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
