//! What stands where a tree is to be published, held against what is recorded of the place.
//!
//! An empty mount point looks like a place where nothing was published. The store knows better:
//! which directory the tree was ([`DirectoryId`]), and on which file system its neighbours are.

use std::io;
use std::path::{Path, PathBuf};

use fs_err as fs;

use super::directory::{identity, is_empty};
use super::error::PublishError;
use super::layout::Layout;
use super::root;
use super::strays::{Strays, holds_only_pool_files, reject_foreign_files};
use super::target::{Effort, Target};
use super::tree::Tree;
use crate::mounts;
use crate::regular_file::is_absent;
use crate::storage::Storage;
use crate::store::records::{DirectoryId, TreeRecord};

/// What was found, as far as it may be replaced.
pub enum Presence {
    /// Nothing; with what is remembered of the place.
    Free(Option<TreeRecord>),
    /// The tree that is recorded.
    Shown(TreeRecord),
    /// Files of ours that the record does not account for.
    Unaccounted(Option<TreeRecord>),
}

impl Presence {
    pub fn into_record(self) -> Option<TreeRecord> {
        match self {
            Self::Shown(record) => Some(record),
            Self::Free(record) | Self::Unaccounted(record) => record,
        }
    }
}

pub struct Found {
    pub presence: Presence,
    pub strays: Strays,
}

/// What a place looks like from outside: no file in it was compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Observation {
    /// Nothing, or an empty directory, where nothing should be.
    Free,
    /// It was published, and is not there.
    Missing,
    /// The directory that is recorded; now with this identity.
    Recorded(DirectoryId),
    /// Another one than the one that is recorded.
    Another(DirectoryId),
    /// A directory with something in it where nothing was published.
    Unrecorded,
}

/// Looks at a tree, and decides whether it may be replaced. A directory that was moved or restored
/// is taken over here.
pub fn find(
    tree: &Tree<'_>,
    target: &Target<'_>,
    record: Option<TreeRecord>,
) -> Result<Found, PublishError> {
    let effort = target.request.effort;
    let free = |record| Found {
        presence: Presence::Free(record),
        strays: Strays::None,
    };
    match (observe(tree.path, record.as_ref())?, record) {
        (Observation::Missing, record) if effort == Effort::Recreate => Ok(free(record)),
        (Observation::Missing, _) => Err(PublishError::TreeMissing {
            path: tree.path.to_owned(),
        }),
        (Observation::Free, record) => {
            if effort != Effort::Recreate {
                reject_unmounted_place(tree.storage, tree.path)?;
            }
            Ok(free(record))
        }
        (Observation::Recorded(here), Some(record)) => check_recorded(tree, target, record, here),
        (Observation::Another(here), Some(record)) => check_moved(tree, record, here),
        (_, record) => check_unrecorded(tree, target, record),
    }
}

pub fn observe(tree: &Path, record: Option<&TreeRecord>) -> Result<Observation, PublishError> {
    // A first publishing that was killed, and whose directory has neither name: only its disk knows
    // how far it came.
    let shown = record.filter(|record| record.manifest.is_some() || record.staging.is_some());
    match fs::symlink_metadata(tree) {
        Err(error) if is_absent(&error) => {
            return Ok(match shown {
                Some(_) => Observation::Missing,
                None => Observation::Free,
            });
        }
        Err(error) => return Err(error.into()),
        Ok(metadata) if metadata.is_symlink() => {
            return Err(PublishError::SymbolicLink {
                path: tree.to_owned(),
            });
        }
        Ok(metadata) if metadata.is_dir() => {}
        Ok(_) => {
            return Err(PublishError::Occupied {
                path: tree.to_owned(),
            });
        }
    }
    let here = identity(tree)?.ok_or_else(|| PublishError::TreeMissing {
        path: tree.to_owned(),
    })?;
    let recorded = shown.and_then(|record| record.directory);
    let is_recorded = recorded.map(|recorded| recorded.is_same(here));
    Ok(match (shown.is_some(), is_empty(tree)?) {
        // An empty directory in the place of a tree is what a mount point looks like; somebody
        // emptied it where it is the tree's.
        (true, true) if is_recorded != Some(true) => Observation::Missing,
        (_, true) => Observation::Free,
        (true, false) if is_recorded == Some(false) => Observation::Another(here),
        (true, false) => Observation::Recorded(here),
        (false, false) => Observation::Unrecorded,
    })
}

/// The tree is the one that is recorded. What is in it is looked at only where it is about to be
/// replaced.
fn check_recorded(
    tree: &Tree<'_>,
    target: &Target<'_>,
    mut record: TreeRecord,
    here: DirectoryId,
) -> Result<Found, PublishError> {
    let is_done = target.request.effort == Effort::WhenChanged && target.is_shown_by(&record);
    let is_first = record.directory.is_none();
    let strays = if is_done && !is_first {
        Strays::None
    } else {
        find_strays(tree.storage, tree.path, &record)?
    };
    // The first time since an upgrade, or a backup of that time: what was published since would go
    // unnoticed.
    if is_first
        && (strays != Strays::None
            || !shows_everything(tree.storage, tree.path, &record, Depth::Size)?)
    {
        return Ok(Found {
            presence: Presence::Unaccounted(Some(record)),
            strays,
        });
    }
    if record.directory != Some(here) {
        // Noted for the first time, or its disk has another device number today.
        record.directory = Some(here);
        tree.put(&record)?;
    }
    Ok(Found {
        presence: Presence::Shown(record),
        strays,
    })
}

