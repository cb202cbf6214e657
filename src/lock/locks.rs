//! The locks of one run: of the storage, of repositories, of trees and of the pool marker. Takes
//! them in turn, checks that they are still held, and releases them.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use crate::digest::ObjectId;
use crate::names::{DestinationName, RepoId};
use crate::threads::lock;

use super::error::{Holder, LockError, LockTarget, describe};
use super::file::{Attempt, LockFile, Mode, Probe};
use super::requester::{Requester, Wait};

const NAME: &str = "chantal.lock";
/// The directory of all locks but the storage lock.
const DIRECTORY: &str = "locks";

/// A holder writes its name into the lock file within this time.
const SILENCE_MAX: Duration = Duration::from_millis(500);
const PAUSE: Duration = Duration::from_millis(5);
const MARKER_WAIT: Duration = Duration::from_secs(30);
/// Between two attempts while waiting for a lock.
const LONG_PAUSE: Duration = Duration::from_millis(100);

/// The locks that a run holds.
#[derive(Debug)]
pub struct Locks {
    base_path: PathBuf,
    requester: Requester,
    /// What is written into the lock files.
    holder: Holder,
    mode: Mode,
    storage: LockFile,
    /// Names this run as one that shares the storage lock, whose own file can name only one.
    run: Option<LockFile>,
    /// Locks of repositories and trees, by file name.
    held: Mutex<BTreeMap<String, LockFile>>,
}

/// Releases the lock of a repository or tree when it is dropped.
#[derive(Debug)]
pub struct Guard<'a> {
    locks: &'a Locks,
    name: String,
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        self.locks.held().remove(&self.name);
    }
}

impl Locks {
    /// Takes the lock of a storage.
    pub fn acquire(base_path: &Path, mode: Mode, requester: &Requester) -> Result<Self, LockError> {
        Self::acquire_in(base_path, base_path, mode, requester)
    }

    /// Takes the lock of a storage that is created in `directory` and moved to `base_path` later.
    pub fn acquire_in(
        directory: &Path,
        base_path: &Path,
        mode: Mode,
        requester: &Requester,
    ) -> Result<Self, LockError> {
        let path = directory.join(NAME);
        let what = LockTarget::Storage(base_path.to_owned());
        let mut storage = take_storage(directory, &path, mode, requester, &what)?;
        let mut run = None;
        let holder = requester.holder();
        match mode {
            Mode::Exclusive => storage.sign(&holder),
            Mode::Shared => {
                remove_dead_runs(directory);
                run = match create_run_lock(directory, requester, &what) {
                    Ok(mut file) => {
                        file.sign(&holder);
                        Some(file)
                    }
                    // It only informs other runs.
                    Err(LockError::Io { source, .. })
                        if source.kind() == io::ErrorKind::StorageFull =>
                    {
                        None
                    }
                    Err(error) => return Err(error),
                };
            }
        }
        Ok(Self {
            base_path: base_path.to_owned(),
            requester: requester.clone(),
            holder,
            mode,
            storage,
            run,
            held: Mutex::default(),
        })
    }

    /// Fails if a run holds the lock in `directory`, and names that run.
    pub fn probe(directory: &Path, base_path: &Path) -> Result<(), LockError> {
        match LockFile::probe(&directory.join(NAME), Mode::Exclusive)? {
            Probe::Free => Ok(()),
            Probe::Held(holder) => Err(LockError::Busy {
                what: LockTarget::Storage(base_path.to_owned()),
                holder: shared_holder(directory).or(holder),
            }),
        }
    }

