//! Dependencies of Debian packages: the syntax of Depends and Provides (Debian Policy, section 7),
//! and the rules of dpkg.
//!
//! An invalid entry does not affect the rest of a field. Restrictions in brackets are meant for
//! source packages, but are applied everywhere.

use std::cmp::Ordering;

use super::version;
use crate::format::dependency_closure::{
    Connective, DependencyRules, LimitExceeded, PackageSet, Preference, Relation, Strength, Target,
    Term, Versions,
};

/// The stream of installer packages (udebs), which are independent of other packages.
pub(super) const UDEB: &str = "udeb";

/// The rules of dpkg and apt.
pub(super) struct Dpkg;

impl DependencyRules for Dpkg {
    fn compare(&self, a: &str, b: &str) -> Ordering {
        version::compare(a, b)
    }

    /// A virtual package without a version does not satisfy a versioned need.
    fn satisfies(&self, provided: Versions<'_>, needed: Versions<'_>) -> bool {
        if needed.relation == Relation::ANY {
            return true;
        }
        provided.relation == Relation::EQUAL
            && needed
                .relation
                .has(match version::compare(provided.version, needed.version) {
                    Ordering::Less => Relation::LESS,
                    Ordering::Equal => Relation::EQUAL,
                    Ordering::Greater => Relation::GREATER,
                })
    }

    /// A package for all architectures can be installed with those of any: it may need one of each.
    /// `:any` is for packages with `Multi-Arch: allowed`; for others it means their own
    /// architecture.
    fn preference(
        &self,
        candidate: Target<'_>,
        needing: Target<'_>,
        qualifier: &str,
    ) -> Option<Preference> {
        let is_own = matches!(candidate.architecture, "all")
            || needing.architecture == "all"
            || candidate.architecture == needing.architecture;
        let suits = match qualifier {
            "" | "native" => is_own || candidate.multi_arch == "foreign",
            "any" => is_own || matches!(candidate.multi_arch, "foreign" | "allowed"),
            architecture => {
                matches!(candidate.architecture, "all") || candidate.architecture == architecture
            }
        };
        (suits && candidate.stream == needing.stream).then_some(Preference::Preferred)
    }

    fn format_need(&self, need: &[Term<'_>]) -> String {
        let alternatives: Vec<String> = need.iter().map(format_term).collect();
        alternatives.join(" | ")
    }
}

fn format_term(term: &Term<'_>) -> String {
    let mut text = term.name.to_owned();
    if !term.qualifier.is_empty() {
        text.push(':');
        text.push_str(term.qualifier);
    }
    let Versions { relation, version } = term.versions;
    if relation != Relation::ANY {
        let sign = match relation.sign() {
            "<" => "<<",
            ">" => ">>",
            sign => sign,
        };
        text.push_str(&format!(" ({sign} {version})"));
    }
    text
}

/// The dependency fields of a stanza.
pub(super) struct DependencyFields {
    pub required: [String; 2],
    pub recommended: String,
    pub provides: String,
}

/// Adds the needs and provisions of the package that was added last, which is for `architecture`.
pub(super) fn add_dependencies(
    packages: &mut PackageSet<Dpkg>,
    member: usize,
    architecture: &str,
    fields: &DependencyFields,
) -> Result<(), LimitExceeded> {
    let fields_of_needs = fields
        .required
        .iter()
        .map(|field| (field, Strength::Required))
        .chain([(&fields.recommended, Strength::Recommended)]);
    for (field, strength) in fields_of_needs {
        for need in field.split(',') {
            let terms: Vec<Term<'_>> = need
                .split('|')
                .filter_map(|text| term(text, architecture))
                .collect();
            if !terms.is_empty() {
                packages.need(&terms, strength)?;
            }
        }
    }
    for text in fields.provides.split(',') {
        // Provisions have the architecture of their package.
        if let Some(provided) = term(text, architecture) {
            packages.provide(member, provided.name, provided.versions)?;
        }
    }
    Ok(())
}

/// `NAME[:QUALIFIER] [(RELATION VERSION)] [[ARCHITECTURE...]] [<PROFILE...>]`; `None` if there is
/// no name, or it is not for this architecture.
fn term<'t>(text: &'t str, architecture: &str) -> Option<Term<'t>> {
    let text = text.trim();
    let end = text.find(|c: char| c.is_whitespace() || "([<".contains(c));
    let (name, mut rest) = text.split_at(end.unwrap_or(text.len()));
    let (name, qualifier) = name.split_once(':').unwrap_or((name, ""));
    let mut versions = Versions::default();
    if let Some(inside) = enclosed(rest, '(', ')') {
        versions = relation(inside);
        rest = &rest[rest.find(')').unwrap_or(rest.len())..];
    }
    let applies = enclosed(rest, '[', ']').is_none_or(|list| applies_to(list, architecture));
    (!name.is_empty() && applies).then_some(Term {
        connective: Connective::Or,
        name,
        qualifier,
        versions,
    })
}

fn enclosed(text: &str, open: char, close: char) -> Option<&str> {
    let (_, inside) = text.split_once(open)?;
    Some(
        inside
            .split_once(close)
            .map_or(inside, |(inside, _)| inside),
    )
}

