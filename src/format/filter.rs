//! Filters: checks packages one at a time, and then selects by version.
//!
//! A package is selected if it meets every criterion. Names, source packages, groups and modules
//! together are one criterion: any of them may match.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};

use glob::Pattern;

use super::regenerate::Chosen;
use crate::config::{Filters, Patterns};
use crate::manifest::Package;
use crate::rel_path::RelPath;

/// The attributes of a package. An unknown attribute matches neither wanted nor unwanted values.
#[derive(Clone, Copy, Debug)]
pub struct FilterAttributes<'a> {
    pub package: &'a Package,
    /// In bytes.
    pub size: Option<u64>,
    /// The name of its source package; for a source package, its own name.
    pub source: Option<&'a str>,
    pub section: Option<&'a str>,
    pub priority: Option<&'a str>,
    pub groups: &'a [String],
    /// `NAME:STREAM`
    pub module: Option<&'a str>,
}

/// Whether a package meets every criterion except [`Filters::newest`].
pub fn matches(filters: &Filters, attributes: &FilterAttributes<'_>) -> bool {
    let name = attributes.package.name.as_str();
    is_named(filters, attributes)
        && !any_pattern_matches(&filters.exclude, name)
        && allows(
            &filters.architectures,
            &architecture_names(attributes.package),
        )
        && allows(&filters.sections, &section_names(attributes.section))
        && allows(&filters.priorities, attributes.priority.as_slice())
        && is_small_enough(filters, attributes)
}

/// Whether a dependency may be added: only criteria that exclude packages or limit their size apply
/// to it, not those that select packages.
pub fn allows_as_dependency(filters: &Filters, attributes: &FilterAttributes<'_>) -> bool {
    let groups: Vec<&str> = attributes.groups.iter().map(String::as_str).collect();
    let is_unwanted = [
        (&filters.source_packages, attributes.source.as_slice()),
        (&filters.groups, &groups),
        (&filters.modules, &module_names(attributes.module)),
        (&filters.sections, &section_names(attributes.section)),
        (&filters.priorities, attributes.priority.as_slice()),
    ]
    .iter()
    .any(|(patterns, names)| any_name_matches(&patterns.unwanted, names));
    !is_unwanted
        && !any_pattern_matches(&filters.exclude, attributes.package.name.as_str())
        && allows(
            &filters.architectures,
            &architecture_names(attributes.package),
        )
        && is_small_enough(filters, attributes)
}

/// Whether a binary package of a source package is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BuiltPackages {
    Chosen,
    NotChosen,
}

/// Whether a source package is selected: one of its binary packages is, its own name matches, or
/// there are no names. Sections and priorities do not apply to sources.
pub fn matches_source(
    filters: &Filters,
    attributes: &FilterAttributes<'_>,
    built: BuiltPackages,
) -> bool {
    let name = attributes.package.name.as_str();
    let names = &filters.source_packages;
    let is_named =
        any_pattern_matches(&filters.include, name) || any_pattern_matches(&names.wanted, name);
    (built == BuiltPackages::Chosen || is_named || names_no_package(filters))
        && !any_pattern_matches(&names.unwanted, name)
        && !any_pattern_matches(&filters.exclude, name)
        && allows(
            &filters.architectures,
            &architecture_names(attributes.package),
        )
        && is_small_enough(filters, attributes)
}

/// Whether the filters only exclude packages or limit their size.
fn names_no_package(filters: &Filters) -> bool {
    let lists = [
        &filters.source_packages,
        &filters.groups,
        &filters.modules,
        &filters.sections,
        &filters.priorities,
    ];
    filters.include.is_empty() && lists.iter().all(|list| list.wanted.is_empty())
}

fn is_small_enough(filters: &Filters, attributes: &FilterAttributes<'_>) -> bool {
    let limits = attributes.size.zip(filters.max_size);
    limits.is_none_or(|(size, most)| size <= most)
}

