//! Publishing: makes a directory tree look exactly like a manifest, in one step.
//!
//! The tree is staged beside its target out of hard links into the pool, and then exchanged with what stood there. Every
//! path lookup of a client sees one complete generation, and a killed run leaves the old one. Files that only
//! earlier generations had stay reachable for a while, so that a client that holds an older root can finish; earlier roots
//! and keys do not stay.
//!
//! A root that must be newer than one that clients know, or that stands over indexes which we wrote, is made here ([`root`]).
//!
//! Which trees are ours is recorded in the store: with the staging directory's identity before the exchange and with the
//! manifest after it, so that a run killed between the two is understood by the next. What is not ours is never touched.
//!
//! A place that is not there is not empty: a tree that was published and is missing may be on a disk that is not mounted, and
//! nothing is made in its stead unless [`Effort::Recreate`] says so ([`presence`]). A run that failed leaves the record that it
//! found; one that was killed is ended by the next one ([`recover`]).

mod directory;
mod exchange;
mod generations;
mod layout;
mod presence;
mod recover;
mod root;
mod stage;
mod strays;
mod unpublish;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::digest::ObjectId;
use crate::exit::Exit;
use crate::format::{Format, FormatError};
use crate::interrupt::Interrupted;
use crate::lock::LockError;
use crate::manifest::ManifestError;
use crate::openpgp::{SigningError, SigningKey};
use crate::pool::exit_of_io;
use crate::rel_path::RelPath;
use crate::storage::Storage;
use crate::store::StoreError;
use crate::store::records::{DirectoryId, Staging, TreeRecord};

pub use generations::outlived;
pub use presence::is_missing;
pub use recover::recover_at;
pub use unpublish::{Absent, Afterwards, Removal, unpublish};

use directory::{identity, make_parents, remove, staging_path};
use layout::Layout;
use presence::Presence;
use root::Shown;

/// How long a sync waits for another run that is publishing at the same place: that takes seconds, and the sync may have taken hours.
const PATIENCE: Duration = Duration::from_mins(1);

#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    #[error("{path} exists and was not published by this storage")]
    Occupied { path: PathBuf },
    #[error("{tree} holds {first}{} that chantal did not publish", and_more(*count))]
    ForeignFiles {
        tree: PathBuf,
        first: PathBuf,
        count: usize,
    },
    #[error("{path} is a symbolic link, and a tree is published by replacing what has its name")]
    SymbolicLink { path: PathBuf },
    #[error("{path} has no name to stage a tree under")]
    NoName { path: PathBuf },
    #[error("{path} is a mount point: a tree cannot be exchanged with it")]
    MountPoint { path: PathBuf },
    #[error("{path} was published, but is not there: is its file system mounted?")]
    TreeMissing { path: PathBuf },
    /// Nothing was published there yet, but beside it.
    #[error(
        "{path} cannot be made: {neighbour} was published on another file system and is not there: is it mounted?"
    )]
    NeighbourMissing { path: PathBuf, neighbour: PathBuf },
    #[error(
        "{path} cannot be made: /etc/fstab has a file system for {mount_point}, and it is not mounted"
    )]
    NotMounted { path: PathBuf, mount_point: PathBuf },
    #[error("{path} is not a published tree of this storage")]
    NotPublished { path: PathBuf },
    /// Times are in seconds since the epoch.
    #[error(
        "{path} had a state of {}, this one {}: apt ignores a root that is older than the one it knows",
        crate::time::utc(*newest),
        date.map_or("has no date".to_owned(), |date| format!("is of {}", crate::time::utc(date)))
    )]
    Older {
        path: PathBuf,
        newest: i64,
        date: Option<i64>,
    },
    #[error("{path} is a file of the upstream, where clients look for the key that signed this")]
    KeyPlace { path: RelPath },
    #[error("manifest {manifest} has no root")]
    NoRoot { manifest: ObjectId },
    #[error("its root cannot be made anew: {0}")]
    Root(FormatError),
    #[error("its root cannot be signed: {0}")]
    Signing(#[from] SigningError),
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    #[error("object {object} of {path} is missing from the pool, or has another size")]
    ObjectMissing { path: String, object: ObjectId },
    #[error("{path} belongs to user {owner}: only that user or root may make links to it")]
    NotOwner { path: PathBuf, owner: u32 },
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
    #[error(transparent)]
    Lock(#[from] LockError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl PublishError {
    pub fn exit(&self) -> Exit {
        match self {
            Self::Occupied { .. }
            | Self::ForeignFiles { .. }
            | Self::SymbolicLink { .. }
            | Self::NoName { .. }
            | Self::NotPublished { .. }
            | Self::Older { .. }
            | Self::Signing(SigningError::Expired { .. } | SigningError::Time { .. })
            | Self::MountPoint { .. } => Exit::Usage,
            Self::KeyPlace { .. } | Self::Root(_) | Self::Signing(_) => Exit::Refused,
            Self::TreeMissing { .. }
            | Self::NeighbourMissing { .. }
            | Self::NotMounted { .. }
            | Self::ObjectMissing { .. }
            | Self::NoRoot { .. }
            | Self::Manifest(_) => Exit::Damaged,
            Self::Store(error) => error.exit(),
            Self::Interrupted(_) => Exit::Interrupted,
            Self::Lock(error) => error.exit(),
            Self::Io(error) => exit_of_io(error),
            Self::NotOwner { .. } => Exit::Other,
        }
    }
}

fn and_more(count: usize) -> String {
    match count {
        1 => String::new(),
        _ => format!(" and {} more", count - 1),
    }
}

/// One piece of work: all of its times are the same.
#[derive(Clone, Copy)]
struct Context<'a> {
    storage: &'a Storage,
    /// Seconds since the epoch.
    now: i64,
}

