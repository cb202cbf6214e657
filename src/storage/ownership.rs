//! A pool belongs to one store: another one would delete what only the first needs.
//!
//! - The pool's marker names its store, where that was and on which host, and a generation that store and marker raise with each
//!   new manifest and snapshot, and before objects are deleted: the store first, so that a run killed in between leaves a store that is ahead, which is its own master.
//! - Another store is refused. The same store at another place, or behind the marker, is a copy or came out of a backup: it may add
//!   to the pool, and must not delete from it.
//! - `pool take-over` makes a store the owner, whatever the marker says; the former owner is refused from then on. What lies in the pool by
//!   then stays until its owner's administrator gives it up ([`crate::store::records::Identity::adopting`]).

use std::io;
use std::path::{Path, PathBuf};

use super::{Purpose, Storage, StorageError};
use crate::lock::Locks;
use crate::pool::{Marker, Owner, Pool};
use crate::store::records::{Identity, random_id};
use crate::store::{Reader, Store};
use crate::time;

/// The marker's `last used` is written again when it is that old.
const LAST_USED_INTERVAL_SECS: i64 = 3600;

/// What a store may do with its pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PoolAccess {
    Owner,
    /// Adding only; why, and the id of the store that the pool belongs to.
    AddOnly {
        why: OwnershipIssue,
        store: String,
    },
}

/// Why a store may not be the one that its pool belongs to, although it has its id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OwnershipIssue {
    #[error(
        "database {} is older than its pool (generation {generation}, pool generation {noted}): it was restored from a backup",
        store.display()
    )]
    RestoredFromBackup {
        store: PathBuf,
        generation: u64,
        noted: u64,
    },
    #[error(
        "database {} on {host} was moved or copied: its pool was last used by {} on {noted_host}",
        store.display(),
        noted.display()
    )]
    MovedOrCopied {
        store: PathBuf,
        host: String,
        noted: PathBuf,
        noted_host: String,
    },
}

/// Two stores of which one takes the other's pool over.
#[derive(Debug)]
pub struct TakeOver {
    /// What the marker says; `None` where it says nothing yet.
    pub from: Option<Owner>,
    pub to: Owner,
    /// Whether the store that takes over was ever used.
    pub was_used: bool,
}

/// How a store stands to its pool. Another one's pool is an error.
pub fn check(store: &Store, pool: &Pool) -> Result<PoolAccess, StorageError> {
    let identity = store.read(Reader::identity)?;
    let here = owner(store, &identity)?;
    let Some(noted) = pool.owner() else {
        return Ok(PoolAccess::Owner);
    };
    if noted.store != here.store {
        return Err(StorageError::OtherStore {
            pool: pool.root().to_owned(),
            own: here.store,
            owner: noted,
        });
    }
    let why = if let Some(generation) = restored(&identity, &noted) {
        OwnershipIssue::RestoredFromBackup {
            store: here.at,
            generation,
            noted: noted.generation,
        }
    } else if (&here.at, &here.host) != (&noted.at, &noted.host) {
        OwnershipIssue::MovedOrCopied {
            store: here.at,
            host: here.host,
            noted: noted.at,
            noted_host: noted.host,
        }
    } else {
        return Ok(PoolAccess::Owner);
    };
    Ok(PoolAccess::AddOnly {
        why,
        store: noted.store,
    })
}

/// The generation with which the store came out of a backup, if it did.
fn restored(identity: &Identity, noted: &Owner) -> Option<u64> {
    let is_behind = identity.generation < noted.generation;
    identity
        .restored
        .or(is_behind.then_some(identity.generation))
}

/// Since when objects in the pool are kept that the store does not know. A marker without an owner, over which the store was used
/// before, was lost and made again by hand: it cannot say any more whether this store came out of a backup.
pub fn adopting(identity: &Identity, pool: &Pool) -> Option<i64> {
    if pool.owner().is_none() && identity.generation > 0 {
        Some(time::now())
    } else {
        identity.adopting
    }
}

