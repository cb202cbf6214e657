//! The folder of a transfer, opened: its files are reached by their names from here, never through
//! a link, so that a medium cannot refer to other files of the host.

use std::collections::HashMap;
use std::ffi::CStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::digest::{Algorithm, Hasher, ObjectId, ObjectRef};
use crate::pool::SMALL_MAX;

use super::error::{ObjectError, TransferError};
use super::name::{
    INCOMPLETE, MANIFEST, OBJECTS, SIGNATURE, TransferName, fan_out, object_file,
    parse_object_file, piece_count, piece_sizes,
};

/// An open folder, which is not changed through this.
pub struct Folder {
    path: PathBuf,
    pub name: TransferName,
    handle: OwnedFd,
}

/// The bytes of an object on a medium, joined if it is written in parts. Nothing is verified but
/// the size.
pub struct ObjectReader {
    /// The open file, and those that follow it.
    parts: std::vec::IntoIter<File>,
    current: Option<File>,
}

impl Folder {
    /// The transfers on a medium, by exporter and number. A folder of a transfer is also a medium
    /// of one.
    pub fn find(medium: &Path) -> Result<Vec<Self>, TransferError> {
        let none = || TransferError::NoTransfer {
            path: medium.to_owned(),
        };
        if !medium.is_dir() {
            return Err(none());
        }
        let directory =
            std::fs::canonicalize(medium).map_err(crate::regular_file::named(medium))?;
        let own = directory.file_name().and_then(|name| name.to_str());
        if let (Some(name), Some(parent)) =
            (own.and_then(TransferName::of_folder), directory.parent())
        {
            return Ok(vec![Self::open(parent, name)?]);
        }
        let mut names = Vec::new();
        for entry in fs_err::read_dir(&directory)? {
            let entry = entry?;
            let name = entry.file_name();
            let name = name.to_str().and_then(TransferName::of_folder);
            if let Some(name) = name
                && entry.file_type()?.is_dir()
            {
                names.push(name);
            }
        }
        names.sort();
        if names.is_empty() {
            return Err(none());
        }
        let folders = names.into_iter().map(|name| Self::open(&directory, name));
        folders.collect()
    }

