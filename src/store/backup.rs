//! A backup of the store next to it, made before a migration: `chantal.redb.schema-1.bak`.
//!
//! - It is renamed to its final name only after it is complete and durable.
//! - A backup is never overwritten. One with the same content as the store is reused (a run was
//!   killed between backup and migration); otherwise the next number is used:
//!   `chantal.redb.schema-1.2.bak`.
//! - Only a run that made a backup and then changed nothing removes it; all others are left to the
//!   administrator.

use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use fs_err as fs;

use super::database::Store;
use super::error::StoreError;
use crate::lock::Locks;
use crate::regular_file;

pub struct Backup {
    pub path: PathBuf,
    is_new: bool,
}

impl Backup {
    /// Removes a backup that is not needed, unless it existed before this run.
    pub fn discard(self) {
        if self.is_new
            && let Err(error) = fs::remove_file(&self.path)
        {
            log::warn!("{error}");
        }
    }
}

/// Copies the store, which must not be written at the same time.
pub fn make(store: &Store, locks: &Locks, version: u32) -> Result<Backup, StoreError> {
    locks.check()?;
    let path = store.path();
    let mut number = 1;
    let copy = loop {
        let candidate = name(path, version, number);
        if !candidate.try_exists()? {
            break candidate;
        }
        if are_equal(path, &candidate)? {
            return Ok(Backup {
                path: candidate,
                is_new: false,
            });
        }
        number += 1;
    };
    let directory = path.parent().unwrap_or(Path::new("/"));
    let unfinished = with_ending(&copy, ".new");
    // The file of a killed run is overwritten, so its space counts as free.
    match fs::remove_file(&unfinished) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        removed => removed?,
    }
    let needed = store.size()?;
    let free = free_bytes(directory)?;
    if needed > free {
        return Err(StoreError::NoRoom {
            path: path.to_owned(),
            needed,
            free,
        });
    }
    let copied = fs::copy(path, &unfinished)
        .and_then(|_| fs::File::open(&unfinished)?.sync_all())
        .and_then(|()| fs::rename(&unfinished, &copy))
        .and_then(|()| fs::File::open(directory)?.sync_all());
    copied.inspect_err(|_| drop(fs::remove_file(&unfinished)))?;
    Ok(Backup {
        path: copy,
        is_new: true,
    })
}

fn name(store: &Path, version: u32, number: u32) -> PathBuf {
    match number {
        1 => with_ending(store, &format!(".schema-{version}.bak")),
        _ => with_ending(store, &format!(".schema-{version}.{number}.bak")),
    }
}

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

fn are_equal(one: &Path, other: &Path) -> io::Result<bool> {
    if !fs::metadata(other)?.is_file() {
        return Ok(false);
    }
    let (one, other) = (fs::File::open(one)?, fs::File::open(other)?);
    if one.metadata()?.len() != other.metadata()?.len() {
        return Ok(false);
    }
    let (mut one, mut other) = (BufReader::new(one), BufReader::new(other));
    loop {
        let (left, right) = (one.fill_buf()?, other.fill_buf()?);
        let length = left.len().min(right.len());
        if left[..length] != right[..length] {
            return Ok(false);
        }
        if length == 0 {
            return Ok(left.len() == right.len());
        }
        one.consume(length);
        other.consume(length);
    }
}

/// Free bytes for unprivileged users.
fn free_bytes(directory: &Path) -> io::Result<u64> {
    let stat = rustix::fs::statvfs(directory);
    let stat = stat.map_err(|error| regular_file::named(directory)(error.into()))?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}