impl<'a> Context<'a> {
    fn new(storage: &'a Storage) -> Self {
        let now = crate::time::now();
        Self { storage, now }
    }
}

/// What is to be shown where.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    pub caller: Caller,
    pub tree: &'a Path,
    pub repository: &'a str,
    /// The snapshot that the manifest is of; `None` for the repository's state.
    pub snapshot: Option<&'a str>,
    pub manifest: ObjectId,
    pub root: Root<'a>,
    /// How long the files of earlier generations stay.
    pub keep: Duration,
    pub effort: Effort,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effort {
    /// Nothing is done when the tree shows the manifest already, as the store remembers.
    WhenChanged,
    /// The tree is made anew whatever is there.
    Always,
    /// And also where it is missing: it is lost for good.
    Recreate,
}

/// Who asks for a tree to be published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    /// A command that names it: it is wanted there from now on.
    Command,
    /// A sync, which leaves places alone that were unpublished.
    Sync,
}

/// Which root a tree gets. Dates are given where clients ignore a root that is older than the one they know.
#[derive(Clone, Copy)]
pub enum Root<'a> {
    /// The manifest's own, byte for byte.
    AsItIs { date: Option<i64> },
    /// The manifest's own; `older` says what becomes of one that is older than what clients of the place may know.
    Upstreams {
        date: Option<i64>,
        own: Own<'a>,
        older: Older,
    },
    /// One of ours: the manifest's is neither dated nor signed yet.
    Ours(Own<'a>),
}

impl Root<'_> {
    /// `None` where the tree gets whatever the manifest has.
    fn format(&self) -> Option<&'static dyn Format> {
        match self {
            Self::AsItIs { .. } => None,
            Self::Upstreams { own, .. } | Self::Ours(own) => Some(own.format),
        }
    }
}

/// What becomes of a root that is older than one that clients may know, and that they would silently ignore.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Older {
    /// It gets a root of ours that is newer, or is refused where we cannot sign.
    IsRedated,
    /// The upstream went back, and somebody said that this is right: it is shown as it is. That says nothing of roots that we
    /// made: after one of those it is redated too.
    IsFollowed,
}

/// What a root of ours is made with.
#[derive(Clone, Copy)]
pub struct Own<'a> {
    pub format: &'static dyn Format,
    /// `None` leaves it unsigned.
    pub key: Option<&'a SigningKey>,
    /// What the trusted keys are called at the top of the tree.
    pub key_name: &'a RelPath,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The tree showed it already.
    Unchanged,
    /// It was unpublished, and no command has asked for it since.
    NotWanted,
    Published(Summary),
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    pub files: u64,
    /// Of these, files that could not be links (another file system, too many links) and take space of their own.
    pub copied: u64,
    /// Of these, files of earlier generations.
    pub retained: u64,
    pub root: OwnRoot,
}

/// A root that was made when it was published.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum OwnRoot {
    /// The tree shows the manifest's.
    #[default]
    None,
    Unsigned,
    /// The fingerprint of the key.
    SignedBy(String),
}

/// Makes `request.tree` show `request.manifest`.
pub fn publish(storage: &Storage, request: Request<'_>) -> Result<Outcome, PublishError> {
    publish_now(Context::new(storage), request)
}

