//! Files that interrupted downloads and killed runs left in `partial/`.
//!
//! A download that was stopped properly has the server's validator in an extended attribute: the
//! run that resumes it asks for the rest only if the file is unchanged (`If-Range`). On file
//! systems without extended attributes it is resumed without a validator. In both cases the digest
//! is verified.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::time::SystemTime;

use fs_err as fs;

use crate::digest::Digest;
use crate::lock::Locks;
use crate::names::RepoId;
use crate::regular_file;

use super::error::PoolError;
use super::layout::{NEW_OBJECT_PREFIX, PARTIAL, partial_name};
use super::place::Pool;

const VALIDATOR: &str = "user.chantal.validator";
/// Much longer than the validators of real servers.
const VALIDATOR_MAX: usize = 1024;

/// An incomplete file.
#[derive(Clone, Debug)]
pub struct Partial {
    pub path: PathBuf,
    pub kind: PartialKind,
    /// Bytes received so far.
    pub bytes: u64,
    pub modified: SystemTime,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartialKind {
    /// The next sync may continue it.
    Download,
    /// Written by a killed run; it is never resumed.
    NewObject,
}

/// Sizes of interrupted downloads, by file name.
#[derive(Default)]
pub struct Held(HashMap<String, u64>);

impl Held {
    /// Bytes received of the file with a digest that `repository` declares.
    pub fn of(&self, expected: Digest, repository: &RepoId) -> u64 {
        // Avoids building thousands of file names if there are no partial files.
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

    /// The bytes that need not be downloaded again.
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
    /// Removes the file: the next download starts from the beginning.
    pub fn remove(&self, locks: &Locks) -> Result<(), PoolError> {
        locks.check()?;
        Ok(regular_file::remove(&self.path)?)
    }
}

/// Reads and removes the validator of a download: once it is resumed, the validator may no longer
/// match.
pub fn take_validator(partial: &fs::File) -> Option<String> {
    let mut buffer = [0; VALIDATOR_MAX];
    let length = rustix::fs::fgetxattr(partial.file(), VALIDATOR, &mut buffer[..]).ok()?;
    let _ = rustix::fs::fremovexattr(partial.file(), VALIDATOR);
    let text = std::str::from_utf8(buffer.get(..length)?).ok()?;
    // It is sent in a header.
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
