//! Manifests and their chunks: chantal writes them, but the files may have been changed by others.
//!
//! An input is a chunk or a manifest, depending on its first bytes.

use super::{Verdict, check_path};
use crate::manifest::{CHUNK_ENTRIES_MAX, Manifest, Version, build_as, decode_chunk};

pub fn manifest(input: &[u8]) -> Verdict {
    if let Ok(manifest) = Manifest::decode(input) {
        assert!(manifest.encode() == input, "a manifest has one encoding");
        // Saturates.
        let _totals = manifest.totals();
        return Verdict::Accepted;
    }
    let Ok(entries) = decode_chunk(input) else {
        return Verdict::Refused;
    };
    assert!(entries.len() <= CHUNK_ENTRIES_MAX);
    for entry in &entries {
        check_path(&entry.path);
    }
    // A chunk may contain entries that are invalid in a complete manifest: a file whose directory
    // is a file.
    let version = if input.starts_with(b"chantal chunk 1") {
        Version::One
    } else {
        Version::Two
    };
    let Ok(built) = build_as(version, entries.clone()) else {
        return Verdict::Refused;
    };
    let mut again = Vec::new();
    for (_, chunk) in &built.chunks {
        again.extend(decode_chunk(chunk).expect("it was just built"));
    }
    assert_eq!(again, entries);
    if let [(_, chunk)] = &built.chunks[..] {
        assert!(chunk == input, "a chunk has one encoding");
    }
    let decoded = Manifest::decode(&built.manifest.encode()).expect("it was just built");
    assert_eq!(decoded, built.manifest);
    assert_eq!(decoded.totals().entries, entries.len() as u64);
    Verdict::Accepted
}
