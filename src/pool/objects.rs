//! The objects of a pool by name: opened, measured, hashed, compared.

use std::io::{self, BufReader, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use fs_err as fs;
use rustix::io::Errno;

use crate::digest::{Algorithm, Digest, Hasher, ObjectId, ObjectRef};
use crate::kill_points;
use crate::regular_file::{self, named};

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
        if fs::symlink_metadata(&target).is_ok_and(|found| found.is_dir()) {
            self.put_directory_aside(&target, object)?;
        }
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

    /// A directory at the path of an object cannot be replaced by it.
    fn put_directory_aside(&self, directory: &Path, object: ObjectId) -> io::Result<()> {
        let aside = self.root.join(layout::DAMAGED);
        layout::create_dir(&aside)?;
        for number in 1_u32.. {
            let path = aside.join(format!("{}.directory-{number}", object.hex()));
            if fs::symlink_metadata(&path).is_ok() {
                continue;
            }
            fs::rename(directory, &path)?;
            log::warn!(
                "{} is a directory: moved to {}",
                directory.display(),
                path.display()
            );
            break;
        }
        Ok(())
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
        let path = self.found_at(object);
        match self.digests_of(object, Algorithm::Sha256)? {
            Stored::Missing => return Ok(None),
            Stored::Bytes { found, size, .. } if found == object => {
                return Ok(Some(ObjectRef { object, size }));
            }
            Stored::Bytes { found, .. } => log::warn!(
                "{} is damaged (its sha256 is {found}): getting it again",
                path.display()
            ),
            Stored::Unreadable(error) => log::warn!("{error}: getting it again"),
        }
        self.forget_download(object);
        Ok(None)
    }

    /// Another digest of an object; `None` if it does not exist or its content does not match its
    /// name.
    pub fn digest_of(&self, object: ObjectId, algorithm: Algorithm) -> io::Result<Option<Digest>> {
        Ok(match self.digests_of(object, algorithm)? {
            Stored::Bytes { found, also, .. } if found == object => Some(also),
            _ => None,
        })
    }

    /// Whether an object exists and its content matches its name.
    pub fn is_intact(&self, object: ObjectId) -> io::Result<bool> {
        let stored = self.digests_of(object, Algorithm::Sha256)?;
        Ok(matches!(stored, Stored::Bytes { found, .. } if found == object))
    }

    /// Reads the file of an object to its end.
    fn digests_of(&self, object: ObjectId, algorithm: Algorithm) -> io::Result<Stored> {
        if self.size_of(object)?.is_none() {
            return Ok(Stored::Missing);
        }
        let mut hasher = Hasher::new(algorithm);
        let file = match self.open_object(object) {
            // Its mode or owner was changed: it is replaced like any damaged file.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                return Ok(Stored::Unreadable(error));
            }
            opened => opened?,
        };
        match hash(&mut file.file(), &mut hasher) {
            Ok(size) => {
                let (found, also) = hasher.finish();
                Ok(Stored::Bytes { found, also, size })
            }
            Err(error) if is_damage(&error) => Ok(Stored::Unreadable(named(file.path())(error))),
            Err(error) => Err(named(file.path())(error)),
        }
    }

    /// Passes the bytes of an object to `read`. `None` if it does not exist or its content does not
    /// match its name, whatever `read` returns: damaged bytes look like any error of a parser.
    pub fn read_intact<T>(
        &self,
        object: ObjectId,
        read: impl FnOnce(&mut dyn Read) -> T,
    ) -> io::Result<Option<T>> {
        if self.size_of(object)?.is_none() {
            return Ok(None);
        }
        let mut reader = HashingReader::new(self.open_object(object)?);
        let result = read(&mut reader);
        let HashingReader { file, hasher } = &mut reader;
        match hash(&mut file.file(), hasher) {
            Ok(_) => {}
            Err(error) if is_damage(&error) => return Ok(None),
            Err(error) => return Err(named(file.path())(error)),
        }
        Ok((reader.hasher.finish().0 == object).then_some(result))
    }

    /// Copies an object to a new file. Returns the digest of the copied bytes. Fails if the file
    /// exists.
    pub fn copy_object(&self, object: ObjectId, target: &Path) -> io::Result<ObjectId> {
        let mut reader = HashingReader::new(self.open_object(object)?);
        let mut to = fs::File::create_new(target)?;
        io::copy(&mut BufReader::with_capacity(BUFFER, &mut reader), &mut to)?;
        Ok(reader.hasher.finish().0)
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

/// What the file of an object contains.
enum Stored {
    Missing,
    Bytes {
        found: ObjectId,
        /// By the requested algorithm.
        also: Digest,
        /// In bytes.
        size: u64,
    },
    Unreadable(io::Error),
}

/// Hashes what is read from it.
struct HashingReader {
    file: fs::File,
    hasher: Hasher,
}

impl HashingReader {
    fn new(file: fs::File) -> Self {
        Self {
            file,
            hasher: Hasher::new(Algorithm::Sha256),
        }
    }
}

impl Read for HashingReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        self.hasher.update(&buffer[..read]);
        Ok(read)
    }
}

/// Whether the disk cannot return the bytes of a file: file systems with checksums report a flipped
/// bit as an error.
pub fn is_damage(error: &io::Error) -> bool {
    // Errors of `fs_err` have no number: objects are read without it.
    let number = Errno::from_io_error(error);
    matches!(number, Some(Errno::IO | Errno::BADMSG | Errno::UCLEAN))
}

/// Reads to the end and updates the hasher; returns the number of bytes read.
pub fn hash(reader: &mut (impl Read + ?Sized), hasher: &mut Hasher) -> io::Result<u64> {
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
