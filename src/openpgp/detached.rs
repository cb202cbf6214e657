//! Detached signatures over large files, which are hashed while they are read.

use pgp::packet::Signature;

use super::problem::Problem;
use super::streaming::{HashedSignature, SignatureHasher};
use super::verify::{VerifyError, named_key, read_detached};

/// The signatures of a detached signature file, with the hash states of their data.
#[derive(Debug)]
pub struct DetachedHasher(Vec<Result<SignatureHasher, HashedSignature>>);

impl DetachedHasher {
    /// Reads a signature file, armored or binary; `what` names its data in errors.
    pub fn new(signature: &[u8], what: &str) -> Result<Self, VerifyError> {
        let hasher = |signature: Result<Signature, Problem>| {
            signature
                .and_then(SignatureHasher::of)
                .map_err(|problem| HashedSignature(Err(problem)))
        };
        let signatures = read_detached(signature, what)?;
        Ok(Self(signatures.into_iter().map(hasher).collect()))
    }

    pub fn update(&mut self, bytes: &[u8]) {
        for hasher in self.0.iter_mut().flatten() {
            hasher.update(bytes);
        }
    }

    pub fn finish(self) -> Vec<HashedSignature> {
        let finished = self.0.into_iter();
        finished
            .map(|hasher| hasher.map_or_else(|invalid| invalid, SignatureHasher::finish))
            .collect()
    }
}

impl HashedSignature {
    /// The fingerprint or id of the key that it names, whether or not that key made it.
    pub fn claimed_key(&self) -> Option<String> {
        named_key(&self.0.as_ref().ok()?.signature)
    }
}
