//! Listing, checking and removing the objects of a pool.

use std::collections::HashSet;
use std::fs::Metadata;
use std::io::{self, Read as _};
use std::os::unix::fs::{DirEntryExt, MetadataExt};
use std::path::Path;

use fs_err as fs;

use crate::digest::{Algorithm, Hasher, ObjectId};
use crate::kill_points;
use crate::lock::Locks;
use crate::regular_file;

use super::error::PoolError;
use super::layout::OBJECTS;
use super::objects::hash;
use super::place::Pool;

/// Limit for a root, signature or key of an upstream, in bytes: they are read into memory.
pub const UPSTREAM_SMALL_MAX: u64 = 32 << 20;
/// The same for those that are stored or published: generated roots and joined keys can be larger.
pub const SMALL_MAX: u64 = 2 * UPSTREAM_SMALL_MAX;

impl Pool {
    /// Calls `each` for every object file. Files with other names are ignored.
    pub fn each_object(
        &self,
        each: &mut dyn FnMut(ObjectId, &Metadata) -> io::Result<()>,
    ) -> io::Result<()> {
        self.check()?;
        for directory in fs::read_dir(self.root.join(OBJECTS))? {
            let directory = directory?;
            if !directory.file_type()?.is_dir() {
                continue;
            }
            for file in fs::read_dir(directory.path())? {
                let file = file?;
                let name = file.file_name();
                let Some(object) = name.to_str().and_then(|name| name.parse().ok()) else {
                    continue;
                };
                let metadata = file.metadata()?;
                if metadata.is_file() && self.object_path(object) == file.path() {
                    each(object, &metadata)?;
                }
            }
        }
        Ok(())
    }

    /// Device and inode of every file below `sha256`, to recognise hard links to objects without
    /// reading them.
    pub fn inodes(&self) -> io::Result<HashSet<(u64, u64)>> {
        let mut inodes = HashSet::new();
        for directory in fs::read_dir(self.root.join(OBJECTS))? {
            let directory = directory?;
            if !directory.file_type()?.is_dir() {
                continue;
            }
            let device = directory.metadata()?.dev();
            for file in fs::read_dir(directory.path())? {
                inodes.insert((device, file?.ino()));
            }
        }
        Ok(inodes)
    }

    /// Whether there is an object with the bytes of the file at `path`.
    pub fn has_copy_of(&self, path: &Path) -> io::Result<bool> {
        let mut hasher = Hasher::new(Algorithm::Sha256);
        let size = hash(&mut fs::File::open(path)?, &mut hasher)?;
        Ok(self.size_of(hasher.finish().0)? == Some(size))
    }

    /// The bytes of a small object, such as a root or a key; `None` if it does not exist or its
    /// content does not match its name.
    pub fn read_small(&self, object: ObjectId) -> io::Result<Option<Vec<u8>>> {
        if self.size_of(object)?.is_none() {
            return Ok(None);
        }
        let mut bytes = Vec::new();
        let file = self.open_object(object)?;
        file.take(SMALL_MAX).read_to_end(&mut bytes)?;
        Ok((ObjectId::of(&bytes) == object).then_some(bytes))
    }

    /// Removes the file of an object. The store must not refer to it any more.
    pub fn remove(&self, locks: &Locks, object: ObjectId) -> Result<(), PoolError> {
        // If the lock was lost, another run may be about to refer to it.
        locks.check()?;
        kill_points::reach("remove an object");
        Ok(regular_file::remove(&self.object_path(object))?)
    }
}
