//! Creates a storage.
//!
//! - `init` creates one anywhere. A sync creates one only if `storage.create` is set and there is
//!   no [`Obstacle`]: an unmounted disk looks like a new location.
//! - It is created in a directory next to the base path, `.NAME.chantal-new`, with its lock held,
//!   and renamed in one step. A killed run leaves that directory, and the next run continues with
//!   it. If the base path already exists (`init` on a mount point), the storage is created in
//!   place.
//! - A pool outside of the base path is created before that step, a store after it. A note in the
//!   directory contains the id of the pool until everything is complete.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use fs_err as fs;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use serde::{Deserialize, Serialize};

use crate::config::{Config, StorageConfig};
use crate::interrupt::Interrupt;
use crate::lock::{LockError, Locks, Mode, Requester};
use crate::mounts;
use crate::pool::{Marker, Pool};
use crate::regular_file::{self, is_absent};
use crate::store::records::{Identity, random_id};
use crate::store::{Reader, Store};
use crate::time;

use super::error::{Obstacle, StorageError};
use super::opened::{Purpose, Storage};
use super::ownership::{self, PoolAccess};

/// The note in a storage that is not complete yet.
const NOTE: &str = "chantal.unfinished";

/// Whether a command may create a missing storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CreatePolicy<'a> {
    /// A command that requires an existing one.
    Never,
    /// A sync with `storage.create`; with the log file that this run may have created.
    Sync {
        log_file: Option<&'a Path>,
    },
    Init,
    /// `pool take-over`: the owner of the pool may still exist.
    TakeOver,
}

impl<'a> CreatePolicy<'a> {
    pub fn of_sync(config: &'a Config) -> Self {
        if config.storage.create {
            Self::Sync {
                log_file: config.logging.file.as_deref(),
            }
        } else {
            Self::Never
        }
    }
}

/// The ids of the new storage.
#[derive(Serialize, Deserialize)]
struct Note {
    /// The pool's id.
    pool: String,
    /// The id of the store. An existing pool may name another one until everything is complete.
    store: String,
    generation: u64,
    /// Set if the pool contained objects: they belonged to another store.
    adopting: Option<i64>,
}

/// A storage that is being created.
struct UnfinishedStorage<'a> {
    places: &'a StorageConfig,
    /// The directory that becomes the base path.
    directory: PathBuf,
    locks: Locks,
    interrupt: Interrupt,
}

/// The directories of an unfinished storage that a failed run has left: the next run continues with
/// it.
pub fn half_made(places: &StorageConfig) -> Vec<PathBuf> {
    let is_noted = places.base_path.join(NOTE).exists();
    let staging = staging(&places.base_path);
    let base = is_noted.then(|| places.base_path.clone());
    let staging = staging.exists().then_some(staging);
    base.into_iter().chain(staging).collect()
}

/// Creates a storage, and opens it. `None`: another run created or moved something at the same
/// time; try again.
pub fn make(
    places: &StorageConfig,
    requester: &Requester,
    policy: CreatePolicy<'_>,
) -> Result<Option<Storage>, StorageError> {
    let base_path = &places.base_path;
    let staging = staging(base_path);
    let in_place = exists(base_path)?;
    let directory = if in_place { base_path } else { &staging };
    if let Some(refused) = refusal(places, policy, directory)? {
        // Another run may be creating it at the same time.
        Locks::probe(directory, base_path)?;
        if exists(&places.database_path)? || exists(base_path)? != in_place {
            return Ok(None);
        }
        return Err(refused);
    }
    if !in_place {
        if let Some(parent) = base_path.parent() {
            fs::create_dir_all(parent)?;
        }
        create_dir(&staging)?;
    }
    let locks = match Locks::acquire_in(directory, base_path, Mode::Exclusive, requester) {
        // Another run has renamed it.
        Err(LockError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            return Ok(None);
        }
        locks => locks?,
    };
    if exists(&places.database_path)? {
        return Ok(None);
    }
    if !in_place && exists(base_path)? {
        // Another run was faster: this directory was created after it had renamed its own.
        fs::remove_dir_all(&staging)?;
        return Ok(None);
    }
    let unfinished_storage = UnfinishedStorage {
        places,
        directory: directory.clone(),
        locks,
        interrupt: requester.interrupt.clone(),
    };
    unfinished_storage.build().map(Some)
}

