//! Creates the files of a tree: hard links to objects of the pool, or copies where links are
//! impossible.
//!
//! Directories are filled in parallel: the time is spent in the file system, which locks one
//! directory at a time.

use std::collections::{BTreeSet, HashMap};
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock};

use fs_err as fs;
use rayon::iter::{IntoParallelRefIterator as _, ParallelIterator as _};
use rustix::io::Errno;

use super::directory::make_directory;
use super::error::PublishError;
use super::layout::{FileGeneration, Layout, LayoutFile};
use super::tree::LockedTree;
use crate::digest::{ObjectId, ObjectRef};
use crate::kill_points;
use crate::regular_file::{self, named};
use crate::rel_path::RelPath;
use crate::storage::Storage;
use crate::store::records::TreeRecord;
use crate::threads::{self, lock};

/// For fewer files, starting threads takes longer than it saves.
const FILES_PER_THREAD: usize = 256;
/// A file system is not faster with more threads.
const THREADS_MAX: usize = 8;

/// Creates files for one tree.
pub struct FileMaker<'a> {
    tree: &'a LockedTree<'a>,
    previous: PreviousFiles<'a>,
    /// If one link fails because of the file systems, all others would too.
    links_possible: AtomicBool,
    /// The files that were copied because links to the pool are impossible. Other paths of the same
    /// object are linked to them.
    copies: Mutex<HashMap<ObjectId, PathBuf>>,
    copied: AtomicU64,
    missing_features: Mutex<BTreeSet<FileSystemFeature>>,
}

/// What some file systems lack. It is found out by trying.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FileSystemFeature {
    /// Without them every file takes additional space.
    HardLinks,
    /// Without them published files may be writable.
    Modes,
}

/// How files were created.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Created {
    /// Number of files that take additional space.
    pub copied: u64,
    /// What the file system of the tree lacks.
    pub missing_features: BTreeSet<FileSystemFeature>,
}

/// The files of the published tree. If links to the pool are impossible, links to unchanged files
/// of the tree avoid another copy.
pub enum PreviousFiles<'a> {
    /// The tree is what its record says: the files need not be read.
    Recorded {
        record: &'a TreeRecord,
        layout: OnceLock<Layout>,
    },
    /// They are compared by content.
    Unrecorded,
}

impl<'a> PreviousFiles<'a> {
    pub fn recorded(record: &'a TreeRecord) -> Self {
        Self::Recorded {
            record,
            layout: OnceLock::new(),
        }
    }
}

/// A file to be created, with its path in the tree.
type NewFile<'a> = (&'a RelPath, &'a LayoutFile);

impl<'a> FileMaker<'a> {
    pub fn new(tree: &'a LockedTree<'a>, previous: PreviousFiles<'a>) -> Self {
        Self {
            tree,
            previous,
            links_possible: AtomicBool::new(true),
            copies: Mutex::default(),
            copied: AtomicU64::new(0),
            missing_features: Mutex::default(),
        }
    }

    pub fn created(&self) -> Created {
        Created {
            copied: self.copied(),
            missing_features: lock(&self.missing_features).clone(),
        }
    }

    fn copied(&self) -> u64 {
        self.copied.load(Ordering::Relaxed)
    }

