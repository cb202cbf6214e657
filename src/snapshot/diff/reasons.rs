//! Reasons for changes: advisories in RPM repositories, source packages in APT repositories.
//!
//! Both are read from indexes, and only if the indexes of the two states differ.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::thread::ScopedJoinHandle;

use serde::Serialize;

use super::pairing::Pair;
use crate::digest::ObjectId;
use crate::format::Index;
use crate::format::{
    AdvisoryRecord, FormatError, IndexKind, ReadAdvisories, ReadOrigins, VersionOrder,
};
use crate::manifest::Package;
use crate::state::{OpenState, StateError};
use crate::threads;

/// Limits the cost of advisories: bytes of those that are shown, and versions that are compared.
/// All advisories of a large distribution need some millions.
const ALLOWANCE: usize = 100_000_000;

/// A new advisory for changed packages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Advisory {
    pub id: String,
    #[serde(rename = "type")]
    pub kind: String,
    pub severity: Option<String>,
    pub title: String,
    pub cves: Vec<String>,
    /// Names of the changed packages that it applies to.
    pub packages: Vec<String>,
}

/// The differences in advisories.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Advisories {
    /// Only in the new state, and for packages that changed.
    pub new: Vec<Advisory>,
    /// Only in the new state, but not for packages that changed.
    pub unrelated: u64,
    /// Only in the old state.
    pub withdrawn: u64,
    /// For the index of a pair: the indexes in `new` of its advisories.
    pub of_pair: BTreeMap<usize, Vec<usize>>,
}

/// A source package whose binary packages changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Source {
    pub name: String,
    /// The highest version that changed packages were built from.
    pub from: Option<String>,
    pub to: Option<String>,
    /// Number of changed packages, including the source package itself if sources are mirrored.
    pub packages: u64,
}

/// Advisories in `to` that are not in `from`.
///
/// An advisory applies to a changed package if it names the new version or one between the old and
/// the new: the upstream may have replaced the fixed version by a later one.
pub fn advisories(
    (index, read): (&str, ReadAdvisories),
    from: &OpenState<'_>,
    to: &OpenState<'_>,
    pairs: &[Pair],
    order: VersionOrder,
) -> Result<Advisories, StateError> {
    let (old, new) = changed_indexes(from, to, |other| other.name == index);
    let mut known: HashSet<String> = HashSet::new();
    for index in old {
        each_advisory(from, index, read, &mut |advisory| {
            known.insert(advisory.id);
            Ok(())
        })?;
    }
    let mut brought: HashMap<(&str, &str), Vec<usize>> = HashMap::new();
    for (place, pair) in pairs.iter().enumerate() {
        if pair.to.is_some() {
            let key = (pair.name.as_str(), pair.architecture.as_str());
            brought.entry(key).or_default().push(place);
        }
    }
    let mut allowance = Allowance(ALLOWANCE);
    let mut found = Advisories::default();
    let mut seen: HashSet<String> = HashSet::new();
    for index in new {
        each_advisory(to, index, read, &mut |advisory| {
            let is_known = known.contains(&advisory.id);
            if !seen.insert(advisory.id.clone()) || is_known {
                return Ok(());
            }
            let mut places = BTreeSet::new();
            for package in &advisory.packages {
                let key = (package.name.as_str(), package.architecture.as_str());
                let candidates = brought.get(&key).map_or(&[][..], Vec::as_slice);
                allowance.take(index, candidates.len())?;
                let about = candidates.iter().copied();
                places.extend(about.filter(|place| is_about(package, &pairs[*place], order)));
            }
            if places.is_empty() {
                found.unrelated += 1;
                return Ok(());
            }
            let texts = advisory
                .cves
                .iter()
                .chain([&advisory.title, &advisory.kind]);
            let length = texts.map(String::len).sum::<usize>();
            allowance.take(index, length)?;
            found.add(advisory, &places, pairs);
            Ok(())
        })?;
    }
    found.withdrawn = known.iter().filter(|id| !seen.contains(*id)).count() as u64;
    Ok(found)
}

fn each_advisory(
    state: &OpenState<'_>,
    index: &Index,
    read: ReadAdvisories,
    each: &mut dyn FnMut(AdvisoryRecord) -> Result<(), FormatError>,
) -> Result<(), StateError> {
    state.read(index, |text| Ok(read(&index.name, text, each)?))
}

/// The rest of [`ALLOWANCE`].
struct Allowance(usize);

impl Allowance {
    fn take(&mut self, index: &Index, amount: usize) -> Result<(), FormatError> {
        match self.0.checked_sub(amount) {
            Some(left) => {
                self.0 = left;
                Ok(())
            }
            None => Err(FormatError::Malformed {
                file: index.name.clone(),
                what: "too many advisories for the changed packages".to_owned(),
            }),
        }
    }
}

impl Advisories {
    fn add(&mut self, advisory: AdvisoryRecord, places: &BTreeSet<usize>, pairs: &[Pair]) {
        let mut packages: Vec<String> = places
            .iter()
            .map(|place| pairs[*place].name.clone())
            .collect();
        packages.dedup();
        for place in places {
            let of_pair = self.of_pair.entry(*place).or_default();
            of_pair.push(self.new.len());
        }
        self.new.push(Advisory {
            id: advisory.id,
            kind: advisory.kind,
            severity: advisory.severity,
            title: advisory.title,
            cves: advisory.cves,
            packages,
        });
    }
}

