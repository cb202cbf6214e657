//! What a good sync does, seen from outside: requests made, files published, words said.

mod architectures;
mod caching;
mod certificates;
mod credentials;
mod deduplication;
mod downloads;
mod failures;
mod interrupted;
mod key_files;
mod key_urls;
mod keys;
mod line;
mod logging;
mod moving;
mod packages;
mod results;
mod several;
mod verbatim;

use crate::kit::mirror::{Mirror, NO_RETRIES};
use crate::kit::upstream::{Package, Upstream};

/// The usual mirror, which tries nothing twice.
fn mirror_of(upstream: Upstream) -> Mirror {
    Mirror::of(upstream).configured(NO_RETRIES)
}

fn hello() -> Package {
    Package::new("hello", "1.0-1")
}

/// Both formats, each with one package `hello`.
fn both() -> [Upstream; 2] {
    Upstream::both().map(|upstream| upstream.package(hello()))
}

/// Bytes that no compression and no repetition makes smaller or ambiguous.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_u32;
    (0..length)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            state.to_be_bytes()[0]
        })
        .collect()
}
