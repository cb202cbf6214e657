//! Which packages of a repository the architectures, `rpm.sources` and the filters take, and what those need.

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};
use std::io::BufRead;

use super::dependencies::RpmRules;
use super::files::{CHILDREN, package};
use super::xml::{Child, Records};
use super::{Rpm, architectures, comps, dependencies};
use crate::config::{Dependencies, Filters};
use crate::format::closure::{Candidate, Excess, Place, Universe};
use crate::format::filter::{Candidates, Facts, admits_as_needed, wants, wants_source};
use crate::format::{Chosen, FormatError, IndexKind, Indexes, Reference, Selected, Taken};
use crate::manifest::Package;
use crate::rel_path::RelPath;

/// What names the source package, and then what [`package`] reads.
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

/// `None` when that is all of them and there are no filters.
pub(super) fn choose(
    rpm: &Rpm,
    indexes: &dyn Indexes,
    compare: fn(&str, &str) -> Ordering,
) -> Result<Taken, FormatError> {
    let filters = &rpm.selection.filters;
    let mut choice = Choice {
        rpm,
        groups: HashMap::new(),
        // Also without a filter for them: the newest are counted in each stream.
        modules: rpm.streams(indexes)?,
        seen: HashSet::new(),
        candidates: Candidates::default(),
        sources: Vec::new(),
        taken_sources: HashSet::new(),
        universe: (filters.with_dependencies != Dependencies::LeftOut)
            .then(|| Universe::new(RpmRules::of(rpm.selection.architectures.as_deref()))),
    };
    for index in indexes.all() {
        if matches!(index.name.as_str(), "group" | "group_gz") && !filters.groups.is_empty() {
            indexes.read(index, &mut |text| {
                comps::read_members(&index.name, text, &mut choice.groups)
            })?;
        }
    }
    for index in indexes.all() {
        if index.kind == IndexKind::RpmPrimary {
            indexes.read(index, &mut |text| choice.read_primary(&index.name, text))?;
        }
    }
    let mut chosen = std::mem::take(&mut choice.candidates).choose(filters, compare);
    let warning = choice.add_needed(indexes, &mut chosen)?;
    choice.add_sources();
    chosen.extend(choice.candidates.choose(filters, compare));
    let is_all = chosen.len() == choice.seen.len();
    // Whose signature is on the metadata must not change with what the upstream happens to have: clients have one key.
    let is_ours = !is_all || *filters != Filters::default();
    Ok(Taken {
        chosen: is_ours.then_some(chosen),
        warnings: warning.into_iter().collect(),
    })
}

struct Choice<'a> {
    rpm: &'a Rpm,
    /// By the name of a package, the groups that have it.
    groups: HashMap<String, Vec<String>>,
    /// By a modular package's name, version and architecture, its `NAME:STREAM`.
    modules: HashMap<Package, String>,
    /// The paths of all packages.
    seen: HashSet<RelPath>,
    candidates: Candidates,
    /// Source packages, judged when it is known what is taken.
    sources: Vec<Reference>,
    /// File names of the source packages of what is taken.
    taken_sources: HashSet<String>,
    /// Where dependencies are added: what may be needed.
    universe: Option<Universe<RpmRules>>,
}

impl Choice<'_> {
    fn read_primary(&mut self, file: &str, text: &mut dyn BufRead) -> Result<(), FormatError> {
        let lists = match self.universe {
            Some(_) => dependencies::NEEDS,
            None => &[],
        };
        let mut records = Records::new(file, text, &["metadata", "package"], NAMES)
            .with_lists(lists)
            .listing_up_to(dependencies::LISTED_LIMIT);
        while let Some((_, [source, of_package @ ..])) = records.next()? {
            let reference = package(file, &of_package)?;
            let source = source.map(|source| source.text).unwrap_or_default();
            if self.seen.insert(reference.path.clone()) {
                let judged = self.judge(reference, source, records.listed());
                judged.map_err(|excess| excess.of(file))?;
            }
        }
        Ok(())
    }

    /// `needs` is what the package lists so.
    fn judge(
        &mut self,
        reference: Reference,
        source: String,
        needs: &[Vec<Child>],
    ) -> Result<(), Excess> {
        let Some(package) = &reference.package else {
            return Ok(());
        };
        if !self.rpm.selects(&package.architecture) {
            return Ok(());
        }
        if architectures::is_source(&package.architecture) {
            self.sources.push(reference);
            return Ok(());
        }
        let groups = self.groups.get(&package.name);
        let module = self.modules.get(package);
        let facts = Facts {
            package,
            size: reference.size,
            source: name_of_source(&source),
            section: None,
            priority: None,
            groups: groups.map_or(&[], Vec::as_slice),
            module: module.map(String::as_str),
        };
        let filters = &self.rpm.selection.filters;
        let stream = module.map_or("", String::as_str);
        if let Some(universe) = &mut self.universe
            && admits_as_needed(filters, &facts)
        {
            universe.add(Candidate {
                name: &package.name,
                version: &package.version,
                place: Place {
                    architecture: &package.architecture,
                    stream,
                    multi_arch: "",
                },
                source: &source,
                path: reference.path.clone(),
            })?;
            dependencies::note_needs(universe, needs, filters.with_dependencies)?;
        }
        if wants(filters, &facts) {
            self.candidates
                .add(package.clone(), stream, reference.path.clone());
            self.taken_sources.insert(source);
        }
        Ok(())
    }

    /// Takes what the chosen packages need too.
    fn add_needed(
        &mut self,
        indexes: &dyn Indexes,
        chosen: &mut Chosen,
    ) -> Result<Option<String>, FormatError> {
        let Some(mut universe) = self.universe.take() else {
            return Ok(None);
        };
        let closure = dependencies::add_needed(&mut universe, indexes, chosen)?;
        for member in &closure.members {
            self.taken_sources
                .insert(universe.source(*member).to_owned());
            if let Some(path) = universe.path(*member) {
                chosen.take(path.clone());
            }
        }
        Ok(universe.warning(&closure))
    }

    fn add_sources(&mut self) {
        for reference in std::mem::take(&mut self.sources) {
            let Some(package) = reference.package else {
                continue;
            };
            let facts = Facts {
                package: &package,
                size: reference.size,
                source: Some(&package.name),
                section: None,
                priority: None,
                groups: &[],
                module: None,
            };
            let is_of_a_taken_one = self.taken_sources.contains(reference.path.file_name());
            if wants_source(&self.rpm.selection.filters, &facts, is_of_a_taken_one) {
                let stream = self.modules.get(&package).cloned().unwrap_or_default();
                self.candidates.add(package, &stream, reference.path);
            }
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
