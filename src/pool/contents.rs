//! What lies in a pool, whoever needs it, and taking it away.

use std::collections::HashSet;
use std::fs::Metadata;
use std::io::{self, Read as _};
use std::os::unix::fs::{DirEntryExt, MetadataExt};
use std::path::Path;

use fs_err as fs;

use super::{OBJECTS, Pool, PoolError};
use crate::digest::{Algorithm, Hasher, ObjectId};
use crate::lock::Locks;
use crate::regular_file::{self, is_absent};

/// In bytes, of an object that is read whole into memory: twice the largest root that a sync takes.
pub const SMALL_MAX: u64 = 64 << 20;

impl Pool {
    /// Every object that has a file, and what is known of the file. Files of other names are not ours and not looked at.
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

    /// Device and inode of every file below `sha256`: what a link into the pool is recognised by without reading it.
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
        let size = super::hash(&mut fs::File::open(path)?, &mut hasher)?;
        Ok(self.size_of(hasher.finish().0)? == Some(size))
    }

    /// Whether an object's bytes are what its name says.
    pub fn is_intact(&self, object: ObjectId) -> io::Result<bool> {
        let mut hasher = Hasher::new(Algorithm::Sha256);
        super::hash(&mut self.open_object(object)?, &mut hasher)?;
        Ok(hasher.finish().0 == object)
    }

    /// The bytes of a small object, as roots and keys are; `None` where there is no such object, or
    /// its file has other bytes than its name says.
    pub fn read_small(&self, object: ObjectId) -> io::Result<Option<Vec<u8>>> {
        if self.size_of(object)?.is_none() {
            return Ok(None);
        }
        let mut bytes = Vec::new();
        let file = self.open_object(object)?;
        file.take(SMALL_MAX).read_to_end(&mut bytes)?;
        Ok((ObjectId::of(&bytes) == object).then_some(bytes))
    }

    /// Takes an object's file away. The store must not name it any more.
    pub fn remove(&self, locks: &Locks, object: ObjectId) -> Result<(), PoolError> {
        // Another run that got a lock of its own may be about to name it.
        locks.check()?;
        Ok(regular_file::remove(&self.object_path(object))?)
    }
}

/// Whether one file in a pool's directory of objects has an object's name.
pub(super) fn has_object(objects: &Path) -> io::Result<bool> {
    let directories = match fs::read_dir(objects) {
        Err(error) if is_absent(&error) => {
            return Ok(false);
        }
        directories => directories?,
    };
    for directory in directories {
        let directory = directory?;
        if !directory.file_type()?.is_dir() {
            continue;
        }
        for file in fs::read_dir(directory.path())? {
            let name = file?.file_name();
            if name
                .to_str()
                .is_some_and(|name| name.parse::<ObjectId>().is_ok())
            {
                return Ok(true);
            }
        }
    }
    Ok(false)
}
