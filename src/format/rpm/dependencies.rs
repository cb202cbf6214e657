//! Dependencies of RPM packages: requires and provides of primary, files of primary and, if these
//! are not sufficient, of filelists, and the rules of rpm.
//!
//! primary is read a second time for provides, and only those that some package needs are kept:
//! most are not needed.

use std::cell::RefCell;
use std::cmp::Ordering;
use std::collections::HashMap;
use std::io::BufRead;

use super::fields::location;
use super::files::{full_version, join_version};
use super::xml::{Child, Records};
use super::{architectures, evr, rich};
use crate::config::Dependencies;
use crate::format::dependency_closure::{
    Closure, Connective, DependencyRules, LimitExceeded, PackageSet, Preference, Relation,
    Strength, Target, Term, Versions,
};
use crate::format::error::FormatError;
use crate::format::index::IndexKind;
use crate::format::regenerate::{Chosen, Indexes};

/// The dependency elements of a `<package>` in primary.
pub(super) const NEEDS: &[&[&str]] = &[
    &["format", "rpm:requires", "rpm:entry"],
    &["format", "rpm:recommends", "rpm:entry"],
];
/// Limit for the dependencies of a package, in bytes. The largest kernels provide some 30,000
/// symbols.
pub(super) const LISTED_LIMIT: usize = 64 << 20;
const PROVIDES: &[&[&str]] = &[&["format", "rpm:provides", "rpm:entry"]];

/// The rules of rpm and libsolv.
pub(super) struct RpmRules {
    /// The base architectures of machines, if they are known.
    bases: Option<Vec<String>>,
}

impl RpmRules {
    pub(super) fn of(bases: Option<&[String]>) -> Self {
        Self {
            bases: bases.map(<[String]>::to_vec),
        }
    }

    /// Whether it is the architecture of a machine, not only a compatible one.
    fn has_machines_of(&self, architecture: &str) -> bool {
        self.bases.as_ref().is_none_or(|bases| {
            bases
                .iter()
                .any(|base| architectures::are_equal(base, architecture))
        })
    }
}

impl DependencyRules for RpmRules {
    fn compare(&self, a: &str, b: &str) -> Ordering {
        evr::compare(a, b)
    }

    /// Whether the two ranges overlap; without a version, all match.
    fn satisfies(&self, provided: Versions<'_>, needed: Versions<'_>) -> bool {
        if provided.relation == Relation::ANY || needed.relation == Relation::ANY {
            return true;
        }
        let both = |flag| provided.relation.has(flag) && needed.relation.has(flag);
        match compare(provided.version, needed.version) {
            Ordering::Less => {
                provided.relation.has(Relation::GREATER) || needed.relation.has(Relation::LESS)
            }
            Ordering::Equal => [Relation::LESS, Relation::EQUAL, Relation::GREATER]
                .into_iter()
                .any(both),
            Ordering::Greater => {
                provided.relation.has(Relation::LESS) || needed.relation.has(Relation::GREATER)
            }
        }
    }

    /// rpm accepts every architecture: packages of other architectures satisfy needs too, for
    /// example `wine-core(x86-32)` of a 64-bit package, or the only shell for 32-bit packages. dnf
    /// prefers the package's own architecture, and for `noarch` that of the machine.
    fn preference(
        &self,
        candidate: Target<'_>,
        needing: Target<'_>,
        _: &str,
    ) -> Option<Preference> {
        let is_well = candidate.architecture == "noarch"
            || candidate.architecture == needing.architecture
            || needing.architecture == "noarch" && self.has_machines_of(candidate.architecture);
        Some(if is_well {
            Preference::Preferred
        } else {
            Preference::Fallback
        })
    }

