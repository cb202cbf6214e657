//! Opens regular files only, so that pipes and devices cannot block a run.
//!
//! Opening a pipe blocks until there is a writer, and a device may never end.

use std::fs::OpenOptions;
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

/// Opens a regular file; symbolic links are followed. Errors do not contain the path.
pub fn open(path: &Path) -> io::Result<std::fs::File> {
    let not_regular = || io::Error::new(io::ErrorKind::InvalidInput, "is not a regular file");
    // A socket cannot be opened at all, and opening a device may do something.
    let metadata = std::fs::metadata(path)?;
    if metadata.is_dir() {
        return Err(io::Error::from(rustix::io::Errno::ISDIR));
    }
    if !metadata.is_file() {
        return Err(not_regular());
    }
    let file = OpenOptions::new()
        .read(true)
        // It may have been replaced by a pipe meanwhile.
        .custom_flags(rustix::fs::OFlags::NONBLOCK.bits().cast_signed())
        .open(path)?;
    if !file.metadata()?.is_file() {
        return Err(not_regular());
    }
    Ok(file)
}

/// Reads a whole file. Errors do not contain the path.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(path)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Opens a regular file. Errors contain the path.
pub fn open_named(path: &Path) -> io::Result<fs_err::File> {
    let file = open(path).map_err(|error| {
        if error.kind() == io::ErrorKind::InvalidInput {
            let why = format!("{} {error}", path.display());
            return io::Error::new(error.kind(), why);
        }
        let why = format!("failed to open file `{}`: {error}", path.display());
        io::Error::new(error.kind(), why)
    })?;
    Ok(fs_err::File::from_parts(file, path))
}

/// Reads a whole file. Errors contain the path.
pub fn read_named(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open_named(path)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The mode of a file if other users can read it. If this process itself has access only through
/// the group, the group may read it.
pub fn open_to_others(metadata: &std::fs::Metadata) -> Option<u32> {
    let mode = metadata.mode() & 0o7777;
    let user = rustix::process::geteuid();
    let by_group = !user.is_root() && user.as_raw() != metadata.uid();
    let others = if by_group { 0o007 } else { 0o077 };
    (mode & others != 0).then_some(mode)
}

/// Whether the error means that the file does not exist.
pub fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

/// Removes a file; that it is not there is fine. Errors name the path.
pub fn remove(path: &Path) -> io::Result<()> {
    match fs_err::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// An error with the path that it is about.
pub fn named(path: &Path) -> impl Fn(io::Error) -> io::Error {
    move |error| io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_regular_files_are_opened() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "text").unwrap();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&file, &link).unwrap();
        assert_eq!(read(&file).unwrap(), b"text");
        assert_eq!(read(&link).unwrap(), b"text");

        let pipe = dir.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(made.unwrap().success());
        let socket = dir.path().join("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let directory = read(dir.path()).unwrap_err();
        assert_eq!(directory.kind(), io::ErrorKind::IsADirectory);
        for path in [&pipe, &socket, Path::new("/dev/zero")] {
            let error = read(path).unwrap_err();
            assert_eq!(error.to_string(), "is not a regular file", "{path:?}");
        }
        let absent = read(&dir.path().join("absent")).unwrap_err();
        assert_eq!(absent.kind(), io::ErrorKind::NotFound);
    }
}