fn is_named(filters: &Filters, attributes: &FilterAttributes<'_>) -> bool {
    let groups: Vec<&str> = attributes.groups.iter().map(String::as_str).collect();
    let modules = module_names(attributes.module);
    let lists = [
        (&filters.source_packages, attributes.source.as_slice()),
        (&filters.groups, &groups[..]),
        (&filters.modules, &modules[..]),
    ];
    if lists
        .iter()
        .any(|(patterns, names)| any_name_matches(&patterns.unwanted, names))
    {
        return false;
    }
    let nothing_named =
        filters.include.is_empty() && lists.iter().all(|(patterns, _)| patterns.wanted.is_empty());
    nothing_named
        || any_pattern_matches(&filters.include, &attributes.package.name)
        || lists
            .iter()
            .any(|(patterns, names)| any_name_matches(&patterns.wanted, names))
}

/// Packages for all architectures, and sources, match every architecture unless they are excluded
/// explicitly.
fn architecture_names(package: &Package) -> Vec<&str> {
    let architecture = package.architecture.as_str();
    match architecture {
        "all" | "noarch" | "source" | "src" | "nosrc" => vec![architecture, "*"],
        _ => vec![architecture],
    }
}

/// `non-free/libs` is a section of `libs` too.
fn section_names(section: Option<&str>) -> Vec<&str> {
    let last = section.and_then(|section| Some(section.rsplit_once('/')?.1));
    section.into_iter().chain(last).collect()
}

/// `NAME:STREAM` and `NAME`.
fn module_names(module: Option<&str>) -> Vec<&str> {
    let name = module.and_then(|module| Some(module.split_once(':')?.0));
    module.into_iter().chain(name).collect()
}

fn allows(patterns: &Patterns, names: &[&str]) -> bool {
    let is_every = names.contains(&"*");
    !any_name_matches(&patterns.unwanted, names)
        && (patterns.wanted.is_empty() || is_every || any_name_matches(&patterns.wanted, names))
}

fn any_name_matches(patterns: &[Pattern], names: &[&str]) -> bool {
    names.iter().any(|name| any_pattern_matches(patterns, name))
}

fn any_pattern_matches(patterns: &[Pattern], name: &str) -> bool {
    patterns.iter().any(|pattern| pattern.matches(name))
}

/// Packages that meet the other criteria, to be selected by version.
#[derive(Debug, Default)]
pub struct Candidates {
    /// By name, architecture and stream: the file paths by version.
    by_name: HashMap<(String, String, String), BTreeMap<String, Vec<RelPath>>>,
}

impl Candidates {
    /// Packages of different streams are never updates of each other.
    pub fn add(&mut self, package: Package, stream: &str, path: RelPath) {
        let key = (package.name, package.architecture, stream.to_owned());
        let versions = self.by_name.entry(key).or_default();
        versions.entry(package.version).or_default().push(path);
    }

    /// The paths that are chosen.
    pub fn choose(self, filters: &Filters, compare: fn(&str, &str) -> Ordering) -> Chosen {
        let most = filters
            .newest
            .map_or(usize::MAX, |newest| newest.get() as usize);
        let mut chosen = Chosen::default();
        for ((name, architecture, _), versions) in self.by_name {
            let mut versions: Vec<_> = versions.into_iter().collect();
            // Versions that are written differently can be equal: they count as one.
            versions.sort_by(|(a, _), (b, _)| compare(b, a));
            let mut count = 0;
            let mut last: Option<String> = None;
            for (version, paths) in versions {
                let is_another = last
                    .as_ref()
                    .is_none_or(|last| compare(last, &version) != Ordering::Equal);
                count += usize::from(is_another);
                if count > most {
                    break;
                }
                chosen.note(&Package {
                    name: name.clone(),
                    version: version.clone(),
                    architecture: architecture.clone(),
                });
                for path in paths {
                    chosen.take(path);
                }
                last = Some(version);
            }
        }
        chosen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patterns(texts: &[&str]) -> Patterns {
        let mut patterns = Patterns::default();
        for text in texts {
            match text.strip_prefix('!') {
                Some(text) => patterns.unwanted.push(Pattern::new(text).unwrap()),
                None => patterns.wanted.push(Pattern::new(text).unwrap()),
            }
        }
        patterns
    }

    fn package(name: &str, architecture: &str) -> Package {
        Package {
            name: name.to_owned(),
            version: "1".to_owned(),
            architecture: architecture.to_owned(),
        }
    }

    fn attributes(package: &Package) -> FilterAttributes<'_> {
        FilterAttributes {
            package,
            size: Some(100),
            source: Some("src"),
            section: Some("non-free/libs"),
            priority: Some("optional"),
            groups: &[],
            module: Some("nodejs:18"),
        }
    }

