//! The directory of a pool: created, opened and identified by its marker, and checked for an
//! unmounted disk.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, MutexGuard};

use fs_err as fs;

use crate::digest::{ObjectId, ObjectRef};
use crate::kill_points;
use crate::lock::Locks;
use crate::regular_file::{self, is_absent};
use crate::threads::lock;

use super::error::{PoolError, PoolUnmounted};
use super::layout::{self, DAMAGED, OBJECTS, PARTIAL, create_dir};
use super::marker::{Marker, Owner};

pub struct Pool {
    pub(super) root: PathBuf,
    /// Refers to the file system of the pool, even after that was unmounted.
    handle: fs::File,
    marker: Mutex<Marker>,
    /// By file name in `partial`.
    pub(super) downloads: Mutex<HashMap<String, DownloadState>>,
    /// Held while a new object is renamed to its final name.
    pub(super) naming: Mutex<()>,
    pub(super) released: Condvar,
    /// Objects that were damaged or missing and that this process has stored again.
    replaced: Mutex<BTreeSet<ObjectId>>,
    /// Another pool, read-only, whose objects are visible here too.
    pub(super) lower: Option<Box<Pool>>,
}

/// The state of a download in this process.
#[derive(Clone, Copy)]
pub enum DownloadState {
    /// A thread is downloading it.
    InProgress,
    Stored(ObjectRef),
}

impl Pool {
    /// Creates the directories and the marker of a new pool, and opens it. Completes a pool that
    /// was created partly.
    pub fn create(root: &Path, id: &str) -> Result<Self, PoolError> {
        fs::create_dir_all(root)?;
        if is_occupied(root)? {
            return Err(PoolError::Occupied {
                path: root.to_owned(),
            });
        }
        for name in [OBJECTS, PARTIAL] {
            create_dir(&root.join(name))?;
        }
        let marker = Marker {
            pool: id.to_owned(),
            owner: None,
        };
        marker.write(root)?;
        Self::open(root, id)
    }

    /// Opens the pool with this id. Fails if the directory is not a pool or belongs to another
    /// store.
    pub fn open(root: &Path, id: &str) -> Result<Self, PoolError> {
        let Some(marker) = Marker::read(root)? else {
            let path = root.to_owned();
            return Err(if Self::holds_objects(root)? {
                PoolError::NoMarker {
                    path,
                    lines: [layout::LAYOUT.to_owned(), id.to_owned()],
                }
            } else {
                PoolError::Absent { path }
            });
        };
        if marker.pool != id {
            return Err(PoolError::Foreign {
                path: root.to_owned(),
                expected: id.to_owned(),
                owner: marker.id().to_owned(),
                got: marker.pool,
            });
        }
        // A backup may have omitted them because they were empty.
        for name in [OBJECTS, PARTIAL] {
            create_dir(&root.join(name))?;
        }
        Ok(Self {
            root: root.to_owned(),
            handle: fs::File::open(root)?,
            marker: Mutex::new(marker),
            downloads: Mutex::new(HashMap::new()),
            naming: Mutex::new(()),
            released: Condvar::new(),
            replaced: Mutex::default(),
            lower: None,
        })
    }

    /// This pool, with the objects of another one visible in it: new objects are written here.
    #[must_use]
    pub fn overlaid_on(self, lower: Self) -> Self {
        Self {
            lower: Some(Box::new(lower)),
            ..self
        }
    }

    /// The real pool below a scratch pool.
    pub fn lowest(&self) -> &Self {
        self.lower.as_deref().map_or(self, Self::lowest)
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The store that the marker names.
    pub fn owner(&self) -> Option<Owner> {
        self.marker().owner.clone()
    }

    /// Sets the store that the pool belongs to.
    pub fn set_owner(&self, locks: &Locks, owner: Owner) -> Result<(), PoolError> {
        let _lock = locks.pool_marker()?;
        locks.check()?;
        self.check()?;
        let mut marker = self.marker();
        let noted = Marker {
            pool: marker.pool.clone(),
            owner: Some(owner),
        };
        noted.write(&self.root)?;
        *marker = noted;
        Ok(())
    }

    /// Sets the generation of the store before it removes objects.
    pub fn raise_generation(&self, locks: &Locks, generation: u64) -> Result<(), PoolError> {
        let owner = self.owner();
        owner.map_or(Ok(()), |owner| {
            self.set_owner(
                locks,
                Owner {
                    generation,
                    ..owner
                },
            )
        })
    }

    /// Notes that an object is damaged or missing, and stored again: published trees may still have
    /// its old file.
    pub fn note_replaced(&self, object: ObjectId) {
        lock(&self.replaced).insert(object);
    }

    /// The objects that were noted since the last call.
    pub fn take_replaced(&self) -> BTreeSet<ObjectId> {
        std::mem::take(&mut *lock(&self.replaced))
    }

    fn marker(&self) -> MutexGuard<'_, Marker> {
        lock(&self.marker)
    }

    /// Whether there are objects in the pool at this path, regardless of its marker.
    pub fn holds_objects(root: &Path) -> io::Result<bool> {
        has_object(&root.join(OBJECTS))
    }

    /// Checks that the opened pool is still at its path.
    pub fn check(&self) -> io::Result<()> {
        let held = self.handle.metadata()?;
        let is_stored = |root: std::fs::Metadata| {
            (root.dev(), root.ino()) == (held.dev(), held.ino())
                && std::fs::symlink_metadata(self.root.join(layout::MARKER)).is_ok()
        };
        if std::fs::metadata(&self.root).is_ok_and(is_stored) {
            return Ok(());
        }
        let path = self.root.clone();
        Err(io::Error::new(
            io::ErrorKind::NotFound,
            PoolUnmounted { path },
        ))
    }

    /// Turns "not found" into [`PoolUnmounted`] if the pool no longer exists.
    pub(super) fn explained(&self, error: io::Error) -> io::Error {
        if error.kind() != io::ErrorKind::NotFound {
            return error;
        }
        self.check().err().unwrap_or(error)
    }

    /// Makes all objects stored so far durable, with one `syncfs` instead of an fsync per file.
    pub fn flush(&self) -> io::Result<()> {
        kill_points::reach("flush the pool");
        // Not by path: another file system may be mounted there by now.
        let synced = rustix::fs::syncfs(self.handle.file());
        synced.map_err(|error| regular_file::named(&self.root)(error.into()))?;
        self.check()
    }

    /// Free bytes for unprivileged users on the file system of the pool.
    pub fn free_bytes(&self) -> io::Result<u64> {
        let stat = rustix::fs::fstatvfs(self.handle.file());
        let stat = stat.map_err(|error| regular_file::named(&self.root)(error.into()))?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }
}

/// Whether a directory contains anything other than an empty or unfinished pool.
fn is_occupied(root: &Path) -> io::Result<bool> {
    for entry in fs::read_dir(root)? {
        let entry = entry?;
        let is_ours = match entry.file_name().to_str() {
            // The top directory of an ext4 file system contains lost+found.
            Some("lost+found" | layout::MARKER | layout::UNFINISHED_MARKER) => true,
            Some(OBJECTS | PARTIAL | DAMAGED) => {
                entry.file_type()?.is_dir() && fs::read_dir(entry.path())?.next().is_none()
            }
            _ => false,
        };
        if !is_ours {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether the object directory of a pool contains an object.
fn has_object(objects: &Path) -> io::Result<bool> {
    let directories = match fs::read_dir(objects) {
        Err(error) if is_absent(&error) => {
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
