//! Transfers: what one export puts on a medium, as files that need neither a storage nor a
//! configuration to be read and verified.
//!
//! ```text
//! {medium}/chantal-<exporter>-<number>/
//!     INCOMPLETE              while the transfer is being written, and after a killed export
//!     manifest.zst            everything about the transfer (below)
//!     manifest.zst.asc        its detached OpenPGP signature; none in an unsigned transfer
//!     objects/ab/<64 hex>     the carried objects, named by their SHA-256
//!     objects/ab/<64 hex>.000 the first part of an object of 4 GiB or more, which FAT cannot store
//! ```
//!
//! `<exporter>` is the id of the exporter's store, `<number>` counts the transfers from it to one
//! destination, from 1. Several folders can be on one medium, beside files of other programs. In
//! the folder itself no other file is allowed.
//!
//! # The packed manifest
//!
//! The line `chantal medium 1`, then one zstd stream. The signature is over the packed file, so
//! nothing is decompressed before it was verified. The stream, in which `varint` is as in
//! [`crate::manifest`]:
//!
//! - varint length, [`Header`] as JSON without white space: exporter, destination, number, what
//!   it builds on, states and snapshots, the ids of their manifests;
//! - for each manifest that the header calls carried: varint length, the manifest as
//!   [`crate::manifest`] encodes it;
//! - for each chunk of these manifests, in the order in which they first name it: varint length,
//!   the chunk. Length 0: the destination has the chunk from the transfer that this one builds on.
//!   After the chunk there is one bit for each object that no earlier chunk names, in the order of
//!   its entries, lowest bit first, padded with zeros: 1 if the object is carried, 0 if the
//!   destination has it;
//! - nothing else. The header lists the few objects that no chunk names: keyrings.
//!
//! There is no list of objects: it would repeat 32 random bytes for each path. **The object list**
//! of a transfer is the sequence of all objects in the order in which the chunks first name them,
//! then those of the header; receipts number it from 1.
//!
//! ```text
//! name      names of folders and files; limits: what is read at most
//! folder    opens the files of a folder without following links
//! header    the JSON header
//! packed    the signed file: verified, then read again block by block
//! writer, reader   the stream; contents: all of it at once
//! code, receipt    what tells the exporter that a transfer has arrived
//! ```
//!
//! Everything that is read here is untrusted until the signature was verified: sizes, counts and
//! names are bounded, and no path from a medium is used, only names that are derived from digests.

pub mod code;
mod contents;
mod error;
mod folder;
mod header;
mod limits;
mod name;
mod packed;
mod reader;
pub mod receipt;
mod writer;

pub use contents::Contents;
pub use error::{ObjectError, TransferError};
pub use folder::Folder;
pub use header::{
    Base, CarriedManifest, CarriedRepository, CarriedSnapshot, CarriedState, FurtherObject, Header,
    SignedRoot,
};
pub use name::{INCOMPLETE, MANIFEST, OBJECTS, SIGNATURE, TransferName, object_files};
pub use packed::{OpenManifest, PackedManifest};
#[cfg(any(test, fuzzing))]
pub use reader::ManifestReader;
pub use reader::{Item, ListedObject};
pub use writer::ManifestWriter;

#[cfg(test)]
mod tests;
