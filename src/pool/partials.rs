//! What interrupted downloads and killed runs left in `partial/`.
//!
//! A download that ended in order has an extended attribute with what the server recognises the file by: a run that goes on with
//! it asks for the rest only as long as the file is the same (`If-Range`). Where a file system has no such attributes, it is
//! continued without; its digest decides in either case.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::time::SystemTime;

use fs_err as fs;

use super::new_object::NEW_OBJECT_PREFIX;
use super::{PARTIAL, Pool, PoolError, partial_name};
use crate::digest::Digest;
use crate::lock::Locks;
use crate::regular_file;

const VALIDATOR: &str = "user.chantal.validator";
/// No server's is nearly that long.
const VALIDATOR_MAX: usize = 1024;

/// A file that is not whole.
#[derive(Clone, Debug)]
pub struct Partial {
    pub path: PathBuf,
    pub kind: PartialKind,
    /// So far.
    pub bytes: u64,
    pub modified: SystemTime,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartialKind {
    /// The next sync may continue it.
    Download,
    /// What a killed run made: nothing continues it.
    NewObject,
}

/// Bytes that interrupted downloads have already, by file name.
#[derive(Default)]
pub struct Held(HashMap<String, u64>);

impl Held {
    /// Of the download of a digest that `repository` declares.
    pub fn of(&self, expected: Digest, repository: &str) -> u64 {
        // Names of many thousands of files need not be made where nothing is held.
        if self.0.is_empty() {
            return 0;
        }
        let name = partial_name(expected, repository);
        self.0.get(&name).copied().unwrap_or(0)
    }
}

impl Pool {
    pub fn partials(&self) -> io::Result<Vec<Partial>> {
        let mut partials = Vec::new();
        for file in fs::read_dir(self.root.join(PARTIAL))? {
            let file = file?;
            let metadata = match file.metadata() {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                metadata => metadata?,
            };
            if !metadata.is_file() {
                continue;
            }
            let name = file.file_name();
            let is_new_object = name
                .as_encoded_bytes()
                .starts_with(NEW_OBJECT_PREFIX.as_bytes());
            partials.push(Partial {
                path: file.path(),
                kind: if is_new_object {
                    PartialKind::NewObject
                } else {
                    PartialKind::Download
                },
                bytes: metadata.len(),
                modified: metadata.modified()?,
            });
        }
        partials.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(partials)
    }

    /// What need not be downloaded again.
    pub fn held(&self) -> io::Result<Held> {
        let partials = self.partials()?.into_iter();
        let named = partials.filter_map(|partial| {
            let name = partial.path.file_name()?.to_str()?.to_owned();
            Some((name, partial.bytes))
        });
        Ok(Held(named.collect()))
    }
}

impl Partial {
    /// Removes it: a run that wants the file begins anew.
    pub fn remove(&self, locks: &Locks) -> Result<(), PoolError> {
        locks.check()?;
        Ok(regular_file::remove(&self.path)?)
    }
}

/// Takes the validator from a download: as soon as that goes on, it may be another file's.
pub fn take_validator(partial: &fs::File) -> Option<String> {
    let mut buffer = [0; VALIDATOR_MAX];
    let length = rustix::fs::fgetxattr(partial.file(), VALIDATOR, &mut buffer[..]).ok()?;
    let _ = rustix::fs::fremovexattr(partial.file(), VALIDATOR);
    let text = std::str::from_utf8(buffer.get(..length)?).ok()?;
    // It goes into a header.
    is_plain(text).then(|| text.to_owned())
}

pub fn keep_validator(partial: &fs::File, validator: &str) {
    if is_plain(validator) {
        let flags = rustix::fs::XattrFlags::empty();
        let _ = rustix::fs::fsetxattr(partial.file(), VALIDATOR, validator.as_bytes(), flags);
    }
}

fn is_plain(validator: &str) -> bool {
    validator.len() <= VALIDATOR_MAX && !validator.contains(|c: char| c.is_ascii_control())
}
