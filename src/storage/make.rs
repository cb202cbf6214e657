//! Making a storage where none is.
//!
//! - `init` makes one anywhere. A sync makes one only where `storage.create` asks for it and nothing speaks against it
//!   ([`Obstacle`]): an unmounted disk looks like a place where nothing was made yet.
//! - It grows in a directory beside its place, `.NAME.chantal-new`, under the lock that it will have, and gets its name in one step.
//!   A run that was killed leaves that directory: the next one goes on in it. Where the base path exists already (`init` on a mount
//!   point) the same happens in place.
//! - A pool or a store that lies elsewhere is made before and after that step. The note in the directory says which pool is its own,
//!   until everything is there.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use fs_err as fs;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use serde::{Deserialize, Serialize};

use super::{Purpose, Standing, Storage, StorageError, ownership};
use crate::config::{Config, StorageConfig};
use crate::interrupt::Interrupt;
use crate::lock::{LockError, Locks, Mode, Requester};
use crate::mounts;
use crate::pool::{Marker, Pool};
use crate::regular_file::{self, is_absent};
use crate::store::records::{Identity, random_id};
use crate::store::{Reader, Store};
use crate::time;

/// In a storage that is not complete yet.
const NOTE: &str = "chantal.unfinished";

/// Who asks for a storage where none is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Maker<'a> {
    /// A command that needs one.
    Nobody,
    /// A sync where `storage.create` is set; with the log file that this run may have begun.
    Sync {
        log_file: Option<&'a Path>,
    },
    Init,
    /// The pool's store may be there all the same.
    TakeOver,
}

impl<'a> Maker<'a> {
    pub fn of_sync(config: &'a Config) -> Self {
        if config.storage.create {
            Self::Sync {
                log_file: config.logging.file.as_deref(),
            }
        } else {
            Self::Nobody
        }
    }
}

/// Why `storage.create` makes no storage.
#[derive(Debug, thiserror::Error)]
pub enum Obstacle {
    #[error("{} exists already", .0.display())]
    Exists(PathBuf),
    #[error("the pool {} was made before", .0.display())]
    Marked(PathBuf),
    #[error("{} is empty, as the mount point of a disk that is not mounted is", .0.display())]
    EmptyParent(PathBuf),
    #[error("/etc/fstab has a file system for {}, and it is not mounted", .0.display())]
    Unmounted(PathBuf),
}

/// What the storage will be.
#[derive(Serialize, Deserialize)]
struct Note {
    /// The pool's id.
    pool: String,
    /// The store's. A pool that was there before may name another one until everything is made.
    store: String,
    generation: u64,
    /// Set where the pool held objects: they were another store's.
    adopting: Option<i64>,
}

/// A storage on its way.
struct Site<'a> {
    places: &'a StorageConfig,
    /// Where what belongs into the base path is made.
    directory: PathBuf,
    locks: Locks,
    interrupt: Interrupt,
}

/// What a run that failed has left of a storage: the next one goes on with it.
pub fn half_made(places: &StorageConfig) -> Vec<PathBuf> {
    let is_noted = places.base_path.join(NOTE).exists();
    let staging = staging(&places.base_path);
    let base = is_noted.then(|| places.base_path.clone());
    let staging = staging.exists().then_some(staging);
    base.into_iter().chain(staging).collect()
}

/// Makes a storage, and opens it. `None`: another run made or moved something meanwhile; look again.
pub fn make(
    places: &StorageConfig,
    requester: &Requester,
    maker: Maker<'_>,
) -> Result<Option<Storage>, StorageError> {
    let base_path = &places.base_path;
    let staging = staging(base_path);
    let in_place = exists(base_path)?;
    let directory = if in_place { base_path } else { &staging };
    if let Some(refused) = refusal(places, maker, directory)? {
        // Another run may be making it right now.
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
        // It has its name by now.
        Err(LockError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            return Ok(None);
        }
        locks => locks?,
    };
    if exists(&places.database_path)? {
        return Ok(None);
    }
    if !in_place && exists(base_path)? {
        // Another run was quicker: this directory was made after it had moved its own.
        fs::remove_dir_all(&staging)?;
        return Ok(None);
    }
    let site = Site {
        places,
        directory: directory.clone(),
        locks,
        interrupt: requester.interrupt.clone(),
    };
    site.build().map(Some)
}