/// The same for a store that is opened to change it. Notes it as the owner where it is, and nobody else was.
pub fn record(store: &Store, pool: &Pool, locks: &Locks) -> Result<PoolAccess, StorageError> {
    let access = check(store, pool)?;
    let identity = store.read(Reader::identity)?;
    let here = owner(store, &identity)?;
    let Some(noted) = pool.owner() else {
        let adopting = adopting(&identity, pool);
        if adopting != identity.adopting {
            store.write(locks, |writer| {
                writer.put_identity(&Identity {
                    adopting,
                    ..writer.identity()?
                })
            })?;
        }
        pool.set_owner(locks, here)?;
        return Ok(PoolAccess::Owner);
    };
    let restored = restored(&identity, &noted);
    if restored != identity.restored {
        // What is synced from now on raises its generation, and does not bring back what it does not know.
        store.write(locks, |writer| {
            writer.put_identity(&Identity {
                restored,
                ..writer.identity()?
            })
        })?;
    }
    let is_old = here.last_used - noted.last_used >= LAST_USED_INTERVAL_SECS;
    if access == PoolAccess::Owner && (here.generation != noted.generation || is_old) {
        pool.set_owner(locks, here)?;
    }
    Ok(access)
}

/// Brings the marker to the store's generation, where this store owns the pool.
pub fn update_marker(storage: &Storage) -> Result<(), StorageError> {
    let Purpose::Change(PoolAccess::Owner) = storage.purpose else {
        return Ok(());
    };
    let generation = storage.store.read(Reader::identity)?.generation;
    if storage
        .pool
        .owner()
        .is_some_and(|noted| noted.generation < generation)
    {
        let Storage { pool, locks, .. } = storage;
        pool.raise_generation(locks, generation)?;
    }
    Ok(())
}

/// The owner that a pool's marker would name if it belonged to this store.
pub fn owner(store: &Store, identity: &Identity) -> io::Result<Owner> {
    Ok(Owner {
        store: identity.store.clone(),
        at: marker_path(&fs_err::canonicalize(store.path())?),
        host: host(),
        generation: identity.generation,
        last_used: time::now(),
    })
}

/// As the marker can hold it: in a line, as text.
fn marker_path(path: &Path) -> PathBuf {
    path.display().to_string().replace('\n', " ").into()
}

fn host() -> String {
    let system = rustix::system::uname();
    let host = system.nodename().to_string_lossy();
    host.split_whitespace().collect()
}

/// The store that a marker names, where its file is still there on this host.
pub fn existing_owner(marker: &Marker) -> Option<&Owner> {
    let owner = marker.owner.as_ref()?;
    (owner.host == host() && owner.at.exists()).then_some(owner)
}

/// What a take-over would do, for the one who decides.
pub fn compare(store: &Store, marker: &Marker) -> Result<TakeOver, StorageError> {
    let (identity, last_used) =
        store.read(|reader| Ok((reader.identity()?, reader.last_used()?)))?;
    let mut to = owner(store, &identity)?;
    to.last_used = last_used.unwrap_or_default();
    Ok(TakeOver {
        from: marker.owner.clone(),
        to,
        was_used: last_used.is_some(),
    })
}

/// Makes the store the owner of the pool with this marker. Killed between the two writes: the marker still names the former one.
pub fn take_over(
    store: &Store,
    locks: &Locks,
    root: &Path,
    marker: &Marker,
) -> Result<Pool, StorageError> {
    let fresh_id = random_id()?;
    let identity = store.write(locks, |writer| {
        let mut identity = writer.identity()?;
        identity.pool.clone_from(&marker.pool);
        identity.adopting = Some(time::now());
        identity.restored = None;
        if let Some(owner) = &marker.owner {
            // A copy must differ from what it is a copy of.
            if owner.store == identity.store {
                identity.store.clone_from(&fresh_id);
            }
            identity.generation = identity.generation.max(owner.generation);
        }
        identity.generation = identity.generation.saturating_add(1);
        writer.put_identity(&identity)?;
        Ok(identity)
    })?;
    let pool = Pool::open(root, &marker.pool)?;
    pool.set_owner(locks, owner(store, &identity)?)?;
    Ok(pool)
}
