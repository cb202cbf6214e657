//! Downloads on their way into the pool: claimed, continued, checked, named.

use std::fs::TryLockError;
use std::io::{self, Seek, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::PoisonError;

use fs_err as fs;
use fs_err::os::unix::fs::OpenOptionsExt as _;
use rustix::fs::OFlags;

use super::{DownloadState, PARTIAL, Pool, SLICE, hash, partial_name, partials};
use crate::digest::{Digest, Hasher, ObjectRef};
use crate::interrupt::{Interrupt, Interrupted};
use crate::lock::Locks;

/// What [`Pool::begin`] found.
pub enum Begin<'a> {
    /// Another thread of this process stored it meanwhile.
    Present(ObjectRef),
    Download(Box<Incoming<'a>>),
    /// While another thread was downloading it.
    Interrupted(Interrupted),
}

/// A file on its way into the pool. Dropping it keeps the bytes for a later resume.
pub struct Incoming<'a> {
    pool: &'a Pool,
    expected: Digest,
    /// In `partial`.
    name: String,
    path: PathBuf,
    file: fs::File,
    hasher: Hasher,
    length: u64,
    /// Whether some of it was there before, or came with another answer than the rest.
    is_resumed: bool,
    /// What the server recognises the file by that the bytes are of.
    validator: Option<String>,
}

/// The bytes were not the ones that were expected.
#[derive(Debug)]
pub struct Mismatch {
    pub got: Digest,
    /// In bytes.
    pub length: u64,
}

impl Pool {
    /// Claims a digest that `repository` declares for a download. Waits while another thread or run downloads the same: that may be
    /// of another repository, which goes on when this one is stopped.
    pub fn begin(
        &self,
        _held: &Locks,
        expected: Digest,
        repository: &str,
        interrupt: &Interrupt,
    ) -> io::Result<Begin<'_>> {
        let name = partial_name(expected, repository);
        let mut downloads = self
            .downloads
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        loop {
            match downloads.get(&name) {
                Some(DownloadState::InProgress) => {
                    if let Err(interrupted) = interrupt.check() {
                        return Ok(Begin::Interrupted(interrupted));
                    }
                    let waited = self.released.wait_timeout(downloads, SLICE);
                    downloads = waited.unwrap_or_else(PoisonError::into_inner).0;
                }
                Some(DownloadState::Stored(stored)) => return Ok(Begin::Present(*stored)),
                None => break,
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
            // The run that was downloading it is done, perhaps.
            if let Some(object) = expected.object_id()
                && let Some(stored) = self.adopt(object)?
            {
                return Ok(Begin::Present(stored));
            }
        };
        let incoming = self.incoming(expected, name, path, file)?;
        Ok(Begin::Download(Box::new(incoming)))
    }

    /// The partial file, locked; `None` while another run has it.
    fn lock_partial(&self, path: &Path) -> io::Result<Option<fs::File>> {
        let file = fs::OpenOptions::new()
            .create(true)
            .read(true)
            .write(true)
            .truncate(false)
            // A link would never name the file that is locked.
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
            // A file system without locks: the digest decides in the end.
            Ok(()) | Err(TryLockError::Error(_)) => {}
        }
        // The run that had it may have given it its name meanwhile, or thrown it away.
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
        // What an interrupted run left counts only for what it hashes to.
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

    fn release(&self, name: &str, stored: Option<ObjectRef>) {
        let mut downloads = self
            .downloads
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        match stored {
            Some(stored) => downloads.insert(name.to_owned(), DownloadState::Stored(stored)),
            None => downloads.remove(name),
        };
        self.released.notify_all();
    }
}

impl Incoming<'_> {
    /// Bytes that are there already, from an interrupted download.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Forgets what is there.
    pub fn restart(&mut self) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.rewind()?;
        self.hasher = Hasher::new(self.expected.algorithm());
        self.length = 0;
        self.is_resumed = false;
        self.validator = None;
        Ok(())
    }

    /// What comes next continues what is there.
    pub fn resume(&mut self) {
        self.is_resumed = true;
    }

    pub fn is_resumed(&self) -> bool {
        self.is_resumed
    }

    /// For `If-Range`, while there is something to continue.
    pub fn validator(&self) -> Option<&str> {
        self.validator.as_deref().filter(|_| self.length > 0)
    }

    pub fn set_validator(&mut self, validator: Option<&str>) {
        self.validator = validator.map(str::to_owned);
    }

    /// Whether what is there so far is what was expected.
    pub fn is_expected(&self) -> bool {
        self.hasher.clone().finish().1 == self.expected
    }

    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.hasher.update(bytes);
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// Checks the digest and gives the file its final name. Wrong bytes are thrown away, and so is a second copy of what
    /// the pool has: published trees link to the first one.
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
        let is_stored = self.pool.size_of(object)? == Some(self.length)
            && self.pool.rehash(object)?.0 == object;
        if is_stored {
            fs::remove_file(&self.path)?;
        } else {
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
            // Nothing to resume; a leftover empty file would only be clutter. After a commit the name is gone anyway.
            let _ = std::fs::remove_file(&self.path);
        }
        // Only now: what is written for each download costs all of them. A run that is killed leaves none, and what it left is
        // continued without.
        if let Some(validator) = self.validator() {
            partials::keep_validator(&self.file, validator);
        }
        let mut downloads = self
            .pool
            .downloads
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if matches!(downloads.get(&self.name), Some(DownloadState::InProgress)) {
            downloads.remove(&self.name);
        }
        self.pool.released.notify_all();
    }
}
