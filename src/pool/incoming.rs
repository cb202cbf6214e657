//! Downloads into the pool: reserved, resumed, verified, renamed to their final name.

use std::fs::TryLockError;
use std::io::{self, Seek, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::PoisonError;
use std::time::Duration;

use fs_err as fs;
use fs_err::os::unix::fs::OpenOptionsExt as _;
use rustix::fs::OFlags;

use crate::digest::{Digest, Hasher, ObjectId, ObjectRef};
use crate::interrupt::{Interrupt, Interrupted};
use crate::lock::Locks;
use crate::names::RepoId;
use crate::threads::lock;

use super::layout::{PARTIAL, partial_name};
use super::objects::hash;
use super::partials;
use super::place::{DownloadState, Pool};

/// How often a thread that waits for another one checks for an interruption.
const SLICE: Duration = Duration::from_millis(100);

/// The result of [`Pool::begin`].
pub enum Begin<'a> {
    /// Another thread of this process has stored it.
    Present(ObjectRef),
    Download(Box<Incoming<'a>>),
    /// While another thread was downloading it.
    Interrupted(Interrupted),
}

/// A file that is being downloaded into the pool. If it is dropped, its bytes are kept to be
/// resumed later.
pub struct Incoming<'a> {
    pool: &'a Pool,
    expected: Digest,
    /// In `partial`.
    name: String,
    path: PathBuf,
    file: fs::File,
    hasher: Hasher,
    length: u64,
    /// Whether the bytes come from more than one response.
    is_resumed: bool,
    /// The validator that the server sent with these bytes.
    validator: Option<String>,
}

/// The digest of the received bytes is not the expected one.
#[derive(Debug)]
pub struct Mismatch {
    pub got: Digest,
    /// In bytes.
    pub length: u64,
}

impl Pool {
    /// Reserves the download of a digest that `repository` declares. Waits while another thread or
    /// run downloads the same file, which may be for another repository and continues if this one
    /// is stopped.
    pub fn begin(
        &self,
        _held: &Locks,
        expected: Digest,
        repository: &RepoId,
        interrupt: &Interrupt,
    ) -> io::Result<Begin<'_>> {
        let name = partial_name(expected, repository);
        let mut downloads = lock(&self.downloads);
        loop {
            match downloads.get(&name) {
                Some(DownloadState::InProgress) => {
                    if let Err(interrupted) = interrupt.check() {
                        return Ok(Begin::Interrupted(interrupted));
                    }
                    let waited = self.released.wait_timeout(downloads, SLICE);
                    downloads = waited.unwrap_or_else(PoisonError::into_inner).0;
                }
                Some(DownloadState::Stored(stored))
                    if self.size_of(stored.object)? == Some(stored.size) =>
                {
                    return Ok(Begin::Present(*stored));
                }
                // What was stored was lost since then.
                Some(DownloadState::Stored(_)) | None => break,
            }
        }
        downloads.insert(name.clone(), DownloadState::InProgress);
        drop(downloads);
        let begun = self.begin_exclusive(expected, &name, interrupt);
        match &begun {
            Ok(Begin::Download(_)) => {}
            Ok(Begin::Present(stored)) => self.release(&name, Some(*stored)),
            Ok(Begin::Interrupted(_)) | Err(_) => self.release(&name, None),
        }
        begun
    }

    fn begin_exclusive(
        &self,
        expected: Digest,
        name: &str,
        interrupt: &Interrupt,
    ) -> io::Result<Begin<'_>> {
        let path = self.root.join(PARTIAL).join(name);
        let file = loop {
            if let Some(file) = self.lock_partial(&path)? {
                break file;
            }
            if let Err(interrupted) = interrupt.sleep(SLICE) {
                return Ok(Begin::Interrupted(interrupted));
            }
            // The other run may have finished the download.
            if let Some(object) = expected.object_id()
                && let Some(stored) = self.adopt(object)?
            {
                return Ok(Begin::Present(stored));
            }
        };
        let incoming = self.incoming(expected, name, path, file)?;
        Ok(Begin::Download(Box::new(incoming)))
    }

    /// The partial file, locked; `None` while another run holds the lock.
    fn lock_partial(&self, path: &Path) -> io::Result<Option<fs::File>> {
        let file = fs::OpenOptions::new()
            .create(true)
            .read(true)
            .write(true)
            .truncate(false)
            // With a symbolic link, the path would never refer to the locked file.
            .custom_flags((OFlags::NONBLOCK | OFlags::NOFOLLOW).bits().cast_signed())
            .open(path)
            .map_err(|error| self.explained(error))?;
        let held = file.metadata()?;
        if !held.is_file() {
            let why = format!("{} is not a regular file", path.display());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
        match file.file().try_lock() {
            Err(TryLockError::WouldBlock) => return Ok(None),
            // The file system does not support locks: the digest is verified at the end.
            Ok(()) | Err(TryLockError::Error(_)) => {}
        }
        // The previous holder may have renamed or removed it.
        let is_it = fs::symlink_metadata(path)
            .is_ok_and(|there| (there.dev(), there.ino()) == (held.dev(), held.ino()));
        Ok(is_it.then_some(file))
    }

    fn incoming(
        &self,
        expected: Digest,
        name: &str,
        path: PathBuf,
        mut file: fs::File,
    ) -> io::Result<Incoming<'_>> {
        let mut hasher = Hasher::new(expected.algorithm());
        // The bytes of an interrupted run are hashed again.
        let length = hash(&mut file, &mut hasher)?;
        let validator = match length {
            0 => None,
            _ => partials::take_validator(&file),
        };
        Ok(Incoming {
            pool: self,
            expected,
            name: name.to_owned(),
            path,
            file,
            hasher,
            length,
            is_resumed: length > 0,
            validator,
        })
    }

    /// What this process has stored was damaged since then: it is downloaded again.
    pub(super) fn forget_download(&self, object: ObjectId) {
        let is_it = |state: &DownloadState| matches!(state, DownloadState::Stored(stored) if stored.object == object);
        lock(&self.downloads).retain(|_, state| !is_it(state));
    }

    fn release(&self, name: &str, stored: Option<ObjectRef>) {
        let mut downloads = lock(&self.downloads);
        match stored {
            Some(stored) => downloads.insert(name.to_owned(), DownloadState::Stored(stored)),
            None => downloads.remove(name),
        };
        self.released.notify_all();
    }
}

