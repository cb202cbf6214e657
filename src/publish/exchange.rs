//! Exchanges a staged tree with the published one, in one step.

use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use super::directory::identity;
use super::error::PublishError;
use crate::kill_points;

/// Moves `staging` to `tree`. The previous tree has the staging path after that.
pub fn exchange(staging: &Path, tree: &Path) -> Result<(), PublishError> {
    kill_points::reach("exchange directories");
    let replaced = if identity(tree)?.is_some() {
        match renameat_with(CWD, staging, CWD, tree, RenameFlags::EXCHANGE) {
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                exchange_by_renames(staging, tree)
            }
            replaced => replaced,
        }
    } else {
        match renameat_with(CWD, staging, CWD, tree, RenameFlags::NOREPLACE) {
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                rustix::fs::rename(staging, tree)
            }
            replaced => replaced,
        }
    };
    match replaced {
        Ok(()) => Ok(()),
        Err(Errno::BUSY | Errno::XDEV) => Err(PublishError::MountPoint {
            path: tree.to_owned(),
        }),
        Err(error) => Err(io::Error::new(
            io::Error::from(error).kind(),
            format!("cannot publish {}: {error}", tree.display()),
        )
        .into()),
    }
}

/// For file systems that do not support an exchange: two renames, to keep the gap as short as
/// possible.
fn exchange_by_renames(staging: &Path, tree: &Path) -> rustix::io::Result<()> {
    let aside = aside_path(staging);
    rustix::fs::rename(tree, &aside)?;
    if let Err(error) = rustix::fs::rename(staging, tree) {
        rustix::fs::rename(&aside, tree)?;
        return Err(error);
    }
    rustix::fs::rename(&aside, staging)
}

fn aside_path(staging: &Path) -> PathBuf {
    let mut aside = staging.as_os_str().to_owned();
    aside.push(".old");
    PathBuf::from(aside)
}

/// After a kill between the renames, restores the previous tree, or removes it if the new one is
/// published.
pub fn recover_from_renames(staging: &Path, tree: &Path) -> io::Result<()> {
    let aside = aside_path(staging);
    if identity(&aside)?.is_none() {
        return Ok(());
    }
    if identity(tree)?.is_none() {
        fs_err::rename(&aside, tree)
    } else {
        fs_err::remove_dir_all(&aside)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recovery_from_a_kill_between_the_renames() {
        let dir = tempfile::tempdir().unwrap();
        let (staging, tree) = (dir.path().join("new"), dir.path().join("latest"));
        for (path, content) in [(&staging, "new"), (&tree, "old")] {
            std::fs::create_dir(path).unwrap();
            std::fs::write(path.join("root"), content).unwrap();
        }
        exchange_by_renames(&staging, &tree).unwrap();
        assert_eq!(std::fs::read(tree.join("root")).unwrap(), b"new");
        assert_eq!(std::fs::read(staging.join("root")).unwrap(), b"old");

        std::fs::rename(&tree, aside_path(&staging)).unwrap();
        recover_from_renames(&staging, &tree).unwrap();
        assert_eq!(std::fs::read(tree.join("root")).unwrap(), b"new");
    }
}
