//! The differences between two states: packages, sizes and reasons.
//!
//! Compares manifests and skips chunks that both have, so that the cost depends only on the
//! difference. The price: a package that a repository lists under two paths counts as removed when
//! it is removed from one of them.
//!
//! [`pairing`] matches old and new packages, [`reasons`] finds the advisories and source packages
//! of the changes.

mod pairing;
mod reasons;

use std::collections::HashSet;

use crate::digest::ObjectId;
use crate::format::ChangeReasons;
use crate::manifest::{Entry, Role};
use crate::pool::Pool;
use crate::store::{Reader, Store, Transaction};

use super::error::SnapshotError;
use super::states::State;
use crate::state::{OpenState, StateError};

pub use pairing::{Change, Pair};
pub use reasons::{Advisories, Advisory, Source};

use pairing::{Side, Sides};
use reasons::Origins;

/// The differences between two states.
#[derive(Debug)]
pub struct Diff {
    /// Sorted by name, architecture and version.
    pub pairs: Vec<Pair>,
    pub reasons: Reasons,
    /// Whether any published file differs, including files that are not packages.
    pub has_differences: bool,
    /// Why reasons could not be read.
    pub warnings: Vec<String>,
}

/// The reasons that the format supports.
#[derive(Debug)]
pub enum Reasons {
    Advisories(Advisories),
    Sources {
        sources: Vec<Source>,
        /// The source package of each pair, if known.
        of_pairs: Vec<Option<String>>,
    },
}

/// Entries of chunks that only one of the manifests has.
#[derive(Default)]
struct ChangedEntries {
    sides: Sides,
    old_metadata: Vec<Entry>,
    new_metadata: Vec<Entry>,
}

/// Compares two states of the same format.
pub fn diff(store: &Store, pool: &Pool, from: &State, to: &State) -> Result<Diff, SnapshotError> {
    let format = from.record.format;
    if format != to.record.format {
        return Err(SnapshotError::FormatMismatch {
            from: (from.full_name(), format),
            to: (to.full_name(), to.record.format),
        });
    }
    let order = format.rules().version_order();
    let (old, new) = (from.record.manifest, to.record.manifest);
    let changed_entries = store.read(|reader| changed_entries(reader, old, new))?;
    let pairs = changed_entries.sides.pairs(order);
    let mut diff = Diff {
        reasons: match format.rules().change_reasons() {
            ChangeReasons::Advisories { .. } => Reasons::Advisories(Advisories::default()),
            ChangeReasons::Sources { .. } => Reasons::Sources {
                sources: Vec::new(),
                of_pairs: vec![None; pairs.len()],
            },
        },
        pairs,
        has_differences: old != new,
        warnings: Vec::new(),
    };
    let roots = |state: &State| -> Vec<ObjectId> {
        let roots = state.record.roots.iter();
        roots.map(|root| root.object).collect()
    };
    if diff.pairs.is_empty() && roots(from) == roots(to) {
        return Ok(diff);
    }
    let opened = |state: &State, metadata: &[Entry]| match OpenState::of_entries(
        pool,
        &state.record,
        metadata,
    ) {
        Err(StateError::RootMissing { .. }) => OpenState::open(store, pool, &state.record),
        opened => opened,
    };
    let read = (|| {
        let from = opened(from, &changed_entries.old_metadata)?;
        let to = opened(to, &changed_entries.new_metadata)?;
        diff.reasons = match format.rules().change_reasons() {
            ChangeReasons::Advisories { index, read } => {
                let advisories = (index, read);
                let found = reasons::advisories(advisories, &from, &to, &diff.pairs, order)?;
                Reasons::Advisories(found)
            }
            ChangeReasons::Sources { read } => {
                let origins = Origins::find(read, &from, &to, &diff.pairs)?;
                let pairs = 0..diff.pairs.len();
                Reasons::Sources {
                    sources: origins.sources(order),
                    of_pairs: pairs
                        .map(|place| origins.name(place).map(str::to_owned))
                        .collect(),
                }
            }
        };
        Ok(())
    })();
    match (read, &diff.reasons) {
        // Advisories are not parsed during a sync: an error in them must not prevent a comparison
        // of packages.
        (Err(StateError::Format(error)), Reasons::Advisories(_)) => {
            diff.warnings.push(error.to_string());
        }
        (read, _) => read?,
    }
    Ok(diff)
}

fn changed_entries(reader: &Reader, old: ObjectId, new: ObjectId) -> Transaction<ChangedEntries> {
    let mut changed_entries = ChangedEntries::default();
    if old == new {
        return Ok(changed_entries);
    }
    let chunks = |manifest| -> Transaction<Vec<ObjectId>> {
        let chunks = reader.manifest(manifest)?.chunks;
        Ok(chunks.into_iter().map(|chunk| chunk.id).collect())
    };
    let (olds, news) = (chunks(old)?, chunks(new)?);
    for (side, ours, theirs) in [(Side::From, &olds, &news), (Side::To, &news, &olds)] {
        let theirs: HashSet<&ObjectId> = theirs.iter().collect();
        for chunk in ours.iter().filter(|chunk| !theirs.contains(chunk)) {
            for entry in reader.chunk(*chunk)? {
                changed_entries.add(side, entry);
            }
        }
    }
    Ok(changed_entries)
}

impl ChangedEntries {
    fn add(&mut self, side: Side, entry: Entry) {
        match (entry.role, entry.package) {
            (Role::Package, Some(package)) => {
                self.sides.add(side, package, entry.object, entry.size);
            }
            (Role::Root | Role::Index, package) => {
                let entry = Entry { package, ..entry };
                match side {
                    Side::From => self.old_metadata.push(entry),
                    Side::To => self.new_metadata.push(entry),
                }
            }
            _ => {}
        }
    }
}
