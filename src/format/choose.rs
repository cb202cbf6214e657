//! Selects the packages of a repository of any format: those that match the filters, their
//! dependencies and their sources.
//!
//! Each list of packages is read once. The [`Reference`] of every package is kept, so that the
//! files to download are known without reading the lists again. Nothing else of their text is kept.

use std::cmp::Ordering;
use std::collections::{BTreeSet, HashMap, HashSet, hash_map};

use super::dependency_closure::{Closure, DependencyRules, PackageSet};
use super::error::FormatError;
use super::filter::{
    BuiltPackages, Candidates, FilterAttributes, allows_as_dependency, matches, matches_source,
};
use super::index::Reference;
use super::regenerate::{Chosen, ChosenFiles, PackageChoice};
use crate::config::{Dependencies, Filters};
use crate::manifest::Package;
use crate::rel_path::RelPath;

/// Checks packages one at a time. Binary packages come first, then [`Self::close`] is called once,
/// then sources follow.
pub(super) struct Chooser<'a, R> {
    filters: &'a Filters,
    compare: fn(&str, &str) -> Ordering,
    files: Files,
    candidates: Candidates,
    /// The source packages of the chosen packages, as named in their index.
    sources: HashSet<String>,
    /// The candidates for dependencies, if dependencies are added.
    packages: Option<PackageSet<R>>,
    chosen: Chosen,
    warnings: Vec<String>,
}

impl<'a, R: DependencyRules> Chooser<'a, R> {
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
            packages: adds_needed.then(|| PackageSet::new(rules())),
            chosen: Chosen::default(),
            warnings: Vec::new(),
        }
    }

    pub(super) fn adds_needed(&self) -> bool {
        self.packages.is_some()
    }

    /// Adds a file of a list. Returns false if its path was already added: indexes overlap.
    pub(super) fn note(&mut self, reference: Reference) -> bool {
        self.files.add(reference)
    }

    /// Checks a binary package on its own. `source` is its source package, as named in the index;
    /// `add` is called if other packages may need it.
    pub(super) fn judge(
        &mut self,
        attributes: &FilterAttributes<'_>,
        (source, stream): (&str, &str),
        path: &RelPath,
        add: impl FnOnce(&mut PackageSet<R>) -> Result<(), FormatError>,
    ) -> Result<(), FormatError> {
        if let Some(packages) = &mut self.packages
            && allows_as_dependency(self.filters, attributes)
        {
            add(packages)?;
        }
        if matches(self.filters, attributes) {
            self.candidates
                .add(attributes.package.clone(), stream, path.clone());
            self.sources.insert(source.to_owned());
        }
        Ok(())
    }

    /// Selects by version, and adds the dependencies of the chosen packages.
    pub(super) fn close(
        &mut self,
        close: impl FnOnce(&mut PackageSet<R>, &Chosen) -> Result<Closure, FormatError>,
    ) -> Result<(), FormatError> {
        self.choose_candidates();
        let Some(mut packages) = self.packages.take() else {
            return Ok(());
        };
        let closure = close(&mut packages, &self.chosen)?;
        for member in &closure.members {
            self.sources.insert(packages.source(*member).to_owned());
            if let Some(path) = packages.path(*member) {
                self.chosen.take(path.clone());
            }
        }
        self.warnings.extend(packages.warning(&closure));
        Ok(())
    }

    /// Checks a source package. `name` is the name that its binary packages use; `size` is the
    /// total size of its files.
    pub(super) fn judge_source<'p>(
        &mut self,
        package: &Package,
        (name, stream): (&str, &str),
        size: Option<u64>,
        paths: impl IntoIterator<Item = &'p RelPath>,
    ) {
        let attributes = FilterAttributes {
            package,
            size,
            source: Some(&package.name),
            section: None,
            priority: None,
            groups: &[],
            module: None,
        };
        let built = if self.sources.contains(name) {
            BuiltPackages::Chosen
        } else {
            BuiltPackages::NotChosen
        };
        if matches_source(self.filters, &attributes, built) {
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

    pub(super) fn finish(mut self, unfiltered: UnfilteredIndexes) -> PackageChoice {
        self.choose_candidates();
        let is_all = self.chosen.len() == self.files.named.len();
        let is_upstreams = unfiltered == UnfilteredIndexes::Upstream
            && is_all
            && *self.filters == Filters::default();
        let chosen = (!is_upstreams).then_some(self.chosen);
        let (listed, records) = self.files.chosen(chosen.as_ref());
        PackageChoice {
            chosen: chosen.map(|chosen| chosen.with_records(records)),
            listed: Some(listed),
            warnings: self.warnings,
        }
    }
}

/// Which indexes are published if all packages are chosen without a filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UnfilteredIndexes {
    Upstream,
    Rewritten,
}

/// The files in lists of packages.
#[derive(Default)]
struct Files {
    /// The first reference to each path, in the order they were read.
    named: Vec<Named>,
    /// Positions in `named`. A map of the references themselves would need twice the memory.
    by_path: HashMap<RelPath, usize>,
    /// References that differ from the first one to the same path, in the order they were read.
    others: Vec<Reference>,
    architectures: BTreeSet<String>,
}

struct Named {
    reference: Reference,
    /// The number of records with its path.
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
                free.insert(self.named.len());
                self.named.push(Named {
                    reference,
                    records: 1,
                });
                true
            }
            hash_map::Entry::Occupied(known) => {
                let known = &mut self.named[*known.get()];
                known.records += 1;
                if known.reference != reference {
                    self.others.push(reference);
                }
                false
            }
        }
    }

    /// The chosen files (all of them if nothing was chosen), and the number of their records.
    fn chosen(self, chosen: Option<&Chosen>) -> (ChosenFiles, u64) {
        let is_named = |path: &RelPath| chosen.is_none_or(|chosen| chosen.has(path));
        let is_chosen = |reference: &Reference| {
            let (path, package) = (&reference.path, &reference.package);
            let is_of = |chosen: &Chosen| match package {
                Some(package) => chosen.has_of(path, package),
                None => true,
            };
            chosen.is_none_or(is_of)
        };
        drop(self.by_path);
        let mut records = 0;
        let mut files = Vec::new();
        for Named {
            reference,
            records: of_path,
        } in self.named
        {
            if is_named(&reference.path) {
                records += of_path;
            }
            if is_chosen(&reference) {
                files.push(reference);
            }
        }
        files.extend(self.others.into_iter().filter(is_chosen));
        let listed = ChosenFiles {
            files,
            architectures: self.architectures,
        };
        (listed, records)
    }
}
