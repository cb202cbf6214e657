//! The writers' lock: one command at a time changes a storage.
//!
//! - An advisory lock on a file: the kernel frees it with its holder, however that one ends. The file's text says who holds it.
//! - A lock counts only while its path names the locked file. A file that was removed or replaced lets a second writer in:
//!   before anything is deleted or committed the holder looks ([`WriterLock::check`]).

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::exit::Exit;
use crate::pool::exit_of_io;
use crate::regular_file::is_absent;

const NAME: &str = "chantal.lock";

/// Between taking the lock and saying so a holder needs less than that.
const SILENCE_MAX: Duration = Duration::from_millis(500);
const PAUSE: Duration = Duration::from_millis(5);

/// Its holder alone may change the storage.
#[derive(Debug)]
pub struct WriterLock {
    path: PathBuf,
    /// Closing it frees the lock.
    file: File,
}

/// Who holds a lock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    pub pid: u32,
    /// The command, as `repo sync`.
    pub command: String,
    /// Seconds since the epoch.
    pub since: i64,
}

#[derive(Debug, thiserror::Error)]
pub enum LockError {
    #[error("another run is changing {base_path}: {}", describe(holder.as_ref()))]
    Busy {
        base_path: PathBuf,
        holder: Option<Holder>,
    },
    /// Another run may hold a lock of its own by now.
    #[error(
        "the lock file {path} was removed or replaced while this run held it: nothing more was changed"
    )]
    Lost { path: PathBuf },
    #[error("{path} is not a regular file")]
    NotAFile { path: PathBuf },
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: io::Error },
}

impl LockError {
    pub fn exit(&self) -> Exit {
        match self {
            Self::Busy { .. } => Exit::Busy,
            // Waiting does not help: the file was replaced, or the whole storage.
            Self::Lost { .. } | Self::NotAFile { .. } => Exit::Damaged,
            Self::Io { source, .. } => exit_of_io(source),
        }
    }
}

impl WriterLock {
    /// Takes the lock of a storage, or says at once who has it.
    pub fn acquire(base_path: &Path, command: &str) -> Result<Self, LockError> {
        Self::acquire_in(base_path, base_path, command)
    }

    /// Takes the lock of a storage that is being made in `directory`, and will be at `base_path`.
    pub fn acquire_in(
        directory: &Path,
        base_path: &Path,
        command: &str,
    ) -> Result<Self, LockError> {
        let path = directory.join(NAME);
        loop {
            let mut options = OpenOptions::new();
            options.create(true).truncate(false);
            let file = open(&path, &mut options)?;
            take(&path, &file, base_path)?;
            let mut lock = Self {
                path: path.clone(),
                file,
            };
            match lock.check() {
                // Its former holder moved or removed it after it was opened here.
                Err(LockError::Lost { .. }) => continue,
                checked => checked?,
            }
            lock.sign(command)
                .map_err(|source| LockError::Io { path, source })?;
            return Ok(lock);
        }
    }

