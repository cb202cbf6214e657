//! Damaged objects that were put aside: without their name they are never published or used again,
//! and what can still be read of them is not lost.

use std::io;
use std::path::PathBuf;

use fs_err as fs;

use crate::digest::ObjectId;
use crate::lock::Locks;
use crate::regular_file::{self, is_absent};

use super::error::PoolError;
use super::layout::{self, DAMAGED};
use super::place::Pool;

/// A file in `damaged`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DamagedFile {
    pub path: PathBuf,
    /// The object that it should be.
    pub object: ObjectId,
    pub bytes: u64,
}

impl Pool {
    /// Renames the file of a damaged object, and returns its new path. Only a run that holds the
    /// storage lock exclusively does that: another one may be about to refer to the object.
    pub fn put_aside(&self, locks: &Locks, object: ObjectId) -> Result<PathBuf, PoolError> {
        locks.check()?;
        self.check()?;
        let directory = self.root.join(DAMAGED);
        layout::create_dir(&directory)?;
        let path = directory.join(object.hex());
        fs::rename(self.object_path(object), &path)?;
        Ok(path)
    }

    /// The files that were put aside. Files with other names are ignored.
    pub fn damaged_files(&self) -> io::Result<Vec<DamagedFile>> {
        let files = match fs::read_dir(self.root.join(DAMAGED)) {
            Err(error) if is_absent(&error) => return Ok(Vec::new()),
            files => files?,
        };
        let mut found = Vec::new();
        for file in files {
            let file = file?;
            let name = file.file_name();
            let Some(object) = name.to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            let metadata = file.metadata()?;
            if metadata.is_file() {
                found.push(DamagedFile {
                    path: file.path(),
                    object,
                    bytes: metadata.len(),
                });
            }
        }
        found.sort_by_key(|file| file.object);
        Ok(found)
    }
}

impl DamagedFile {
    pub fn remove(&self, locks: &Locks) -> Result<(), PoolError> {
        locks.check()?;
        Ok(regular_file::remove(&self.path)?)
    }
}
