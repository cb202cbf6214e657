//! Fills a staging directory with hard links to objects of the pool.

use std::collections::HashSet;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use fs_err as fs;
use rustix::io::Errno;

use super::directory::make_directory;
use super::error::PublishError;
use super::layout::Layout;
use super::tree::LockedTree;
use crate::digest::ObjectId;
use crate::pool::Pool;
use crate::regular_file::named;

/// How a file was staged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum StagedAs {
    Link,
    Copy,
}

/// Creates every file of the layout in the staging directory. Returns the number of files that take
/// additional space.
pub fn fill(tree: &LockedTree<'_>, layout: &Layout) -> Result<u64, PublishError> {
    let staging = &tree.staging;
    let pool = &tree.storage.pool;
    let mut made: HashSet<PathBuf> = HashSet::new();
    let mut copied = 0;
    // If one link fails because of the file systems, all others would too.
    let mut links_possible = true;
    for (path, stored) in layout.files() {
        tree.storage.interrupt.check()?;
        let object = stored.object;
        if pool.size_of(object)? != Some(stored.size) {
            return Err(PublishError::ObjectMissing {
                path: path.to_owned(),
                object,
            });
        }
        let target = staging.join(path);
        if let Some(parent) = target.parent() {
            make_parents(parent, staging, &mut made)?;
        }
        let source = pool.object_path(object);
        let previous = tree.path.join(path);
        let staged = if links_possible {
            match link(&source, &target)? {
                LinkResult::Created => StagedAs::Link,
                LinkResult::TooManyLinks => copy(&source, &target)?,
                LinkResult::Unsupported => {
                    links_possible = false;
                    link_from_previous(pool, &previous, object, &source, &target)?
                }
            }
        } else {
            link_from_previous(pool, &previous, object, &source, &target)?
        };
        if staged == StagedAs::Copy {
            copied += 1;
        }
    }
    if copied > 0 {
        // Hard links are in the journal before the exchange is; copied data may not be.
        let synced = rustix::fs::syncfs(fs::File::open(staging)?.file());
        synced.map_err(|error| named(staging)(error.into()))?;
    }
    Ok(copied)
}

enum LinkResult {
    Created,
    /// ext4 allows 65,000 links to one file.
    TooManyLinks,
    /// The tree is on another file system than the pool, or the file system has no hard links.
    Unsupported,
}

fn link(source: &Path, target: &Path) -> Result<LinkResult, PublishError> {
    let Err(error) = std::fs::hard_link(source, target) else {
        return Ok(LinkResult::Created);
    };
    match Errno::from_io_error(&error) {
        Some(Errno::MLINK) => Ok(LinkResult::TooManyLinks),
        Some(Errno::XDEV | Errno::OPNOTSUPP | Errno::NOSYS) => Ok(LinkResult::Unsupported),
        Some(Errno::PERM) => {
            let owner = fs::metadata(source)?.uid();
            let user = rustix::process::geteuid();
            // This user may create links, so it is the file system that does not support them (FAT,
            // exFAT).
            if user.is_root() || user.as_raw() == owner {
                return Ok(LinkResult::Unsupported);
            }
            Err(PublishError::NotOwner {
                path: source.to_owned(),
                owner,
            })
        }
        _ => Err(io::Error::new(
            error.kind(),
            format!(
                "cannot link {} to {}: {error}",
                source.display(),
                target.display()
            ),
        )
        .into()),
    }
}

/// If links to the pool are impossible, links to the same file of the previous tree avoid another
/// copy.
fn link_from_previous(
    pool: &Pool,
    previous: &Path,
    object: ObjectId,
    source: &Path,
    target: &Path,
) -> Result<StagedAs, PublishError> {
    if pool.has_same_content(object, previous)? && fs::hard_link(previous, target).is_ok() {
        return Ok(StagedAs::Link);
    }
    copy(source, target)
}

fn copy(source: &Path, target: &Path) -> Result<StagedAs, PublishError> {
    fs::copy(source, target)?;
    fs::set_permissions(target, PermissionsExt::from_mode(0o444))?;
    Ok(StagedAs::Copy)
}

fn make_parents(path: &Path, top: &Path, made: &mut HashSet<PathBuf>) -> io::Result<()> {
    if path == top || made.contains(path) {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        make_parents(parent, top, made)?;
    }
    make_directory(path)?;
    made.insert(path.to_owned());
    Ok(())
}