/// Finishes a storage if the run that created it was killed at the last steps.
pub fn finish(
    base_path: &Path,
    store: &Store,
    pool: &Pool,
    locks: &Locks,
) -> Result<(), StorageError> {
    let Some(note) = read_note(base_path)? else {
        return Ok(());
    };
    let identity = store.read(Reader::identity)?;
    if identity.store == note.store {
        pool.set_owner(locks, ownership::owner(store, &identity)?)?;
    }
    regular_file::remove(&base_path.join(NOTE))?;
    Ok(())
}

/// Fails if a sync may not create the missing storage.
pub fn reject_sync(config: &Config) -> Result<(), StorageError> {
    let base_path = &config.storage.base_path;
    let staging = staging(base_path);
    let directory = if exists(base_path)? {
        base_path
    } else {
        &staging
    };
    match refusal(&config.storage, CreatePolicy::of_sync(config), directory)? {
        Some(refused) => Err(refused),
        None => Ok(()),
    }
}

fn refusal(
    places: &StorageConfig,
    policy: CreatePolicy<'_>,
    directory: &Path,
) -> Result<Option<StorageError>, StorageError> {
    let absent = |obstacle| {
        Some(StorageError::Absent {
            base_path: places.base_path.clone(),
            obstacle,
        })
    };
    Ok(match policy {
        CreatePolicy::Init => Marker::read(&places.pool_path)?
            .as_ref()
            .and_then(ownership::existing_owner)
            .map(|owner| StorageError::Owned {
                pool: places.pool_path.clone(),
                owner: owner.clone(),
            }),
        CreatePolicy::TakeOver => None,
        CreatePolicy::Never => absent(None),
        CreatePolicy::Sync { log_file } => match obstacle(places, directory, log_file)? {
            Some(obstacle) => absent(Some(obstacle)),
            None => None,
        },
    })
}

fn obstacle(
    places: &StorageConfig,
    directory: &Path,
    log_file: Option<&Path>,
) -> Result<Option<Obstacle>, StorageError> {
    let note = read_note(directory)?;
    let base_path = places.base_path.as_path();
    if let Some(marker) = Marker::read(&places.pool_path)?
        && note.as_ref().is_none_or(|note| note.pool != marker.pool)
    {
        return Ok(Some(Obstacle::PoolExists(places.pool_path.clone())));
    }
    let staging = staging(base_path);
    let mut ours = vec![staging.as_path()];
    ours.extend(log_file);
    let outside = [places.pool_path.as_path(), places.database_path.as_path()]
        .into_iter()
        .filter(|path| !path.starts_with(base_path));
    for path in [base_path].into_iter().chain(outside) {
        if let Some(mount_point) = mounts::unmounted_above(path)? {
            return Ok(Some(Obstacle::Unmounted(mount_point)));
        }
        if note.is_some() {
            // The killed run had checked this.
            continue;
        }
        if exists(path)? {
            return Ok(Some(Obstacle::Exists(path.to_owned())));
        }
        if let Some(parent) = mounts::empty_parent(path, &ours)? {
            return Ok(Some(Obstacle::EmptyParent(parent)));
        }
    }
    Ok(None)
}

