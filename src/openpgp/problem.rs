//! What is wrong with keys and signatures.

use std::fmt;

use super::armor::ArmorError;
use super::packets::FramingError;

/// That a key is revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Revocation {
    /// In seconds since the epoch.
    pub at: i64,
    /// The key may be in a stranger's hands: nothing that it signed counts, whenever it was. Otherwise it was only
    /// retired or replaced, and counts until then.
    pub compromised: bool,
}

/// Why a key's signatures do not count. Times are in seconds since the epoch.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyProblem {
    #[error("the key has no valid self-signature")]
    NoSelfSignature,
    #[error("its primary key does not vouch for it")]
    NoBinding,
    #[error("the subkey does not vouch for its primary key")]
    NoBackSignature,
    #[error("the key is not meant for signing")]
    NotForSigning,
    #[error("the key is valid only from {}", crate::time::utc(*from))]
    NotYetValid { from: i64 },
    #[error("the key expired on {}", crate::time::utc(*at))]
    Expired { at: i64 },
    #[error("the key was revoked on {}", crate::time::utc(revocation.at))]
    Revoked { revocation: Revocation },
    #[error("a {algorithm} key of {bits} bits is too weak")]
    Weak { algorithm: &'static str, bits: u16 },
}

/// Times are in seconds since the epoch.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    #[error("the key is not among the trusted keys")]
    UnknownKey,
    #[error("the key is among the trusted keys, but cannot be used: {reason}")]
    UnusableKey { reason: String },
    #[error("the signature names no key")]
    Anonymous,
    #[error("the signature packet is damaged")]
    Malformed,
    #[error("signatures of version {version} are not supported")]
    Version { version: u8 },
    #[error("the signature is of type 0x{kind:02x}, which is not for files")]
    WrongType { kind: u8 },
    #[error("the signature is bad: these bytes, or the signature, were changed")]
    Bad,
    #[error("the digest {digest} is too weak")]
    WeakDigest { digest: String },
    #[error("the digest {digest} is not supported")]
    UnknownDigest { digest: String },
    #[error("the signature does not say when it was made")]
    Undated,
    #[error("the signature was made in the future, on {}", crate::time::utc(*made))]
    Future { made: i64 },
    #[error("the signature expired on {}", crate::time::utc(*at))]
    Expired { at: i64 },
    #[error("the signature is older than its key, which was made on {}", crate::time::utc(*key_made))]
    OlderThanKey { key_made: i64 },
    #[error("{0}")]
    Key(KeyProblem),
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SigningKeyError {
    #[error("it has {size} bytes, more than the {limit} that a secret key may have")]
    TooLarge { size: usize, limit: usize },
    #[error("it is not an exported OpenPGP key")]
    NotAKey,
    #[error("the armor is damaged: {0}")]
    Armor(ArmorError),
    #[error("it is damaged: {0}")]
    Framing(FramingError),
    #[error("it is a public key, which cannot sign")]
    Public,
    #[error("it holds no secret key that can be used{}", super::listed(skipped))]
    Unsupported { skipped: Vec<String> },
    #[error("it holds several secret keys: {}", fingerprints.join(", "))]
    Several { fingerprints: Vec<String> },
    #[error("nothing in it may sign{}", super::listed(unfit))]
    NothingMaySign { unfit: Vec<UnfitKey> },
    #[error("the key {fingerprint} is protected by a passphrase, and none is given")]
    NoPassphrase { fingerprint: String },
    #[error("the passphrase does not open the key {fingerprint}")]
    WrongPassphrase { fingerprint: String },
    #[error("the key {fingerprint} is protected in a way that is not supported")]
    Protection { fingerprint: String },
    #[error("the secret part of the key {fingerprint} is damaged")]
    Damaged { fingerprint: String },
}

/// Why one key of several does not sign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnfitKey {
    pub fingerprint: String,
    pub why: Unfit,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    #[error("{0}")]
    Key(KeyProblem),
    #[error("its secret part is not in the file")]
    Absent,
    #[error("clients do not know its algorithm, {algorithm}")]
    Algorithm { algorithm: String },
}

impl fmt::Display for UnfitKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.fingerprint, self.why)
    }
}
