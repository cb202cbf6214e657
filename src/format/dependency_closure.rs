//! Dependency resolution: adds all packages of the same repository that the chosen packages need.
//!
//! Everything that may satisfy a dependency is added: for every alternative, each package that is
//! or provides it, in its newest matching version. Which one a client will install is unknown, and
//! a missing package is worse than an unnecessary one. So the result does not depend on any order,
//! and is what `apt-cache depends --recurse` and `dnf repoquery --requires --resolve --recursive`
//! list, without older versions. Conflicts are ignored. Dependencies that a package provides itself
//! are satisfied.
//!
//! Nothing of an index's text is kept but each different name and version once, each different need
//! once, and for each package some 200 bytes and 8 for each of its needs. All of it is untrusted
//! input: memory and search time are limited.

mod interner;

use std::cmp::Ordering;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::rc::Rc;

use super::regenerate::Chosen;
use crate::rel_path::RelPath;
use interner::{Interner, Symbol};

pub use interner::LimitExceeded;

/// Terms, needs and provisions together. The largest archives are estimated at some 2 million.
const RECORDS_LIMIT: usize = 32 << 20;
/// Number of comparisons of provisions with needs; long versions count more. The largest archives
/// are estimated at some 10 million.
const COMPARED_LIMIT: usize = 64 << 20;

/// A range of versions, as flags: less than, equal to and greater than one version. None: any
/// version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Relation(u8);

impl Relation {
    pub const ANY: Self = Self(0);
    pub const LESS: Self = Self(1);
    pub const EQUAL: Self = Self(2);
    pub const GREATER: Self = Self(4);
    pub const AT_MOST: Self = Self(3);
    pub const AT_LEAST: Self = Self(6);

    pub fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// `>=`
    pub const fn sign(self) -> &'static str {
        match self.0 {
            1 => "<",
            2 => "=",
            3 => "<=",
            4 => ">",
            6 => ">=",
            _ => "",
        }
    }
}

/// A relation to a version, which is empty if any version matches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Versions<'t> {
    pub relation: Relation,
    pub version: &'t str,
}

/// The relation of a term to the previous one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Connective {
    /// Begins a new alternative.
    Or,
    /// The same package must provide both.
    With,
}

/// One required name. A need is a list of terms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Term<'t> {
    pub connective: Connective,
    pub name: &'t str,
    /// The qualifier after a `:` in the name.
    pub qualifier: &'t str,
    pub versions: Versions<'t>,
}

impl<'t> Term<'t> {
    pub fn of(name: &'t str, versions: Versions<'t>) -> Self {
        Self {
            connective: Connective::Or,
            name,
            qualifier: "",
            versions,
        }
    }
}

/// Where a package can be installed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target<'t> {
    pub architecture: &'t str,
    /// Distinguishes packages of one name that are not updates of each other.
    pub stream: &'t str,
    /// `Multi-Arch` of a deb package.
    pub multi_arch: &'t str,
}

/// How well a package matches the architecture of one that needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Preference {
    /// Used only if there is no better match.
    Fallback,
    Preferred,
}

/// The dependency rules of a format.
pub trait DependencyRules {
    /// The order of the versions of packages.
    fn compare(&self, a: &str, b: &str) -> Ordering;

    /// Whether a provided version satisfies a needed one; the names are equal.
    fn satisfies(&self, provided: Versions<'_>, needed: Versions<'_>) -> bool;

    /// Whether a package may meet the need of another one. `None`: never.
    fn preference(
        &self,
        candidate: Target<'_>,
        needing: Target<'_>,
        qualifier: &str,
    ) -> Option<Preference>;

    /// A need in the syntax of the format.
    fn format_need(&self, need: &[Term<'_>]) -> String;
}

/// Whether a need is required or recommended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strength {
    Required,
    Recommended,
}

/// A package that can be added.
pub struct Candidate<'t> {
    pub name: &'t str,
    pub version: &'t str,
    pub target: Target<'t>,
    /// The source package that it was built from.
    pub source: &'t str,
    pub path: RelPath,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct StoredTerm {
    name: Symbol,
    qualifier: Symbol,
    version: Symbol,
    relation: Relation,
    connective: Connective,
}

struct Member {
    name: Symbol,
    version: Symbol,
    architecture: Symbol,
    stream: Symbol,
    multi_arch: Symbol,
    source: Symbol,
    path: RelPath,
    needs: Vec<(u32, Strength)>,
}

/// What a package is or provides.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Provision {
    name: Symbol,
    member: u32,
    version: Symbol,
    relation: u8,
}

