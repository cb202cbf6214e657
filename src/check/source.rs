//! What a proof reads: manifests, the bytes of objects, known digests. Proofs are the same for a
//! storage and for a medium that is not imported yet.

use std::io::{self, Read};

use crate::digest::{Algorithm, Digest, Hasher, ObjectId, ObjectRef};
use crate::interrupt::Interrupted;
use crate::manifest::Entry;
use crate::names::RepoId;
use crate::pool::{BUFFER, SMALL_MAX, hash};
use crate::regular_file;
use crate::storage::Storage;
use crate::store::StoreError;

use super::finding::Damage;

/// Manifests and objects. Nothing that it returns is trusted before it was verified.
pub trait ProofSource: Sync {
    /// Passes the entries of a manifest to `each`, in path order.
    fn each_entry(&self, manifest: ObjectId, each: &mut dyn FnMut(Entry))
    -> Result<(), StoreError>;

    /// The bytes of an object. An error has the error number of the system.
    fn open(&self, object: ObjectId) -> io::Result<Box<dyn Read + '_>>;

    /// The objects with these declared digests, as far as they were computed before.
    fn objects_with(&self, digests: &[Digest]) -> Result<Vec<Option<ObjectId>>, StoreError>;

    fn interrupted(&self) -> Result<(), Interrupted>;
}

/// The storage, with the digests that one of its repositories declared.
pub struct StorageSource<'a> {
    pub storage: &'a Storage,
    pub repository: &'a RepoId,
}

impl ProofSource for StorageSource<'_> {
    fn each_entry(
        &self,
        manifest: ObjectId,
        each: &mut dyn FnMut(Entry),
    ) -> Result<(), StoreError> {
        self.storage.read(|reader| {
            reader.each_entry(manifest, &mut |entry| {
                each(entry);
                Ok(())
            })
        })
    }

    fn open(&self, object: ObjectId) -> io::Result<Box<dyn Read + '_>> {
        let file = regular_file::open(&self.storage.pool.object_path(object))?;
        Ok(Box::new(file))
    }

    fn objects_with(&self, digests: &[Digest]) -> Result<Vec<Option<ObjectId>>, StoreError> {
        self.storage.read(|reader| {
            let object = |digest| reader.object_with(digest, self.repository);
            digests.iter().map(object).collect()
        })
    }

    fn interrupted(&self) -> Result<(), Interrupted> {
        self.storage.interrupt.check()
    }
}

/// As [`read_small`], for an object whose size is not known.
pub fn read_unsized(source: &dyn ProofSource, object: ObjectId) -> Result<Vec<u8>, Damage> {
    let bytes = read_file(source, object)?;
    match ObjectId::of(&bytes) {
        got if got == object => Ok(bytes),
        got => Err(Damage::Digest { got }),
    }
}

fn read_file(source: &dyn ProofSource, object: ObjectId) -> Result<Vec<u8>, Damage> {
    let mut bytes = Vec::new();
    source
        .open(object)
        .and_then(|file| file.take(SMALL_MAX).read_to_end(&mut bytes))
        .map_err(|error| Damage::of_error(&error))?;
    Ok(bytes)
}

/// The bytes of a small object, such as a root or a key, which are those that its name says.
pub fn read_small(source: &dyn ProofSource, content: ObjectRef) -> Result<Vec<u8>, Damage> {
    let bytes = read_file(source, content.object)?;
    Damage::compare(content, ObjectId::of(&bytes), bytes.len() as u64).map(|()| bytes)
}

/// Another digest of an object.
pub fn digest_of(
    source: &dyn ProofSource,
    content: ObjectRef,
    algorithm: Algorithm,
) -> Result<Digest, Damage> {
    let file = source.open(content.object);
    let mut file = file.map_err(|error| Damage::of_error(&error))?;
    let mut hasher = Hasher::new(algorithm);
    let size = hash(&mut file, &mut hasher).map_err(|error| Damage::of_error(&error))?;
    let (object, digest) = hasher.finish();
    Damage::compare(content, object, size).map(|()| digest)
}

/// Reads an object and computes its digest meanwhile.
pub struct HashingReader<'a> {
    inner: Box<dyn Read + 'a>,
    hasher: Hasher,
    length: u64,
    /// The first error, which parsers may report without its number.
    failed: Option<Damage>,
}

impl<'a> HashingReader<'a> {
    pub fn new(inner: Box<dyn Read + 'a>) -> Self {
        Self {
            inner,
            hasher: Hasher::new(Algorithm::Sha256),
            length: 0,
            failed: None,
        }
    }

    /// Reads the rest, and compares the whole object with its name.
    pub fn finish(mut self, content: ObjectRef) -> Result<(), Damage> {
        let mut buffer = vec![0; BUFFER];
        while self.failed.is_none() {
            // An error is remembered.
            if let Ok(0) = self.read(&mut buffer) {
                break;
            }
        }
        match self.failed {
            Some(damage) => Err(damage),
            None => Damage::compare(content, self.hasher.finish().0, self.length),
        }
    }
}

impl Read for HashingReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.inner.read(buffer) {
            Ok(read) => {
                self.hasher.update(&buffer[..read]);
                self.length += read as u64;
                Ok(read)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(error),
            Err(error) => {
                self.failed = Some(Damage::of_error(&error));
                Err(error)
            }
        }
    }
}
