//! The directory of a pool: created, opened and identified by its marker, and checked for an
//! unmounted disk.

use std::collections::HashMap;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use fs_err as fs;

use super::marker::{self, Marker, Owner};
use super::{OBJECTS, PARTIAL, Pool, contents, create_dir};
use crate::exit::Exit;
use crate::lock::{LockError, Locks};

#[derive(Debug, thiserror::Error)]
pub enum PoolError {
    #[error("pool {path} does not exist: is the file system mounted?")]
    Absent { path: PathBuf },
    #[error(
        "{path} has no pool marker ({}): it is the wrong directory, or the file was lost",
        marker::NAME
    )]
    NoMarker {
        path: PathBuf,
        /// The lines that the marker should have.
        lines: [String; 2],
    },
    #[error("{path} is not empty, and not a pool")]
    Occupied { path: PathBuf },
    #[error(
        "{path} has an unsupported pool layout: expected {:?}, got {got:?}",
        marker::LAYOUT
    )]
    Layout { path: PathBuf, got: String },
    #[error("pool {path} belongs to another database: expected ID {expected}, got {got}")]
    Foreign {
        path: PathBuf,
        expected: String,
        got: String,
        /// The id of the owner, for `pool take-over`.
        owner: String,
    },
    #[error("pool marker {}: line {line:?} is missing or invalid", path.join(marker::NAME).display())]
    MarkerLine { path: PathBuf, line: &'static str },
    /// Nothing was removed.
    #[error(transparent)]
    Lock(#[from] LockError),
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl PoolError {
    pub fn exit(&self) -> Exit {
        match self {
            Self::Io(error) => exit_of_io(error),
            Self::Lock(error) => error.exit(),
            Self::Occupied { .. } => Exit::Usage,
            Self::Absent { .. }
            | Self::NoMarker { .. }
            | Self::Layout { .. }
            | Self::MarkerLine { .. }
            | Self::Foreign { .. } => Exit::Damaged,
        }
    }
}

/// Inside an [`io::Error`]: the disk of the pool was unmounted after the pool was opened.
#[derive(Debug, thiserror::Error)]
#[error("pool {path} no longer exists: is the file system mounted?")]
pub struct PoolUnmounted {
    path: PathBuf,
}

/// The exit code for an I/O error.
pub fn exit_of_io(error: &io::Error) -> Exit {
    if PoolUnmounted::is_in(error) {
        Exit::Damaged
    } else {
        Exit::Other
    }
}

impl PoolUnmounted {
    pub fn is_in(error: &io::Error) -> bool {
        let inner = error.get_ref();
        inner.is_some_and(<dyn std::error::Error + Send + Sync>::is::<Self>)
    }
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
                    lines: [marker::LAYOUT.to_owned(), id.to_owned()],
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
            lower: None,
        })
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

    fn marker(&self) -> MutexGuard<'_, Marker> {
        self.marker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there are objects in the pool at this path, regardless of its marker.
    pub fn holds_objects(root: &Path) -> io::Result<bool> {
        contents::has_object(&root.join(OBJECTS))
    }

    /// Checks that the opened pool is still at its path.
    pub fn check(&self) -> io::Result<()> {
        let held = self.handle.metadata()?;
        let is_stored = |root: std::fs::Metadata| {
            (root.dev(), root.ino()) == (held.dev(), held.ino())
                && std::fs::symlink_metadata(self.root.join(marker::NAME)).is_ok()
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
}

/// Whether a directory contains anything other than an empty or unfinished pool.
fn is_occupied(root: &Path) -> io::Result<bool> {
    for entry in fs::read_dir(root)? {
        let entry = entry?;
        let is_ours = match entry.file_name().to_str() {
            // The top directory of an ext4 file system contains lost+found.
            Some("lost+found" | marker::NAME | marker::UNFINISHED) => true,
            Some(OBJECTS | PARTIAL) => {
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
