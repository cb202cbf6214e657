//! Applies a plan: published trees first, then the database, then files.

use super::error::CleanupError;
use super::plan::{Plan, UnknownObjects, plan};
use crate::config::Config;
use crate::lock::Requester;
use crate::publish::{self, RequestError};
use crate::storage::{Storage, dry_run};
use crate::store::{Reader, StoreError};

/// The result of a cleanup.
#[derive(Debug)]
pub struct CleanupOutcome {
    /// The plan as it was applied.
    pub plan: Plan,
    /// Errors at published trees: these keep everything they need; the rest was cleaned up.
    pub errors: Vec<RequestError>,
    /// Size of the database file, in bytes.
    pub store_before: u64,
    pub store_after: u64,
}

/// Cleans up a storage. The caller holds it exclusively.
pub fn cleanup(
    storage: &Storage,
    config: &Config,
    unknown: UnknownObjects,
    requester: &Requester,
) -> Result<CleanupOutcome, CleanupError> {
    storage.may_delete()?;
    let mut errors = recover(storage)?;
    let mut plan = plan(&storage.store, &storage.pool, config, unknown)?;
    let store_before = storage.store.size()?;
    errors.extend(apply(storage, config, &mut plan)?);
    dry_run::clear(&config.storage, requester)?;
    Ok(CleanupOutcome {
        plan,
        errors,
        store_before,
        store_after: storage.store.size()?,
    })
}

/// Finishes or undoes what killed runs left at published trees.
fn recover(storage: &Storage) -> Result<Vec<RequestError>, StoreError> {
    let mut errors = Vec::new();
    for (path, tree) in &storage.read(Reader::trees)? {
        // Even if the tree is missing: the files that a killed first publishing staged may exist.
        let recovered = publish::recover_tree(storage, path);
        let failed = |source| RequestError::failed(&tree.repository, source);
        errors.extend(recovered.err().map(failed));
    }
    Ok(errors)
}

/// Removes what the plan lists, and compacts the database. Updates the plan to what was really
/// applied.
fn apply(
    storage: &Storage,
    config: &Config,
    plan: &mut Plan,
) -> Result<Vec<RequestError>, CleanupError> {
    let Storage { pool, locks, .. } = storage;
    let mut errors = Vec::new();
    if !plan.expired.is_empty() {
        errors = plan.expired.remove(storage, config)?;
        plan.keep(storage.read(|reader| reader.needed(|_, _| false))?);
    }
    storage.interrupt.check()?;
    pool.check()?;
    let generation = storage.write(|writer| {
        writer.retain(&plan.needed)?;
        let mut identity = writer.identity()?;
        identity.adopting = plan.adopting;
        if !plan.objects.is_empty() {
            identity.generation = identity.generation.saturating_add(1);
        }
        writer.put_identity(&identity)?;
        Ok(identity.generation)
    })?;
    if !plan.objects.is_empty() {
        pool.raise_generation(locks, generation)?;
    }
    for (object, _) in &plan.objects {
        pool.remove(locks, *object)?;
    }
    for partial in &plan.partials {
        partial.remove(locks)?;
    }
    for file in &plan.damaged {
        file.remove(locks)?;
    }
    locks.remove_unused()?;
    storage.store.compact(locks)?;
    Ok(errors)
}