impl UnfinishedStorage<'_> {
    fn build(mut self) -> Result<Storage, StorageError> {
        let places = self.places;
        let note = self.note()?;
        let pool = self.staged_path(&places.pool_path);
        if Marker::read(&pool)?.is_none() {
            Pool::create(&pool, &note.pool)?;
        }
        if places.database_path.starts_with(&places.base_path) {
            self.make_store(&note)?;
        }
        if self.directory != places.base_path {
            self.locks.check()?;
            fs::File::open(&self.directory)?.sync_all()?;
            rename_noreplace(&self.directory, &places.base_path)?;
            self.directory.clone_from(&places.base_path);
            self.locks.moved_to(&places.base_path);
        }
        self.make_store(&note)?;
        let store = Store::open_older(&places.database_path)?;
        let pool = Pool::open(&places.pool_path, &note.pool)?;
        finish(&places.base_path, &store, &pool, &self.locks)?;
        Ok(Storage {
            store,
            pool,
            locks: self.locks,
            interrupt: self.interrupt,
            purpose: Purpose::Change(PoolAccess::Owner),
            scratch: None,
        })
    }

    /// A path of the storage before it is renamed.
    fn staged_path(&self, path: &Path) -> PathBuf {
        match path.strip_prefix(&self.places.base_path) {
            Ok(inside) => self.directory.join(inside),
            Err(_) => path.to_owned(),
        }
    }

    fn make_store(&self, note: &Note) -> Result<(), StorageError> {
        let path = self.staged_path(&self.places.database_path);
        if exists(&path)? {
            return Ok(());
        }
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        let identity = Identity {
            pool: note.pool.clone(),
            store: note.store.clone(),
            generation: note.generation,
            adopting: note.adopting,
            restored: None,
        };
        Store::create_with(&path, &identity)?;
        Ok(())
    }

    /// The note of an earlier run, or a new one. An existing pool keeps its id.
    fn note(&self) -> Result<Note, StorageError> {
        if let Some(note) = read_note(&self.directory)? {
            return Ok(note);
        }
        let pool_path = self.staged_path(&self.places.pool_path);
        let note = match Marker::read(&pool_path)? {
            Some(marker) => Note {
                adopting: Pool::holds_objects(&pool_path)?.then(time::now),
                // At least that of the previous owner, so that copies of it remain outdated.
                generation: marker.owner.map_or(0, |owner| owner.generation),
                pool: marker.pool,
                store: random_id()?,
            },
            None => Note {
                pool: random_id()?,
                store: random_id()?,
                generation: 0,
                adopting: None,
            },
        };
        let path = self.directory.join(NOTE);
        let unfinished = self.directory.join(format!("{NOTE}.new"));
        let mut file = fs::File::create(&unfinished)?;
        let text = serde_json::to_vec(&note).expect("a note has only plain fields");
        file.write_all(&text)?;
        file.sync_all()?;
        fs::rename(&unfinished, &path)?;
        Ok(note)
    }
}

fn read_note(directory: &Path) -> io::Result<Option<Note>> {
    let path = directory.join(NOTE);
    match regular_file::read_named(&path) {
        Err(error) if is_absent(&error) => Ok(None),
        bytes => serde_json::from_slice(&bytes?).map(Some).map_err(|error| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                format!("{}: {error}", path.display()),
            )
        }),
    }
}

/// Renames without replacing anything, not even an empty directory.
fn rename_noreplace(from: &Path, to: &Path) -> io::Result<()> {
    let renamed = match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // The file system does not support it. Both paths are protected by the lock.
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => return fs::rename(from, to),
        renamed => renamed,
    };
    renamed.map_err(|error| {
        let error = io::Error::from(error);
        let why = format!("{} -> {}: {error}", from.display(), to.display());
        io::Error::new(error.kind(), why)
    })?;
    if let Some(parent) = to.parent() {
        fs::File::open(parent)?.sync_all()?;
    }
    Ok(())
}

/// The staging directory for a storage with this base path.
fn staging(base_path: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(base_path.file_name().unwrap_or_default());
    name.push(".chantal-new");
    base_path.with_file_name(name)
}

fn create_dir(path: &Path) -> io::Result<()> {
    match fs::create_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

/// Whether a path exists, even as a broken symbolic link.
pub fn exists(path: &Path) -> io::Result<bool> {
    match fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if is_absent(&error) => Ok(false),
        Err(error) => Err(error),
    }
}