    fn format_need(&self, need: &[Term<'_>]) -> String {
        let mut text = String::new();
        for (place, term) in need.iter().enumerate() {
            if place > 0 {
                text.push_str(match term.connective {
                    Connective::Or => " or ",
                    Connective::With => " with ",
                });
            }
            text.push_str(term.name);
            let Versions { relation, version } = term.versions;
            if relation != Relation::ANY {
                text.push_str(&format!(" {} {version}", relation.sign()));
            }
        }
        text
    }
}

/// If one of them has no release, any release matches (`rpmdsCompare` in rpm's `lib/rpmds.c`).
fn compare(a: &str, b: &str) -> Ordering {
    match (a.rsplit_once('-'), b.rsplit_once('-')) {
        (Some((a, _)), None) => evr::compare(a, b),
        (None, Some((b, _))) => evr::compare(a, b),
        _ => evr::compare(a, b),
    }
}

/// Adds the needs of the package that was added last. `listed` are its elements at [`NEEDS`].
pub(super) fn note_needs(
    packages: &mut PackageSet<RpmRules>,
    listed: &[Vec<Child>],
    dependencies: Dependencies,
) -> Result<(), LimitExceeded> {
    let strengths = [Strength::Required, Strength::Recommended];
    for (entries, strength) in listed.iter().zip(strengths) {
        if strength == Strength::Recommended && dependencies != Dependencies::Recommended {
            continue;
        }
        for entry in entries {
            let name = entry.attribute("name").unwrap_or_default();
            // Features of rpm itself.
            if name.is_empty() || name.starts_with("rpmlib(") {
                continue;
            }
            let (relation, version) = versions(entry);
            let plain = Term::of(
                name,
                Versions {
                    relation,
                    version: &version,
                },
            );
            match name.starts_with('(').then(|| rich::parse(name)).flatten() {
                Some(needs) => {
                    for need in needs {
                        packages.need(&need, strength)?;
                    }
                }
                None => packages.need(&[plain], strength)?,
            }
        }
    }
    Ok(())
}

/// The relation and the version of an entry.
fn versions(entry: &Child) -> (Relation, String) {
    let relation = match entry.attribute("flags") {
        Some("LT") => Relation::LESS,
        Some("LE") => Relation::AT_MOST,
        Some("EQ") => Relation::EQUAL,
        Some("GE") => Relation::AT_LEAST,
        Some("GT") => Relation::GREATER,
        _ => return (Relation::ANY, String::new()),
    };
    let part = |name| entry.attribute(name).unwrap_or_default();
    let version = join_version(part("epoch"), part("ver"), part("rel"));
    (relation, version)
}

/// Finds everything that the chosen packages need. filelists, which are much larger than primary,
/// are read only if a path is missing.
pub(super) fn add_needed(
    packages: &mut PackageSet<RpmRules>,
    indexes: &dyn Indexes,
    chosen: &Chosen,
) -> Result<Closure, FormatError> {
    let mut member = 0;
    for index in indexes.all() {
        if index.kind == IndexKind::Packages {
            indexes.read(index, &mut |text| {
                read_provides(packages, &index.name, text, &mut member)
            })?;
        }
    }
    let close = |packages: &mut PackageSet<RpmRules>| {
        let closure = packages.close(chosen);
        closure.map_err(|exceeded| exceeded.in_index("primary"))
    };
    let closure = close(packages)?;
    if !packages.lacks_paths(&closure) {
        return Ok(closure);
    }
    // primary has only those files that packages usually ask for.
    for index in indexes.all() {
        if index.name == "filelists" {
            indexes.read(index, &mut |text| {
                read_filelists(packages, &index.name, text)
            })?;
        }
    }
    close(packages)
}

/// Adds the needed provides of packages. `next` is the number of the next package.
fn read_provides(
    packages: &mut PackageSet<RpmRules>,
    file: &str,
    text: &mut dyn BufRead,
    next: &mut usize,
) -> Result<(), FormatError> {
    let packages = RefCell::new(packages);
    let wanted = |text: &str| packages.borrow().symbol(text);
    let mut records = Records::new(file, text, &["metadata", "package"], ["location"])
        .with_lists(PROVIDES)
        .listing_up_to(LISTED_LIMIT)
        .with_texts(&["format", "file"], &wanted);
    while let Some((_, [place])) = records.next()? {
        let path = location(file, "a package", place.as_ref())?;
        // The same packages in the same order as before, without excluded ones.
        if packages.borrow().path(*next) != Some(&path) {
            continue;
        }
        let provide = |word, versions: Versions<'_>| {
            let noted = packages.borrow_mut().provide_symbol(*next, word, versions);
            noted.map_err(|exceeded| exceeded.in_index(file))
        };
        for entry in records.listed().iter().flatten() {
            let name = entry.attribute("name").unwrap_or_default();
            if let Some(word) = wanted(name) {
                let (relation, version) = versions(entry);
                let version = &version;
                provide(word, Versions { relation, version })?;
            }
        }
        for word in records.found() {
            provide(word, Versions::default())?;
        }
        *next += 1;
    }
    Ok(())
}

