//! One lock file.
//!
//! - An advisory lock: the kernel frees it with its holder, however that one ends. The text of a file that one run holds alone says
//!   who holds it.
//! - A lock counts only while its path names the locked file. A file that was removed or replaced lets another run in: before
//!   anything is deleted or committed the holder looks ([`LockFile::check`]).

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use rustix::io::Errno;

use super::{Holder, LockError};
use crate::regular_file::is_absent;

/// With whom a lock is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// With others that share it.
    Shared,
    /// Alone.
    Exclusive,
}

/// A lock that is held.
#[derive(Debug)]
pub struct LockFile {
    path: PathBuf,
    /// Closing it frees the lock.
    file: File,
}

/// What an attempt to take a lock found.
pub enum Attempt {
    Taken(LockFile),
    /// Who wrote the file's text, as far as that run is alive.
    Busy(Option<Holder>),
}

/// What a look at a lock found.
pub enum Probe {
    Free,
    /// Who wrote the file's text, as far as that run is alive.
    Held(Option<Holder>),
}

impl LockFile {
    /// Takes the lock if it is free. The file is made where it is not there.
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
                // Its former holder moved or removed it after it was opened here.
                Err(LockError::Lost { .. }) => {}
                checked => return checked.map(|()| Attempt::Taken(lock)),
            }
        }
    }

    /// Looks who holds the lock, without making the file.
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

    /// Whether the lock's path still names the locked file.
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

    /// The directory that holds the file was renamed.
    pub fn moved_to(&mut self, path: PathBuf) {
        self.path = path;
    }

    /// Writes who holds it. Where there is no room for that, others are not told.
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

    /// Frees the lock and removes its file.
    pub fn remove(self) {
        // While it is held: what is removed is the file that was locked.
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
    // A pipe that was put there must not make the run wait. Nor may the path be a link: it would never
    // name the file that is locked.
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

/// The text of a run that ended is not the holder's.
fn living_holder(mut file: &File) -> Option<Holder> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.read_to_string(&mut text).ok()?;
    let holder: Holder = serde_json::from_str(&text).ok()?;
    let is_alive = Path::new(&format!("/proc/{}", holder.pid)).exists();
    is_alive.then_some(holder)
}
