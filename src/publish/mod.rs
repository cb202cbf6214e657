//! Publishing: makes a directory tree look exactly like a manifest, in one step.
//!
//! The tree is staged beside its target out of hard links into the pool, and then exchanged with what stood there. Every
//! path lookup of a client sees one complete generation, and a killed run leaves the old one. Files that only
//! earlier generations had stay reachable for a while, so that a client that holds an older root can finish; earlier roots
//! and keys do not stay.
//!
//! A root that must be newer than one that clients know, or that stands over indexes which we wrote, is made here ([`root`]).
//!
//! Which trees are ours is recorded in the store: with the staging directory's inode before the exchange and with the
//! manifest after it, so that a run killed between the two is understood by the next. What is not ours is never touched.

mod exchange;
mod layout;
mod root;
mod stage;
mod unpublish;

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fs_err as fs;

use crate::digest::ObjectId;
use crate::format::{FormatError, RootFormat};
use crate::interrupt::{Interrupt, Interrupted};
use crate::manifest::ManifestError;
use crate::openpgp::{SigningError, SigningKey};
use crate::pool::Pool;
use crate::rel_path::RelPath;
use crate::store::records::{Generation, Staging, TreeRecord};
use crate::store::{Store, StoreError, WriterLock};

pub use unpublish::unpublish;