fn is_about(package: &Package, pair: &Pair, order: VersionOrder) -> bool {
    let version = &package.version;
    let is_after = |from: &String| order(version, from).is_gt();
    pair.to.as_ref().is_some_and(|to| {
        let compared = order(version, to);
        compared.is_eq() || (compared.is_lt() && pair.from.as_ref().is_none_or(is_after))
    })
}

/// The source package of each side of each pair, by the index of the pair.
#[derive(Debug, Default)]
pub struct Origins {
    /// Name and version.
    from: BTreeMap<usize, (String, String)>,
    to: BTreeMap<usize, (String, String)>,
}

impl Origins {
    pub fn find(
        read: ReadOrigins,
        from: &OpenState<'_>,
        to: &OpenState<'_>,
        pairs: &[Pair],
    ) -> Result<Self, StateError> {
        let (old, new) = changed_indexes(from, to, |index| index.kind == IndexKind::Packages);
        let read_old = || origins(from, &old, read, pairs, |pair| pair.from.as_deref());
        let read_new = || origins(to, &new, read, pairs, |pair| pair.to.as_deref());
        // Decompressing and parsing takes most of the time, and the two sides are independent.
        let (from, to) = std::thread::scope(|scope| {
            let other = threads::start(scope, "diff-from", read_old);
            let to = read_new();
            let from = match other.map(ScopedJoinHandle::join) {
                Ok(Ok(from)) => from,
                Ok(Err(panic)) => std::panic::resume_unwind(panic),
                // Without a second thread.
                Err(_) => read_old(),
            };
            (from, to)
        });
        Ok(Self {
            from: from?,
            to: to?,
        })
    }

    /// The name of the source package of a pair.
    pub fn name(&self, place: usize) -> Option<&str> {
        let origin = self.to.get(&place).or_else(|| self.from.get(&place));
        origin.map(|(name, _)| name.as_str())
    }

    /// All source packages of changed packages.
    pub fn sources(&self, order: VersionOrder) -> Vec<Source> {
        let mut by_name: BTreeMap<&str, (Source, BTreeSet<usize>)> = BTreeMap::new();
        let sides = [(&self.from, false), (&self.to, true)];
        for (side, is_new) in sides {
            for (place, (name, version)) in side {
                let (source, places) = by_name.entry(name).or_insert_with(|| {
                    let source = Source {
                        name: name.clone(),
                        from: None,
                        to: None,
                        packages: 0,
                    };
                    (source, BTreeSet::new())
                });
                places.insert(*place);
                let highest = if is_new {
                    &mut source.to
                } else {
                    &mut source.from
                };
                if highest
                    .as_ref()
                    .is_none_or(|other| order(version, other).is_gt())
                {
                    *highest = Some(version.clone());
                }
            }
        }
        by_name
            .into_values()
            .map(|(mut source, places)| {
                source.packages = places.len() as u64;
                source
            })
            .collect()
    }
}

fn origins(
    state: &OpenState<'_>,
    indexes: &[&Index],
    read: ReadOrigins,
    pairs: &[Pair],
    version: fn(&Pair) -> Option<&str>,
) -> Result<BTreeMap<usize, (String, String)>, StateError> {
    let mut wanted: HashMap<&str, HashMap<(&str, &str), usize>> = HashMap::new();
    let mut found = BTreeMap::new();
    for (place, pair) in pairs.iter().enumerate() {
        let Some(version) = version(pair) else {
            continue;
        };
        if pair.architecture == Package::SOURCE {
            found.insert(place, (pair.name.clone(), version.to_owned()));
        } else {
            let versions = wanted.entry(&pair.name).or_default();
            versions.insert((version, &pair.architecture), place);
        }
    }
    if wanted.is_empty() {
        return Ok(found);
    }
    for index in indexes {
        state.read::<_, StateError>(index, |text| {
            let read = read(&index.name, text, &mut |origin| {
                let versions = wanted.get(origin.name);
                let key = (origin.version, origin.architecture);
                if let Some(place) = versions.and_then(|versions| versions.get(&key)) {
                    let source = (origin.source.to_owned(), origin.source_version.to_owned());
                    found.insert(*place, source);
                }
            });
            Ok(read?)
        })?;
    }
    Ok(found)
}

/// The indexes of one kind that the other side does not have.
fn changed_indexes<'s>(
    from: &'s OpenState<'_>,
    to: &'s OpenState<'_>,
    is_kind: impl Fn(&Index) -> bool,
) -> (Vec<&'s Index>, Vec<&'s Index>) {
    let of_kind = |state: &'s OpenState<'_>| -> Vec<&'s Index> {
        let indexes = state.indexes.all.iter();
        indexes.filter(|index| is_kind(index)).collect()
    };
    let objects = |state: &'s OpenState<'_>| -> HashSet<ObjectId> {
        let indexes = of_kind(state).into_iter();
        indexes.flat_map(|index| state.objects(index)).collect()
    };
    let (old, new) = (objects(from), objects(to));
    let without = |state: &'s OpenState<'_>, other: &HashSet<ObjectId>| {
        let mut indexes = of_kind(state);
        indexes.retain(|index| {
            let mut objects = state.objects(index).into_iter();
            !objects.any(|object| other.contains(&object))
        });
        indexes
    };
    (without(from, &new), without(to, &old))
}
