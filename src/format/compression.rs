//! Compression of indexes, and decompression with limits.
//!
//! The digest of an index is verified, but its uncompressed content is not: [`IndexText`] returns
//! at most the declared size, limits the memory of the decoders, and can verify the declared digest
//! at the end.

use std::io::{self, BufRead, Read, Write};
use std::num::NonZeroU64;

use crate::digest::{Digest, Hasher};

use super::members::{Codec, Members, read_buffered};

/// The compression of an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    Plain,
    Gzip,
    Xz,
    Bzip2,
    Zstd,
}

/// Declared digest and size in bytes of uncompressed content, if any.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Open {
    pub digest: Option<Digest>,
    pub also: Option<Digest>,
    pub size: Option<u64>,
}

/// The largest uncompressed size of an index, regardless of what is declared. The largest known
/// ones are Ubuntu's Contents (829 MB) and Fedora's filelists (717 MB); five times that leaves room
/// and still ends within seconds.
pub const OPEN_LIMIT: u64 = 4 << 30;

/// As a power of two: 128 MiB, which `zstd --ultra -22` and `--long` require and every client
/// supports.
const ZSTD_WINDOW_LOG_LIMIT: u32 = 27;

/// Large enough that hashing and decoding work on whole blocks, not on the lines that a parser
/// takes.
const BUFFER_SIZE: usize = 64 << 10;

/// Suffixes of compression formats that some clients support and chantal does not: such files are
/// mirrored unchanged.
const FOREIGN_SUFFIXES: [&str; 6] = [".lzma", ".lz4", ".lz", ".zck", ".br", ".Z"];

/// Splits a file name with the suffix of an unsupported compression format.
pub fn split_foreign(path: &str) -> Option<(&str, &'static str)> {
    FOREIGN_SUFFIXES
        .iter()
        .find_map(|suffix| Some((path.strip_suffix(suffix)?, *suffix)))
}

impl Compression {
    /// By file name suffix; unknown suffixes mean no compression.
    pub fn of_path(path: &str) -> Self {
        Self::split(path).1
    }

    /// The name without the suffix: `main/Contents-all.gz` gives `main/Contents-all`.
    pub fn split(path: &str) -> (&str, Self) {
        [Self::Gzip, Self::Xz, Self::Bzip2, Self::Zstd]
            .into_iter()
            .find_map(|codec| Some((path.strip_suffix(codec.suffix())?, codec)))
            .unwrap_or((path, Self::Plain))
    }

    /// Orders the forms of an index: a smaller one is faster to read.
    pub const fn cost_of_reading(self) -> u8 {
        match self {
            Self::Plain => 0,
            Self::Zstd => 1,
            Self::Gzip => 2,
            Self::Xz => 3,
            Self::Bzip2 => 4,
        }
    }

    /// The file name suffix.
    pub const fn suffix(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Gzip => ".gz",
            Self::Xz => ".xz",
            Self::Bzip2 => ".bz2",
            Self::Zstd => ".zst",
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Gzip => "gzip",
            Self::Xz => "xz",
            Self::Bzip2 => "bzip2",
            Self::Zstd => "zstd",
        }
    }

    /// Decompresses a stream with all its members or frames. Trailing data is an error for zstd,
    /// and [ignored](super::members) for the others.
    fn decoder<'r>(self, mut packed: impl BufRead + 'r) -> io::Result<Box<dyn Read + 'r>> {
        // The zstd decoder accepts an empty file as zero frames.
        if self != Self::Plain && packed.fill_buf()?.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(match self {
            Self::Plain => Box::new(packed),
            Self::Gzip => Box::new(Members::new(Codec::Gzip, packed)),
            Self::Xz => Box::new(Members::new(Codec::Xz, packed)),
            Self::Bzip2 => Box::new(Members::new(Codec::Bzip2, packed)),
            Self::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(packed)?;
                decoder.window_log_max(ZSTD_WINDOW_LOG_LIMIT)?;
                Box::new(decoder)
            }
        })
    }

    /// Explains errors of the decoder; I/O errors are unchanged.
    fn explain(self, error: io::Error) -> io::Error {
        if self == Self::Plain || error.raw_os_error().is_some() {
            return error;
        }
        let name = self.name();
        let text = match error.kind() {
            io::ErrorKind::UnexpectedEof => format!("the {name} stream is truncated"),
            io::ErrorKind::OutOfMemory => {
                format!("the {name} stream requires too much memory")
            }
            _ if self == Self::Zstd => {
                format!("invalid {name} stream, or trailing data: {error}")
            }
            _ => format!("invalid {name} stream: {error}"),
        };
        io::Error::new(error.kind(), text)
    }
}