use exchange::Identity;
use layout::Layout;
use root::Shown;

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
    #[error("{path} is not a published tree of this storage")]
    NotPublished { path: PathBuf },
    /// Times are in seconds since the epoch.
    #[error(
        "{path} had a state of {}, this one is of {}: apt ignores a root that is older than the one it knows",
        crate::time::utc(*newest),
        crate::time::utc(*date)
    )]
    Older {
        path: PathBuf,
        newest: i64,
        date: i64,
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
    Store(#[from] StoreError),
    #[error(transparent)]
    Io(#[from] io::Error),
}

fn and_more(count: usize) -> String {
    match count {
        1 => String::new(),
        _ => format!(" and {} more", count - 1),
    }
}

/// What publishing needs of the storage.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    pub store: &'a Store,
    pub lock: &'a WriterLock,
    pub pool: &'a Pool,
    pub interrupt: &'a Interrupt,
    /// Seconds since the epoch.
    pub now: i64,
}

/// What is to be shown where.
#[derive(Clone, Copy)]
pub struct Request<'a> {
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
    pub format: RootFormat,
    /// `None` leaves it unsigned.
    pub key: Option<&'a SigningKey>,
    /// What the trusted keys are called at the top of the tree.
    pub key_name: &'a RelPath,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The tree showed it already.
    Unchanged,
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
pub fn publish(context: Context<'_>, request: Request<'_>) -> Result<Outcome, PublishError> {
    let tree = request.tree;
    let staging = staging_path(tree)?;
    let mut record = recover(context, tree, &staging)?;
    let standing = standing(tree, record.as_ref())?;

    if let (Standing::Ours, Some(record)) = (standing, &record) {
        if request.effort == Effort::WhenChanged && shows_already(record, &request) {
            return Ok(Outcome::Unchanged);
        }
        let known = context
            .store
            .read(|reader| Layout::of_everything_recorded(reader, record))?;
        refuse_foreign_files(tree, &known)?;
    }

    let newest = record.as_ref().and_then(|record| record.newest_root_date);
    let Shown {
        manifest,
        date,
        own,
    } = root::to_show(context, &request, record.as_ref())?;
    let newest_root_date = newest.max(date);
    let snapshot = request.snapshot.map(ToOwned::to_owned);
    let (source, root_key) = match (&own, &record) {
        (OwnRoot::None, Some(record)) if record.manifest == Some(manifest) => {
            (record.source, record.root_key.clone())
        }
        (OwnRoot::None, _) => (None, None),
        (OwnRoot::Unsigned, _) => (Some(request.manifest), None),
        (OwnRoot::SignedBy(key), _) => (Some(request.manifest), Some(key.clone())),
    };
    let earlier = generations(record.as_ref(), manifest, request.keep, context.now);
    let layout = context
        .store
        .read(|reader| Layout::new(reader, manifest, &earlier))?;

    make_directories(tree.parent().unwrap_or(Path::new("/")))?;
    stage::make_directory(&staging)?;
    let identity = Identity::of(&staging)?.ok_or_else(|| PublishError::NoName {
        path: staging.clone(),
    })?;
    let pending = TreeRecord {
        repository: request.repository.to_owned(),
        staging: Some(Staging {
            manifest,
            source,
            root_key: root_key.clone(),
            device: identity.device,
            inode: identity.inode,
        }),
        // From the exchange on clients may see it, and a killed run does not come back here.
        newest_root_date,
        ..record.take().unwrap_or(TreeRecord {
            repository: String::new(),
            snapshot: None,
            newest_root_date: None,
            source: None,
            root_key: None,
            manifest: None,
            published_at: context.now,
            earlier: Vec::new(),
            staging: None,
            leftover: None,
        })
    };
    put(context, tree, &pending)?;

    let staged = stage::fill(context, &staging, &layout, tree)
        .and_then(|copied| exchange::exchange(&staging, tree).map(|()| copied));
    let copied = match staged {
        Ok(copied) => copied,
        Err(error) => {
            // Half a tree of copies would keep a full disk full, and another path may be configured next time. What
            // cannot be removed is only clutter; why it was staged in vain is what counts.
            if let Err(error) = remove_directory(&staging) {
                log::warn!("{error}");
            }
            return Err(error);
        }
    };

    put(
        context,
        tree,
        &TreeRecord {
            repository: request.repository.to_owned(),
            snapshot,
            newest_root_date,
            source,
            root_key,
            manifest: Some(manifest),
            published_at: context.now,
            earlier,
            staging: None,
            leftover: Identity::of(&staging)?.map(|old| (old.device, old.inode)),
        },
    )?;
    // What stood there before, now under the staging name. A kill from here on leaves only clutter, which the next
    // publishing takes away.
    remove_directory(&staging)?;
    Ok(Outcome::Published(Summary {
        files: layout.len() as u64,
        copied,
        retained: layout.retained(),
        root: own,
    }))
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

/// Beside the tree, hidden, and always the same: what a killed run left is found again.
fn staging_path(tree: &Path) -> Result<PathBuf, PublishError> {
    let name = tree.file_name().ok_or_else(|| PublishError::NoName {
        path: tree.to_owned(),
    })?;
    let mut staging = std::ffi::OsString::from(".");
    staging.push(name);
    staging.push(".chantal-staging");
    Ok(tree.with_file_name(staging))
}

/// Ends what a killed run began at a tree: its staging directory is gone then.
pub fn recover_at(context: Context<'_>, tree: &Path) -> Result<(), PublishError> {
    recover(context, tree, &staging_path(tree)?).map(drop)
}

/// Finishes or clears away what a killed run began, and returns what is recorded of the tree then.
fn recover(
    context: Context<'_>,
    tree: &Path,
    staging: &Path,
) -> Result<Option<TreeRecord>, PublishError> {
    let Some(mut record) = context.store.read(|reader| reader.tree(tree))? else {
        return match Identity::of(staging)? {
            // Made and killed before it was recorded: it can only be empty.
            Some(_) if is_empty_directory(staging)? => {
                fs::remove_dir(staging)?;
                Ok(None)
            }
            Some(_) => Err(PublishError::Occupied {
                path: staging.to_owned(),
            }),
            None => Ok(None),
        };
    };
    let mut staged = None;
    let mut is_exchanged = false;
    if let Some(pending) = record.staging.take() {
        staged = Some(Identity {
            device: pending.device,
            inode: pending.inode,
        });
        is_exchanged = Identity::of(tree)? == staged;
        if is_exchanged {
            if let Some(replaced) = record.manifest.replace(pending.manifest)
                && replaced != pending.manifest
            {
                record.earlier.insert(
                    0,
                    Generation {
                        manifest: replaced,
                        replaced_at: context.now,
                    },
                );
            }
            // Its remains are known to be ours also when this run is killed while it takes them away.
            record.leftover = Identity::of(staging)?.map(|old| (old.device, old.inode));
            record.source = pending.source;
            record.root_key = pending.root_key;
            put(context, tree, &record)?;
        }
    }
    exchange::recover_from_renames(staging, tree)?;
    if let Some(found) = Identity::of(staging)? {
        // Half of a new tree, or what the tree was before it was exchanged.
        let ours = is_exchanged
            || is_empty_directory(staging)?
            || staged == Some(found)
            || record.leftover == Some((found.device, found.inode));
        if !ours {
            return Err(PublishError::Occupied {
                path: staging.to_owned(),
            });
        }
        remove_directory(staging)?;
    }
    Ok(Some(record))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// Nothing, or an empty directory.
    Free,
    Ours,
}

fn standing(tree: &Path, record: Option<&TreeRecord>) -> Result<Standing, PublishError> {
    match fs::symlink_metadata(tree) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Standing::Free),
        Err(error) => Err(error.into()),
        Ok(metadata) if metadata.is_symlink() => Err(PublishError::SymbolicLink {
            path: tree.to_owned(),
        }),
        Ok(metadata) if metadata.is_dir() => {
            if is_empty_directory(tree)? {
                Ok(Standing::Free)
            } else if record.is_some_and(|record| record.manifest.is_some()) {
                Ok(Standing::Ours)
            } else {
                Err(PublishError::Occupied {
                    path: tree.to_owned(),
                })
            }
        }
        Ok(_) => Err(PublishError::Occupied {
            path: tree.to_owned(),
        }),
    }
}

