//! Decompression. The first two bytes of an input are the declared uncompressed size, all ones for
//! none; the rest is the compressed index.

use std::io::{BufRead, Read};

use super::Verdict;
use crate::digest::{Algorithm, Digest};
use crate::format::Open;
use crate::format::compression::{Compression, IndexText};

/// The limit for an index without a declared size; reading up to the real limit would take too
/// long.
const ENOUGH: usize = 16 << 20;

pub fn gzip(input: &[u8]) -> Verdict {
    unpack(Compression::Gzip, input)
}

pub fn xz(input: &[u8]) -> Verdict {
    unpack(Compression::Xz, input)
}

pub fn bzip2(input: &[u8]) -> Verdict {
    unpack(Compression::Bzip2, input)
}

pub fn zstd(input: &[u8]) -> Verdict {
    unpack(Compression::Zstd, input)
}

fn unpack(compression: Compression, input: &[u8]) -> Verdict {
    let Some((size, packed)) = input.split_first_chunk() else {
        return Verdict::Refused;
    };
    let size = match u16::from_be_bytes(*size) {
        u16::MAX => None,
        size => Some(u64::from(size)),
    };
    let declared = Open {
        digest: None,
        also: None,
        size,
    };
    let Ok(mut text) = IndexText::open(compression, declared, packed) else {
        return Verdict::Refused;
    };
    let mut content = Vec::new();
    let whole = loop {
        let piece = match text.fill_buf() {
            Ok([]) => break true,
            Ok(piece) => piece,
            Err(_) => break false,
        };
        content.extend_from_slice(piece);
        let length = piece.len();
        text.consume(length);
        if content.len() > ENOUGH {
            return Verdict::Refused;
        }
    };
    if let Some(size) = size {
        assert!(content.len() as u64 <= size, "more than was declared");
    }

    // The index is valid if and only if it has the declared size and digest.
    let mut hasher = crate::digest::Hasher::new(Algorithm::Sha256);
    hasher.update(&content);
    let right = hasher.finish().1;
    let wrong = Digest::from_bytes(Algorithm::Sha256, &[0; 32]).expect("32 bytes");
    let verified = |digest, size| {
        let declared = Open {
            also: None,
            digest: Some(digest),
            size,
        };
        let text = IndexText::open(compression, declared, packed);
        text.is_ok_and(|text| text.verify().is_ok())
    };
    let length = content.len() as u64;
    assert_eq!(verified(right, Some(length)), whole);
    assert!(!verified(wrong, Some(length)));
    if whole && length > 0 {
        assert!(!verified(right, Some(length - 1)));
        assert!(!verified(right, Some(length + 1)));
        let mut again =
            IndexText::open(compression, declared, packed).expect("it was opened before");
        let mut pieces = Vec::new();
        again.read_to_end(&mut pieces).expect("it was read before");
        assert!(pieces == content, "in other pieces");
    }
    if whole && size.is_none_or(|size| size == length) {
        Verdict::Accepted
    } else {
        Verdict::Refused
    }
}
