//! Limits of what is read from a medium, and the first line of a manifest.

/// The packed manifest, in bytes.
pub const PACKED_MAX: u64 = 256 << 20;
/// The open manifest, in bytes.
pub const OPEN_MAX: u64 = 2 << 30;
/// The JSON text of the header, in bytes.
pub const HEADER_MAX: u64 = 64 << 20;
/// One manifest and one chunk in the stream, in bytes: millions of chunks, and 4,096 entries with
/// paths of 3,000 bytes.
pub const MANIFEST_MAX: u64 = 256 << 20;
pub const CHUNK_MAX: u64 = 32 << 20;
/// The largest window that the decoder allocates, as a power of two: 8 MiB.
pub const WINDOW_LOG_MAX: u32 = 23;
/// One object, in bytes: more than any file of a repository.
pub const OBJECT_MAX: u64 = 1 << 44;
/// The signature file, in bytes.
pub const SIGNATURE_MAX: u64 = 1 << 20;

/// The first words of a manifest. Signed bytes that begin otherwise never count as one.
pub const KIND: &str = "chantal medium ";
pub const FIRST_LINE: &[u8] = b"chantal medium 1\n";
pub const FIRST_LINE_MAX: u64 = 100;