    /// Takes the lock of one repository.
    pub fn repository(&self, id: &RepoId) -> Result<Guard<'_>, LockError> {
        let name = format!("repository-{id}.lock");
        self.take(name, &LockTarget::Repository(id.clone()), &self.requester)
    }

    /// Takes the lock of one published tree, by its absolute path.
    pub fn tree(&self, path: &Path) -> Result<Guard<'_>, LockError> {
        self.tree_with_wait(path, Duration::ZERO)
    }

    /// Takes the lock of a published tree, and waits for it at least that long: a run must not lose
    /// its finished work because another one is about to release the lock.
    pub fn tree_with_wait(&self, path: &Path, at_least: Duration) -> Result<Guard<'_>, LockError> {
        let wait = match self.requester.wait {
            Wait::Always => Wait::Always,
            Wait::UpTo(longer) if longer > at_least => Wait::UpTo(longer),
            Wait::No if at_least.is_zero() => Wait::No,
            Wait::No | Wait::UpTo(_) => Wait::UpTo(at_least),
        };
        let digest = ObjectId::of(path.as_os_str().as_encoded_bytes());
        let name = format!("tree-{digest}.lock");
        let requester = self.requester.with_wait(wait);
        self.take(name, &LockTarget::Tree(path.to_owned()), &requester)
    }

    /// Takes the lock of the exports to a destination.
    pub fn destination(&self, name: &DestinationName) -> Result<Guard<'_>, LockError> {
        let file = format!("destination-{name}.lock");
        let what = LockTarget::Destination(name.clone());
        self.take(file, &what, &self.requester)
    }

    /// Takes the lock of the pool marker, which runs hold only briefly when they open or close the
    /// storage.
    pub fn pool_marker(&self) -> Result<Guard<'_>, LockError> {
        let patient = self.requester.with_wait(Wait::UpTo(MARKER_WAIT));
        self.take(
            "pool-marker.lock".to_owned(),
            &LockTarget::PoolMarker,
            &patient,
        )
    }

    fn take(
        &self,
        name: String,
        what: &LockTarget,
        requester: &Requester,
    ) -> Result<Guard<'_>, LockError> {
        let path = lock_path(&self.base_path, &name)?;
        let mut file = wait_for(&path, Mode::Exclusive, requester, what, &|| None)?;
        file.sign(&self.holder);
        self.held().insert(name.clone(), file);
        Ok(Guard { locks: self, name })
    }

    fn held(&self) -> MutexGuard<'_, BTreeMap<String, LockFile>> {
        lock(&self.held)
    }

    /// Checks that the path of each lock still refers to the locked file.
    pub fn check(&self) -> Result<(), LockError> {
        self.storage.check()?;
        if let Some(run) = &self.run {
            run.check()?;
        }
        self.held().values().try_for_each(LockFile::check)
    }

    /// Removes the files of locks that no run holds. No run can take one while the storage lock is
    /// held exclusively.
    pub fn remove_unused(&self) -> io::Result<()> {
        if self.mode != Mode::Exclusive {
            return Ok(());
        }
        let files = match fs_err::read_dir(self.base_path.join(DIRECTORY)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            files => files?,
        };
        for file in files {
            let path = file?.path();
            if path.extension().is_some_and(|end| end == "lock")
                && let Ok(Attempt::Taken(lock)) = LockFile::attempt(&path, Mode::Exclusive)
            {
                lock.remove();
            }
        }
        Ok(())
    }

    /// Updates the paths after the directory was renamed.
    pub fn moved_to(&mut self, base_path: &Path) {
        base_path.clone_into(&mut self.base_path);
        self.storage.moved_to(base_path.join(NAME));
    }
}

impl Drop for Locks {
    fn drop(&mut self) {
        if let Some(run) = self.run.take() {
            run.remove();
        }
    }
}

/// Takes the storage lock; a run that waits for it takes the turn first.
fn take_storage(
    directory: &Path,
    path: &Path,
    mode: Mode,
    requester: &Requester,
    what: &LockTarget,
) -> Result<LockFile, LockError> {
    let sharers = || shared_holder(directory);
    let started = Instant::now();
    let _turn = match requester.wait {
        Wait::No => None,
        Wait::UpTo(_) | Wait::Always => {
            let turn = lock_path(directory, "turn.lock")
                .and_then(|turn| wait_for(&turn, mode, requester, what, &|| None));
            match turn {
                Ok(mut turn) => {
                    // Several may share it: the file names the last one.
                    turn.sign(&requester.holder());
                    Some(turn)
                }
                // A run that has waited long enough is not worse off than one that does not wait.
                Err(LockError::Busy { .. }) => None,
                // On a full disk, a cleanup must still be possible.
                Err(LockError::Io { source, .. })
                    if source.kind() == io::ErrorKind::StorageFull =>
                {
                    None
                }
                Err(error) => return Err(error),
            }
        }
    };
    let rest = requester.with_wait(requester.wait.after(started.elapsed()));
    wait_for(path, mode, &rest, what, &sharers)
}