/// The available packages of a repository, with their needs and provisions.
pub struct PackageSet<R> {
    rules: R,
    texts: Interner,
    members: Vec<Member>,
    needs: Vec<Rc<[StoredTerm]>>,
    need_numbers: HashMap<Rc<[StoredTerm]>, u32>,
    /// Sorted when it is searched.
    provisions: Vec<Provision>,
    records: usize,
}

/// The result of the search.
#[derive(Debug, Default)]
pub struct Closure {
    /// The numbers of the added packages.
    pub members: Vec<usize>,
    /// The numbers of needs that no package meets.
    unmet: BTreeSet<u32>,
}

impl<R: DependencyRules> PackageSet<R> {
    pub fn new(rules: R) -> Self {
        Self {
            rules,
            texts: Interner::default(),
            members: Vec::new(),
            needs: Vec::new(),
            need_numbers: HashMap::new(),
            provisions: Vec::new(),
            records: 0,
        }
    }

    /// Adds a package, which provides its own name. The following calls apply to the package added
    /// last.
    pub fn add(&mut self, candidate: Candidate<'_>) -> Result<usize, LimitExceeded> {
        let member = Member {
            name: self.texts.add(candidate.name)?,
            version: self.texts.add(candidate.version)?,
            architecture: self.texts.add(candidate.target.architecture)?,
            stream: self.texts.add(candidate.target.stream)?,
            multi_arch: self.texts.add(candidate.target.multi_arch)?,
            source: self.texts.add(candidate.source)?,
            path: candidate.path,
            needs: Vec::new(),
        };
        let number = self.members.len();
        self.members.push(member);
        let versions = Versions {
            relation: Relation::EQUAL,
            version: candidate.version,
        };
        self.provide(number, candidate.name, versions)?;
        Ok(number)
    }

