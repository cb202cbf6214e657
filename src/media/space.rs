//! The space that a transfer needs on a medium.

use std::path::Path;

use super::error::{Bytes, MediaError};
use super::plan::ExportPlan;
use crate::regular_file::named;

/// A directory for each first byte, two more, and the small files.
const DIRECTORIES: u64 = 260;
/// More than any measured manifest needs for a path.
const BYTES_PER_PATH: u64 = 80;
const OTHER_BYTES: u64 = 1 << 20;

/// The free bytes of a file system, and its block size.
pub struct Space {
    pub free: u64,
    pub block: u64,
}

impl Space {
    pub fn of(path: &Path) -> Result<Self, MediaError> {
        let stat = rustix::fs::statvfs(path).map_err(|error| named(path)(error.into()))?;
        Ok(Self {
            free: stat.f_bavail.saturating_mul(stat.f_frsize),
            block: stat.f_frsize.max(1),
        })
    }

    /// The bytes that a file of this size occupies.
    pub fn occupied(&self, size: u64) -> u64 {
        size.div_ceil(self.block).saturating_mul(self.block)
    }
}

/// The bytes that the transfer will occupy, with whole blocks counted.
pub fn needed(plan: &ExportPlan, space: &Space) -> u64 {
    let objects = plan
        .carried
        .iter()
        .map(|object| space.occupied(object.size));
    let manifest = space.occupied(
        plan.paths
            .saturating_mul(BYTES_PER_PATH)
            .saturating_add(OTHER_BYTES),
    );
    let directories = DIRECTORIES * space.occupied(1);
    objects.fold(manifest + directories, u64::saturating_add)
}

/// Fails if that is more than there is; `present` is what an interrupted export has written.
pub fn reject_full(path: &Path, needed: u64, present: u64) -> Result<(), MediaError> {
    let free = Space::of(path)?.free;
    let needed = needed.saturating_sub(present);
    if needed > free {
        return Err(MediaError::Space {
            path: path.to_owned(),
            needed: Bytes(needed),
            free: Bytes(free),
        });
    }
    Ok(())
}