    #[test]
    fn every_criterion_counts_and_any_name_does() {
        let bash = package("bash", "amd64");
        let attributes = attributes(&bash);
        let check = |set: &dyn Fn(&mut Filters)| {
            let mut filters = Filters::default();
            set(&mut filters);
            matches(&filters, &attributes)
        };
        assert!(check(&|_| {}));
        assert!(check(&|f| f.include = patterns(&["ba*"]).wanted));
        assert!(!check(&|f| f.include = patterns(&["zsh", "BASH"]).wanted));
        assert!(!check(&|f| f.exclude = patterns(&["b?sh"]).wanted));
        // Named by its source although not by its name.
        assert!(check(&|f| {
            f.include = patterns(&["zsh"]).wanted;
            f.source_packages = patterns(&["src"]);
        }));
        assert!(!check(&|f| f.source_packages = patterns(&["!src"])));
        assert!(check(&|f| f.modules = patterns(&["nodejs"])));
        assert!(check(&|f| f.modules = patterns(&["nodejs:1*"])));
        assert!(!check(&|f| f.modules = patterns(&["!nodejs:18"])));
        assert!(check(&|f| f.modules = patterns(&["!nodejs:16"])));
        assert!(!check(&|f| f.groups = patterns(&["core"])));
        assert!(check(&|f| f.sections = patterns(&["libs"])));
        assert!(check(&|f| f.sections = patterns(&["non-free/*"])));
        assert!(!check(&|f| f.sections = patterns(&["!libs"])));
        assert!(!check(&|f| f.priorities = patterns(&["required"])));
        assert!(!check(&|f| f.max_size = Some(99)));
        assert!(check(&|f| f.max_size = Some(100)));
        assert!(!check(&|f| f.architectures = patterns(&["arm64"])));
    }

    #[test]
    fn what_fits_everywhere_belongs_to_every_architecture() {
        let mut filters = Filters {
            architectures: patterns(&["amd64"]),
            ..Filters::default()
        };
        for (architecture, expected) in [("all", true), ("source", true), ("arm64", false)] {
            let package = package("x", architecture);
            assert_eq!(matches(&filters, &attributes(&package)), expected);
        }
        filters.architectures = patterns(&["!all"]);
        assert!(!matches(&filters, &attributes(&package("x", "all"))));
        assert!(matches(&filters, &attributes(&package("x", "arm64"))));
    }

    #[test]
    fn the_newest_are_counted_by_name_architecture_and_stream() {
        let mut candidates = Candidates::default();
        for (name, version, stream) in [
            ("a", "1", ""),
            ("a", "3", ""),
            ("a", "2", ""),
            ("a", "1", "s:1"),
            ("b", "1", ""),
        ] {
            let package = Package {
                version: version.to_owned(),
                ..package(name, "amd64")
            };
            let path = format!("{name}{version}{}", stream.replace(':', ""));
            candidates.add(package, stream, RelPath::parse(&path).unwrap());
        }
        let filters = Filters {
            newest: std::num::NonZeroU32::new(2),
            ..Filters::default()
        };
        let chosen = candidates.choose(&filters, Ord::cmp);
        for (path, expected) in [
            ("a1", false),
            ("a2", true),
            ("a3", true),
            ("a1s1", true),
            ("b1", true),
        ] {
            assert_eq!(
                chosen.has(&RelPath::parse(path).unwrap()),
                expected,
                "{path}"
            );
        }
    }
}