/// Compression level: a new index is compressed once and read by every client, but a user waits for
/// it.
const GZIP_LEVEL: u32 = 6;
/// The next one takes twice the time for 4% less.
const XZ_PRESET: u32 = 0;
/// Bytes that one thread compresses at a time: block boundaries must not depend on the number of
/// threads.
const XZ_BLOCK: u64 = 4 << 20;
const XZ_THREADS_MAX: u32 = 8;
const ZSTD_LEVEL: i32 = 9;

/// Compresses what is written to it. Equal texts give equal files, independent of time and machine.
pub enum Encoder<W: Write> {
    Gzip(flate2::write::GzEncoder<W>),
    Xz(Box<lzma_rust2::XzWriterMt<W>>),
    Zstd(zstd::stream::write::Encoder<'static, W>),
    Plain(W),
}

impl<W: Write> Encoder<W> {
    /// bzip2 is only read: all clients that support it also support the others.
    pub fn new(codec: Compression, out: W) -> io::Result<Self> {
        Ok(match codec {
            Compression::Gzip => Self::Gzip(flate2::write::GzEncoder::new(
                out,
                flate2::Compression::new(GZIP_LEVEL),
            )),
            Compression::Xz => {
                let mut options = lzma_rust2::XzOptions::with_preset(XZ_PRESET);
                options.set_block_size(NonZeroU64::new(XZ_BLOCK));
                let threads = std::thread::available_parallelism();
                let threads =
                    threads.map_or(1, |threads| u32::try_from(threads.get()).unwrap_or(1));
                let threads = threads.clamp(1, XZ_THREADS_MAX);
                Self::Xz(Box::new(lzma_rust2::XzWriterMt::new(
                    out, options, threads,
                )?))
            }
            Compression::Zstd => {
                let mut encoder = zstd::stream::write::Encoder::new(out, ZSTD_LEVEL)?;
                encoder.include_checksum(true)?;
                Self::Zstd(encoder)
            }
            Compression::Plain => Self::Plain(out),
            Compression::Bzip2 => return Err(io::ErrorKind::Unsupported.into()),
        })
    }

    /// Finishes the stream and returns the inner writer.
    pub fn finish(self) -> io::Result<W> {
        match self {
            Self::Gzip(encoder) => encoder.finish(),
            Self::Xz(encoder) => encoder.finish(),
            Self::Zstd(encoder) => encoder.finish(),
            Self::Plain(out) => Ok(out),
        }
    }
}

impl<W: Write> Write for Encoder<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Gzip(encoder) => encoder.write(bytes),
            Self::Xz(encoder) => encoder.write(bytes),
            Self::Zstd(encoder) => encoder.write(bytes),
            Self::Plain(out) => out.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Gzip(encoder) => encoder.flush(),
            Self::Xz(encoder) => encoder.flush(),
            Self::Zstd(encoder) => encoder.flush(),
            Self::Plain(out) => out.flush(),
        }
    }
}

/// The uncompressed content of an index.
///
/// Reading fails at the first byte past the declared size, or past [`OPEN_LIMIT`].
pub struct IndexText<'r> {
    compression: Compression,
    decoder: Box<dyn Read + 'r>,
    declared: Open,
    hashers: [Option<Hasher>; 2],
    buffer: Box<[u8]>,
    /// The unread part of the buffer.
    unread: std::ops::Range<usize>,
    /// Bytes from the decoder so far.
    total: u64,
}

