//! Reads the stream of a packed manifest in one pass, with one manifest or chunk in memory.

use std::collections::{HashSet, VecDeque};
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use crate::digest::{ObjectId, ObjectRef};
use crate::manifest::{self, ChunkRef, Entry, Manifest, Totals};

use super::error::TransferError;
use super::header::Header;
use super::limits::{CHUNK_MAX, HEADER_MAX, MANIFEST_MAX, OBJECT_MAX, OPEN_MAX, WINDOW_LOG_MAX};

/// One part of a transfer, in the order of the stream.
#[derive(Debug)]
pub enum Item {
    /// Only the carried ones.
    Manifest {
        id: ObjectId,
        encoded: Vec<u8>,
        manifest: Manifest,
    },
    /// Each chunk of the carried manifests, once.
    Chunk {
        chunk: ChunkRef,
        /// `None` if the destination has it.
        content: Option<CarriedChunk>,
    },
    /// An object that no chunk names.
    Further(ListedObject),
}

#[derive(Debug)]
pub struct CarriedChunk {
    pub encoded: Vec<u8>,
    pub entries: Vec<Entry>,
    /// The objects that no earlier chunk names.
    pub objects: Vec<ListedObject>,
}

/// An object of the transfer's object list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListedObject {
    /// From 1.
    pub number: u64,
    pub content: ObjectRef,
    /// False if the destination has it.
    pub is_carried: bool,
}

pub struct ManifestReader<R> {
    folder: PathBuf,
    stream: Stream<R>,
    pub header: Header,
    /// The carried manifests that are not read yet.
    manifests: VecDeque<ObjectId>,
    /// The chunks of the manifests that were read, each once.
    chunks: VecDeque<ChunkRef>,
    known_chunks: HashSet<ObjectId>,
    /// The objects that were listed.
    listed: HashSet<ObjectId>,
    further: usize,
}

type Stream<R> = io::Take<zstd::Decoder<'static, BufReader<R>>>;

impl<R: Read> ManifestReader<R> {
    /// Reads the header. `compressed` begins after the first line.
    pub fn new(folder: &Path, compressed: R) -> Result<Self, TransferError> {
        let fail = |error| TransferError::of_read(folder, error);
        let mut decoder = zstd::Decoder::new(compressed).map_err(fail)?;
        decoder.window_log_max(WINDOW_LOG_MAX).map_err(fail)?;
        let mut stream = decoder.take(OPEN_MAX);
        let bytes = read_block(&mut stream, HEADER_MAX)
            .and_then(|bytes| bytes.ok_or(ReadError::Malformed("the header is missing")))
            .map_err(|error| error.of(folder))?;
        let header = Header::decode(&bytes).map_err(|why| TransferError::Malformed {
            folder: folder.to_owned(),
            why: format!("header: {why}"),
        })?;
        let carried = header.manifests.iter().filter(|manifest| manifest.carried);
        Ok(Self {
            folder: folder.to_owned(),
            stream,
            manifests: carried.map(|manifest| manifest.id).collect(),
            header,
            chunks: VecDeque::new(),
            known_chunks: HashSet::new(),
            listed: HashSet::new(),
            further: 0,
        })
    }

    /// The next part; `None` at the end.
    pub fn next(&mut self) -> Result<Option<Item>, TransferError> {
        let folder = &self.folder.clone();
        self.read_next().map_err(|error| error.of(folder))
    }

    fn read_next(&mut self) -> Result<Option<Item>, ReadError> {
        if let Some(id) = self.manifests.pop_front() {
            return self.manifest(id).map(Some);
        }
        if let Some(chunk) = self.chunks.pop_front() {
            let content = self.chunk(chunk)?;
            return Ok(Some(Item::Chunk { chunk, content }));
        }
        if let Some(further) = self.header.further.get(self.further) {
            self.further += 1;
            if !self.listed.insert(further.object) {
                return Err(ReadError::Malformed("an object is listed twice"));
            }
            return Ok(Some(Item::Further(ListedObject {
                number: self.listed.len() as u64,
                content: ObjectRef {
                    object: further.object,
                    size: further.size,
                },
                is_carried: further.carried,
            })));
        }
        let mut rest = [0];
        match self.stream.read(&mut rest)? {
            // The end of the limit looks like the end of the stream.
            0 if self.stream.limit() > 0 => Ok(None),
            _ => Err(ReadError::Malformed(
                "it has more than it declares, or is too large",
            )),
        }
    }

