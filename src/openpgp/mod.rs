//! OpenPGP: which bytes may be believed.
//!
//! The `pgp` crate reads packets and does the arithmetic; it accepts expired and revoked keys and weak digests. What
//! a good signature is gets decided here, with `gpgv` as apt runs it as the reference. Where this is stricter (weak
//! keys, signatures from the future) the code says so.
//!
//! ```text
//! armor -> packets -> certificate -> keyring --.
//! cleartext -----------------------------------+-> verify -> Trusted
//! passing (signatures inside packages) --------'          -> who signed
//!
//! generate -> armor -> packets -> secret -> signing -> what others verify
//! ```
//!
//! Everything read here comes from strangers: sizes and counts are capped, reading is linear, and no error repeats
//! the bytes that caused it.

mod armor;
mod certificate;
mod cleartext;
mod composite;
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
use certificate::UnusableKey;
pub use generate::{GenerateError, SigningKeyKind};
pub use hasher::{HashAlgorithm, Hasher, is_collision_resistant};
pub use keyring::{Keyring, KeyringError, Policy};
pub use problem::SigningKeyError;
pub use signing::{SigningError, SigningKey};
pub use streaming::{HashedSignature, SignatureHasher};
pub use trusted::{Authority, Signer, Trusted};
pub use verify::VerifyError;

/// How many keys a message names that nothing can be verified with.
const UNUSABLE_SHOWN: usize = 5;

/// What a message about an unknown key says of those in its file that nothing can be verified with: it may be one of them.
fn unusable(keys: &[UnusableKey]) -> String {
    if keys.is_empty() {
        return String::new();
    }
    let mut text = "\n  unusable keys in the key files:".to_owned();
    for key in keys.iter().take(UNUSABLE_SHOWN) {
        text += &format!("\n    {key}");
    }
    if let Some(more @ 1..) = keys.len().checked_sub(UNUSABLE_SHOWN) {
        text += &format!("\n    and {more} more");
    }
    text
}

/// One reason a line, below the message they belong to.
fn listed(reasons: &[impl std::fmt::Display]) -> String {
    reasons.iter().fold(String::new(), |lines, reason| {
        format!("{lines}\n  {reason}")
    })
}
