//! Writes a planned transfer: the objects, then the manifest and its signature, all of it read
//! back; only then it is recorded, and complete.
//!
//! The folder has the file `INCOMPLETE` from its creation until the transfer is recorded. An
//! interrupted export leaves it, and the next export to the same place continues there: files that
//! are already right are kept, others are written again or removed.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufWriter, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use fs_err as fs;
use rayon::prelude::*;
use rustix::fs::OFlags;

use super::error::MediaError;
use super::plan::ExportPlan;
use super::read_back::{ReadBack, ReadBackProof, drop_from_memory};
use crate::digest::{Algorithm, Hasher, ObjectId, ObjectRef};
use crate::kill_points;
use crate::openpgp::SigningKey;
use crate::pool::{BUFFER, hash};
use crate::progress::{Downloads, Progress};
use crate::regular_file::named;
use crate::storage::Storage;
use crate::threads::{self, lock};
use crate::transfer::{self, ManifestWriter, object_files};

/// Enough to keep a disk busy with small files; more seek without use.
const THREADS: usize = 4;

const INCOMPLETE_TEXT: &str = "The export of this transfer is running, or was interrupted.\n\
    `chantal media export` with the same options continues it.\n";

/// What was written.
#[derive(Clone, Copy, Debug)]
pub struct Written {
    /// The SHA-256 of the packed manifest.
    pub digest: ObjectId,
    /// In bytes.
    pub manifest_bytes: u64,
    /// Objects that an interrupted export had written.
    pub found: u64,
    pub proof: ReadBackProof,
}

/// Writes the transfers of one storage.
#[derive(Clone, Copy)]
pub struct TransferWriter<'a> {
    pub storage: &'a Storage,
    pub progress: &'a Progress,
    /// `None` for an unsigned transfer.
    pub key: Option<&'a SigningKey>,
    pub read_back: ReadBack,
}

/// The folder of an unfinished transfer.
pub struct UnfinishedFolder {
    path: PathBuf,
    handle: fs::File,
    /// Held while the export runs.
    _incomplete: File,
}

impl UnfinishedFolder {
    /// Creates the folder, or continues an interrupted export in it.
    pub fn begin(path: &Path) -> Result<Self, MediaError> {
        match fs::create_dir(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => made?,
        }
        let mark = path.join(transfer::INCOMPLETE);
        let mut incomplete = create(&mark).map_err(named(&mark))?;
        incomplete
            .write_all(INCOMPLETE_TEXT.as_bytes())
            .map_err(named(&mark))?;
        // Another export must not continue what this one writes.
        if let Err(std::fs::TryLockError::WouldBlock) = incomplete.try_lock() {
            let path = path.to_owned();
            return Err(MediaError::Busy { path });
        }
        let handle = fs::File::open(path)?;
        let folder = Self {
            path: path.to_owned(),
            handle,
            _incomplete: incomplete,
        };
        // Before anything else can be on the medium.
        folder.flush()?;
        kill_points::reach("mark a transfer as incomplete");
        directory(&path.join(transfer::OBJECTS))?;
        Ok(folder)
    }

    /// Makes everything on the medium durable.
    fn flush(&self) -> Result<(), MediaError> {
        let synced = rustix::fs::syncfs(self.handle.file());
        Ok(synced.map_err(|error| named(&self.path)(error.into()))?)
    }

    /// The transfer is complete: everything is there, durable and recorded.
    pub fn finish(self) -> Result<(), MediaError> {
        kill_points::reach("complete a transfer");
        fs::remove_file(self.path.join(transfer::INCOMPLETE))?;
        self.flush()
    }
}

