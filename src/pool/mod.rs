//! The pool: every object of a storage once, named by its SHA-256.
//!
//! ```text
//! {pool}/CHANTAL-POOL          marker: layout version, pool id (also in the store), owner
//! {pool}/sha256/ab/<64 hex>    objects, mode 0444
//! {pool}/partial/              running and interrupted downloads, named by their expected digest
//!                              (weak digests with the name of the repository), and new indexes
//!                              while they are written
//! ```
//!
//! What this module guarantees:
//! - A file under `sha256/` is complete: it was renamed there after the digest of the written bytes
//!   was computed. Nothing is written under its final name.
//! - An object is durable only after [`Pool::flush`], and the store must not refer to it before. An
//!   object that the store does not know may be damaged by a power failure and is hashed again
//!   ([`Pool::adopt`]).
//! - A weak digest is valid only within the repository that declared it: other repositories neither
//!   wait for its download nor resume it.
//! - If the disk of a pool is unmounted while it is used, nothing is created at its path: no
//!   directory above `sha256/ab` is ever created, and the error is [`place::PoolUnmounted`].
//! - One download per digest at a time: threads of a process wait for each other, runs by a lock on
//!   the partial file.
//! - Functions that change the pool require the locks of the run ([`crate::lock::Locks`]); only a
//!   run that holds the storage lock exclusively removes objects.

mod contents;
mod incoming;
mod marker;
mod new_object;
mod partials;
mod place;

use std::collections::HashMap;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex};
use std::time::Duration;

use fs_err as fs;

use crate::digest::{Algorithm, Digest, Hasher, ObjectId, ObjectRef};
use crate::names::RepoId;
use crate::regular_file;

pub use contents::SMALL_MAX;
pub use incoming::{Begin, Incoming};
pub use marker::{Marker, Owner};
pub use partials::{Held, Partial, PartialKind};
pub use place::{PoolError, exit_of_io};

const OBJECTS: &str = "sha256";
const PARTIAL: &str = "partial";
/// Buffer size for hashing and copying.
pub const BUFFER: usize = 128 * 1024;
/// How often a thread that waits for another one checks for an interruption.
const SLICE: Duration = Duration::from_millis(100);

pub struct Pool {
    root: PathBuf,
    /// Refers to the file system of the pool, even after that was unmounted.
    handle: fs::File,
    marker: Mutex<Marker>,
    /// By file name in `partial`.
    downloads: Mutex<HashMap<String, DownloadState>>,
    /// Held while a new object is renamed to its final name.
    naming: Mutex<()>,
    released: Condvar,
    /// Another pool, read-only, whose objects are visible here too.
    lower: Option<Box<Pool>>,
}

/// The state of a download in this process.
#[derive(Clone, Copy)]
enum DownloadState {
    /// A thread is downloading it.
    InProgress,
    Stored(ObjectRef),
}