    /// Says who holds the lock in `directory`, if a run does.
    pub fn probe(directory: &Path, base_path: &Path) -> Result<(), LockError> {
        let path = directory.join(NAME);
        match open(&path, &mut OpenOptions::new()) {
            Err(LockError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(()),
            file => take(&path, &file?, base_path),
        }
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

    /// The directory that holds the lock file was renamed.
    pub fn moved_to(&mut self, base_path: &Path) {
        self.path = base_path.join(NAME);
    }

    fn sign(&mut self, command: &str) -> io::Result<()> {
        let holder = Holder {
            pid: std::process::id(),
            command: command.to_owned(),
            since: crate::time::now(),
        };
        let text = serde_json::to_string(&holder).expect("a holder has only plain fields");
        self.file.set_len(0)?;
        self.file.rewind()?;
        self.file.write_all(text.as_bytes())
    }
}

fn open(path: &Path, options: &mut OpenOptions) -> Result<File, LockError> {
    let explained = |source| LockError::Io {
        path: path.to_owned(),
        source,
    };
    let file = options
        .read(true)
        .write(true)
        // A pipe that was put there must not make the run wait.
        .custom_flags(rustix::fs::OFlags::NONBLOCK.bits().cast_signed())
        .open(path)
        .map_err(explained)?;
    if !file.metadata().map_err(explained)?.is_file() {
        return Err(LockError::NotAFile {
            path: path.to_owned(),
        });
    }
    Ok(file)
}

/// Locks the file. Where another run holds it, its name is waited for: it writes that right after locking.
fn take(path: &Path, file: &File, base_path: &Path) -> Result<(), LockError> {
    let mut waited = Duration::ZERO;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(source)) => {
                return Err(LockError::Io {
                    path: path.to_owned(),
                    source,
                });
            }
        }
        let holder = holder(file);
        // The text of a run that ended is not the holder's.
        let is_alive = holder
            .as_ref()
            .is_some_and(|holder| Path::new(&format!("/proc/{}", holder.pid)).exists());
        if is_alive || waited >= SILENCE_MAX {
            return Err(LockError::Busy {
                base_path: base_path.to_owned(),
                holder,
            });
        }
        sleep(PAUSE);
        waited += PAUSE;
    }
}

fn holder(mut file: &File) -> Option<Holder> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.read_to_string(&mut text).ok()?;
    serde_json::from_str(&text).ok()
}

fn describe(holder: Option<&Holder>) -> String {
    match holder {
        Some(holder) => {
            format!(
                "`{}`, process {}, since {}",
                holder.command,
                holder.pid,
                crate::time::rfc3339(holder.since)
            )
        }
        None => "it did not say what it does".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_one_learns_who_the_first_is() {
        let dir = tempfile::tempdir().unwrap();
        let first = WriterLock::acquire(dir.path(), "repo sync").unwrap();
        let error = WriterLock::acquire(dir.path(), "publish").unwrap_err();
        let LockError::Busy { holder, .. } = &error else {
            panic!("{error}");
        };
        assert_eq!(holder.as_ref().unwrap().command, "repo sync");
        assert!(error.to_string().contains(&std::process::id().to_string()));
        drop(first);
        WriterLock::acquire(dir.path(), "publish").unwrap();
    }

    #[test]
    fn a_lock_file_that_was_removed_or_replaced_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(NAME);
        let lock = WriterLock::acquire(dir.path(), "repo sync").unwrap();
        lock.check().unwrap();
        let lost = |lock: &WriterLock| matches!(lock.check(), Err(LockError::Lost { .. }));
        std::fs::remove_file(&path).unwrap();
        assert!(lost(&lock));
        let second = WriterLock::acquire(dir.path(), "db cleanup").unwrap();
        assert!(lost(&lock));
        second.check().unwrap();
    }

    #[test]
    fn what_a_dead_holder_wrote_is_not_taken_for_the_next_ones() {
        let dir = tempfile::tempdir().unwrap();
        let dead = r#"{"pid":4194305,"command":"publish","since":0}"#;
        let first = WriterLock::acquire(dir.path(), "repo sync").unwrap();
        std::fs::write(dir.path().join(NAME), dead).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                sleep(PAUSE);
                (&first.file).rewind().unwrap();
                std::fs::write(
                    dir.path().join(NAME),
                    format!(
                        r#"{{"pid":{},"command":"repo sync","since":0}}"#,
                        std::process::id()
                    ),
                )
                .unwrap();
            });
            let error = WriterLock::acquire(dir.path(), "publish").unwrap_err();
            assert!(error.to_string().contains("`repo sync`"), "{error}");
        });
    }

    #[test]
    fn a_pipe_is_no_lock() {
        let dir = tempfile::tempdir().unwrap();
        let made = std::process::Command::new("mkfifo")
            .arg(dir.path().join(NAME))
            .status();
        assert!(made.unwrap().success());
        let error = WriterLock::acquire(dir.path(), "publish").unwrap_err();
        assert!(matches!(error, LockError::NotAFile { .. }), "{error}");
    }
}
