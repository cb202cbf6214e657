//! How two states differ: in packages, in bytes, and why.
//!
//! Manifests are compared, and chunks that both have are skipped unread: two states of one repository cost what differs. For that
//! price, a package that a repository lists under two paths counts as removed when it loses one of them.
//!
//! Which package became which is in [`pairing`]; which advisories and source packages stand behind it, in [`reasons`].

mod pairing;
mod reasons;

use std::collections::HashSet;

use crate::digest::ObjectId;
use crate::format::ChangeReasons;
use crate::manifest::{Entry, Role};
use crate::pool::Pool;
use crate::store::{Reader, Store, Transaction};

use super::{SnapshotError, State};
use crate::state::{OpenState, StateError};

pub use pairing::{Change, Pair};
pub use reasons::{Advisories, Advisory, Source};

use pairing::{Side, Sides};
use reasons::Origins;

/// What differs between two states.
#[derive(Debug)]
pub struct Diff {
    /// By name, architecture and version.
    pub pairs: Vec<Pair>,
    pub reasons: Reasons,
    /// Whether any published file differs, be it no package.
    pub has_differences: bool,
    /// Why a reason could not be told.
    pub warnings: Vec<String>,
}

/// As far as the format knows them.
#[derive(Debug)]
pub enum Reasons {
    Advisories(Advisories),
    Sources {
        sources: Vec<Source>,
        /// The name of each pair's source package, where it is known.
        of_pairs: Vec<Option<String>>,
    },
}

/// Entries of chunks that one manifest has and the other has not.
#[derive(Default)]
struct ChangedEntries {
    sides: Sides,
    old_metadata: Vec<Entry>,
    new_metadata: Vec<Entry>,
}

/// How `from` became `to`. Both are of one format.
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
        // Nobody has read advisories before: what is in them must not hide which packages differ.
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
