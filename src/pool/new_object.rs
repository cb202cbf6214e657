//! Objects that are written here, not downloaded: their names are known only when they are
//! complete.

use std::io::{self, BufWriter, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::digest::{Algorithm, Hasher, ObjectId, ObjectRef};
use crate::lock::Locks;
use crate::regular_file;
use crate::threads::lock;

use super::layout::{NEW_OBJECT_PREFIX, PARTIAL, object_path};
use super::objects::{BUFFER, is_damage};
use super::place::Pool;

/// An object that is being written. If it is dropped, its file is removed; a killed run leaves a
/// file in `partial`, which cleanup removes.
pub struct NewObject<'a> {
    pool: &'a Pool,
    file: BufWriter<tempfile::NamedTempFile>,
    hasher: Hasher,
    length: u64,
}

impl Pool {
    /// Stores bytes that are already in memory (roots, keys).
    pub fn add(&self, locks: &Locks, bytes: &[u8]) -> io::Result<ObjectRef> {
        if let Some(stored) = self.adopt(ObjectId::of(bytes))? {
            return Ok(stored);
        }
        let mut made = self.create_object(locks)?;
        made.write_all(bytes)?;
        made.finish().map_err(|error| self.explained(error))
    }

    /// Copies an object from another pool; `None` if it is missing or damaged there.
    pub fn add_copy(
        &self,
        locks: &Locks,
        root: &Path,
        object: ObjectId,
    ) -> io::Result<Option<ObjectRef>> {
        self.add_file(locks, &object_path(root, object), object)
    }

    /// Copies a file that may have the bytes of an object; `None` if it does not.
    pub fn add_file(
        &self,
        locks: &Locks,
        path: &Path,
        object: ObjectId,
    ) -> io::Result<Option<ObjectRef>> {
        let Ok(mut file) = regular_file::open(path) else {
            return Ok(None);
        };
        let mut made = self.create_object(locks)?;
        match io::copy(&mut file, &mut made) {
            Ok(_) if made.object() == object => made.finish().map(Some),
            Ok(_) => Ok(None),
            Err(error) if is_damage(&error) => Ok(None),
            Err(error) => Err(regular_file::named(path)(error)),
        }
    }

    /// Creates a file that becomes an object when it is finished. Its temporary name is unique:
    /// other runs may write the same object.
    pub fn create_object(&self, _held: &Locks) -> io::Result<NewObject<'_>> {
        let file = tempfile::Builder::new()
            .prefix(NEW_OBJECT_PREFIX)
            .tempfile_in(self.root.join(PARTIAL))
            .map_err(|error| self.explained(error))?;
        Ok(NewObject {
            pool: self,
            file: BufWriter::with_capacity(BUFFER, file),
            hasher: Hasher::new(Algorithm::Sha256),
            length: 0,
        })
    }
}

impl NewObject<'_> {
    /// The object that the bytes written so far would be.
    pub fn object(&self) -> ObjectId {
        self.hasher.clone().finish().0
    }

    /// Renames the file to its final name. A second copy of an existing object is removed.
    pub fn finish(self) -> io::Result<ObjectRef> {
        let file = self
            .file
            .into_inner()
            .map_err(io::IntoInnerError::into_error)?;
        let (object, _) = self.hasher.finish();
        let stored = ObjectRef {
            object,
            size: self.length,
        };
        let naming = &self.pool.naming;
        let _naming = lock(naming);
        if self.pool.adopt(object)? == Some(stored) {
            return Ok(stored);
        }
        file.as_file()
            .set_permissions(PermissionsExt::from_mode(0o444))?;
        let path = file.into_temp_path();
        self.pool.rename_into_place(&path, object)?;
        // It was renamed.
        let _ = path.keep();
        Ok(stored)
    }
}

impl Write for NewObject<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        self.length += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::ObjectId;
    use crate::lock::{Mode, Requester};

    #[test]
    fn what_is_made_is_stored_once_under_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let pool = Pool::create(&dir.path().join("pool"), "0123").unwrap();
        let locks = Locks::acquire(dir.path(), Mode::Exclusive, &Requester::test()).unwrap();
        for _ in 0..2 {
            let mut made = pool.create_object(&locks).unwrap();
            made.write_all(b"hello ").unwrap();
            made.write_all(b"world").unwrap();
            let stored = made.finish().unwrap();
            assert_eq!(stored.object, ObjectId::of(b"hello world"));
            assert_eq!(stored.size, 11);
            assert_eq!(pool.size_of(stored.object).unwrap(), Some(11));
        }
        drop(pool.create_object(&locks).unwrap());
        assert!(pool.partials().unwrap().is_empty());
    }
}