    fn open(medium: &Path, name: TransferName) -> Result<Self, TransferError> {
        let path = medium.join(name.folder());
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let handle = rustix::fs::open(&path, flags, Mode::empty())
            .map_err(|error| crate::regular_file::named(&path)(error.into()))?;
        Ok(Self { path, name, handle })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether its export was interrupted, or is running.
    pub fn is_incomplete(&self) -> bool {
        rustix::fs::statat(&self.handle, INCOMPLETE, AtFlags::SYMLINK_NOFOLLOW).is_ok()
    }

    /// Opens a file of the folder itself; `None` if it does not exist.
    pub(super) fn file(&self, name: &'static str) -> Result<Option<File>, TransferError> {
        match open_file(&self.handle, name) {
            Ok(file) => Ok(Some(file)),
            Err(OpenError::Absent) => Ok(None),
            Err(OpenError::NotAFile) => Err(TransferError::NotAFile {
                folder: self.path.clone(),
                name: name.to_owned(),
            }),
            Err(OpenError::Io(error)) => {
                Err(crate::regular_file::named(&self.path.join(name))(error).into())
            }
        }
    }

    /// Opens a carried object, whose files must have its size.
    pub fn object(&self, content: ObjectRef) -> Result<ObjectReader, ObjectError> {
        let ObjectRef { object, size } = content;
        let open = || -> Result<Vec<File>, OpenError> {
            let directory = format!("{OBJECTS}/{}", fan_out(object));
            let directory = open_directory(&self.handle, &directory)?;
            let Some(sizes) = piece_sizes(size) else {
                let file = open_file(&directory, &object_file(object, None))?;
                return Ok(vec![file]);
            };
            let names = (0..)
                .zip(sizes)
                .map(|(number, _)| object_file(object, Some(number)));
            names.map(|name| open_file(&directory, &name)).collect()
        };
        let files = open().map_err(|error| match error {
            OpenError::Absent => ObjectError::Missing { object },
            OpenError::NotAFile => {
                let source = io::Error::other("is not a regular file");
                ObjectError::Unreadable { object, source }
            }
            OpenError::Io(source) => ObjectError::Unreadable { object, source },
        })?;
        let mut got = 0_u64;
        for file in &files {
            let metadata = file.metadata();
            let metadata = metadata.map_err(|source| ObjectError::Unreadable { object, source })?;
            got = got.saturating_add(metadata.len());
        }
        if got != size {
            let expected = size;
            return Err(ObjectError::Size {
                object,
                expected,
                got,
            });
        }
        let mut parts = files.into_iter();
        Ok(ObjectReader {
            current: parts.next(),
            parts,
        })
    }

    /// Reads a carried object and passes its bytes to `write`. An error of `write` is returned as
    /// it is; whether the digest is right is known only at the end.
    pub fn read_object<E>(
        &self,
        content: ObjectRef,
        write: &mut dyn FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<Result<(), ObjectError>, E> {
        let object = content.object;
        let mut reader = match self.object(content) {
            Ok(reader) => reader,
            Err(error) => return Ok(Err(error)),
        };
        let mut hasher = Hasher::new(Algorithm::Sha256);
        let mut buffer = vec![0; crate::pool::BUFFER];
        loop {
            match reader.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => {
                    hasher.update(&buffer[..read]);
                    write(&buffer[..read])?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Ok(Err(ObjectError::Unreadable { object, source })),
            }
        }
        match hasher.finish().0 {
            got if got == object => Ok(Ok(())),
            got => Ok(Err(ObjectError::Digest { object, got })),
        }
    }

    /// The bytes of a small object, such as a keyring; `None` if it is missing, damaged or large.
    pub fn read_small(&self, content: ObjectRef) -> Option<Vec<u8>> {
        if content.size > SMALL_MAX {
            return None;
        }
        let mut bytes = Vec::new();
        let read = self.read_object::<std::convert::Infallible>(content, &mut |part| {
            bytes.extend_from_slice(part);
            Ok(())
        });
        matches!(read, Ok(Ok(()))).then_some(bytes)
    }

    /// Fails if the folder has a file that the transfer does not declare. `carried` are the objects
    /// with their sizes, `allowed` the names of files that another program may have added.
    pub fn reject_undeclared(
        &self,
        carried: &HashMap<ObjectId, u64>,
        allowed: &[String],
    ) -> Result<(), TransferError> {
        let undeclared = |name: String| TransferError::Undeclared {
            folder: self.path.clone(),
            name: crate::terminal::escape(&name).into_owned(),
        };
        let is_allowed = |name: &str| allowed.iter().any(|allowed| allowed == name);
        for (name, kind) in self.list(&self.handle, Path::new(""))? {
            let is_known = match name.as_str() {
                MANIFEST | SIGNATURE => kind == FileType::RegularFile,
                OBJECTS => kind == FileType::Directory,
                _ => false,
            };
            if !is_known && !is_allowed(&name) {
                return Err(undeclared(name));
            }
        }
        let objects = match open_directory(&self.handle, OBJECTS) {
            Ok(objects) => objects,
            // They are missing, then, which is reported for each of them.
            Err(OpenError::Absent) => return Ok(()),
            Err(error) => return Err(self.io(Path::new(OBJECTS), error)),
        };
        for (directory, kind) in self.list(&objects, Path::new(OBJECTS))? {
            let path = format!("{OBJECTS}/{directory}");
            if is_allowed(&directory) {
                continue;
            }
            if kind != FileType::Directory {
                return Err(undeclared(path));
            }
            let handle = open_directory(&objects, &directory)
                .map_err(|error| self.io(Path::new(&path), error))?;
            for (name, kind) in self.list(&handle, Path::new(&path))? {
                let is_declared = || {
                    let (object, piece) = parse_object_file(&name)?;
                    let size = *carried.get(&object)?;
                    let pieces = piece_count(size);
                    let is_part = match (pieces, piece) {
                        (None, None) => true,
                        (Some(pieces), Some(piece)) => piece < pieces,
                        _ => false,
                    };
                    (fan_out(object) == directory && is_part && kind == FileType::RegularFile)
                        .then_some(())
                };
                if is_declared().is_none() && !is_allowed(&name) {
                    return Err(undeclared(format!("{path}/{name}")));
                }
            }
        }
        Ok(())
    }

    /// The entries of a directory with their kinds; names that are not UTF-8 are changed to be
    /// printable.
    fn list(
        &self,
        directory: &OwnedFd,
        path: &Path,
    ) -> Result<Vec<(String, FileType)>, TransferError> {
        let named = |error: Errno| {
            let path = self.path.join(path);
            TransferError::from(crate::regular_file::named(&path)(error.into()))
        };
        let mut found = Vec::new();
        for entry in Dir::read_from(directory).map_err(named)? {
            let entry = entry.map_err(named)?;
            let name: &CStr = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let kind = match entry.file_type() {
                // Not all file systems have it in the directory.
                FileType::Unknown => {
                    let stat = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW);
                    FileType::from_raw_mode(stat.map_err(named)?.st_mode)
                }
                kind => kind,
            };
            found.push((name.to_string_lossy().into_owned(), kind));
        }
        Ok(found)
    }

    fn io(&self, path: &Path, error: OpenError) -> TransferError {
        match error {
            OpenError::Absent | OpenError::NotAFile => TransferError::NotAFile {
                folder: self.path.clone(),
                name: path.display().to_string(),
            },
            OpenError::Io(error) => crate::regular_file::named(&self.path.join(path))(error).into(),
        }
    }
}

enum OpenError {
    Absent,
    /// A directory, a link, a device.
    NotAFile,
    Io(io::Error),
}

impl From<Errno> for OpenError {
    fn from(error: Errno) -> Self {
        match error {
            Errno::NOENT => Self::Absent,
            // What opening a link without following it fails with.
            Errno::LOOP | Errno::NOTDIR | Errno::NXIO => Self::NotAFile,
            error => Self::Io(error.into()),
        }
    }
}

fn open_directory(parent: &OwnedFd, path: &str) -> Result<OwnedFd, OpenError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut opened: Option<OwnedFd> = None;
    // One name at a time: only the last name of a path is not followed.
    for name in path.split('/') {
        let parent = opened.as_ref().unwrap_or(parent);
        opened = Some(rustix::fs::openat(parent, name, flags, Mode::empty())?);
    }
    opened.ok_or(OpenError::Absent)
}

/// Opens a regular file, and never waits for a pipe or touches a device.
fn open_file(parent: &OwnedFd, name: &str) -> Result<File, OpenError> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let stat = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(OpenError::NotAFile);
    }
    let file = File::from(rustix::fs::openat(parent, name, flags, Mode::empty())?);
    // It may have been replaced meanwhile.
    match file.metadata() {
        Ok(metadata) if metadata.is_file() => Ok(file),
        Ok(_) => Err(OpenError::NotAFile),
        Err(error) => Err(OpenError::Io(error)),
    }
}

impl Read for ObjectReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some(file) = &mut self.current {
            match file.read(buffer)? {
                0 if !buffer.is_empty() => self.current = self.parts.next(),
                read => return Ok(read),
            }
        }
        Ok(0)
    }
}
