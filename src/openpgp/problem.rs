//! Problems of keys and signatures.

use std::fmt;

use super::armor::ArmorError;
use super::packets::FramingError;

/// The revocation of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Revocation {
    /// In seconds since the epoch.
    pub at: i64,
    /// The key may be compromised: none of its signatures are accepted. Otherwise it was retired or
    /// replaced, and older signatures are accepted.
    pub compromised: bool,
}

/// Why the signatures of a key are not accepted. Times are in seconds since the epoch.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyProblem {
    #[error("the key has no valid self-signature")]
    NoSelfSignature,
    #[error("the subkey has no valid binding signature")]
    NoBinding,
    #[error("the subkey has no valid cross-certification")]
    NoBackSignature,
    #[error("the key is not a signing key")]
    NotForSigning,
    #[error("the key is not valid before {}", crate::time::utc(*from))]
    NotYetValid { from: i64 },
    #[error("the key expired on {}", crate::time::utc(*at))]
    Expired { at: i64 },
    #[error("the key was revoked on {}", crate::time::utc(revocation.at))]
    Revoked { revocation: Revocation },
    #[error("{algorithm} keys with {bits} bits are too weak")]
    Weak { algorithm: &'static str, bits: u16 },
}

/// Times are in seconds since the epoch.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    #[error("the key is not among the trusted keys")]
    UnknownKey,
    #[error("the key is among the trusted keys, but cannot be used: {reason}")]
    UnusableKey { reason: String },
    #[error("the signature does not name its key")]
    Anonymous,
    #[error("the signature packet is damaged")]
    Malformed,
    #[error("signatures of version {version} are not supported")]
    Version { version: u8 },
    #[error("the signature has type 0x{kind:02x}, which is not valid for files")]
    WrongType { kind: u8 },
    #[error("bad signature: the file or the signature was modified")]
    Bad,
    #[error("digest algorithm {digest} is too weak")]
    WeakDigest { digest: String },
    #[error("digest algorithm {digest} is not supported")]
    UnknownDigest { digest: String },
    #[error("the signature has no creation time")]
    Undated,
    #[error("the signature was created in the future, on {}", crate::time::utc(*made))]
    Future { made: i64 },
    #[error("the signature expired on {}", crate::time::utc(*at))]
    Expired { at: i64 },
    #[error("the signature is older than its key, which was created on {}", crate::time::utc(*key_made))]
    OlderThanKey { key_made: i64 },
    #[error("{0}")]
    Key(KeyProblem),
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SigningKeyError {
    #[error("the file is too large: {size} bytes, limit {limit} bytes")]
    TooLarge { size: usize, limit: usize },
    #[error("not an exported OpenPGP key")]
    NotAKey,
    #[error("invalid armor: {0}")]
    Armor(ArmorError),
    #[error("invalid OpenPGP data: {0}")]
    Framing(FramingError),
    #[error("contains only a public key, which cannot sign")]
    Public,
    #[error("contains no usable secret key{}", listed(skipped))]
    Unsupported { skipped: Vec<String> },
    #[error("contains several secret keys: {}", fingerprints.join(", "))]
    Several { fingerprints: Vec<String> },
    #[error("contains no key that can sign{}", listed(unfit))]
    NothingMaySign { unfit: Vec<UnfitKey> },
    #[error("key {fingerprint} is protected by a passphrase, but none is configured")]
    NoPassphrase { fingerprint: String },
    #[error("wrong passphrase for key {fingerprint}")]
    WrongPassphrase { fingerprint: String },
    #[error("key {fingerprint} uses an unsupported kind of passphrase protection")]
    Protection { fingerprint: String },
    #[error("the secret part of key {fingerprint} is damaged")]
    Damaged { fingerprint: String },
}

/// Why a key cannot be used for signing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnfitKey {
    pub fingerprint: String,
    pub why: Unfit,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    #[error("{0}")]
    Key(KeyProblem),
    #[error("the file does not contain its secret part")]
    Absent,
    #[error("algorithm {algorithm} is not supported by clients")]
    Algorithm { algorithm: String },
}

impl fmt::Display for UnfitKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.fingerprint, self.why)
    }
}

/// One reason per line, below the message.
pub fn listed(reasons: &[impl std::fmt::Display]) -> String {
    reasons.iter().fold(String::new(), |lines, reason| {
        format!("{lines}\n  {reason}")
    })
}
