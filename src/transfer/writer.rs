//! Writes the stream of a packed manifest.

use std::io::{self, Write};

use super::header::Header;
use super::limits::{
    CHUNK_MAX, FIRST_LINE, HEADER_MAX, MANIFEST_MAX, OPEN_MAX, PACKED_MAX, WINDOW_LOG_MAX,
};

/// Half of the open manifest are digests, which cannot be compressed; higher levels save 1 %.
const LEVEL: i32 = 9;

/// Takes the parts of a transfer in the order of the stream.
pub struct ManifestWriter<W: Write> {
    encoder: zstd::Encoder<'static, Limited<W>>,
    /// Bytes that may still be written before compression.
    open_left: u64,
}

impl<W: Write> ManifestWriter<W> {
    pub fn new(mut out: W, header: &Header) -> io::Result<Self> {
        out.write_all(FIRST_LINE)?;
        let limited = Limited {
            inner: out,
            left: PACKED_MAX - FIRST_LINE.len() as u64,
        };
        let mut encoder = zstd::Encoder::new(limited, LEVEL)?;
        encoder.window_log(WINDOW_LOG_MAX)?;
        encoder.include_checksum(true)?;
        let mut writer = Self {
            encoder,
            open_left: OPEN_MAX - 1,
        };
        writer.block(&header.encode(), HEADER_MAX)?;
        Ok(writer)
    }

    pub fn manifest(&mut self, encoded: &[u8]) -> io::Result<()> {
        self.block(encoded, MANIFEST_MAX)
    }

    /// A chunk that the destination has.
    pub fn known_chunk(&mut self) -> io::Result<()> {
        self.put(&[0])
    }

    /// A carried chunk; `is_carried` says of each new object of it whether it is carried.
    pub fn chunk(&mut self, encoded: &[u8], is_carried: &[bool]) -> io::Result<()> {
        self.block(encoded, CHUNK_MAX)?;
        let mut bits = vec![0_u8; is_carried.len().div_ceil(8)];
        for (index, _) in is_carried
            .iter()
            .enumerate()
            .filter(|(_, carried)| **carried)
        {
            bits[index / 8] |= 1 << (index % 8);
        }
        self.put(&bits)
    }

    pub fn finish(self) -> io::Result<W> {
        Ok(self.encoder.finish()?.inner)
    }

    fn block(&mut self, bytes: &[u8], limit: u64) -> io::Result<()> {
        if bytes.is_empty() || bytes.len() as u64 > limit {
            return Err(too_large());
        }
        let mut length = Vec::new();
        let mut value = bytes.len() as u64;
        while value >= 0x80 {
            length.push(value.to_le_bytes()[0] | 0x80);
            value >>= 7;
        }
        length.push(value.to_le_bytes()[0]);
        self.put(&length)?;
        self.put(bytes)
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        let left = self.open_left.checked_sub(bytes.len() as u64);
        self.open_left = left.ok_or_else(too_large)?;
        self.encoder.write_all(bytes)
    }
}

/// An importer would refuse it.
fn too_large() -> io::Error {
    io::Error::new(
        io::ErrorKind::FileTooLarge,
        "the manifest of the transfer would be too large: export fewer repositories or snapshots at once",
    )
}

struct Limited<W> {
    inner: W,
    left: u64,
}

impl<W: Write> Write for Limited<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let left = self.left.checked_sub(bytes.len() as u64);
        let left = left.ok_or_else(too_large)?;
        let written = self.inner.write(bytes)?;
        self.left = left + (bytes.len() - written) as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