    /// Creates these files below `top`, which is an empty directory for the directory `part` of the
    /// tree (`None`: for the whole tree).
    pub fn fill(
        &self,
        top: &Path,
        part: Option<&RelPath>,
        layout: &Layout,
    ) -> Result<(), PublishError> {
        let start = part.map_or(0, |part| part.as_str().len() + 1);
        let mut by_directory: HashMap<&str, Vec<NewFile<'_>>> = HashMap::new();
        for (path, file) in layout.files() {
            let directory = path.as_str().rsplit_once('/');
            let directory = directory.and_then(|(directory, _)| directory.get(start..));
            let files = by_directory.entry(directory.unwrap_or("")).or_default();
            files.push((path, file));
        }
        let levels = levels(by_directory.keys().copied());
        let make = |directory: &str| match make_directory(&top.join(directory)) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let path = directory.to_owned();
                Err(PublishError::SameFile { path })
            }
            made => Ok(made?),
        };
        let fill = |(directory, files): (&&str, &Vec<NewFile<'_>>)| {
            let directory = top.join(directory);
            files.iter().try_for_each(|(path, file)| {
                match self.make(path, file.content, &directory.join(path.file_name())) {
                    // Clients of the current generation must not miss it for that.
                    Err(PublishError::ObjectMissing { path, object })
                        if file.generation == FileGeneration::Earlier =>
                    {
                        log::warn!(
                            "{}: {path} of an earlier generation is left out: object {object} is \
                             missing from the pool or damaged",
                            self.tree.path.display()
                        );
                        Ok(())
                    }
                    result => result,
                }
            })
        };
        in_parallel(layout.len(), |threads| match threads {
            None => {
                for directory in levels.iter().flatten() {
                    make(directory)?;
                }
                by_directory.iter().try_for_each(fill)
            }
            Some(threads) => threads.install(|| {
                for level in &levels {
                    level.par_iter().try_for_each(|directory| {
                        self.tree.storage.interrupt.check()?;
                        make(directory)
                    })?;
                }
                by_directory.par_iter().try_for_each(fill)
            }),
        })
    }

    /// Creates one file; `path` is its path in the tree. Fails if there is one.
    pub fn make(
        &self,
        path: &RelPath,
        content: ObjectRef,
        target: &Path,
    ) -> Result<(), PublishError> {
        let storage = self.tree.storage;
        storage.interrupt.check()?;
        kill_points::reach("create a file");
        let object = content.object;
        let source = storage.pool.object_path(object);
        present(storage, path, content, &source)?;
        if self.links_possible.load(Ordering::Relaxed) {
            match link(&source, target)? {
                LinkResult::Created => return Ok(()),
                LinkResult::TooManyLinks => return self.copy(path, object, target),
                LinkResult::Unsupported => self.links_possible.store(false, Ordering::Relaxed),
            }
        }
        let copy = lock(&self.copies).get(&object).cloned();
        if copy.is_some_and(|copy| self.link_copy(&copy, target)) {
            return Ok(());
        }
        let previous = path.below(self.tree.path);
        if self.is_previous(path, content, &previous)? && self.link_copy(&previous, target) {
            return Ok(());
        }
        self.copy(path, object, target)?;
        let is_first = {
            let mut copies = lock(&self.copies);
            copies.insert(object, target.to_owned());
            copies.len() == 1
        };
        let probe = self.probe();
        if is_first && self.link_copy(target, &probe) {
            fs::remove_file(probe)?;
        }
        Ok(())
    }

    /// Links a file to one on the same file system, if that is possible.
    fn link_copy(&self, copy: &Path, target: &Path) -> bool {
        match std::fs::hard_link(copy, target) {
            Ok(()) => true,
            Err(error) => {
                let error = Errno::from_io_error(&error);
                if matches!(error, Some(Errno::PERM | Errno::OPNOTSUPP | Errno::NOSYS)) {
                    lock(&self.missing_features).insert(FileSystemFeature::HardLinks);
                }
                false
            }
        }
    }

    /// Whether the file of the published tree has this content.
    fn is_previous(
        &self,
        path: &RelPath,
        content: ObjectRef,
        previous: &Path,
    ) -> Result<bool, PublishError> {
        let storage = self.tree.storage;
        let (record, layout) = match &self.previous {
            PreviousFiles::Recorded { record, layout } => (record, layout),
            PreviousFiles::Unrecorded => {
                return Ok(storage.pool.has_same_content(content.object, previous)?);
            }
        };
        let recorded = match (layout.get(), record.manifest) {
            (Some(recorded), _) => recorded,
            (None, None) => return Ok(false),
            (None, Some(manifest)) => {
                let read = storage.read(|reader| Layout::new(reader, manifest, &record.earlier))?;
                layout.get_or_init(|| read)
            }
        };
        let is_recorded = recorded
            .get(path.as_str())
            .is_some_and(|file| file.content == content);
        Ok(is_recorded
            && std::fs::symlink_metadata(previous)
                .is_ok_and(|found| found.is_file() && found.len() == content.size))
    }

    fn copy(&self, path: &RelPath, object: ObjectId, target: &Path) -> Result<(), PublishError> {
        match self.tree.storage.pool.copy_object(object, target) {
            Ok(found) if found == object => {
                self.make_read_only(target)?;
                self.copied.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
            Ok(_) => {
                fs::remove_file(target)?;
                Err(missing(path, object))
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Err(PublishError::SameFile {
                    path: path.to_string(),
                })
            }
            Err(error) => {
                // It would keep a full file system full.
                let _ = regular_file::remove(target);
                let is_name = target.parent().is_some_and(Path::is_dir)
                    && std::fs::symlink_metadata(target).is_err()
                    && self.rejects_name(target);
                if is_name {
                    return Err(PublishError::NameRejected { path: path.clone() });
                }
                Err(error.into())
            }
        }
    }

    /// Whether the file system cannot store this file name, for example because of a colon or its
    /// length. It can store another file in the same directory.
    fn rejects_name(&self, target: &Path) -> bool {
        let probe = self.probe();
        let is_stored = |path: &Path| {
            let stored = std::fs::File::create_new(path).is_ok();
            stored && std::fs::remove_file(path).is_ok()
        };
        !is_stored(target) && is_stored(&probe)
    }

    /// A path on the file system of the tree where it is tried what that supports.
    fn probe(&self) -> PathBuf {
        self.tree.staging.with_extension("probe")
    }

    fn make_read_only(&self, target: &Path) -> Result<(), PublishError> {
        const MODE: u32 = 0o444;
        let set = std::fs::set_permissions(target, PermissionsExt::from_mode(MODE));
        let is_set = fs::symlink_metadata(target)?.permissions().mode() & 0o777 == MODE;
        match set {
            _ if is_set => {}
            Ok(()) => {
                lock(&self.missing_features).insert(FileSystemFeature::Modes);
            }
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                lock(&self.missing_features).insert(FileSystemFeature::Modes);
            }
            Err(error) => return Err(named(target)(error).into()),
        }
        Ok(())
    }

    /// Makes copies durable. Hard links are in the journal before the exchange is; copied data may
    /// not be.
    pub fn flush(&self, top: &Path) -> Result<(), PublishError> {
        if self.copied() > 0 {
            let synced = rustix::fs::syncfs(fs::File::open(top)?.file());
            synced.map_err(|error| named(top)(error.into()))?;
        }
        Ok(())
    }
}

