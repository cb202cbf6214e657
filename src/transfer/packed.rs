//! The packed manifest: verified as a whole, then read again block by block.
//!
//! It is larger than what should be in memory at once, and the medium may change between two reads
//! of it. So the digest of each block is kept when the signature is verified, and no byte of a
//! block that has another digest later is passed on.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};

use crate::digest::{Algorithm, Hasher, ObjectId};
use crate::openpgp::{DetachedHasher, HashedSignature, Keyring, Signer};

use super::error::{BlockChanged, TransferError};
use super::folder::Folder;
use super::limits::{FIRST_LINE, FIRST_LINE_MAX, KIND, PACKED_MAX, SIGNATURE_MAX};
use super::name::{MANIFEST, SIGNATURE};
use super::reader::ManifestReader;

const BLOCK: usize = 1 << 20;
/// Far in the future: a medium may come from a host whose clock is ahead, or to one whose clock is
/// behind. That is a warning, no reason to refuse it.
const ANY_TIME: i64 = 1 << 40;

/// A manifest whose bytes are known. Nothing in it is believed.
pub struct PackedManifest<'f> {
    folder: &'f Folder,
    file: File,
    digest: ObjectId,
    blocks: Vec<ObjectId>,
    /// `None` if there is no signature file.
    signatures: Option<Vec<HashedSignature>>,
}

/// A manifest that can be read: it was verified, or what it says is only shown.
pub struct OpenManifest<'p, 'f> {
    packed: &'p PackedManifest<'f>,
    /// The good signatures; empty if it was not verified.
    pub signers: Vec<Signer>,
}

impl<'f> PackedManifest<'f> {
    /// Reads the whole file once.
    pub fn read(folder: &'f Folder) -> Result<Self, TransferError> {
        let path = || folder.path().to_owned();
        if folder.is_incomplete() {
            return Err(TransferError::Incomplete { folder: path() });
        }
        let Some(mut file) = folder.file(MANIFEST)? else {
            return Err(TransferError::Missing {
                folder: path(),
                name: MANIFEST,
            });
        };
        let named = |error| crate::regular_file::named(&folder.path().join(MANIFEST))(error);
        reject_large(folder, &file, MANIFEST, PACKED_MAX).map_err(|error| error.named(&named))?;
        let mut detached = signature(folder)?;
        let mut hasher = Hasher::new(Algorithm::Sha256);
        let mut blocks = Vec::new();
        let mut buffer = vec![0; BLOCK];
        let mut length = 0_u64;
        loop {
            let read = fill(&mut file, &mut buffer).map_err(named)?;
            let block = &buffer[..read];
            if read == 0 {
                break;
            }
            length += read as u64;
            if length > PACKED_MAX {
                // It grew meanwhile.
                return Err(TransferError::Changed { folder: path() });
            }
            hasher.update(block);
            blocks.push(ObjectId::of(block));
            if let Some(detached) = &mut detached {
                detached.update(block);
            }
            if read < buffer.len() {
                break;
            }
        }
        Ok(Self {
            folder,
            file,
            digest: hasher.finish().0,
            blocks,
            signatures: detached.map(DetachedHasher::finish),
        })
    }

    /// The keys that its signatures name, unverified.
    pub fn claimed_keys(&self) -> Vec<String> {
        let signatures = self.signatures.iter().flatten();
        signatures
            .filter_map(HashedSignature::claimed_key)
            .collect()
    }

    pub fn is_signed(&self) -> bool {
        self.signatures.is_some()
    }

    /// Verifies its signature, which must be by one of these keys.
    pub fn verified(&self, keyring: &Keyring) -> Result<OpenManifest<'_, 'f>, TransferError> {
        let folder = || self.folder.path().to_owned();
        let Some(signatures) = &self.signatures else {
            return Err(TransferError::Unsigned { folder: folder() });
        };
        let signers = keyring
            .verify_hashed(signatures, MANIFEST, ANY_TIME)
            .map_err(|source| TransferError::Signature {
                folder: folder(),
                source,
            })?;
        Ok(OpenManifest {
            packed: self,
            signers,
        })
    }

    /// For what is only shown, and for media without a signature where these are allowed.
    pub fn unverified(&self) -> OpenManifest<'_, 'f> {
        OpenManifest {
            packed: self,
            signers: Vec::new(),
        }
    }
}