    /// Adds a need to the package that was added last.
    pub fn need(&mut self, need: &[Term<'_>], strength: Strength) -> Result<(), LimitExceeded> {
        let mut stored = Vec::with_capacity(need.len());
        for term in need {
            stored.push(StoredTerm {
                name: self.texts.add(term.name)?,
                qualifier: self.texts.add(term.qualifier)?,
                version: self.texts.add(term.versions.version)?,
                relation: term.versions.relation,
                connective: term.connective,
            });
        }
        let known = self.need_numbers.get(&stored[..]).copied();
        let number = match known {
            Some(number) => number,
            None => self.add_need(stored)?,
        };
        self.count(1)?;
        if let Some(member) = self.members.last_mut() {
            member.needs.push((number, strength));
        }
        Ok(())
    }

    fn add_need(&mut self, terms: Vec<StoredTerm>) -> Result<u32, LimitExceeded> {
        self.count(terms.len())?;
        let number = u32::try_from(self.needs.len()).map_err(|_| LimitExceeded)?;
        let terms: Rc<[StoredTerm]> = terms.into();
        self.needs.push(Rc::clone(&terms));
        self.need_numbers.insert(terms, number);
        Ok(number)
    }

    /// Adds a provision of a package.
    pub fn provide(
        &mut self,
        member: usize,
        name: &str,
        versions: Versions<'_>,
    ) -> Result<(), LimitExceeded> {
        let name = self.texts.add(name)?;
        self.provide_symbol(member, name, versions)
    }

    /// As [`Self::provide`], by the number of a name that is known.
    pub fn provide_symbol(
        &mut self,
        member: usize,
        name: u32,
        versions: Versions<'_>,
    ) -> Result<(), LimitExceeded> {
        self.count(1)?;
        let provision = Provision {
            name,
            member: u32::try_from(member).map_err(|_| LimitExceeded)?,
            version: self.texts.add(versions.version)?,
            relation: versions.relation.0,
        };
        self.provisions.push(provision);
        Ok(())
    }

    fn count(&mut self, records: usize) -> Result<(), LimitExceeded> {
        self.records += records;
        if self.records > RECORDS_LIMIT {
            return Err(LimitExceeded);
        }
        Ok(())
    }

    /// The number of a known text; texts that no package needs usually have none.
    pub fn symbol(&self, text: &str) -> Option<u32> {
        self.texts.number_of(text)
    }

    pub fn path(&self, member: usize) -> Option<&RelPath> {
        self.members.get(member).map(|member| &member.path)
    }

    pub fn source(&self, member: usize) -> &str {
        self.texts.text(self.members[member].source)
    }

    /// The numbers of name, version and architecture of each package, in the order they were added.
    pub fn identities(&self) -> impl Iterator<Item = [u32; 3]> {
        let members = self.members.iter();
        members.map(|member| [member.name, member.version, member.architecture])
    }

    /// Finds everything that the chosen packages need, recursively.
    pub fn close(&mut self, chosen: &Chosen) -> Result<Closure, LimitExceeded> {
        self.provisions.sort_unstable();
        self.provisions.dedup();
        let mut search = Search {
            packages: self,
            compared: 0,
        };
        let chosen =
            (0..self.members.len()).filter(|member| chosen.has(&self.members[*member].path));
        let mut waiting: Vec<usize> = chosen.collect();
        let mut taken = vec![false; self.members.len()];
        for member in &waiting {
            taken[*member] = true;
        }
        // Whether it was satisfied, by need and package.
        let mut asked: HashMap<(u32, Symbol, Symbol), bool> = HashMap::new();
        let mut unmet = BTreeSet::new();
        while let Some(number) = waiting.pop() {
            let member = &self.members[number];
            for (need, strength) in &member.needs {
                let key = (*need, member.architecture, member.stream);
                let is_met = match asked.get(&key) {
                    Some(is_met) => *is_met,
                    None if search.is_met_by(*need, number)? => true,
                    None => {
                        let found = search.find(*need, member)?;
                        for other in &found {
                            if !std::mem::replace(&mut taken[*other], true) {
                                waiting.push(*other);
                            }
                        }
                        asked.insert(key, !found.is_empty());
                        !found.is_empty()
                    }
                };
                if !is_met && *strength == Strength::Required && !search.is_met_by(*need, number)? {
                    unmet.insert(*need);
                }
            }
        }
        let members = (0..taken.len()).filter(|member| taken[*member]);
        Ok(Closure {
            members: members.collect(),
            unmet,
        })
    }

    /// Whether one of these needs is a path.
    pub fn lacks_paths(&self, closure: &Closure) -> bool {
        let terms = closure
            .unmet
            .iter()
            .flat_map(|need| self.needs[*need as usize].iter());
        let mut names = terms.map(|term| self.texts.text(term.name));
        names.any(|name| name.starts_with('/'))
    }

    /// The paths that are needed by any package and that none provides, by their numbers.
    pub fn missing_paths(&self) -> HashSet<u32> {
        let provided: HashSet<Symbol> = self.provisions.iter().map(|known| known.name).collect();
        let terms = self.needs.iter().flat_map(|need| need.iter());
        let names = terms.map(|term| term.name);
        names
            .filter(|name| self.texts.text(*name).starts_with('/') && !provided.contains(name))
            .collect()
    }

    /// A warning about unsatisfied needs, for the user.
    pub fn warning(&self, closure: &Closure) -> Option<String> {
        const NAMED: usize = 5;
        const LENGTH: usize = 80;
        let unmet: BTreeSet<String> = closure
            .unmet
            .iter()
            .map(|need| {
                let need = &self.needs[*need as usize];
                let terms: Vec<Term<'_>> = need.iter().map(|term| self.term(term)).collect();
                let shown = self.rules.format_need(&terms);
                match shown.char_indices().nth(LENGTH) {
                    Some((end, _)) => format!("{}...", &shown[..end]),
                    None => shown,
                }
            })
            .collect();
        let count = unmet.len();
        let named: Vec<String> = unmet.into_iter().take(NAMED).collect();
        let named = named.join(", ");
        let what = match count {
            0 => return None,
            1 => "1 dependency of the selected packages is".to_owned(),
            _ => format!("{count} dependencies of the selected packages are"),
        };
        let more = match count.checked_sub(NAMED) {
            None | Some(0) => String::new(),
            Some(more) => format!(" and {more} more"),
        };
        Some(format!(
            "{what} not in this repository, or excluded: {named}{more}"
        ))
    }

    fn term(&self, term: &StoredTerm) -> Term<'_> {
        Term {
            connective: term.connective,
            name: self.texts.text(term.name),
            qualifier: self.texts.text(term.qualifier),
            versions: Versions {
                relation: term.relation,
                version: self.texts.text(term.version),
            },
        }
    }

    fn target(&self, member: &Member) -> Target<'_> {
        Target {
            architecture: self.texts.text(member.architecture),
            stream: self.texts.text(member.stream),
            multi_arch: self.texts.text(member.multi_arch),
        }
    }
}