/// It was restored from a backup, copied or moved: what it shows is compared before it counts as
/// the tree.
fn check_moved(
    tree: &Tree<'_>,
    mut record: TreeRecord,
    here: DirectoryId,
) -> Result<Found, PublishError> {
    let strays = find_strays(tree.storage, tree.path, &record)?;
    // File systems without ids and times (NFS) have another device number after each mount: there
    // the inode has to do.
    let is_likely = record
        .directory
        .is_some_and(|known| known.inode == here.inode && known.born.or(here.born).is_none());
    let depth = if is_likely { Depth::Size } else { Depth::Bytes };
    let is_whole =
        strays == Strays::None && shows_everything(tree.storage, tree.path, &record, depth)?;
    if strays == Strays::None && !(is_likely && is_whole) {
        log::warn!(
            "{}: not the directory that chantal published (restored from a backup?): {}",
            tree.path.display(),
            if is_whole {
                "all files match, tree adopted"
            } else {
                "files differ, publishing it again"
            }
        );
    }
    let presence = if is_whole {
        record.directory = Some(here);
        tree.put(&record)?;
        Presence::Shown(record)
    } else {
        Presence::Unaccounted(Some(record))
    };
    Ok(Found { presence, strays })
}

/// The store knows nothing of what is there: it is an older one restored from a backup, or it is
/// somebody's directory.
fn check_unrecorded(
    tree: &Tree<'_>,
    target: &Target<'_>,
    record: Option<TreeRecord>,
) -> Result<Found, PublishError> {
    let has_root = match target.format() {
        Some(format) => root::source(tree.storage, target.request.manifest, format)?
            .is_some_and(|source| source.path().below(tree.path).is_file()),
        None => false,
    };
    if !has_root || !holds_only_pool_files(tree.storage, tree.path)? {
        return Err(PublishError::Occupied {
            path: tree.path.to_owned(),
        });
    }
    log::warn!(
        "{}: tree not found in the database (older database restored from a backup?): all files \
         are in the pool, tree adopted",
        tree.path.display()
    );
    Ok(Found {
        presence: Presence::Unaccounted(record),
        strays: Strays::PoolFiles,
    })
}

fn find_strays(
    storage: &Storage,
    tree: &Path,
    record: &TreeRecord,
) -> Result<Strays, PublishError> {
    let known = storage.read(|reader| Layout::of_everything_recorded(reader, record))?;
    let strays = reject_foreign_files(storage, tree, &known)?;
    if strays == Strays::PoolFiles {
        log::warn!(
            "{}: contains files of the pool that the database does not list (older database \
             restored from a backup?): tree adopted",
            tree.display()
        );
    }
    Ok(strays)
}

/// How closely files are compared that are not links to the pool's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Depth {
    Size,
    Bytes,
}

/// Whether every file that the tree shows by its record is there.
fn shows_everything(
    storage: &Storage,
    tree: &Path,
    record: &TreeRecord,
    depth: Depth,
) -> Result<bool, PublishError> {
    let Some(manifest) = record.manifest else {
        return Ok(false);
    };
    let layout = storage.read(|reader| Layout::new(reader, manifest, &record.earlier))?;
    for (path, stored) in layout.files() {
        storage.interrupt.check()?;
        let path = tree.join(path);
        let is_there = match depth {
            Depth::Size => fs::symlink_metadata(&path)
                .is_ok_and(|found| found.is_file() && found.len() == stored.size),
            Depth::Bytes => storage.pool.has_same_content(stored.object, &path)?,
        };
        if !is_there {
            return Ok(false);
        }
    }
    Ok(true)
}

/// A place where nothing was published yet cannot tell that its disk is away, but the trees beside
/// it can: the directories that would be made for it are missing for them too, and they were
/// published on another file system than the one that is there. So can /etc/fstab.
fn reject_unmounted_place(storage: &Storage, tree: &Path) -> Result<(), PublishError> {
    if let Some(mount_point) = mounts::unmounted_above(tree)? {
        return Err(PublishError::NotMounted {
            path: tree.to_owned(),
            mount_point,
        });
    }
    let Some(above) = nearest_directory(tree) else {
        return Ok(());
    };
    let Some(here) = identity(&above)? else {
        return Ok(());
    };
    let trees = storage.read(crate::store::Reader::trees)?;
    let next = |path: &Path| {
        path.strip_prefix(&above)
            .ok()?
            .components()
            .next()
            .map(|first| above.join(first))
    };
    for (path, record) in trees {
        let is_beside = path != tree
            && (path.parent() == tree.parent() || next(&path) == next(tree))
            && nearest_directory(&path).as_ref() == Some(&above);
        let is_elsewhere = record.manifest.is_some()
            && record
                .directory
                .is_some_and(|directory| !directory.is_on_file_system_of(here));
        if is_beside && is_elsewhere && fs::symlink_metadata(&path).is_err() {
            return Err(PublishError::NeighbourMissing {
                path: tree.to_owned(),
                neighbour: path,
            });
        }
    }
    Ok(())
}

/// The closest directory above a path that is there.
fn nearest_directory(path: &Path) -> Option<PathBuf> {
    path.ancestors()
        .skip(1)
        .find(|above| fs::symlink_metadata(above).is_ok())
        .map(Path::to_owned)
}

/// Whether a published tree is there, for those who only look.
pub fn is_missing(tree: &Path, record: &TreeRecord) -> io::Result<bool> {
    match observe(tree, Some(record)) {
        Ok(observe) => Ok(observe == Observation::Missing),
        Err(PublishError::Io(error)) => Err(error),
        Err(_) => Ok(false),
    }
}
