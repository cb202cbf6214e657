//! What lies in a pool, whoever needs it, and taking it away.

use std::fs::Metadata;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use fs_err as fs;

use super::made::MADE;
use super::{OBJECTS, PARTIAL, Pool};
use crate::digest::ObjectId;

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
    /// Nobody continues what a killed run made.
    Made,
}

impl Pool {
    /// Every object that has a file, and what is known of the file. Files of other names are not ours and not looked at.
    pub fn each_object(
        &self,
        each: &mut dyn FnMut(ObjectId, &Metadata) -> io::Result<()>,
    ) -> io::Result<()> {
        self.check()?;
        for directory in fs::read_dir(self.root.join(OBJECTS))? {
            let directory = directory?;
            if !directory.file_type()?.is_dir() {
                continue;
            }
            for file in fs::read_dir(directory.path())? {
                let file = file?;
                let name = file.file_name();
                let Some(object) = name.to_str().and_then(|name| name.parse().ok()) else {
                    continue;
                };
                let metadata = file.metadata()?;
                if metadata.is_file() && self.object_path(object) == file.path() {
                    each(object, &metadata)?;
                }
            }
        }
        Ok(())
    }

    /// What interrupted downloads and killed runs left.
    pub fn partials(&self) -> io::Result<Vec<Partial>> {
        let mut partials = Vec::new();
        for file in fs::read_dir(self.root.join(PARTIAL))? {
            let file = file?;
            let metadata = file.metadata()?;
            if metadata.is_file() {
                let is_made = file
                    .file_name()
                    .as_encoded_bytes()
                    .starts_with(MADE.as_bytes());
                partials.push(Partial {
                    path: file.path(),
                    kind: if is_made {
                        PartialKind::Made
                    } else {
                        PartialKind::Download
                    },
                    bytes: metadata.len(),
                    modified: metadata.modified()?,
                });
            }
        }
        partials.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(partials)
    }

    /// Takes an object's file away. The store must not name it any more.
    pub fn remove(&self, object: ObjectId) -> io::Result<()> {
        remove_file(&self.object_path(object))
    }
}

/// Whether one file in a pool's directory of objects has an object's name.
pub(super) fn has_object(objects: &Path) -> io::Result<bool> {
    let directories = match fs::read_dir(objects) {
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            return Ok(false);
        }
        directories => directories?,
    };
    for directory in directories {
        let directory = directory?;
        if !directory.file_type()?.is_dir() {
            continue;
        }
        for file in fs::read_dir(directory.path())? {
            let name = file?.file_name();
            if name
                .to_str()
                .is_some_and(|name| name.parse::<ObjectId>().is_ok())
            {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

impl Partial {
    /// Takes it away: whoever wants the file begins anew.
    pub fn remove(&self) -> io::Result<()> {
        remove_file(&self.path)
    }
}

fn remove_file(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}