/// The content does not match the root.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("wrong uncompressed size: expected {expected}, got {got} bytes")]
    Size { expected: u64, got: u64 },
    #[error("wrong uncompressed digest: expected {expected}, got {got}")]
    Digest {
        expected: Box<Digest>,
        got: Box<Digest>,
    },
    #[error(transparent)]
    Read(#[from] io::Error),
}

impl<'r> IndexText<'r> {
    /// `declared` is compared with the content; without a digest nothing is hashed.
    pub fn open(
        compression: Compression,
        declared: Open,
        packed: impl BufRead + 'r,
    ) -> io::Result<Self> {
        Ok(Self {
            compression,
            decoder: compression
                .decoder(packed)
                .map_err(|error| compression.explain(error))?,
            declared,
            hashers: [declared.digest, declared.also]
                .map(|digest| Some(Hasher::new(digest?.algorithm()))),
            buffer: vec![0; BUFFER_SIZE].into(),
            unread: 0..0,
            total: 0,
        })
    }

    /// Reads the rest and verifies size and digest.
    pub fn verify(mut self) -> Result<(), OpenError> {
        loop {
            let length = self.fill_buf()?.len();
            if length == 0 {
                break;
            }
            self.consume(length);
        }
        if let Some(expected) = self.declared.size
            && expected != self.total
        {
            return Err(OpenError::Size {
                expected,
                got: self.total,
            });
        }
        let declared = [self.declared.digest, self.declared.also];
        for (expected, hasher) in declared.into_iter().zip(self.hashers) {
            if let (Some(expected), Some(hasher)) = (expected, hasher)
                && let (_, got) = hasher.finish()
                && expected != got
            {
                return Err(OpenError::Digest {
                    expected: Box::new(expected),
                    got: Box::new(got),
                });
            }
        }
        Ok(())
    }

    fn refill(&mut self) -> io::Result<()> {
        let length = loop {
            match self.decoder.read(&mut self.buffer) {
                Ok(length) => break length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.compression.explain(error)),
            }
        };
        self.total += length as u64;
        let limit = self.declared.size.unwrap_or(OPEN_LIMIT).min(OPEN_LIMIT);
        if self.total > limit {
            let what = match self.declared.size {
                Some(size) if size == limit => format!("the {size} bytes declared in the root"),
                _ => format!("the limit of {limit} bytes"),
            };
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("uncompressed size exceeds {what}"),
            ));
        }
        for hasher in self.hashers.iter_mut().flatten() {
            hasher.update(&self.buffer[..length]);
        }
        self.unread = 0..length;
        Ok(())
    }
}

impl BufRead for IndexText<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.unread.is_empty() {
            self.refill()?;
        }
        Ok(&self.buffer[self.unread.clone()])
    }

    fn consume(&mut self, amount: usize) {
        self.unread.start = self.unread.end.min(self.unread.start + amount);
    }
}