/// The generations whose files stay reachable: the last one always, older ones while their time lasts.
fn generations(
    record: Option<&TreeRecord>,
    next: ObjectId,
    keep: Duration,
    now: i64,
) -> Vec<Generation> {
    let Some(record) = record else {
        return Vec::new();
    };
    let mut all = record.earlier.clone();
    if let Some(shown) = record.manifest
        && shown != next
    {
        all.insert(
            0,
            Generation {
                manifest: shown,
                replaced_at: now,
            },
        );
    }
    all.retain(|generation| generation.manifest != next);
    let mut index = 0;
    all.retain(|generation| {
        index += 1;
        stays(index - 1, generation, keep, now)
    });
    all
}

/// `index` counts from the newest earlier generation.
fn stays(index: usize, generation: &Generation, keep: Duration, now: i64) -> bool {
    let keep = i64::try_from(keep.as_secs()).unwrap_or(i64::MAX);
    index == 0 || now.saturating_sub(generation.replaced_at) < keep
}

/// The manifests of a tree's earlier generations that the next publishing drops.
pub fn outlived(tree: &TreeRecord, keep: Duration, now: i64) -> BTreeSet<ObjectId> {
    let earlier = tree.earlier.iter().enumerate();
    earlier
        .filter(|(index, generation)| !stays(*index, generation, keep, now))
        .map(|(_, generation)| generation.manifest)
        .collect()
}

/// An administrator may have put a file into the tree: exchanging it away would lose it.
fn refuse_foreign_files(tree: &Path, known: &Layout) -> Result<(), PublishError> {
    let mut foreign: Vec<PathBuf> = Vec::new();
    let mut directories = vec![tree.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory)? {
            let entry = entry?;
            let path = entry.path();
            let relative = path.strip_prefix(tree).ok().and_then(Path::to_str);
            if entry.file_type()?.is_dir() {
                let is_ours = relative.is_some_and(|relative| known.has_directory(relative));
                if !is_ours && is_empty_directory(&path)? {
                    foreign.push(path);
                } else {
                    directories.push(path);
                }
            } else if !relative.is_some_and(|relative| known.has(relative)) {
                foreign.push(path);
            }
        }
    }
    foreign.sort();
    match foreign.first() {
        None => Ok(()),
        Some(first) => Err(PublishError::ForeignFiles {
            tree: tree.to_owned(),
            first: first.clone(),
            count: foreign.len(),
        }),
    }
}

fn put(context: Context<'_>, tree: &Path, record: &TreeRecord) -> Result<(), StoreError> {
    context
        .store
        .write(context.lock, |writer| writer.put_tree(tree, record))
}

fn is_empty_directory(path: &Path) -> io::Result<bool> {
    Ok(fs::symlink_metadata(path)?.is_dir() && fs::read_dir(path)?.next().is_none())
}

/// The directories above a tree, readable for a web server whatever the umask.
fn make_directories(path: &Path) -> io::Result<()> {
    if path.exists() {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        make_directories(parent)?;
    }
    match stage::make_directory(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

fn remove_directory(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

#[cfg(test)]
mod tests;
