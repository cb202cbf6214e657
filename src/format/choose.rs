//! Which packages of a repository are chosen, whatever its format: what the filters take, what that needs, and the sources of it.
//!
//! Each list of packages is read once. Of every package its [`Reference`] is kept, so that the files to download are known without
//! reading the lists again; of an index's text nothing is.

use std::cmp::Ordering;
use std::collections::{BTreeSet, HashMap, HashSet, hash_map};

use super::closure::{Closure, Rules, Universe};
use super::filter::{Candidates, Facts, admits_as_needed, wants, wants_source};
use super::{Chosen, FormatError, Listed, Reference, Taken};
use crate::config::{Dependencies, Filters};
use crate::manifest::Package;
use crate::rel_path::RelPath;

/// A choice that is being made. Binary packages are judged first, then [`Self::close`] is called once, then sources are judged.
pub(super) struct Choice<'a, R> {
    filters: &'a Filters,
    compare: fn(&str, &str) -> Ordering,
    files: Files,
    candidates: Candidates,
    /// What the chosen packages were built from, as their index names it.
    sources: HashSet<String>,
    /// Where dependencies are added: what may be needed.
    universe: Option<Universe<R>>,
    chosen: Chosen,
    warnings: Vec<String>,
}

impl<'a, R: Rules> Choice<'a, R> {
    /// `compare` orders versions.
    pub(super) fn new(
        filters: &'a Filters,
        compare: fn(&str, &str) -> Ordering,
        rules: impl FnOnce() -> R,
    ) -> Self {
        let adds_needed = filters.with_dependencies != Dependencies::LeftOut;
        Self {
            filters,
            compare,
            files: Files::default(),
            candidates: Candidates::default(),
            sources: HashSet::new(),
            universe: adds_needed.then(|| Universe::new(rules())),
            chosen: Chosen::default(),
            warnings: Vec::new(),
        }
    }

    pub(super) fn adds_needed(&self) -> bool {
        self.universe.is_some()
    }

    /// Notes a file that a list names. False where its path was noted before: indexes repeat each other.
    pub(super) fn note(&mut self, reference: Reference) -> bool {
        self.files.add(reference)
    }

    /// Judges a binary package by itself. `source` is what it was built from, as its index names it; `add` is called where
    /// others may need it.
    pub(super) fn judge(
        &mut self,
        facts: &Facts<'_>,
        (source, stream): (&str, &str),
        path: &RelPath,
        add: impl FnOnce(&mut Universe<R>) -> Result<(), FormatError>,
    ) -> Result<(), FormatError> {
        if let Some(universe) = &mut self.universe
            && admits_as_needed(self.filters, facts)
        {
            add(universe)?;
        }
        if wants(self.filters, facts) {
            self.candidates
                .add(facts.package.clone(), stream, path.clone());
            self.sources.insert(source.to_owned());
        }
        Ok(())
    }

    /// Chooses by versions, and with `close` what the chosen packages need.
    pub(super) fn close(
        &mut self,
        close: impl FnOnce(&mut Universe<R>, &Chosen) -> Result<Closure, FormatError>,
    ) -> Result<(), FormatError> {
        self.choose_candidates();
        let Some(mut universe) = self.universe.take() else {
            return Ok(());
        };
        let closure = close(&mut universe, &self.chosen)?;
        for member in &closure.members {
            self.sources.insert(universe.source(*member).to_owned());
            if let Some(path) = universe.path(*member) {
                self.chosen.take(path.clone());
            }
        }
        self.warnings.extend(universe.warning(&closure));
        Ok(())
    }

    /// Judges a source package. `name` is what the packages that are built from it call it; `size` is that of all its files.
    pub(super) fn judge_source<'p>(
        &mut self,
        package: &Package,
        (name, stream): (&str, &str),
        size: Option<u64>,
        paths: impl IntoIterator<Item = &'p RelPath>,
    ) {
        let facts = Facts {
            package,
            size,
            source: Some(&package.name),
            section: None,
            priority: None,
            groups: &[],
            module: None,
        };
        if wants_source(self.filters, &facts, self.sources.contains(name)) {
            for path in paths {
                self.candidates.add(package.clone(), stream, path.clone());
            }
        }
    }

    fn choose_candidates(&mut self) {
        let candidates = std::mem::take(&mut self.candidates);
        let chosen = candidates.choose(self.filters, self.compare);
        self.chosen.extend(chosen);
    }

    pub(super) fn finish(mut self, unfiltered: Unfiltered) -> Taken {
        self.choose_candidates();
        let is_all = self.chosen.len() == self.files.by_path.len();
        let is_upstreams =
            unfiltered == Unfiltered::IsUpstreams && is_all && *self.filters == Filters::default();
        let chosen = (!is_upstreams).then_some(self.chosen);
        let (listed, records) = self.files.chosen(chosen.as_ref());
        Taken {
            chosen: chosen.map(|chosen| chosen.with_records(records)),
            listed: Some(listed),
            warnings: self.warnings,
        }
    }
}

/// Whose indexes describe a choice of all packages that no filter made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unfiltered {
    IsUpstreams,
    IsOurs,
}

/// The files that lists of packages name.
#[derive(Default)]
struct Files {
    by_path: HashMap<RelPath, Named>,
    /// Further references to a path that are not the same as its first one, as they were read.
    others: Vec<Reference>,
    architectures: BTreeSet<String>,
}

struct Named {
    reference: Reference,
    /// How many records of the lists name its path.
    records: u64,
}

impl Files {
    fn add(&mut self, reference: Reference) -> bool {
        if let Some(package) = &reference.package
            && !self.architectures.contains(&package.architecture)
        {
            self.architectures.insert(package.architecture.clone());
        }
        match self.by_path.entry(reference.path.clone()) {
            hash_map::Entry::Vacant(free) => {
                free.insert(Named {
                    reference,
                    records: 1,
                });
                true
            }
            hash_map::Entry::Occupied(mut known) => {
                let known = known.get_mut();
                known.records += 1;
                if known.reference != reference {
                    self.others.push(reference);
                }
                false
            }
        }
    }

    /// The chosen ones, all of them without a choice, and how many records name them.
    fn chosen(self, chosen: Option<&Chosen>) -> (Listed, u64) {
        let is_named = |path: &RelPath| chosen.is_none_or(|chosen| chosen.has(path));
        let is_chosen = |reference: &Reference| {
            let (path, package) = (&reference.path, &reference.package);
            let is_of = |chosen: &Chosen| match package {
                Some(package) => chosen.has_of(path, package),
                None => true,
            };
            chosen.is_none_or(is_of)
        };
        let named = self.by_path.into_values();
        let mut records = 0;
        let mut files = Vec::new();
        for Named {
            reference,
            records: of_path,
        } in named
        {
            if is_named(&reference.path) {
                records += of_path;
            }
            if is_chosen(&reference) {
                files.push(reference);
            }
        }
        files.extend(self.others.into_iter().filter(is_chosen));
        let listed = Listed {
            files,
            architectures: self.architectures,
        };
        (listed, records)
    }
}
