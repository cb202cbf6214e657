//! A pool belongs to one store: another one would delete objects that only the first one needs.
//!
//! - The pool marker contains the id, path and host of its store, and a generation that store and
//!   marker increment with each new manifest and snapshot, and before objects are deleted: the
//!   store first, so that a run killed in between leaves a store that is ahead of the marker, which
//!   is fine.
//! - Another store is refused. The same store at another path, or with a lower generation than the
//!   marker, is a copy or was restored from a backup: it may add objects to the pool, but must not
//!   delete any.
//! - `pool take-over` makes a store the owner, regardless of the marker; the previous owner is
//!   refused from then on. Objects that are in the pool by then are kept until the administrator
//!   gives them up ([`crate::store::records::Identity::adopting`]).

use std::io;
use std::path::{Path, PathBuf};

use crate::lock::Locks;
use crate::pool::{Marker, Owner, Pool};
use crate::store::records::{Identity, random_id};
use crate::store::{Reader, Store};
use crate::time;

use super::error::{OwnershipIssue, StorageError};

/// `last used` in the marker is updated after this time.
const LAST_USED_INTERVAL_SECS: i64 = 3600;

/// How a store may use its pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PoolAccess {
    Owner,
    /// Adding only; with the reason and the id of the owner.
    AddOnly {
        why: OwnershipIssue,
        store: String,
    },
}

impl PoolAccess {
    pub fn warn_if_not_owner(&self) {
        if let Self::AddOnly { why, store } = self {
            log::warn!(
                "{why}; `db cleanup` is refused until `chantal pool take-over --from {store}` has been run"
            );
        }
    }

    /// Fails if the pool does not belong to this store, so that objects must not be deleted.
    pub fn may_delete(&self) -> Result<(), StorageError> {
        match self {
            Self::Owner => Ok(()),
            Self::AddOnly { why, store } => Err(StorageError::NotOwner {
                why: why.clone(),
                store: store.clone(),
            }),
        }
    }
}

/// The previous and the new owner of a pool.
#[derive(Debug)]
pub struct TakeOver {
    /// The owner in the marker; `None` if there is none yet.
    pub from: Option<Owner>,
    pub to: Owner,
    /// Whether the new owner has ever been used.
    pub last_used: Option<i64>,
}

/// Checks how a store may use its pool. Fails if the pool belongs to another store.
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

/// The generation of a store that was restored from a backup.
fn restored(identity: &Identity, noted: &Owner) -> Option<u64> {
    let is_behind = identity.generation < noted.generation;
    identity
        .restored
        .or(is_behind.then_some(identity.generation))
}

/// The time since which unknown objects in the pool are kept. A marker without an owner, although
/// the store was used before, was recreated by hand: it does not tell whether this store was
/// restored from a backup.
pub fn adopting(identity: &Identity, pool: &Pool) -> Option<i64> {
    if pool.owner().is_none() && identity.generation > 0 {
        Some(time::now())
    } else {
        identity.adopting
    }
}

/// As [`check`], for a store that is opened for changes. Records it as the owner if the pool has
/// none.
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
        // Later syncs increase its generation, but it still does not know the removed objects.
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

/// The entry for this store in a pool marker.
pub fn owner(store: &Store, identity: &Identity) -> io::Result<Owner> {
    Ok(Owner {
        store: identity.store.clone(),
        at: marker_path(&fs_err::canonicalize(store.path())?),
        host: host(),
        generation: identity.generation,
        last_used: time::now(),
    })
}

/// A path as text in one line, for the marker.
fn marker_path(path: &Path) -> PathBuf {
    path.display().to_string().replace('\n', " ").into()
}

fn host() -> String {
    let system = rustix::system::uname();
    let host = system.nodename().to_string_lossy();
    host.split_whitespace().collect()
}

/// The owner in a marker, if its file still exists on this host.
pub fn existing_owner(marker: &Marker) -> Option<&Owner> {
    let owner = marker.owner.as_ref()?;
    (owner.host == host() && owner.at.exists()).then_some(owner)
}

/// What a take-over would change.
pub fn compare(store: &Store, marker: &Marker) -> Result<TakeOver, StorageError> {
    let (identity, last_used) =
        store.read(|reader| Ok((reader.identity()?, reader.last_used()?)))?;
    let mut to = owner(store, &identity)?;
    to.last_used = last_used.unwrap_or_default();
    Ok(TakeOver {
        from: marker.owner.clone(),
        to,
        last_used,
    })
}

/// Makes the store the owner of the pool with this marker. If it is killed between the two writes,
/// the marker still contains the previous owner.
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
            // A copy needs a different id than its original.
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
