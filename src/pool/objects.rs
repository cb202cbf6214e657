//! The objects of a pool by name: opened, measured, hashed, compared.

use std::io::{self, Read, Write as _};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use fs_err as fs;

use crate::digest::{Algorithm, Digest, Hasher, ObjectId, ObjectRef};
use crate::kill_points;
use crate::regular_file;

use super::layout;
use super::place::Pool;

/// Buffer size for hashing and copying.
pub const BUFFER: usize = 128 * 1024;

impl Pool {
    /// Renames a complete file to its final name. Only the last directory of the path is created,
    /// so that nothing is created if the pool is not mounted.
    pub(super) fn rename_into_place(&self, file: &Path, object: ObjectId) -> io::Result<()> {
        let target = self.object_path(object);
        kill_points::reach("name an object");
        match fs::rename(file, &target) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            renamed => return renamed,
        }
        // The first object in this directory.
        if let Some(directory) = target.parent() {
            layout::create_dir(directory).map_err(|error| self.explained(error))?;
        }
        fs::rename(file, &target).map_err(|error| self.explained(error))
    }

    /// The path from which an object is read.
    fn found_at(&self, object: ObjectId) -> PathBuf {
        let own = self.object_path(object);
        match &self.lower {
            Some(lower) if fs::symlink_metadata(&own).is_err() => lower.found_at(object),
            _ => own,
        }
    }

    pub fn object_path(&self, object: ObjectId) -> PathBuf {
        layout::object_path(&self.root, object)
    }

    /// The size in bytes of an object's file; `None` if it does not exist. The content is not
    /// checked.
    pub fn size_of(&self, object: ObjectId) -> io::Result<Option<u64>> {
        match fs::symlink_metadata(self.found_at(object)) {
            Ok(metadata) if metadata.is_file() => Ok(Some(metadata.len())),
            Ok(_) => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub fn open_object(&self, object: ObjectId) -> io::Result<fs::File> {
        regular_file::open_named(&self.found_at(object))
    }

    /// An object whose file exists but which is not in the store: it is hashed before it is used.
    pub fn adopt(&self, object: ObjectId) -> io::Result<Option<ObjectRef>> {
        if self.size_of(object)?.is_none() {
            return Ok(None);
        }
        let (found, size) = self.rehash(object)?;
        if found == object {
            return Ok(Some(ObjectRef { object, size }));
        }
        log::warn!(
            "{} is damaged (its sha256 is {found}): downloading it again",
            self.object_path(object).display()
        );
        Ok(None)
    }

    /// Another digest of an object.
    pub fn digest_of(&self, object: ObjectId, algorithm: Algorithm) -> io::Result<Digest> {
        let mut hasher = Hasher::new(algorithm);
        hash(&mut self.open_object(object)?, &mut hasher)?;
        Ok(hasher.finish().1)
    }

    /// The actual digest of an object's file, and its size in bytes.
    pub(super) fn rehash(&self, object: ObjectId) -> io::Result<(ObjectId, u64)> {
        let mut hasher = Hasher::new(object.digest().algorithm());
        let size = hash(&mut self.open_object(object)?, &mut hasher)?;
        Ok((hasher.finish().0, size))
    }

    /// Copies an object to a new file. Returns the digest of the copied bytes. Fails if the file
    /// exists.
    pub fn copy_object(&self, object: ObjectId, target: &Path) -> io::Result<ObjectId> {
        let mut from = self.open_object(object)?;
        let mut to = fs::File::create_new(target)?;
        let mut hasher = Hasher::new(object.digest().algorithm());
        let mut buffer = vec![0; BUFFER];
        loop {
            match from.read(&mut buffer)? {
                0 => return Ok(hasher.finish().0),
                read => {
                    hasher.update(&buffer[..read]);
                    to.write_all(&buffer[..read])?;
                }
            }
        }
    }

    /// Whether the file at `path` is a link to an object or has the same content. The size is
    /// compared first, then the digest.
    pub fn has_same_content(&self, object: ObjectId, path: &Path) -> io::Result<bool> {
        let Ok(metadata) = std::fs::symlink_metadata(path) else {
            return Ok(false);
        };
        if !metadata.is_file() || self.size_of(object)? != Some(metadata.len()) {
            return Ok(false);
        }
        let stored = fs::symlink_metadata(self.object_path(object))?;
        if (stored.dev(), stored.ino()) == (metadata.dev(), metadata.ino()) {
            return Ok(true);
        }
        let mut hasher = Hasher::new(object.digest().algorithm());
        hash(&mut fs::File::open(path)?, &mut hasher)?;
        Ok(hasher.finish().0 == object)
    }
}

/// Reads to the end and updates the hasher; returns the number of bytes read.
pub fn hash(reader: &mut impl Read, hasher: &mut Hasher) -> io::Result<u64> {
    let mut buffer = vec![0; BUFFER];
    let mut length = 0;
    loop {
        match reader.read(&mut buffer)? {
            0 => return Ok(length),
            read => {
                hasher.update(&buffer[..read]);
                length += read as u64;
            }
        }
    }
}