/// A search, with its cost so far.
struct Search<'u, R> {
    packages: &'u PackageSet<R>,
    compared: usize,
}

impl<'u, R: DependencyRules> Search<'u, R> {
    /// The provisions of a name, of all packages or of one.
    fn provisions(
        &mut self,
        name: Symbol,
        by: Option<u32>,
    ) -> Result<&'u [Provision], LimitExceeded> {
        let all = &self.packages.provisions;
        let first = (name, by.unwrap_or(0));
        let last = (name, by.unwrap_or(u32::MAX));
        let start = all.partition_point(|known| (known.name, known.member) < first);
        let found = &all[start..];
        let end = found.partition_point(|known| (known.name, known.member) <= last);
        self.compared += end + 1;
        if self.compared > COMPARED_LIMIT {
            return Err(LimitExceeded);
        }
        Ok(&found[..end])
    }

    fn satisfies(&mut self, provision: &Provision, term: &StoredTerm) -> bool {
        let texts = &self.packages.texts;
        let provided = Versions {
            relation: Relation(provision.relation),
            version: texts.text(provision.version),
        };
        let needed = Versions {
            relation: term.relation,
            version: texts.text(term.version),
        };
        self.compared += (provided.version.len() + needed.version.len()) / 32;
        self.packages.rules.satisfies(provided, needed)
    }

    fn provides(&mut self, member: u32, term: &StoredTerm) -> Result<bool, LimitExceeded> {
        let mut own = self.provisions(term.name, Some(member))?.iter();
        Ok(own.any(|provision| self.satisfies(provision, term)))
    }

    fn provides_all(&mut self, member: u32, terms: &[StoredTerm]) -> Result<bool, LimitExceeded> {
        for term in terms {
            if !self.provides(member, term)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn is_met_by(&mut self, need: u32, member: usize) -> Result<bool, LimitExceeded> {
        let member = u32::try_from(member).map_err(|_| LimitExceeded)?;
        let packages = self.packages;
        for terms in alternatives(&packages.needs[need as usize]) {
            if self.provides_all(member, terms)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The packages to add for a need of `needing`.
    fn find(&mut self, need: u32, needing: &Member) -> Result<BTreeSet<usize>, LimitExceeded> {
        let packages = self.packages;
        let mut found = BTreeSet::new();
        for terms in alternatives(&packages.needs[need as usize]) {
            let Some((first, others)) = terms.split_first() else {
                continue;
            };
            let qualifier = packages.texts.text(first.qualifier);
            let mut candidates: Vec<(Preference, u32)> = Vec::new();
            for provision in self.provisions(first.name, None)? {
                let candidate = &packages.members[provision.member as usize];
                let (target, needing) = (packages.target(candidate), packages.target(needing));
                if let Some(preference) = packages.rules.preference(target, needing, qualifier)
                    && self.satisfies(provision, first)
                    && self.provides_all(provision.member, others)?
                {
                    candidates.push((preference, provision.member));
                }
            }
            let best = candidates.iter().map(|(preference, _)| *preference).max();
            candidates.retain(|(preference, _)| Some(*preference) == best);
            let members = candidates.into_iter().map(|(_, member)| member as usize);
            found.extend(self.newest(members));
        }
        Ok(found)
    }

    /// The newest of each name, architecture and stream; several if their versions are equal.
    fn newest(&self, members: impl Iterator<Item = usize>) -> Vec<usize> {
        let packages = self.packages;
        let mut newest: HashMap<[Symbol; 3], Vec<usize>> = HashMap::new();
        for number in members {
            let member = &packages.members[number];
            let key = [member.name, member.architecture, member.stream];
            let best = newest.entry(key).or_default();
            let version = packages.texts.text(member.version);
            let order = best.first().map_or(Ordering::Greater, |best| {
                let best = packages.texts.text(packages.members[*best].version);
                packages.rules.compare(version, best)
            });
            match order {
                Ordering::Less => {}
                Ordering::Equal => best.push(number),
                Ordering::Greater => *best = vec![number],
            }
        }
        newest.into_values().flatten().collect()
    }
}

/// The alternatives of a need, each with all terms that one package must provide.
fn alternatives(need: &[StoredTerm]) -> impl Iterator<Item = &[StoredTerm]> {
    need.chunk_by(|_, next| next.connective == Connective::With)
}

#[cfg(test)]
mod tests;