/// Finds the packages with files that are needed and not provided so far.
fn read_filelists(
    packages: &mut PackageSet<RpmRules>,
    file: &str,
    text: &mut dyn BufRead,
) -> Result<(), FormatError> {
    let missing = packages.missing_paths();
    let mut members: HashMap<[u32; 3], Vec<usize>> = HashMap::new();
    for (member, identity) in packages.identities().enumerate() {
        members.entry(identity).or_default().push(member);
    }
    let packages = RefCell::new(packages);
    let word = |text: &str| packages.borrow().symbol(text);
    let wanted = |text: &str| word(text).filter(|word| missing.contains(word));
    let mut records = Records::new(file, text, &["filelists", "package"], ["version"])
        .with_invalid_utf8_kept()
        .with_texts(&["file"], &wanted);
    while let Some((package, [version])) = records.next()? {
        let version = full_version(version.as_ref());
        let [name, architecture] =
            ["name", "arch"].map(|name| package.attribute(name).unwrap_or_default());
        let (Some(name), Some(version), Some(architecture)) =
            (word(name), word(&version), word(architecture))
        else {
            continue;
        };
        let identity = [name, version, architecture];
        for member in members.get(&identity).into_iter().flatten() {
            for path in records.found() {
                let mut packages = packages.borrow_mut();
                let noted = packages.provide_symbol(*member, path, Versions::default());
                noted.map_err(|exceeded| exceeded.in_index(file))?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_meet_where_they_overlap() {
        let versions = |text: &'static str| {
            let (sign, version) = text.split_once(' ').unwrap_or(("", ""));
            let relation = match sign {
                "<" => Relation::LESS,
                "<=" => Relation::AT_MOST,
                "=" => Relation::EQUAL,
                ">=" => Relation::AT_LEAST,
                ">" => Relation::GREATER,
                _ => Relation::ANY,
            };
            Versions { relation, version }
        };
        for (provided, needed, expected) in [
            ("= 1.10-1", ">= 1.9", true),
            ("= 1.9-1", ">= 1.10", false),
            ("= 1.0-3", "= 1.0", true),
            ("= 1.0", "= 1.0-3", true),
            ("= 1.0-3", "= 1.0-2", false),
            ("= 1.0-3", "< 1.0", false),
            ("= 1.0-3", "> 1.0-2", true),
            ("= 1:1-1", ">= 2", true),
            ("= 1-1", ">= 1:0", false),
            ("= 1-1", "", true),
            ("", ">= 1:0", true),
            ("", "", true),
            (">= 1", "< 2", true),
            (">= 2", "< 2", false),
            ("< 2", "< 1", true),
            ("<= 2", ">= 2", true),
            ("< 2", ">= 2", false),
        ] {
            let meets = RpmRules::of(None).satisfies(versions(provided), versions(needed));
            assert_eq!(meets, expected, "{provided:?} {needed:?}");
        }
    }

    #[test]
    fn a_packages_own_architecture_comes_first() {
        let place = |architecture| Target {
            architecture,
            stream: "",
            multi_arch: "",
        };
        let x86 = Some(&["x86_64".to_owned()][..]);
        for (bases, candidate, needing, expected) in [
            (None, "x86_64", "x86_64", Preference::Preferred),
            (None, "noarch", "x86_64", Preference::Preferred),
            (None, "i686", "x86_64", Preference::Fallback),
            (None, "x86_64", "i686", Preference::Fallback),
            (None, "i686", "noarch", Preference::Preferred),
            (x86, "i686", "noarch", Preference::Fallback),
            (x86, "x86_64", "noarch", Preference::Preferred),
            (x86, "i686", "i686", Preference::Preferred),
        ] {
            let rules = RpmRules::of(bases);
            let suits = rules.preference(place(candidate), place(needing), "");
            assert_eq!(suits, Some(expected), "{bases:?} {candidate} {needing}");
        }
    }
}
