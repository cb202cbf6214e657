//! One lock file.
//!
//! - An advisory lock: the kernel releases it when its holder ends, for whatever reason. A file
//!   that is locked exclusively contains the name of its holder.
//! - A lock is valid only while its path refers to the locked file. If the file was removed or
//!   replaced, another run can take the lock, so the holder checks before it deletes or commits
//!   anything ([`LockFile::check`]).

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::regular_file::is_absent;

use super::error::{Holder, LockError};

/// How a lock is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Together with other runs.
    Shared,
    /// By one run only.
    Exclusive,
}

/// A lock that is held.
#[derive(Debug)]
pub struct LockFile {
    path: PathBuf,
    /// Closing it releases the lock.
    file: File,
}

/// The result of an attempt to take a lock.
pub enum Attempt {
    Taken(LockFile),
    /// The holder that the file names, if that process still exists.
    Busy(Option<Holder>),
}

/// The state of a lock.
pub enum Probe {
    Free,
    /// The holder that the file names, if that process still exists.
    Held(Option<Holder>),
}

impl LockFile {
    /// Takes the lock if it is free. Creates the file if it does not exist.
    pub fn attempt(path: &Path, mode: Mode) -> Result<Attempt, LockError> {
        loop {
            let mut options = OpenOptions::new();
            options.create(true).truncate(false);
            let file = open(path, &mut options)?;
            if !try_lock(path, &file, mode)? {
                return Ok(Attempt::Busy(living_holder(&file)));
            }
            let lock = Self {
                path: path.to_owned(),
                file,
            };
            match lock.check() {
                // Its previous holder moved or removed it after it was opened here.
                Err(LockError::Lost { .. }) => {}
                checked => return checked.map(|()| Attempt::Taken(lock)),
            }
        }
    }

    /// Returns who holds the lock, without creating the file.
    pub fn probe(path: &Path, mode: Mode) -> Result<Probe, LockError> {
        let file = match open(path, &mut OpenOptions::new()) {
            Err(LockError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                return Ok(Probe::Free);
            }
            file => file?,
        };
        Ok(if try_lock(path, &file, mode)? {
            Probe::Free
        } else {
            Probe::Held(living_holder(&file))
        })
    }

    /// Checks that the path still refers to the locked file.
    pub fn check(&self) -> Result<(), LockError> {
        let explained = |source| LockError::Io {
            path: self.path.clone(),
            source,
        };
        let held = self.file.metadata().map_err(explained)?;
        match std::fs::symlink_metadata(&self.path) {
            Ok(there) if (there.dev(), there.ino()) == (held.dev(), held.ino()) => Ok(()),
            Err(error) if !is_absent(&error) => Err(explained(error)),
            _ => Err(LockError::Lost {
                path: self.path.clone(),
            }),
        }
    }

    /// Updates the path after the directory was renamed.
    pub fn moved_to(&mut self, path: PathBuf) {
        self.path = path;
    }

    /// Writes the holder into the file. If the disk is full, other runs cannot see who holds the
    /// lock.
    pub fn sign(&mut self, holder: &Holder) {
        let text = serde_json::to_string(holder).expect("a holder has only plain fields");
        let mut write = || {
            self.file.set_len(0)?;
            self.file.rewind()?;
            self.file.write_all(text.as_bytes())
        };
        if let Err(error) = write() {
            log::debug!("{}: {error}", self.path.display());
        }
    }

    /// Releases the lock and removes its file.
    pub fn remove(self) {
        // Removed while the lock is held, so that it is the locked file.
        if self.check().is_ok() {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn open(path: &Path, options: &mut OpenOptions) -> Result<File, LockError> {
    let explained = |source| LockError::Io {
        path: path.to_owned(),
        source,
    };
    let not_a_file = || LockError::NotAFile {
        path: path.to_owned(),
    };
    // A pipe at this path must not block the run. A symbolic link is refused: the path would never
    // refer to the locked file.
    let flags = OFlags::NONBLOCK | OFlags::NOFOLLOW;
    let opened = options
        .read(true)
        .write(true)
        .custom_flags(flags.bits().cast_signed())
        .open(path);
    let file = match opened {
        Err(error)
            if [Errno::LOOP, Errno::ISDIR]
                .iter()
                .any(|errno| error.raw_os_error() == Some(errno.raw_os_error())) =>
        {
            return Err(not_a_file());
        }
        opened => opened.map_err(explained)?,
    };
    if !file.metadata().map_err(explained)?.is_file() {
        return Err(not_a_file());
    }
    Ok(file)
}

fn try_lock(path: &Path, file: &File, mode: Mode) -> Result<bool, LockError> {
    let locked = match mode {
        Mode::Shared => file.try_lock_shared(),
        Mode::Exclusive => file.try_lock(),
    };
    match locked {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(source)) => Err(LockError::Io {
            path: path.to_owned(),
            source,
        }),
    }
}

/// A file may still name a run that has ended.
fn living_holder(mut file: &File) -> Option<Holder> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.read_to_string(&mut text).ok()?;
    let holder: Holder = serde_json::from_str(&text).ok()?;
    let is_alive = Path::new(&format!("/proc/{}", holder.pid)).exists();
    is_alive.then_some(holder)
}
