//! Matches the packages of two states.
//!
//! Packages are identified by name and architecture. If a state has several versions of a package,
//! they are paired as follows:
//!
//! 1. A version that both sides have is unchanged if its files are identical, otherwise rebuilt.
//!    Paths are ignored. Versions that are equal in the order of the format are the same version
//!    (`1.0` and `1.0-0` for dpkg).
//! 2. Of the versions that only one side has, the highest of each side form a pair: an upgrade or a
//!    downgrade.
//! 3. All others were removed or added. A new version next to one that both sides have counts as
//!    added: it replaces nothing.
//!
//! A source package of APT has several files and is one package.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::digest::ObjectId;
use crate::format::VersionOrder;
use crate::manifest::Package;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    Added,
    Removed,
    Upgraded,
    Downgraded,
    /// The same version with different content.
    Rebuilt,
}

impl Change {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Removed => "removed",
            Self::Upgraded => "upgraded",
            Self::Downgraded => "downgraded",
            Self::Rebuilt => "rebuilt",
        }
    }
}

/// A package that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    pub name: String,
    pub architecture: String,
    pub change: Change,
    /// `None` if added.
    pub from: Option<String>,
    /// `None` if removed.
    pub to: Option<String>,
    /// Size of its files that only the new state has.
    pub bytes_added: u64,
    pub bytes_removed: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    From,
    To,
}

/// Objects with their sizes: a file under two paths counts once.
type Files = BTreeMap<ObjectId, u64>;
/// By version, as written in the index.
type Versions = BTreeMap<String, Files>;

/// Packages of two states, by name and architecture.
#[derive(Debug, Default)]
pub struct Sides(BTreeMap<(String, String), [Versions; 2]>);

impl Sides {
    pub fn add(&mut self, side: Side, package: Package, object: ObjectId, bytes: u64) {
        let Package {
            name,
            version,
            architecture,
        } = package;
        let sides = self.0.entry((name, architecture)).or_default();
        let files = sides[side as usize].entry(version).or_default();
        files.insert(object, bytes);
    }

    /// The differences, sorted by name, architecture and version.
    pub fn pairs(self, order: VersionOrder) -> Vec<Pair> {
        let mut pairs = Vec::new();
        for ((name, architecture), [mut from, mut to]) in self.0 {
            if architecture == Package::SOURCE {
                remove_shared_files(&mut from, &mut to);
            }
            let first = pairs.len();
            for (change, from, to) in pair_versions(from, to, order) {
                let (old, new) = (from.as_ref(), to.as_ref());
                pairs.push(Pair {
                    name: name.clone(),
                    architecture: architecture.clone(),
                    change,
                    bytes_added: size_only_in(new, old),
                    bytes_removed: size_only_in(old, new),
                    from: from.map(|(version, _)| version),
                    to: to.map(|(version, _)| version),
                });
            }
            pairs[first..].sort_by(|a, b| order(a.version(), b.version()));
        }
        pairs
    }
}

/// Versions of a source package share files, and a manifest assigns each file to only one of them.
/// Files on both sides do not show which version changed; every version has its own `.dsc`, which
/// does.
fn remove_shared_files(from: &mut Versions, to: &mut Versions) {
    let objects = |versions: &Versions| -> BTreeSet<ObjectId> {
        let files = versions.values();
        files.flat_map(|files| files.keys().copied()).collect()
    };
    let (old, new) = (objects(from), objects(to));
    for versions in [from, to] {
        for files in versions.values_mut() {
            files.retain(|object, _| !(old.contains(object) && new.contains(object)));
        }
        versions.retain(|_, files| !files.is_empty());
    }
}

impl Pair {
    /// The version of the new state if there is one, otherwise of the old state.
    fn version(&self) -> &str {
        let version = self.to.as_ref().or(self.from.as_ref());
        version.map_or("", String::as_str)
    }
}

type Version = (String, Files);

fn size_only_in(one: Option<&Version>, other: Option<&Version>) -> u64 {
    let Some((_, files)) = one else {
        return 0;
    };
    let is_new = |object| other.is_none_or(|(_, others)| !others.contains_key(object));
    files
        .iter()
        .filter(|(object, _)| is_new(*object))
        .fold(0, |sum, (_, size)| sum.saturating_add(*size))
}

