//! Reads what was written to a medium again, from the medium and not from memory.
//!
//! After a flush the kernel is asked to drop the pages of a file (`posix_fadvise`), and a read that
//! must not wait for the disk (`preadv2` with `RWF_NOWAIT`) shows whether it did. Where that is not
//! supported, for example on FUSE, the bytes are compared, but may come from memory: that the medium
//! has them is not proved then.

use std::fs::File;
use std::io::IoSliceMut;

use rustix::fs::Advice;
use rustix::io::{Errno, ReadWriteFlags};

/// Whether what was written is read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadBack {
    Yes,
    /// `--no-read-back`.
    No,
}

/// What reading back has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadBackProof {
    /// All bytes came from the medium.
    FromMedium,
    /// All bytes are right, but some may have come from memory.
    NotProved,
    Skipped,
}

impl ReadBackProof {
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::FromMedium, Self::FromMedium) => Self::FromMedium,
            _ => Self::NotProved,
        }
    }
}

/// A read that must not wait starts to read all the same, and finds the bytes if the disk is faster
/// than the next instruction: of ten thousand files on an SSD a few. Each try drops them again.
const TRIES: usize = 8;

/// Drops a flushed file from memory; whether that worked.
pub fn drop_from_memory(file: &File) -> ReadBackProof {
    for _ in 0..TRIES {
        // Not supported.
        if rustix::fs::fadvise(file, 0, None, Advice::DontNeed).is_err() {
            break;
        }
        let mut byte = [0];
        let mut buffers = [IoSliceMut::new(&mut byte)];
        match rustix::io::preadv2(file, &mut buffers, 0, ReadWriteFlags::NOWAIT) {
            // It would have to wait for the disk.
            Err(Errno::AGAIN) | Ok(0) => return ReadBackProof::FromMedium,
            // It may still be in memory.
            Ok(_) => {}
            // Not supported.
            Err(_) => break,
        }
    }
    ReadBackProof::NotProved
}
