//! Other files on this machine with the bytes of an object: files of published trees that are no
//! links to it (copies on other file systems, and where a file has too many links), and complete
//! downloads.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use super::error::RepairError;
use super::outcome::RepairSource;
use super::places::Places;
use crate::check::DamagedObject;
use crate::digest::ObjectId;
use crate::pool::{Partial, PartialKind};
use crate::storage::Storage;
use crate::sync::{SyncError, Workers};
use crate::threads::lock;

/// Restores objects from files on this machine.
pub fn restore(
    storage: &Storage,
    workers: Workers<'_>,
    places: &Places,
    wanted: &[&DamagedObject],
) -> Result<HashMap<ObjectId, RepairSource>, RepairError> {
    let mut partials = storage.pool.partials()?;
    partials.retain(|partial| partial.kind == PartialKind::Download);
    let restored: Mutex<HashMap<ObjectId, RepairSource>> = Mutex::default();
    let done = workers.in_parallel(wanted, |damaged| {
        if let Some(source) = restore_one(storage, places, &partials, damaged)? {
            lock(&restored).insert(damaged.object, source);
        }
        Ok(())
    });
    match done.map_err(RepairError::of_download) {
        Ok(()) => Ok(restored
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner)),
        Err(Ok(error)) => Err(error),
        Err(Err(error)) => Err(std::io::Error::other(error).into()),
    }
}

fn restore_one(
    storage: &Storage,
    places: &Places,
    partials: &[Partial],
    damaged: &DamagedObject,
) -> Result<Option<RepairSource>, SyncError> {
    let object = damaged.object;
    let trees = places.of(object).into_iter().flat_map(|of| &of.trees);
    for (tree, files) in trees {
        for file in files {
            storage.interrupt.check()?;
            let path = file.below(tree);
            if restore_from(storage, &path, damaged)? {
                return Ok(Some(RepairSource::Tree(path)));
            }
        }
    }
    for partial in partials {
        storage.interrupt.check()?;
        // The name may be a digest by another algorithm.
        if partial.bytes == damaged.size && restore_from(storage, &partial.path, damaged)? {
            return Ok(Some(RepairSource::Partial(partial.path.clone())));
        }
    }
    Ok(None)
}

fn restore_from(
    storage: &Storage,
    path: &Path,
    damaged: &DamagedObject,
) -> Result<bool, SyncError> {
    let pool = &storage.pool;
    let Ok(found) = std::fs::symlink_metadata(path) else {
        return Ok(false);
    };
    let is_same =
        |stored: std::fs::Metadata| (stored.dev(), stored.ino()) == (found.dev(), found.ino());
    // A link to the damaged file: there may be hundreds of them.
    let is_link = std::fs::symlink_metadata(pool.object_path(damaged.object)).is_ok_and(is_same);
    if !found.is_file() || found.len() != damaged.size || is_link {
        return Ok(false);
    }
    Ok(pool
        .add_file(&storage.locks, path, damaged.object)?
        .is_some())
}