    fn manifest(&mut self, id: ObjectId) -> Result<Item, ReadError> {
        let encoded = read_block(&mut self.stream, MANIFEST_MAX)?;
        let encoded = encoded.ok_or(ReadError::Malformed("a manifest is missing"))?;
        if ObjectId::of(&encoded) != id {
            return Err(ReadError::Malformed(
                "a manifest is not the one that it should be",
            ));
        }
        let manifest = Manifest::decode(&encoded)
            .map_err(|_| ReadError::Malformed("a manifest cannot be decoded"))?;
        for chunk in &manifest.chunks {
            if self.known_chunks.insert(chunk.id) {
                self.chunks.push_back(*chunk);
            }
        }
        Ok(Item::Manifest {
            id,
            encoded,
            manifest,
        })
    }

    fn chunk(&mut self, chunk: ChunkRef) -> Result<Option<CarriedChunk>, ReadError> {
        let Some(encoded) = read_block(&mut self.stream, CHUNK_MAX)? else {
            return Ok(None);
        };
        if ObjectId::of(&encoded) != chunk.id {
            return Err(ReadError::Malformed(
                "a chunk is not the one that it should be",
            ));
        }
        let entries = manifest::decode_chunk(&encoded)
            .map_err(|_| ReadError::Malformed("a chunk cannot be decoded"))?;
        if Totals::of(&entries) != chunk.totals {
            return Err(ReadError::Malformed("the totals of a chunk are wrong"));
        }
        if entries.iter().any(|entry| entry.size > OBJECT_MAX) {
            return Err(ReadError::Malformed("an object is too large"));
        }
        let mut objects = Vec::new();
        for entry in &entries {
            if self.listed.insert(entry.object) {
                objects.push(ListedObject {
                    number: self.listed.len() as u64,
                    content: entry.content(),
                    is_carried: false,
                });
            }
        }
        let mut bits = vec![0; objects.len().div_ceil(8)];
        self.stream.read_exact(&mut bits)?;
        for (index, object) in objects.iter_mut().enumerate() {
            object.is_carried = bits[index / 8] & (1 << (index % 8)) != 0;
        }
        if bits
            .last()
            .is_some_and(|last| objects.len() % 8 != 0 && last >> (objects.len() % 8) != 0)
        {
            return Err(ReadError::Malformed("unused bits are set"));
        }
        Ok(Some(CarriedChunk {
            encoded,
            entries,
            objects,
        }))
    }
}

enum ReadError {
    Malformed(&'static str),
    Io(io::Error),
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl ReadError {
    fn of(self, folder: &Path) -> TransferError {
        match self {
            Self::Malformed(why) => TransferError::Malformed {
                folder: folder.to_owned(),
                why: why.to_owned(),
            },
            Self::Io(error) => TransferError::of_read(folder, error),
        }
    }
}

/// A length and that many bytes; `None` for length 0. Memory is allocated only for bytes that
/// exist.
fn read_block(stream: &mut impl Read, limit: u64) -> Result<Option<Vec<u8>>, ReadError> {
    let length = read_varint(stream)?;
    if length > limit {
        return Err(ReadError::Malformed("a part is too large"));
    }
    if length == 0 {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    stream.take(length).read_to_end(&mut bytes)?;
    if bytes.len() as u64 != length {
        return Err(ReadError::Malformed("it is truncated"));
    }
    Ok(Some(bytes))
}

/// As the manifests' own: at most 10 bytes, never longer than needed.
fn read_varint(stream: &mut impl Read) -> Result<u64, ReadError> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        let bits = u64::from(byte[0] & 0x7f);
        if shift == 63 && bits > 1 {
            break;
        }
        value |= bits << shift;
        if byte[0] & 0x80 == 0 {
            if byte[0] == 0 && shift > 0 {
                break;
            }
            return Ok(value);
        }
    }
    Err(ReadError::Malformed("a number is not valid"))
}