/// What a run that was killed left undone of a storage that was complete but for that.
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

/// What a sync that finds no storage is refused over.
pub fn refuse_to_sync(config: &Config) -> Result<(), StorageError> {
    let base_path = &config.storage.base_path;
    let staging = staging(base_path);
    let directory = if exists(base_path)? {
        base_path
    } else {
        &staging
    };
    match refusal(&config.storage, Maker::of_sync(config), directory)? {
        Some(refused) => Err(refused),
        None => Ok(()),
    }
}

fn refusal(
    places: &StorageConfig,
    maker: Maker<'_>,
    directory: &Path,
) -> Result<Option<StorageError>, StorageError> {
    let absent = |obstacle| {
        Some(StorageError::Absent {
            base_path: places.base_path.clone(),
            obstacle,
        })
    };
    Ok(match maker {
        Maker::Init => Marker::read(&places.pool_path)?
            .as_ref()
            .and_then(ownership::living)
            .map(|owner| StorageError::Owned {
                pool: places.pool_path.clone(),
                owner: owner.clone(),
            }),
        Maker::TakeOver => None,
        Maker::Nobody => absent(None),
        Maker::Sync { log_file } => match obstacle(places, directory, log_file)? {
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
        return Ok(Some(Obstacle::Marked(places.pool_path.clone())));
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
            // A run that was killed had looked.
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

impl Site<'_> {
    fn build(mut self) -> Result<Storage, StorageError> {
        let places = self.places;
        let note = self.note()?;
        let pool = self.here(&places.pool_path);
        if Marker::read(&pool)?.is_none() {
            Pool::create(&pool, &note.pool)?;
        }
        if places.database_path.starts_with(&places.base_path) {
            self.make_store(&note)?;
        }
        if self.directory != places.base_path {
            self.locks.check()?;
            fs::File::open(&self.directory)?.sync_all()?;
            give_name(&self.directory, &places.base_path)?;
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
            purpose: Purpose::Change(Standing::Owner),
            scratch: None,
        })
    }

    /// A path of the storage as long as it has not its name.
    fn here(&self, path: &Path) -> PathBuf {
        match path.strip_prefix(&self.places.base_path) {
            Ok(inside) => self.directory.join(inside),
            Err(_) => path.to_owned(),
        }
    }

    fn make_store(&self, note: &Note) -> Result<(), StorageError> {
        let path = self.here(&self.places.database_path);
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
        Store::create_as(&path, &identity)?;
        Ok(())
    }

    /// What the run before this one noted, or a new one. A pool that is there keeps its id.
    fn note(&self) -> Result<Note, StorageError> {
        if let Some(note) = read_note(&self.directory)? {
            return Ok(note);
        }
        let pool_path = self.here(&self.places.pool_path);
        let note = match Marker::read(&pool_path)? {
            Some(marker) => Note {
                adopting: Pool::holds_objects(&pool_path)?.then(time::now),
                // Never below that of the store before: its copies stay behind.
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

/// Renames where nothing is: not even an empty directory is replaced.
fn give_name(from: &Path, to: &Path) -> io::Result<()> {
    let renamed = match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // A file system without it. Both names are below the lock.
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

/// Where a storage grows that will have this base path.
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

/// Whether anything has that name, be it a link that leads nowhere.
pub fn exists(path: &Path) -> io::Result<bool> {
    match fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if is_absent(&error) => Ok(false),
        Err(error) => Err(error),
    }
}