fn publish_now(context: Context<'_>, request: Request<'_>) -> Result<Outcome, PublishError> {
    let tree = request.tree;
    let locks = &context.storage.locks;
    let _lock = match request.caller {
        Caller::Command => locks.tree(tree)?,
        Caller::Sync => locks.tree_patiently(tree, PATIENCE)?,
    };
    let staging = staging_path(tree)?;
    let record = recover::recover(context, tree, &staging)?;
    if request.caller == Caller::Sync && record.as_ref().is_some_and(|record| !record.wanted) {
        return Ok(Outcome::NotWanted);
    }
    let found = presence::find(context, &request, record)?;
    if let Presence::Shown(record) = &found.presence
        && request.effort == Effort::WhenChanged
        && shows_already(record, &request)
    {
        return Ok(Outcome::Unchanged);
    }
    let record = found.presence.into_record();

    let newest = generations::newest_root_date(context, &request, record.as_ref(), found.strays)?;
    let Shown {
        manifest,
        date,
        own,
    } = root::to_show(context, &request, record.as_ref(), newest)?;
    let (source, root_key) = match (&own, &record) {
        (OwnRoot::None, Some(record)) if record.manifest == Some(manifest) => {
            (record.source, record.root_key.clone())
        }
        (OwnRoot::None, _) => (None, None),
        (OwnRoot::Unsigned, _) => (Some(request.manifest), None),
        (OwnRoot::SignedBy(key), _) => (Some(request.manifest), Some(key.clone())),
    };
    let earlier = generations::kept(record.as_ref(), manifest, request.keep, context.now);
    let layout = context
        .storage
        .read(|reader| Layout::new(reader, manifest, &earlier))?;

    let shown = TreeRecord {
        repository: request.repository.to_owned(),
        snapshot: request.snapshot.map(ToOwned::to_owned),
        newest_root_date: newest.max(date),
        source,
        root_key,
        manifest: Some(manifest),
        directory: None,
        wanted: true,
        published_at: context.now,
        earlier,
        staging: None,
        leftover: None,
    };
    make_parents(tree)?;
    let before = record.as_ref();
    let (copied, directory) = stage_and_exchange(context, tree, &staging, before, &shown, &layout)
        .inspect_err(|_| recover::give_up(context, tree, &staging, before))?;
    let shown = TreeRecord {
        directory: Some(directory),
        leftover: identity(&staging)?,
        ..shown
    };
    put(context, tree, &shown)?;
    // What stood there before, now under the staging name. A kill from here on leaves only clutter, which the next
    // publishing or cleanup removes.
    remove(&staging)?;
    Ok(Outcome::Published(Summary {
        files: layout.len() as u64,
        copied,
        retained: layout.retained(),
        root: own,
    }))
}

/// Makes the tree that `shown` describes and puts it in its place; `before` is what was recorded of that. Returns how many files
/// were copied, and which directory it is.
fn stage_and_exchange(
    context: Context<'_>,
    tree: &Path,
    staging: &Path,
    before: Option<&TreeRecord>,
    shown: &TreeRecord,
    layout: &Layout,
) -> Result<(u64, DirectoryId), PublishError> {
    if before.is_none() {
        // A run that is killed between making the directory and recording it leaves a place that cleanup knows to look at.
        put(context, tree, &pending(None, shown, None))?;
    }
    stage::make_directory(staging)?;
    let directory = identity(staging)?.ok_or_else(|| PublishError::NoName {
        path: staging.to_owned(),
    })?;
    put(context, tree, &pending(before, shown, Some(directory)))?;
    let copied = stage::fill(context, staging, layout, tree)?;
    check_lock(context)?;
    exchange::exchange(staging, tree)?;
    Ok((copied, directory))
}

/// What is recorded while `shown` is being staged in `directory`, in the place of what was there before.
fn pending(
    before: Option<&TreeRecord>,
    shown: &TreeRecord,
    directory: Option<DirectoryId>,
) -> TreeRecord {
    let nothing = || TreeRecord {
        snapshot: None,
        source: None,
        root_key: None,
        manifest: None,
        earlier: Vec::new(),
        ..shown.clone()
    };
    let staging = directory.zip(shown.manifest);
    TreeRecord {
        repository: shown.repository.clone(),
        // From the exchange on clients may see it, and a killed run does not come back here.
        newest_root_date: shown.newest_root_date,
        staging: staging.map(|(directory, manifest)| Staging {
            manifest,
            source: shown.source,
            root_key: shown.root_key.clone(),
            directory,
        }),
        ..before.cloned().unwrap_or_else(nothing)
    }
}

/// Whether a tree shows what is to be shown, as the store remembers.
fn shows_already(record: &TreeRecord, request: &Request<'_>) -> bool {
    match request.root {
        Root::AsItIs { .. } | Root::Upstreams { .. } => {
            // Also with another root in front of it.
            record.source.or(record.manifest) == Some(request.manifest)
        }
        Root::Ours(own) => {
            record.source == Some(request.manifest)
                && record.root_key == own.key.map(SigningKey::fingerprint)
        }
    }
}

/// A run that lost the lock exchanges and removes nothing: another one may be at work there.
fn check_lock(context: Context<'_>) -> Result<(), StoreError> {
    Ok(context.storage.locks.check()?)
}

fn put(context: Context<'_>, tree: &Path, record: &TreeRecord) -> Result<(), StoreError> {
    context
        .storage
        .write(|writer| writer.put_tree(tree, record))
}

#[cfg(test)]
mod tests;
