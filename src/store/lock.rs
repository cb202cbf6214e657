//! The writers' lock: one command at a time changes a storage.
//!
//! An advisory lock on a file: the kernel frees it with its holder, however that one ends. The file's text says who holds it.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

const NAME: &str = "chantal.lock";

/// Whoever has one may change the storage.
#[derive(Debug)]
pub struct WriterLock {
    // Held, not read: closing the file frees the lock.
    _file: File,
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
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: io::Error },
}

impl WriterLock {
    /// Takes the lock, or says at once who has it.
    pub fn acquire(base_path: &Path, command: &str) -> Result<Self, LockError> {
        let path = base_path.join(NAME);
        let explained = |source| LockError::Io {
            path: path.clone(),
            source,
        };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(explained)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                let holder = file
                    .read_to_string(&mut text)
                    .ok()
                    .and_then(|_| serde_json::from_str(&text).ok());
                return Err(LockError::Busy {
                    base_path: base_path.to_owned(),
                    holder,
                });
            }
            Err(TryLockError::Error(error)) => return Err(explained(error)),
        }
        let holder = Holder {
            pid: std::process::id(),
            command: command.to_owned(),
            since: crate::time::now(),
        };
        let text = serde_json::to_string(&holder).expect("a holder has only plain fields");
        file.set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| file.write_all(text.as_bytes()))
            .map_err(explained)?;
        Ok(Self { _file: file })
    }
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
}
