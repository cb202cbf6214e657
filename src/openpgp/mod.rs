//! OpenPGP: verifies and makes signatures.
//!
//! The `pgp` crate parses packets and does the cryptography; it accepts expired and revoked keys
//! and weak digests. Which signatures are good is decided here, with `gpgv` as apt runs it as the
//! reference. Comments in the code say where this is stricter (weak keys, signatures from the
//! future).
//!
//! ```text
//! armor -> packets -> certificate -> keyring --.
//! cleartext -----------------------------------+-> verify -> Trusted
//! streaming (signatures inside packages, detached over files) -'          -> who signed
//!
//! generate -> armor -> packets -> secret -> signing -> what others verify
//! ```
//!
//! All input is untrusted: sizes and counts are limited, parsing takes linear time, and no error
//! contains the bytes that caused it.

mod armor;
mod certificate;
mod cleartext;
mod composite;
mod detached;
mod generate;
mod hasher;
mod keyring;
mod packets;
mod problem;
mod secret;
mod signing;
mod streaming;
mod trusted;
mod validity;
mod verify;

#[cfg(test)]
mod testing;

pub use certificate::KeySummary;
pub use detached::DetachedHasher;
pub use generate::{GenerateError, SigningKeyKind};
pub use hasher::{HashAlgorithm, Hasher, is_collision_resistant};
pub use keyring::{Keyring, KeyringError, Policy};
pub use problem::SigningKeyError;
pub use signing::{SigningError, SigningKey};
pub use streaming::{HashedSignature, SignatureHasher};
pub use trusted::{Authority, Signer, Trusted};
pub use verify::VerifyError;