fn pair_versions(
    mut from: Versions,
    mut to: Versions,
    order: VersionOrder,
) -> Vec<(Change, Option<Version>, Option<Version>)> {
    let mut changes = Vec::new();
    let mut both = |old: Version, new: Version| {
        if old.1 != new.1 {
            changes.push((Change::Rebuilt, Some(old), Some(new)));
        }
    };
    // Identical strings are matched first, so that several versions that are equal in order are not
    // mixed up.
    for (version, files) in std::mem::take(&mut from) {
        match to.remove_entry(&version) {
            Some(new) => both((version, files), new),
            None => drop(from.insert(version, files)),
        }
    }
    let sorted = |versions: Versions| {
        let mut sorted: Vec<Version> = versions.into_iter().collect();
        sorted.sort_by(|a, b| order(&a.0, &b.0));
        sorted
    };
    let (mut old_only, mut new_only) = (Vec::new(), Vec::new());
    let mut news = sorted(to).into_iter().peekable();
    for old in sorted(from) {
        while let Some(new) = news.next_if(|new| order(&new.0, &old.0).is_lt()) {
            new_only.push(new);
        }
        match news.next_if(|new| order(&new.0, &old.0).is_eq()) {
            Some(new) => both(old, new),
            None => old_only.push(old),
        }
    }
    new_only.extend(news);
    if let (Some(old), Some(new)) = (old_only.last(), new_only.last()) {
        let change = match order(&old.0, &new.0) {
            Ordering::Less | Ordering::Equal => Change::Upgraded,
            Ordering::Greater => Change::Downgraded,
        };
        changes.push((change, old_only.pop(), new_only.pop()));
    }
    changes.extend(
        old_only
            .into_iter()
            .map(|old| (Change::Removed, Some(old), None)),
    );
    changes.extend(
        new_only
            .into_iter()
            .map(|new| (Change::Added, None, Some(new))),
    );
    changes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repo_format::RepoFormat;

    /// Each side as `version=file,file`; the size of a file is the position of its first letter in
    /// the alphabet.
    fn pairs(format: RepoFormat, from: &[&str], to: &[&str]) -> Vec<String> {
        let mut sides = Sides::default();
        for (side, versions) in [(Side::From, from), (Side::To, to)] {
            for version in versions {
                let (version, files) = version.split_once('=').unwrap();
                for file in files.split(',') {
                    let package = Package {
                        name: "n".to_owned(),
                        version: version.to_owned(),
                        architecture: "all".to_owned(),
                    };
                    let bytes = u64::from(file.as_bytes()[0] - b'a' + 1);
                    sides.add(side, package, ObjectId::of(file.as_bytes()), bytes);
                }
            }
        }
        let text = |version: Option<String>| version.unwrap_or_else(|| "-".to_owned());
        sides
            .pairs(format.rules().version_order())
            .into_iter()
            .map(|pair| {
                format!(
                    "{} {} {} +{} -{}",
                    pair.change.name(),
                    text(pair.from),
                    text(pair.to),
                    pair.bytes_added,
                    pair.bytes_removed
                )
            })
            .collect()
    }

    #[test]
    fn versions_are_paired() {
        type Case = (
            &'static [&'static str],
            &'static [&'static str],
            &'static [&'static str],
        );
        let cases: [Case; 11] = [
            (&["1=a"], &["1=a"], &[]),
            (&["1=a"], &["1=b"], &["rebuilt 1 1 +2 -1"]),
            (&["1=a"], &["2=b"], &["upgraded 1 2 +2 -1"]),
            (&["2=b"], &["1=a"], &["downgraded 2 1 +1 -2"]),
            (
                &[],
                &["1=a", "2=b"],
                &["added - 1 +1 -0", "added - 2 +2 -0"],
            ),
            (&["1=a"], &[], &["removed 1 - +0 -1"]),
            // Next to an unchanged version, a new one replaces nothing.
            (&["1=a"], &["1=a", "2=b"], &["added - 2 +2 -0"]),
            (
                &["1=a", "2=b"],
                &["2=b", "3=c", "4=d"],
                &["added - 3 +3 -0", "upgraded 1 4 +4 -1"],
            ),
            (
                &["1=a", "2=b", "9=c"],
                &["3=c", "9=d"],
                &[
                    "removed 1 - +0 -1",
                    "upgraded 2 3 +3 -2",
                    "rebuilt 9 9 +4 -3",
                ],
            ),
            // Equal in order, but different strings.
            (&["1.0=a"], &["1.00=b"], &["rebuilt 1.0 1.00 +2 -1"]),
            // Only files that differ are counted.
            (&["1=a,b"], &["2=a,c"], &["upgraded 1 2 +3 -2"]),
        ];
        for (from, to, expected) in cases {
            for format in [RepoFormat::Apt, RepoFormat::Rpm] {
                assert_eq!(pairs(format, from, to), expected, "{from:?} {to:?}");
            }
        }
        assert_eq!(
            pairs(RepoFormat::Apt, &["1.0=a", "1.0-0=b"], &["1.0-0=b"]),
            ["removed 1.0 - +0 -1"]
        );
    }

    /// A shared tarball may be assigned to a different version in each state.
    #[test]
    fn what_versions_of_a_source_share_is_no_change() {
        let file = |name: &str| ObjectId::of(name.as_bytes());
        let changes = |from: &[(&str, &str)], to: &[(&str, &str)]| {
            let mut sides = Sides::default();
            for (side, files) in [(Side::From, from), (Side::To, to)] {
                for (version, name) in files {
                    let package = Package {
                        name: "p".to_owned(),
                        version: (*version).to_owned(),
                        architecture: "source".to_owned(),
                    };
                    sides.add(side, package, file(name), 10);
                }
            }
            let pairs = sides.pairs(RepoFormat::Apt.rules().version_order());
            let change = |pair: Pair| {
                (
                    pair.change,
                    pair.from,
                    pair.to,
                    pair.bytes_added,
                    pair.bytes_removed,
                )
            };
            pairs.into_iter().map(change).collect::<Vec<_>>()
        };
        let some = |text: &str| Some(text.to_owned());
        let both = [("1-1", "1-1.dsc"), ("1-1", "orig"), ("1-2", "1-2.dsc")];
        assert_eq!(
            changes(&both, &[("1-2", "1-2.dsc"), ("1-2", "orig")]),
            [(Change::Removed, some("1-1"), None, 0, 10)]
        );
        assert_eq!(
            changes(
                &both,
                &[("1-3", "1-3.dsc"), ("1-3", "orig"), ("1-2", "1-2.dsc")]
            ),
            [(Change::Upgraded, some("1-1"), some("1-3"), 10, 10)]
        );
        assert_eq!(
            changes(
                &both,
                &[
                    ("1-1", "1-1.dsc"),
                    ("1-1", "orig"),
                    ("1-2", "other 1-2.dsc")
                ]
            ),
            [(Change::Rebuilt, some("1-2"), some("1-2"), 10, 10)]
        );
    }
}