impl Pool {
    /// Renames a complete file to its final name. Only the last directory of the path is created,
    /// so that nothing is created if the pool is not mounted.
    fn rename_into_place(&self, file: &Path, object: ObjectId) -> io::Result<()> {
        let target = self.object_path(object);
        match fs::rename(file, &target) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            renamed => return renamed,
        }
        // The first object in this directory.
        if let Some(directory) = target.parent() {
            create_dir(directory).map_err(|error| self.explained(error))?;
        }
        fs::rename(file, &target).map_err(|error| self.explained(error))
    }

    /// This pool, with the objects of another one visible in it: new objects are written here.
    #[must_use]
    pub fn overlaid_on(self, lower: Self) -> Self {
        Self {
            lower: Some(Box::new(lower)),
            ..self
        }
    }

    /// The real pool below a scratch pool.
    pub fn lowest(&self) -> &Self {
        self.lower.as_deref().map_or(self, Self::lowest)
    }

    pub fn root(&self) -> &Path {
        &self.root
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
        object_path(&self.root, object)
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
    fn rehash(&self, object: ObjectId) -> io::Result<(ObjectId, u64)> {
        let mut hasher = Hasher::new(object.digest().algorithm());
        let size = hash(&mut self.open_object(object)?, &mut hasher)?;
        Ok((hasher.finish().0, size))
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

    /// Makes all objects stored so far durable, with one `syncfs` instead of an fsync per file.
    pub fn flush(&self) -> io::Result<()> {
        // Not by path: another file system may be mounted there by now.
        let synced = rustix::fs::syncfs(self.handle.file());
        synced.map_err(|error| regular_file::named(&self.root)(error.into()))?;
        self.check()
    }

    /// Free bytes for unprivileged users on the file system of the pool.
    pub fn free_bytes(&self) -> io::Result<u64> {
        let stat = rustix::fs::fstatvfs(self.handle.file());
        let stat = stat.map_err(|error| regular_file::named(&self.root)(error.into()))?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }
}

/// The path of an object in the pool at `root`.
fn object_path(root: &Path, object: ObjectId) -> PathBuf {
    let hex = object.hex();
    let mut path = root.join(OBJECTS);
    path.push(&hex[..2]);
    path.push(hex);
    path
}

fn create_dir(path: &Path) -> io::Result<()> {
    match fs::create_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

/// The file name of a download in `partial`.
fn partial_name(expected: Digest, repository: &RepoId) -> String {
    let algorithm = expected.algorithm();
    let name = format!("{}-{}", algorithm.name(), expected.hex());
    if algorithm.is_collision_resistant() {
        name
    } else {
        format!("{name}-{repository}")
    }
}

/// Reads to the end and updates the hasher; returns the number of bytes read.
fn hash(reader: &mut impl Read, hasher: &mut Hasher) -> io::Result<u64> {
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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::digest::Algorithm;
    use crate::interrupt::Interrupt;
    use crate::lock::{Locks, Mode, Requester};

    const ID: &str = "0123";

    fn pool() -> (tempfile::TempDir, Pool) {
        let dir = tempfile::tempdir().unwrap();
        let pool = Pool::create(&dir.path().join("pool"), ID).unwrap();
        (dir, pool)
    }

    fn locks() -> Locks {
        let dir = tempfile::tempdir().unwrap();
        Locks::acquire(dir.path(), Mode::Exclusive, &Requester::test()).unwrap()
    }

    fn incoming(pool: &Pool, expected: Digest) -> Box<Incoming<'_>> {
        match pool
            .begin(
                &locks(),
                expected,
                &RepoId::test("r"),
                &Interrupt::default(),
            )
            .unwrap()
        {
            Begin::Download(incoming) => incoming,
            Begin::Present(stored) => panic!("already there: {stored:?}"),
            Begin::Interrupted(_) => unreachable!("nobody interrupts it"),
        }
    }

    #[test]
    fn an_object_appears_whole_and_read_only() {
        let (_dir, pool) = pool();
        let stored = pool.add(&locks(), b"hello").unwrap();
        let path = pool.object_path(stored.object);
        assert_eq!(fs::read(&path).unwrap(), b"hello");
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o444);
        assert_eq!(pool.size_of(stored.object).unwrap(), Some(5));
        assert_eq!(
            fs::read_dir(pool.root().join("partial")).unwrap().count(),
            0
        );
    }

    #[test]
    fn an_interrupted_download_goes_on() {
        let (_dir, pool) = pool();
        let expected = ObjectId::of(b"hello").digest();
        let mut first = incoming(&pool, expected);
        first.write(b"hel").unwrap();
        drop(first);

        let mut second = incoming(&pool, expected);
        assert_eq!(second.length(), 3);
        second.write(b"lo").unwrap();
        assert_eq!(second.commit().unwrap().unwrap().size, 5);
        assert!(matches!(
            pool.begin(
                &locks(),
                expected,
                &RepoId::test("r"),
                &Interrupt::default()
            )
            .unwrap(),
            Begin::Present(_)
        ));
    }

    #[test]
    fn an_interruption_ends_the_wait_for_another_thread() {
        let (_dir, pool) = pool();
        let expected = ObjectId::of(b"hello").digest();
        let first = incoming(&pool, expected);
        let interrupt = Interrupt::default().part();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| {
                let begun = pool
                    .begin(&locks(), expected, &RepoId::test("r"), &interrupt)
                    .unwrap();
                matches!(begun, Begin::Interrupted(_))
            });
            std::thread::sleep(Duration::from_millis(20));
            interrupt.stop_part();
            assert!(waiting.join().unwrap());
        });
        drop(first);
    }

    #[test]
    fn a_second_copy_does_not_replace_a_good_first_one() {
        let (_dir, pool) = pool();
        let stored = pool.add(&locks(), b"hello").unwrap();
        let path = pool.object_path(stored.object);
        let inode = || fs::metadata(&path).unwrap().ino();
        let first = inode();
        let again = |digest: Digest| {
            let pool = Pool::open(pool.root(), ID).unwrap();
            let mut file = incoming(&pool, digest);
            file.write(b"hello").unwrap();
            assert_eq!(file.commit().unwrap().unwrap(), stored);
        };
        let mut hasher = Hasher::new(Algorithm::Sha512);
        hasher.update(b"hello");
        let sha512 = hasher.finish().1;
        for digest in [stored.object.digest(), sha512] {
            again(digest);
            assert_eq!(inode(), first);
        }
        fs::remove_file(&path).unwrap();
        fs::write(&path, b"hellO").unwrap();
        again(sha512);
        assert_eq!(fs::read(&path).unwrap(), b"hello");
        assert_eq!(
            fs::read_dir(pool.root().join("partial")).unwrap().count(),
            0
        );
    }

    #[test]
    fn wrong_bytes_get_no_name() {
        let (_dir, pool) = pool();
        let expected = Digest::parse(Algorithm::Sha512, &"0".repeat(128)).unwrap();
        let mut file = incoming(&pool, expected);
        file.write(b"hello").unwrap();
        let mismatch = file.commit().unwrap().unwrap_err();
        assert_eq!(
            (mismatch.length, mismatch.got.algorithm()),
            (5, Algorithm::Sha512)
        );
        assert_eq!(
            fs::read_dir(pool.root().join("partial")).unwrap().count(),
            0
        );
        assert_eq!(fs::read_dir(pool.root().join("sha256")).unwrap().count(), 0);
    }

    #[test]
    fn a_damaged_object_is_not_adopted() {
        let (_dir, pool) = pool();
        let stored = pool.add(&locks(), b"hello").unwrap();
        assert_eq!(pool.adopt(stored.object).unwrap(), Some(stored));
        let path = pool.object_path(stored.object);
        fs::remove_file(&path).unwrap();
        fs::write(&path, b"hellO").unwrap();
        assert_eq!(pool.adopt(stored.object).unwrap(), None);
        assert_eq!(pool.adopt(ObjectId::of(b"absent")).unwrap(), None);
    }

    #[test]
    fn empty_directories_that_a_backup_dropped_come_back() {
        let (_dir, pool) = pool();
        fs::remove_dir(pool.root().join("partial")).unwrap();
        let pool = Pool::open(pool.root(), ID).unwrap();
        pool.add(&locks(), b"hello").unwrap();
    }

    #[test]
    fn a_foreign_or_absent_pool_is_refused() {
        let (dir, pool) = pool();
        assert!(matches!(
            Pool::open(pool.root(), "other"),
            Err(PoolError::Foreign { .. })
        ));
        assert!(matches!(
            Pool::open(&dir.path().join("nowhere"), ID),
            Err(PoolError::Absent { .. })
        ));
        fs::write(dir.path().join("family-photo.jpg"), b"").unwrap();
        assert!(matches!(
            Pool::create(dir.path(), ID),
            Err(PoolError::Occupied { .. })
        ));
    }
}
