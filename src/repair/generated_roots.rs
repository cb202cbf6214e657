//! Generated roots that no tree shows: they are not repaired but forgotten, because the next
//! publication generates new ones.

use super::error::RepairError;
use crate::check::{CheckOutcome, DamagedObject, Owner};
use crate::storage::Storage;

/// Forgets the roots that a check could not prove, and returns their number.
pub fn forget_roots(storage: &Storage, found: &CheckOutcome) -> Result<u64, RepairError> {
    let bad = found.proofs.iter().filter(|proved| !proved.proof.is_good());
    let bad = bad.filter_map(|proved| proved.generated_root.as_ref());
    let bad: Vec<_> = bad.collect();
    if !bad.is_empty() {
        storage.write(|writer| {
            bad.iter()
                .try_for_each(|key| writer.remove_generated_root(key))
        })?;
    }
    Ok(bad.len() as u64)
}

/// Whether only roots need an object that are forgotten if it is damaged.
pub fn is_of_roots_only(damaged: &DamagedObject) -> bool {
    let mut uses = damaged.uses.iter();
    !damaged.uses.is_empty() && uses.all(|one| matches!(one.owner, Owner::GeneratedRoot(_)))
}