/// Takes a lock as soon as it is free. `others` returns the holder if the file does not name it.
fn wait_for(
    path: &Path,
    mode: Mode,
    requester: &Requester,
    what: &LockTarget,
    others: &dyn Fn() -> Option<Holder>,
) -> Result<LockFile, LockError> {
    let started = Instant::now();
    // The marker lock is held only briefly.
    let mut is_told = *what == LockTarget::PoolMarker;
    loop {
        let holder = match LockFile::attempt(path, mode)? {
            Attempt::Taken(lock) => return Ok(lock),
            Attempt::Busy(holder) => others().or(holder),
        };
        requester.interrupt.check()?;
        let waited = started.elapsed();
        // Wait for the name of the holder, which is written right after locking.
        let is_named = holder.is_some() || waited >= SILENCE_MAX;
        if requester.wait.is_over(waited) && is_named {
            return Err(LockError::Busy {
                what: what.clone(),
                holder,
            });
        }
        if is_named && !is_told {
            is_told = true;
            log::info!(
                "waiting: {what} is locked by another process: {}",
                describe(holder.as_ref())
            );
        }
        std::thread::sleep(if is_told { LONG_PAUSE } else { PAUSE });
    }
}

/// Creates and locks the file that names a run which shares the storage lock.
fn create_run_lock(
    directory: &Path,
    requester: &Requester,
    what: &LockTarget,
) -> Result<LockFile, LockError> {
    static RUNS: AtomicU64 = AtomicU64::new(0);
    let number = RUNS.fetch_add(1, Ordering::Relaxed);
    let name = format!("run-{}-{number}.lock", std::process::id());
    let path = lock_path(directory, &name)?;
    // No other run uses this name, but one may be probing the file at the moment.
    let quick = requester.with_wait(Wait::UpTo(SILENCE_MAX));
    wait_for(&path, Mode::Exclusive, &quick, what, &|| None)
}

/// A run that shares the lock of the storage in this directory.
fn shared_holder(directory: &Path) -> Option<Holder> {
    runs(directory).find_map(|path| match LockFile::probe(&path, Mode::Shared) {
        Ok(Probe::Held(holder)) => holder,
        Ok(Probe::Free) | Err(_) => None,
    })
}

/// Removes the files of killed runs. A run whose file is removed before it has locked it creates
/// another one.
fn remove_dead_runs(directory: &Path) {
    for path in runs(directory) {
        if let Ok(Attempt::Taken(dead)) = LockFile::attempt(&path, Mode::Exclusive) {
            dead.remove();
        }
    }
}

/// The files of runs that share or shared the storage lock.
fn runs(directory: &Path) -> impl Iterator<Item = PathBuf> {
    let files = std::fs::read_dir(directory.join(DIRECTORY));
    let files = files.into_iter().flatten().flatten();
    files
        .filter(|file| file.file_name().as_encoded_bytes().starts_with(b"run-"))
        .map(|file| file.path())
}

/// The path of a lock in the lock directory, which is created if it does not exist; its parents are
/// not.
fn lock_path(base_path: &Path, name: &str) -> Result<PathBuf, LockError> {
    let directory = base_path.join(DIRECTORY);
    match std::fs::create_dir(&directory) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            if !directory.is_dir() {
                return Err(LockError::NotADirectory { path: directory });
            }
        }
        made => made.map_err(|source| LockError::Io {
            path: directory.clone(),
            source,
        })?,
    }
    Ok(directory.join(name))
}

#[cfg(test)]
mod tests;