impl Incoming<'_> {
    /// The number of bytes received so far, by this run and earlier ones.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Discards the bytes received so far.
    pub fn restart(&mut self) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.rewind()?;
        self.hasher = Hasher::new(self.expected.algorithm());
        self.length = 0;
        self.is_resumed = false;
        self.validator = None;
        Ok(())
    }

    /// The next bytes continue the existing ones.
    pub fn resume(&mut self) {
        self.is_resumed = true;
    }

    pub fn is_resumed(&self) -> bool {
        self.is_resumed
    }

    /// For `If-Range`, if there is something to resume.
    pub fn validator(&self) -> Option<&str> {
        self.validator.as_deref().filter(|_| self.length > 0)
    }

    pub fn set_validator(&mut self, validator: Option<&str>) {
        self.validator = validator.map(str::to_owned);
    }

    /// Whether the bytes received so far have the expected digest.
    pub fn is_expected(&self) -> bool {
        self.hasher.clone().finish().1 == self.expected
    }

    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.hasher.update(bytes);
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// Verifies the digest and renames the file to its final name. A file with the wrong digest is
    /// removed, and so is a second copy of an existing object: published trees link to the first
    /// one.
    pub fn commit(mut self) -> io::Result<Result<ObjectRef, Mismatch>> {
        self.validator = None;
        let hasher = std::mem::replace(&mut self.hasher, Hasher::new(self.expected.algorithm()));
        let (object, got) = hasher.finish();
        if got != self.expected {
            fs::remove_file(&self.path)?;
            return Ok(Err(Mismatch {
                got,
                length: self.length,
            }));
        }
        self.file
            .file()
            .set_permissions(PermissionsExt::from_mode(0o444))?;
        let is_stored =
            self.pool.size_of(object)? == Some(self.length) && self.pool.is_intact(object)?;
        if is_stored {
            fs::remove_file(&self.path)?;
        } else {
            if self.pool.size_of(object)?.is_some() {
                self.pool.note_replaced(object);
            }
            self.pool.rename_into_place(&self.path, object)?;
        }
        let stored = ObjectRef {
            object,
            size: self.length,
        };
        self.pool.release(&self.name, Some(stored));
        Ok(Ok(stored))
    }
}

impl Drop for Incoming<'_> {
    fn drop(&mut self) {
        if self.length == 0 {
            // There is nothing to resume. After a commit the file has another name.
            let _ = std::fs::remove_file(&self.path);
        }
        // Written only here, to keep downloads fast. A killed run leaves no validator, and its
        // download is resumed without one.
        if let Some(validator) = self.validator() {
            partials::keep_validator(&self.file, validator);
        }
        let mut downloads = lock(&self.pool.downloads);
        if matches!(downloads.get(&self.name), Some(DownloadState::InProgress)) {
            downloads.remove(&self.name);
        }
        self.pool.released.notify_all();
    }
}
