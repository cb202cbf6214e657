//! Puts damaged objects without a replacement aside, so that they are never published again.

use super::error::RepairError;
use super::outcome::{Fate, RepairOutcome, RepairSource, Repaired};
use crate::storage::Storage;

/// Puts aside what a repair could not replace. The caller holds the storage exclusively; other runs
/// may have changed the pool since the repair, so every object is compared again.
pub fn put_aside(storage: &Storage, outcome: &mut RepairOutcome) -> Result<(), RepairError> {
    storage.may_delete()?;
    let pool = &storage.pool;
    let mut unrepaired = Vec::new();
    for mut object in std::mem::take(&mut outcome.unrepaired) {
        let id = object.damaged.object;
        if pool.size_of(id)?.is_none() {
            object.fate = Fate::Missing;
        } else if pool.is_intact(id)? {
            outcome.repaired.push(Repaired {
                damaged: object.damaged,
                source: RepairSource::Pool,
            });
            continue;
        } else {
            object.fate = Fate::PutAside(pool.put_aside(&storage.locks, id)?);
        }
        unrepaired.push(object);
    }
    outcome.unrepaired = unrepaired;
    Ok(())
}
