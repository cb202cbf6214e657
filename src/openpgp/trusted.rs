//! The proof that bytes may be parsed.

/// Bytes that may be parsed: a trusted key signed them, or the configuration says that they need no signature.
///
/// Only this module makes one, so a parser that takes `&Trusted` cannot be handed anything else.
#[derive(Debug)]
pub struct Trusted {
    bytes: Vec<u8>,
    by: Authority,
}

/// Why bytes are trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Authority {
    /// Good signatures by trusted keys; at least one.
    Signed(Vec<Signer>),
    /// The configuration explicitly does without a signature, or leaves it open and there is none.
    Unsigned,
    /// They are the root of a state that the store has.
    State,
}

/// The key behind a good signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signer {
    /// Fingerprint of the primary key, uppercase hexadecimal.
    pub fingerprint: String,
    /// Fingerprint of the key or subkey that signed.
    pub signing_fingerprint: String,
    /// As the key's owner wrote it: escape it before it reaches a terminal. Empty when the key names nobody.
    pub user_id: String,
    /// When the signature was made, in seconds since the epoch.
    pub signed_at: i64,
}

impl Trusted {
    /// For bytes that the configuration explicitly leaves unsigned.
    pub fn unsigned(bytes: Vec<u8>) -> Self {
        Self {
            bytes,
            by: Authority::Unsigned,
        }
    }

    /// For the root that a stored state was derived from. No signature is looked at: it was verified when it came, or explicitly
    /// left unsigned, and the store names it by its digest since. The caller has checked that `bytes` have that digest.
    pub fn of_state(bytes: Vec<u8>) -> Self {
        Self {
            bytes,
            by: Authority::State,
        }
    }

    /// `signers` made good signatures over `bytes` and is not empty.
    pub(super) fn signed(bytes: Vec<u8>, signers: Vec<Signer>) -> Self {
        Self {
            bytes,
            by: Authority::Signed(signers),
        }
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub fn authority(&self) -> &Authority {
        &self.by
    }
}