impl Read for IndexText<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        read_buffered(self, into)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::digest::{Algorithm, ObjectId};

    const PACKED: [Compression; 4] = [
        Compression::Gzip,
        Compression::Xz,
        Compression::Bzip2,
        Compression::Zstd,
    ];

    fn pack(compression: Compression, content: &[u8]) -> Vec<u8> {
        match compression {
            Compression::Plain => content.to_vec(),
            Compression::Gzip => {
                let mut writer =
                    flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                writer.write_all(content).unwrap();
                writer.finish().unwrap()
            }
            Compression::Xz => xz_with_dictionary(content, 1 << 20),
            Compression::Bzip2 => {
                let mut writer =
                    bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
                writer.write_all(content).unwrap();
                writer.finish().unwrap()
            }
            Compression::Zstd => zstd::encode_all(content, 3).unwrap(),
        }
    }

    /// One xz stream of stored chunks, written by hand: the dictionary may be of any size.
    fn xz_with_dictionary(content: &[u8], dictionary: u64) -> Vec<u8> {
        let crc = |bytes: &[u8]| {
            let mut crc = flate2::Crc::new();
            crc.update(bytes);
            crc.sum().to_le_bytes()
        };
        let multibyte = |mut value: usize| {
            let mut bytes = Vec::new();
            while value >= 0x80 {
                bytes.push(u8::try_from(value & 0x7f).unwrap() | 0x80);
                value >>= 7;
            }
            bytes.push(u8::try_from(value).unwrap());
            bytes
        };
        let pad = |bytes: &mut Vec<u8>| bytes.resize(bytes.len().next_multiple_of(4), 0);
        // Flags: CRC32 as the check.
        let mut stream = b"\xfd7zXZ\0\0\x01".to_vec();
        stream.extend(crc(&[0, 1]));

        let dictionary_bits = u8::try_from(2 * (dictionary.ilog2() - 12)).unwrap();
        let mut header = vec![2, 0, 0x21, 1, dictionary_bits, 0, 0, 0];
        header.extend(crc(&header));
        let mut block = header.clone();
        for (n, chunk) in content.chunks(1 << 16).enumerate() {
            block.push(if n == 0 { 1 } else { 2 });
            block.extend(u16::try_from(chunk.len() - 1).unwrap().to_be_bytes());
            block.extend(chunk);
        }
        block.push(0);
        let unpadded = block.len() + 4;
        pad(&mut block);
        block.extend(crc(content));
        stream.extend(block);

        let mut index = vec![0, 1];
        index.extend(multibyte(unpadded));
        index.extend(multibyte(content.len()));
        pad(&mut index);
        index.extend(crc(&index));
        let backward = u32::try_from(index.len() / 4 - 1).unwrap().to_le_bytes();
        stream.extend(index);
        let footer = [&backward[..], &[0, 1]].concat();
        stream.extend(crc(&footer));
        stream.extend(footer);
        stream.extend(b"YZ");
        stream
    }

    fn unpack(compression: Compression, packed: &[u8]) -> io::Result<Vec<u8>> {
        let mut content = Vec::new();
        IndexText::open(compression, Open::default(), packed)?.read_to_end(&mut content)?;
        Ok(content)
    }

    #[test]
    fn names_tell_the_codec() {
        for (path, base, compression) in [
            ("Packages", "Packages", Compression::Plain),
            ("a/Packages.gz", "a/Packages", Compression::Gzip),
            ("x.xml.zst", "x.xml", Compression::Zstd),
            ("x.sqlite.bz2", "x.sqlite", Compression::Bzip2),
            ("x.xml.zck", "x.xml.zck", Compression::Plain),
            ("Sources.xz", "Sources", Compression::Xz),
        ] {
            assert_eq!(Compression::split(path), (base, compression));
            assert_eq!(Compression::of_path(path), compression);
        }
    }

    #[test]
    fn several_members_are_one_content() {
        let long = "0123456789".repeat(20_000);
        for compression in PACKED {
            let mut packed = pack(compression, long.as_bytes());
            packed.extend(pack(compression, b"second"));
            assert_eq!(
                unpack(compression, &packed).unwrap(),
                format!("{long}second").as_bytes(),
                "{compression:?}"
            );
        }
    }

    #[test]
    fn truncated_and_prolonged_streams_are_errors() {
        for compression in PACKED {
            let packed = pack(compression, b"some content that is not short");
            for length in 0..packed.len() {
                let error = unpack(compression, &packed[..length]).unwrap_err();
                assert_eq!(
                    error.to_string(),
                    format!("the {} stream is truncated", compression.name()),
                    "{length} of {} bytes",
                    packed.len()
                );
            }
        }
        // Clients read no further than the stream of any other codec.
        let prolonged = [
            &pack(Compression::Zstd, b"x")[..],
            b"<html>not found</html>",
        ]
        .concat();
        let error = unpack(Compression::Zstd, &prolonged).unwrap_err();
        assert!(error.to_string().contains("or trailing data"), "{error}");
    }

    #[test]
    fn what_follows_the_last_member_is_not_looked_at() {
        let content = "0123456789".repeat(20_000);
        for compression in [Compression::Gzip, Compression::Bzip2, Compression::Xz] {
            let member = pack(compression, content.as_bytes());
            let zeros = vec![0; 200_000];
            for tail in [
                &zeros[..1],
                &zeros[..4],
                &zeros[..17],
                &zeros[..700],
                &zeros,
                b"something",
                b"\0\0\0\0something",
                &member[..1],
            ] {
                // However the reader's buffer cuts it.
                for capacity in [1, 2, 7, 64 << 10] {
                    let packed = [&member[..], tail].concat();
                    let packed = io::BufReader::with_capacity(capacity, &packed[..]);
                    let declared = Open {
                        also: None,
                        digest: Some(ObjectId::of(content.as_bytes()).digest()),
                        size: Some(content.len() as u64),
                    };
                    let text = IndexText::open(compression, declared, packed).unwrap();
                    text.verify()
                        .unwrap_or_else(|error| panic!("{compression:?} {tail:?}: {error}"));
                }
            }
            // A member behind such bytes is none: clients do not see it either.
            let packed = [&member[..], &[0; 8], &member[..]].concat();
            assert_eq!(unpack(compression, &packed).unwrap(), content.as_bytes());
            // What begins as a member has to be one.
            let packed = [&member[..], &member[..member.len() - 1]].concat();
            assert!(unpack(compression, &packed).is_err());
        }
    }

    #[test]
    fn what_is_declared_is_a_limit_and_is_verified() {
        let content = vec![b'x'; 1_000_000];
        let right = Open {
            also: None,
            digest: Some(ObjectId::of(&content).digest()),
            size: Some(1_000_000),
        };
        for compression in PACKED.into_iter().chain([Compression::Plain]) {
            let packed = pack(compression, &content);
            let open = |declared| IndexText::open(compression, declared, &packed[..]).unwrap();
            open(right).verify().unwrap();
            open(Open::default()).verify().unwrap();

            let error = open(Open {
                size: Some(1000),
                ..right
            })
            .read_to_end(&mut Vec::new())
            .unwrap_err();
            assert_eq!(
                error.to_string(),
                "uncompressed size exceeds the 1000 bytes declared in the root"
            );
            let longer = Open {
                also: None,
                size: Some(u64::MAX),
                digest: None,
            };
            assert!(matches!(
                open(longer).verify(),
                Err(OpenError::Size { got: 1_000_000, .. })
            ));
            let other = Open {
                also: None,
                digest: Digest::from_bytes(Algorithm::Sha1, &[7; 20]),
                size: None,
            };
            assert!(matches!(
                open(other).verify(),
                Err(OpenError::Digest { .. })
            ));
        }
    }

    #[test]
    fn a_dictionary_or_window_for_a_giant_is_refused() {
        let packed = xz_with_dictionary(b"x", 1 << 30);
        let error = unpack(Compression::Xz, &packed).unwrap_err();
        assert_eq!(error.to_string(), "the xz stream requires too much memory");
        // A frame header with a window of 2^31 bytes, then an empty last block.
        let packed = b"\x28\xb5\x2f\xfd\x00\xa8\x01\x00\x00";
        let error = unpack(Compression::Zstd, packed).unwrap_err();
        assert!(error.to_string().contains("too much memory"), "{error}");
    }

    proptest! {
        #[test]
        fn broken_streams_never_panic(at in 0usize..200, byte: u8, codec in 0usize..4) {
            let mut packed = pack(PACKED[codec], "content ".repeat(40).as_bytes());
            let at = at % packed.len();
            packed[at] = byte;
            let _ = unpack(PACKED[codec], &packed);
        }
    }
}
