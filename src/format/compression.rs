//! Codecs of indexes.

/// How an index is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    Plain,
    Gzip,
    Xz,
    Bzip2,
    Zstd,
}