impl<'f> OpenManifest<'_, 'f> {
    pub fn folder(&self) -> &'f Folder {
        self.packed.folder
    }

    /// The SHA-256 of the packed file, which names the content of the transfer.
    pub fn digest(&self) -> ObjectId {
        self.packed.digest
    }

    /// Begins to read it; may be called several times.
    pub fn reader(&self) -> Result<ManifestReader<impl Read + '_>, TransferError> {
        let folder = self.packed.folder.path();
        let mut blocks = BufReader::new(Blocks {
            packed: self.packed,
            next: 0,
            block: Vec::new(),
            given: 0,
        });
        self.check_version(&mut blocks)?;
        let reader = ManifestReader::new(folder, blocks)?;
        let found = reader.header.name();
        if found != self.packed.folder.name {
            return Err(TransferError::Renamed {
                folder: folder.to_owned(),
                found: found.to_string(),
            });
        }
        Ok(reader)
    }

    fn check_version(&self, blocks: &mut BufReader<Blocks<'_>>) -> Result<(), TransferError> {
        let folder = || self.packed.folder.path().to_owned();
        let mut line = Vec::new();
        io::BufRead::read_until(&mut blocks.take(FIRST_LINE_MAX), b'\n', &mut line)
            .map_err(|error| TransferError::of_read(self.packed.folder.path(), error))?;
        if line == FIRST_LINE {
            return Ok(());
        }
        let version = std::str::from_utf8(&line).ok();
        let version = version
            .and_then(|line| line.strip_prefix(KIND)?.strip_suffix('\n'))
            .map(|rest| rest.split_once(' ').unwrap_or((rest, "")));
        let Some((Ok(version), needs)) = version.map(|(n, needs)| (n.parse(), needs)) else {
            return Err(TransferError::NotAManifest { folder: folder() });
        };
        let needs = match needs {
            "" => String::new(),
            needs => format!(" ({})", crate::terminal::escape(needs)),
        };
        Err(TransferError::Newer {
            folder: folder(),
            version,
            needs,
        })
    }
}

/// Reads the blocks of the file, and fails if one changed.
struct Blocks<'p> {
    packed: &'p PackedManifest<'p>,
    next: usize,
    block: Vec<u8>,
    given: usize,
}

impl Read for Blocks<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.given == self.block.len() {
            let Some(expected) = self.packed.blocks.get(self.next) else {
                return Ok(0);
            };
            self.block.resize(BLOCK, 0);
            let mut file = &self.packed.file;
            file.seek(SeekFrom::Start((self.next * BLOCK) as u64))?;
            let read = fill(&mut file, &mut self.block)?;
            self.block.truncate(read);
            self.given = 0;
            if ObjectId::of(&self.block) != *expected {
                self.block.clear();
                return Err(io::Error::other(BlockChanged));
            }
            self.next += 1;
        }
        let rest = &self.block[self.given..];
        let length = rest.len().min(buffer.len());
        buffer[..length].copy_from_slice(&rest[..length]);
        self.given += length;
        Ok(length)
    }
}

/// The signature file; `None` if there is none.
fn signature(folder: &Folder) -> Result<Option<DetachedHasher>, TransferError> {
    let Some(file) = folder.file(SIGNATURE)? else {
        return Ok(None);
    };
    let named = |error| crate::regular_file::named(&folder.path().join(SIGNATURE))(error);
    reject_large(folder, &file, SIGNATURE, SIGNATURE_MAX).map_err(|error| error.named(&named))?;
    let mut bytes = Vec::new();
    file.take(SIGNATURE_MAX)
        .read_to_end(&mut bytes)
        .map_err(named)?;
    let detached = DetachedHasher::new(&bytes, MANIFEST).map_err(|source| {
        let folder = folder.path().to_owned();
        TransferError::Signature { folder, source }
    })?;
    Ok(Some(detached))
}

fn reject_large(
    folder: &Folder,
    file: &File,
    name: &'static str,
    limit: u64,
) -> Result<(), TransferError> {
    let size = file.metadata()?.len();
    if size > limit {
        return Err(TransferError::TooLarge {
            folder: folder.path().to_owned(),
            name,
            size,
            limit,
        });
    }
    Ok(())
}

/// Reads until the buffer is full or the file ends.
fn fill(file: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while length < buffer.len() {
        match file.read(&mut buffer[length..]) {
            Ok(0) => break,
            Ok(read) => length += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(length)
}