/// `>= 1.0`. dpkg reads the obsolete `<` and `>` as `<=` and `>=`.
fn relation(text: &str) -> Versions<'_> {
    let text = text.trim();
    let end = text.find(|c| !matches!(c, '<' | '=' | '>'));
    let (sign, version) = text.split_at(end.unwrap_or(text.len()));
    let relation = match sign {
        "<<" => Relation::LESS,
        "<=" | "<" => Relation::AT_MOST,
        "" | "=" => Relation::EQUAL,
        ">=" | ">" => Relation::AT_LEAST,
        ">>" => Relation::GREATER,
        _ => return Versions::default(),
    };
    Versions {
        relation,
        version: version.trim(),
    }
}

/// `amd64 i386`, `!armel`, `linux-any`. Any of them applies to packages for all architectures.
fn applies_to(list: &str, architecture: &str) -> bool {
    let is_meant = |name: &str| {
        let cpu = name.rsplit('-').next().unwrap_or(name);
        architecture == "all" || name == architecture || cpu == "any" || {
            name.starts_with("any-") && cpu == architecture
        }
    };
    let mut names = list.split_whitespace().peekable();
    match names.peek() {
        None => true,
        Some(first) if first.starts_with('!') => {
            architecture == "all" || !names.any(|name| is_meant(name.trim_start_matches('!')))
        }
        Some(_) => names.any(is_meant),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<(String, String)> {
        let term = term(text, "amd64")?;
        Some((format_term(&term), term.name.to_owned()))
    }

    #[test]
    fn reads_what_archives_write() {
        for (text, shown) in [
            ("a", "a"),
            (" a ", "a"),
            ("a(>=1)", "a (>= 1)"),
            ("a (>= 1:2.0~rc1-3)", "a (>= 1:2.0~rc1-3)"),
            ("a  ( << 2 )", "a (<< 2)"),
            ("a (>> 2)", "a (>> 2)"),
            ("a (< 2)", "a (<= 2)"),
            ("a (> 2)", "a (>= 2)"),
            ("a (= 2)", "a (= 2)"),
            ("a (2)", "a (= 2)"),
            ("python3:any (>= 3.9)", "python3:any (>= 3.9)"),
            ("a:amd64", "a:amd64"),
            ("a [amd64 i386]", "a"),
            ("a (= 1) [!i386]", "a (= 1)"),
            ("a [linux-any] <!nocheck>", "a"),
            ("a [any-amd64]", "a"),
            // Broken, and still of that name.
            ("a (>= 1", "a (>= 1)"),
            ("a (>=> 1)", "a"),
        ] {
            assert_eq!(
                read(text).map(|(shown, _)| shown).as_deref(),
                Some(shown),
                "{text:?}"
            );
            assert_eq!(
                read(text).unwrap().1,
                shown.split([' ', ':']).next().unwrap()
            );
        }
        for text in ["", "  ", "(>= 1)", "a [i386]", "a (>= 1) [!amd64]", ":any"] {
            assert_eq!(read(text), None, "{text:?}");
        }
        assert!(term("a [i386]", "all").is_some());
        assert!(term("a [!i386]", "all").is_some());
    }

    #[test]
    fn versions_are_held_against_each_other_by_dpkgs_order() {
        let versions = |text| match text {
            "" => Versions::default(),
            text => relation(text),
        };
        for (provided, needed, expected) in [
            ("= 1.10", ">= 1.9", true),
            ("= 1.0~rc1", ">= 1.0", false),
            ("= 1.0", "= 1.00", true),
            ("= 1.0", "<< 1.0", false),
            ("= 1.0", "<= 1.0", true),
            ("= 1:0", ">> 9", true),
            ("= 1", "", true),
            ("", "", true),
            // A virtual package without a version has none.
            ("", ">= 0", false),
        ] {
            let meets = Dpkg.satisfies(versions(provided), versions(needed));
            assert_eq!(meets, expected, "{provided:?} {needed:?}");
        }
    }

    #[test]
    fn architectures_are_crossed_where_packages_allow_it() {
        let place = |architecture, multi_arch| Target {
            architecture,
            stream: "",
            multi_arch,
        };
        for (candidate, multi_arch, needing, qualifier, expected) in [
            ("amd64", "", "amd64", "", true),
            ("all", "", "amd64", "", true),
            ("amd64", "", "all", "", true),
            ("i386", "", "amd64", "", false),
            ("i386", "same", "amd64", "", false),
            ("i386", "allowed", "amd64", "", false),
            ("i386", "foreign", "amd64", "", true),
            ("i386", "allowed", "amd64", "any", true),
            ("i386", "", "amd64", "any", false),
            ("i386", "", "amd64", "i386", true),
            ("amd64", "", "amd64", "i386", false),
            ("amd64", "", "amd64", "native", true),
        ] {
            let suits =
                Dpkg.preference(place(candidate, multi_arch), place(needing, ""), qualifier);
            assert_eq!(
                suits.is_some(),
                expected,
                "{candidate} {multi_arch} {needing} {qualifier}"
            );
        }
        let installer = Target {
            stream: UDEB,
            ..place("amd64", "foreign")
        };
        assert_eq!(Dpkg.preference(installer, place("amd64", ""), ""), None);
    }
}
