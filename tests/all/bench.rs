//! What `.ci/bench-signatures` measures with; not a test.

use std::path::PathBuf;

use crate::kit::keys::{Algorithm, Key};
use crate::kit::upstream::{Package, RpmSignature, Upstream};

/// Bytes in a package: about what the median of a distribution has.
const SIZE: usize = 100_000;

/// Writes `upstream/`, a repository of rpm packages that are signed with RSA 4096, and `key.asc`
/// into a directory.
#[test]
#[ignore = "writes a gigabyte for .ci/bench-signatures"]
fn upstream_of_signed_packages() {
    let wish = |name: &str| std::env::var(name).unwrap_or_else(|_| panic!("set {name}"));
    let dir = PathBuf::from(wish("CHANTAL_BENCH_DIR"));
    let count: u64 = wish("CHANTAL_BENCH_PACKAGES").parse().unwrap();
    let key = Key::of(Algorithm::Rsa(4096));
    let mut state = 1_u64;
    let mut upstream = Upstream::rpm().unsigned();
    for number in 0..count {
        let content: Vec<u8> = std::iter::repeat_with(|| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_be_bytes()
        })
        .take(SIZE / 8)
        .flatten()
        .collect();
        let package = Package::new(&format!("package{number:05}"), "1.0-1").file(&content);
        upstream.add(package.signatures([RpmSignature::by(key)]));
    }
    upstream.build().tree.write_to(&dir.join("upstream"));
    std::fs::write(dir.join("key.asc"), key.public_armored()).unwrap();
}