/// Passes a pool of threads to `work` if there are enough files.
pub fn in_parallel<T, E: From<io::Error>>(
    files: usize,
    work: impl FnOnce(Option<&rayon::ThreadPool>) -> Result<T, E>,
) -> Result<T, E> {
    let available = std::thread::available_parallelism().map_or(1, usize::from);
    let wanted = available.min(THREADS_MAX).min(files / FILES_PER_THREAD);
    match wanted {
        0 | 1 => work(None),
        _ => work(Some(&threads::pool("publish", wanted)?)),
    }
}

/// The file of an object. Fails if it does not exist or has another size; `path` is the path that
/// needs it.
pub fn present(
    storage: &Storage,
    path: &RelPath,
    content: ObjectRef,
    file: &Path,
) -> Result<Metadata, PublishError> {
    match std::fs::symlink_metadata(file) {
        Ok(found) if found.is_file() && found.len() == content.size => Ok(found),
        _ => {
            // The disk of the pool may not be mounted.
            storage.pool.check()?;
            Err(missing(path, content.object))
        }
    }
}

/// Whether a file that is no link to the object may be a copy of it according to size and mode.
/// `pool` is the device of the pool.
pub fn may_be_copy(found: &Metadata, content: ObjectRef, pool: u64) -> bool {
    // File systems without modes show all files as writable.
    let is_read_only = found.permissions().mode() & 0o222 == 0 || found.dev() != pool;
    found.is_file() && found.len() == content.size && is_read_only
}

fn missing(path: &RelPath, object: ObjectId) -> PublishError {
    PublishError::ObjectMissing {
        path: path.to_string(),
        object,
    }
}

/// The directories and the ones above them, by depth.
fn levels<'a>(directories: impl Iterator<Item = &'a str>) -> Vec<Vec<&'a str>> {
    let mut all: BTreeSet<&str> = BTreeSet::new();
    for mut directory in directories.filter(|directory| !directory.is_empty()) {
        while all.insert(directory) {
            match directory.rsplit_once('/') {
                Some((above, _)) => directory = above,
                None => break,
            }
        }
    }
    let mut levels: Vec<Vec<&str>> = Vec::new();
    for directory in all {
        let depth = directory.matches('/').count();
        if levels.len() <= depth {
            levels.resize_with(depth + 1, Vec::new);
        }
        levels[depth].push(directory);
    }
    levels
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