impl TransferWriter<'_> {
    /// Fails if an object is missing in the pool, or has the wrong size. Its content is verified
    /// while it is copied.
    pub fn check_pool(&self, plan: &ExportPlan) -> Result<(), MediaError> {
        for ObjectRef { object, size } in plan.carried.iter().copied() {
            self.storage.interrupt.check()?;
            if self.storage.pool.size_of(object)? != Some(size) {
                return Err(MediaError::PoolDamaged { object });
            }
        }
        Ok(())
    }

    /// Writes everything but the end of `INCOMPLETE`.
    pub fn write(
        &self,
        plan: &ExportPlan,
        folder: &UnfinishedFolder,
    ) -> Result<Written, MediaError> {
        let workers = threads::pool("export", THREADS)?;
        Self::remove_others(plan, folder)?;
        let objects = folder.path.join(transfer::OBJECTS);
        let first_bytes: HashSet<u8> = plan
            .carried
            .iter()
            .map(|object| object.object.0[0])
            .collect();
        for first in first_bytes {
            directory(&objects.join(format!("{first:02x}")))?;
        }
        let count = plan.carried.len() as u64;
        let bytes = plan.bytes();
        let found = Mutex::new(0);
        let shown = self.progress.downloads("[2/3] writing", count, bytes);
        let copied = self.each(&workers, plan, &shown, |object| {
            if Self::is_written(folder, object) {
                *lock(&found) += 1;
                return Ok(());
            }
            kill_points::reach("write an object to a medium");
            self.copy(folder, object)
        });
        shown.finish();
        copied?;
        let (digest, manifest_bytes) = self.write_manifest(plan, folder)?;
        folder.flush()?;
        kill_points::reach("read a transfer back");
        let proof = match self.read_back {
            ReadBack::No => ReadBackProof::Skipped,
            ReadBack::Yes => self.read_back(&workers, plan, folder, digest)?,
        };
        let found = *lock(&found);
        Ok(Written {
            digest,
            manifest_bytes,
            found,
            proof,
        })
    }

    fn each(
        &self,
        workers: &rayon::ThreadPool,
        plan: &ExportPlan,
        shown: &Downloads,
        work: impl Fn(ObjectRef) -> Result<(), MediaError> + Sync,
    ) -> Result<(), MediaError> {
        workers.install(|| {
            plan.carried.par_iter().try_for_each(|object| {
                self.storage.interrupt.check()?;
                work(*object)?;
                shown.add(object.size);
                Ok(())
            })
        })
    }

    /// Removes objects that an interrupted export has written and that are not carried any more.
    fn remove_others(plan: &ExportPlan, folder: &UnfinishedFolder) -> Result<(), MediaError> {
        let carried = plan.carried.iter().copied().flat_map(object_files);
        let carried: HashSet<PathBuf> = carried.map(|file| file.path()).collect();
        for directory in fs::read_dir(folder.path.join(transfer::OBJECTS))? {
            let directory = directory?;
            if !directory.file_type()?.is_dir() {
                fs::remove_file(directory.path())?;
                continue;
            }
            for file in fs::read_dir(directory.path())? {
                let file = file?.path();
                let name = file.strip_prefix(&folder.path).unwrap_or(&file);
                if !carried.contains(name) {
                    fs::remove_file(&file)?;
                }
            }
        }
        Ok(())
    }

    /// Whether an interrupted export has written the object, and its bytes are right.
    fn is_written(folder: &UnfinishedFolder, object: ObjectRef) -> bool {
        let is_there = object_files(object).all(|file| {
            let there = std::fs::symlink_metadata(folder.path.join(file.path()));
            there.is_ok_and(|there| there.is_file() && there.len() == file.size)
        });
        is_there && matches!(read_written(folder, object), Ok((found, _)) if found == object.object)
    }

    /// Copies an object from the pool, and verifies what is copied.
    fn copy(&self, folder: &UnfinishedFolder, object: ObjectRef) -> Result<(), MediaError> {
        let damaged = || MediaError::PoolDamaged {
            object: object.object,
        };
        let mut from = match self.storage.pool.open_object(object.object) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(damaged()),
            opened => opened?,
        };
        let mut hasher = Hasher::new(Algorithm::Sha256);
        let mut buffer = vec![0; BUFFER];
        for part in object_files(object) {
            let path = folder.path.join(part.path());
            let mut to = create(&path).map_err(named(&path))?;
            let mut left = part.size;
            while left > 0 {
                let wanted = usize::try_from(left).map_or(BUFFER, |left| left.min(BUFFER));
                let read = match from.file().read(&mut buffer[..wanted]) {
                    Ok(0) => return Err(damaged()),
                    Ok(read) => read,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    Err(_) => return Err(damaged()),
                };
                hasher.update(&buffer[..read]);
                to.write_all(&buffer[..read]).map_err(named(&path))?;
                left -= read as u64;
            }
        }
        if from.read(&mut buffer)? > 0 || hasher.finish().0 != object.object {
            return Err(damaged());
        }
        Ok(())
    }

    /// Writes the manifest and its signature; returns the digest and size of the manifest.
    fn write_manifest(
        &self,
        plan: &ExportPlan,
        folder: &UnfinishedFolder,
    ) -> Result<(ObjectId, u64), MediaError> {
        kill_points::reach("write the manifest of a transfer");
        let path = folder.path.join(transfer::MANIFEST);
        let signature_path = folder.path.join(transfer::SIGNATURE);
        let file = create(&path).map_err(named(&path))?;
        let writer =
            ManifestWriter::new(BufWriter::new(file), &plan.header).map_err(named(&path))?;
        let writer = self.write_parts(plan, writer, &path)?;
        let mut file = writer
            .finish()
            .map_err(named(&path))?
            .into_inner()
            .map_err(|error| named(&path)(error.into_error()))?;
        file.rewind().map_err(named(&path))?;
        let mut hasher = Hasher::new(Algorithm::Sha256);
        let size = hash(&mut file, &mut hasher).map_err(named(&path))?;
        match self.key {
            Some(key) => {
                let signature = key.sign_detached_stream(&mut file, plan.header.made_at)?;
                let mut file = create(&signature_path).map_err(named(&signature_path))?;
                file.write_all(&signature).map_err(named(&signature_path))?;
            }
            None => crate::regular_file::remove(&signature_path)?,
        }
        Ok((hasher.finish().0, size))
    }

    fn write_parts<W: Write>(
        &self,
        plan: &ExportPlan,
        mut writer: ManifestWriter<W>,
        path: &Path,
    ) -> Result<ManifestWriter<W>, MediaError> {
        let mut listed = HashSet::new();
        let mut seen = HashSet::new();
        // Reading the database and writing the file alternate, and their errors are of two kinds.
        let mut failed: Option<io::Error> = None;
        self.storage.read(|reader| {
            let mut put = |written: io::Result<()>| match written {
                Ok(()) => true,
                Err(error) => {
                    failed = Some(error);
                    false
                }
            };
            let carried = plan
                .header
                .manifests
                .iter()
                .filter(|manifest| manifest.carried);
            let mut manifests = Vec::new();
            for manifest in carried {
                let manifest = reader.manifest(manifest.id)?;
                if !put(writer.manifest(&manifest.encode())) {
                    return Ok(());
                }
                manifests.push(manifest);
            }
            for chunk in manifests.iter().flat_map(|manifest| &manifest.chunks) {
                if !seen.insert(chunk.id) {
                    continue;
                }
                if plan.known_chunks.contains(&chunk.id) {
                    if !put(writer.known_chunk()) {
                        return Ok(());
                    }
                    continue;
                }
                let (encoded, entries) = reader.encoded_chunk(chunk.id)?;
                let mut bits = Vec::new();
                for entry in entries {
                    if listed.insert(entry.object) {
                        bits.push(plan.carried_ids.contains(&entry.object));
                    }
                }
                if !put(writer.chunk(&encoded, &bits)) {
                    return Ok(());
                }
            }
            Ok(())
        })?;
        match failed {
            Some(error) => Err(named(path)(error).into()),
            None => Ok(writer),
        }
    }

    fn read_back(
        &self,
        workers: &rayon::ThreadPool,
        plan: &ExportPlan,
        folder: &UnfinishedFolder,
        manifest: ObjectId,
    ) -> Result<ReadBackProof, MediaError> {
        let path = folder.path.join(transfer::MANIFEST);
        let file = fs::File::open(&path)?;
        let first = drop_from_memory(file.file());
        let mut hasher = Hasher::new(Algorithm::Sha256);
        hash(&mut file.file(), &mut hasher).map_err(named(&path))?;
        if hasher.finish().0 != manifest {
            return Err(MediaError::ReadBack { path });
        }
        let proof = Mutex::new(first);
        let shown = self.progress.downloads(
            "[3/3] reading back",
            plan.carried.len() as u64,
            plan.bytes(),
        );
        let read = self.each(workers, plan, &shown, |object| {
            let (found, from) = read_written(folder, object)?;
            if found != object.object {
                let path = object_files(object).next();
                let path = path.map(|file| file.path()).unwrap_or_default();
                return Err(MediaError::ReadBack {
                    path: folder.path.join(path),
                });
            }
            let mut proof = lock(&proof);
            *proof = proof.and(from);
            Ok(())
        });
        shown.finish();
        read?;
        let proof = *lock(&proof);
        Ok(proof)
    }
}

/// The digest of a written object, read from the medium.
fn read_written(
    folder: &UnfinishedFolder,
    object: ObjectRef,
) -> Result<(ObjectId, ReadBackProof), MediaError> {
    let mut hasher = Hasher::new(Algorithm::Sha256);
    let mut proof = ReadBackProof::FromMedium;
    for part in object_files(object) {
        let path = folder.path.join(part.path());
        let file = fs::File::open(&path)?;
        proof = proof.and(drop_from_memory(file.file()));
        hash(&mut file.file(), &mut hasher).map_err(named(&path))?;
    }
    Ok((hasher.finish().0, proof))
}

/// Creates or empties a file; a link is not followed.
fn create(path: &Path) -> io::Result<File> {
    std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
        .open(path)
}

/// Creates a directory, which may exist.
fn directory(path: &Path) -> Result<(), MediaError> {
    match fs::create_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            if fs::symlink_metadata(path)?.is_dir() {
                return Ok(());
            }
            let path = path.to_owned();
            Err(MediaError::NotADirectory { path })
        }
        made => Ok(made?),
    }
}
