//! Compressions and digests of indexes, fast rather than small.

use std::fmt::Write as _;
use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use lzma_rust2::{XzOptions, XzWriter};
use sha2::Digest as _;

/// How an index is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    Plain,
    Gz,
    Xz,
    Bz2,
    /// In frames that do not state the content's size, as streaming writers make them.
    Zst,
}

impl Codec {
    /// `.gz`; nothing for plain files.
    pub fn suffix(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Gz => ".gz",
            Self::Xz => ".xz",
            Self::Bz2 => ".bz2",
            Self::Zst => ".zst",
        }
    }

    pub fn compress(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Self::Plain => bytes.to_vec(),
            Self::Gz => {
                let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
                encoder.write_all(bytes).unwrap();
                encoder.finish().unwrap()
            }
            Self::Xz => {
                let mut encoder = XzWriter::new(Vec::new(), XzOptions::with_preset(0)).unwrap();
                encoder.write_all(bytes).unwrap();
                encoder.finish().unwrap()
            }
            Self::Bz2 => {
                let level = bzip2::Compression::fast();
                let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), level);
                encoder.write_all(bytes).unwrap();
                encoder.finish().unwrap()
            }
            Self::Zst => {
                let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
                encoder.write_all(bytes).unwrap();
                encoder.finish().unwrap()
            }
        }
    }
}

/// A digest algorithm of an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checksum {
    Sha1,
    Sha256,
    Sha384,
    Sha512,
}

impl Checksum {
    /// As Release and by-hash write it.
    pub fn deb_name(self) -> &'static str {
        match self {
            Self::Sha1 => "SHA1",
            Self::Sha256 => "SHA256",
            Self::Sha384 => panic!("apt knows no SHA384"),
            Self::Sha512 => "SHA512",
        }
    }

    /// As repomd and primary write it: `sha` is SHA-1 there.
    pub fn rpm_name(self) -> &'static str {
        match self {
            Self::Sha1 => "sha",
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
            Self::Sha512 => "sha512",
        }
    }

    /// As OpenPGP numbers it, and with it rpm.
    pub fn openpgp_number(self) -> u32 {
        match self {
            Self::Sha1 => 2,
            Self::Sha256 => 8,
            Self::Sha384 => 9,
            Self::Sha512 => 10,
        }
    }

    pub fn hex(self, bytes: &[u8]) -> String {
        match self {
            Self::Sha1 => hex(&sha1::Sha1::digest(bytes)),
            Self::Sha256 => hex(&sha2::Sha256::digest(bytes)),
            Self::Sha384 => hex(&sha2::Sha384::digest(bytes)),
            Self::Sha512 => hex(&sha2::Sha512::digest(bytes)),
        }
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").unwrap();
        hex
    })
}
