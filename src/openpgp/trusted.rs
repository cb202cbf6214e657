//! Proof that bytes may be parsed.

/// Bytes that may be parsed: they are signed by a trusted key, or the configuration does not
/// require a signature.
///
/// Only this module creates one, so parsers that take `&Trusted` never get other bytes.
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
    /// The configuration disables signature checks, or makes them optional and there is no
    /// signature.
    Unsigned,
    /// They are the root of a stored state.
    State,
}

/// The key behind a good signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signer {
    /// Fingerprint of the primary key, uppercase hexadecimal.
    pub fingerprint: String,
    /// Fingerprint of the key or subkey that signed.
    pub signing_fingerprint: String,
    /// Untrusted text: escape it before it reaches a terminal. Empty if the key has no user id.
    pub user_id: String,
    /// When the signature was made, in seconds since the epoch.
    pub signed_at: i64,
}

impl Trusted {
    /// For bytes whose signature is not checked according to the configuration.
    pub fn unsigned(bytes: Vec<u8>) -> Self {
        Self {
            bytes,
            by: Authority::Unsigned,
        }
    }

    /// For the root of a stored state. Its signature is not checked: it was verified when it was
    /// downloaded, or checks were disabled, and the store has its digest. The caller has checked
    /// that `bytes` have that digest.
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
