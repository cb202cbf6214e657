//! Digests by OpenPGP algorithm number (RFC 9580, section 9.5). RPM uses the same numbers.

use std::fmt;

pub use pgp::crypto::hash::HashAlgorithm;

/// A digest that is being computed.
pub struct Hasher {
    algorithm: HashAlgorithm,
    state: Box<dyn digest::DynDigest + Send>,
}

impl Hasher {
    /// `None` for an unsupported algorithm.
    pub fn new(algorithm: HashAlgorithm) -> Option<Self> {
        let state = algorithm.new_hasher().ok()?;
        Some(Self { algorithm, state })
    }

    pub fn algorithm(&self) -> HashAlgorithm {
        self.algorithm
    }

    pub fn update(&mut self, bytes: &[u8]) {
        self.state.update(bytes);
    }

    pub fn finish(self) -> Vec<u8> {
        self.state.finalize().into_vec()
    }

    /// For types of the `pgp` crate that hash themselves.
    pub(super) fn state(&mut self) -> &mut Box<dyn digest::DynDigest + Send> {
        &mut self.state
    }
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hasher({})", self.algorithm)
    }
}

/// Whether no collisions can be computed for an algorithm. They can for SHA-1 and MD5.
pub fn is_collision_resistant(algorithm: HashAlgorithm) -> bool {
    matches!(
        algorithm,
        HashAlgorithm::Sha224
            | HashAlgorithm::Sha256
            | HashAlgorithm::Sha384
            | HashAlgorithm::Sha512
            | HashAlgorithm::Sha3_256
            | HashAlgorithm::Sha3_512
    )
}
