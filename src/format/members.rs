//! Files of gzip, bzip2 and xz: a sequence of members (called streams in xz and bzip2).
//!
//! A file ends with its last member. Trailing data that does not begin another member is ignored,
//! as in zlib's `gzread`, libbz2 and liblzma and therefore in apt and dnf: tools that write to
//! tapes or blocks add zero bytes, which the digest of the file covers. It cannot contain hidden
//! content, and the declared size and digest are compared with the content before it. zstd is
//! different: its clients reject trailing data.

use std::io::{self, BufRead, Read};

/// `xz -9` needs a dictionary of 64 MiB; twice that, and what the decoder itself takes.
const XZ_MEMORY_LIMIT_KIB: u32 = 136 << 10;

/// A codec whose files consist of members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Codec {
    Gzip,
    Xz,
    Bzip2,
}

impl Codec {
    /// The magic number of a member. Readers of gzip check no more than this.
    const fn magic(self) -> &'static [u8] {
        match self {
            Self::Gzip => b"\x1f\x8b",
            Self::Xz => b"\xfd7zXZ\0",
            Self::Bzip2 => b"BZh",
        }
    }
}

/// Decompresses all members.
pub(super) struct Members<R: BufRead> {
    codec: Codec,
    /// `None` after the last one.
    member: Option<Member<Peeked<R>>>,
}

enum Member<R: BufRead> {
    Gzip(Box<flate2::bufread::GzDecoder<R>>),
    Xz(Box<lzma_rust2::XzReader<R>>),
    Bzip2(bzip2::bufread::BzDecoder<R>),
}

impl<R: BufRead> Members<R> {
    pub(super) fn new(codec: Codec, packed: R) -> Self {
        let packed = Peeked {
            start: Vec::with_capacity(codec.magic().len()),
            read: 0,
            packed,
        };
        Self {
            codec,
            member: Some(Member::open(codec, packed)),
        }
    }
}

impl<R: BufRead> Member<R> {
    fn open(codec: Codec, packed: R) -> Self {
        match codec {
            Codec::Gzip => Self::Gzip(Box::new(flate2::bufread::GzDecoder::new(packed))),
            Codec::Xz => Self::Xz(Box::new(lzma_rust2::XzReader::new_mem_limit(
                packed,
                false,
                XZ_MEMORY_LIMIT_KIB,
            ))),
            Codec::Bzip2 => Self::Bzip2(bzip2::bufread::BzDecoder::new(packed)),
        }
    }

    fn into_inner(self) -> R {
        match self {
            Self::Gzip(member) => member.into_inner(),
            Self::Xz(member) => member.into_inner(),
            Self::Bzip2(member) => member.into_inner(),
        }
    }
}

impl<R: BufRead> Read for Member<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Gzip(member) => member.read(into),
            Self::Xz(member) => member.read(into),
            Self::Bzip2(member) => member.read(into),
        }
    }
}

impl<R: BufRead> Read for Members<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if into.is_empty() {
            return Ok(0);
        }
        while let Some(member) = &mut self.member {
            let length = member.read(into)?;
            if length > 0 {
                return Ok(length);
            }
            let Some(member) = self.member.take() else {
                break;
            };
            let mut packed = member.into_inner();
            if packed.begins_with(self.codec.magic())? {
                self.member = Some(Member::open(self.codec, packed));
            }
        }
        Ok(0)
    }
}

/// A reader that can peek at the next bytes.
struct Peeked<R> {
    start: Vec<u8>,
    /// How many of them were read.
    read: usize,
    packed: R,
}

impl<R: BufRead> Peeked<R> {
    /// The bytes may be spread over two buffers.
    fn begins_with(&mut self, wanted: &[u8]) -> io::Result<bool> {
        self.start.drain(..self.read);
        self.read = 0;
        if let Some(lacking) = wanted.len().checked_sub(self.start.len()) {
            let mut packed = self.packed.by_ref().take(lacking as u64);
            packed.read_to_end(&mut self.start)?;
        }
        Ok(self.start.starts_with(wanted))
    }
}

impl<R: BufRead> BufRead for Peeked<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        match self.start.get(self.read..) {
            Some(peeked) if !peeked.is_empty() => Ok(peeked),
            _ => self.packed.fill_buf(),
        }
    }

    fn consume(&mut self, amount: usize) {
        if self.read < self.start.len() {
            self.read = self.start.len().min(self.read + amount);
        } else {
            self.packed.consume(amount);
        }
    }
}

impl<R: BufRead> Read for Peeked<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        read_buffered(self, into)
    }
}

/// `read` implemented with `fill_buf` and `consume`.
pub(super) fn read_buffered(reader: &mut impl BufRead, into: &mut [u8]) -> io::Result<usize> {
    let available = reader.fill_buf()?;
    let length = available.len().min(into.len());
    into[..length].copy_from_slice(&available[..length]);
    reader.consume(length);
    Ok(length)
}
