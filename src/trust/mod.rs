//! The keys that a repository's root and packages are verified with.
//!
//! - Keys from files are read whenever they are needed. Key URLs are requested once in every run
//!   that verifies something, and their keys are stored in `{base_path}/gpgkeys/<repository>.asc`.
//! - An update of a known key (new subkeys, another expiry, a revocation) is accepted. A new key is
//!   accepted from a URL that was never requested before; later only if its fingerprint is
//!   configured or `repo trust` accepted it ([`accept`]): otherwise an attacker who controls the
//!   URL could replace the trusted keys.
//! - The keys of a repository without a definition, which was imported from a medium, are in the
//!   same file, without a URL, after a person accepted them ([`pin`]).
//! - If a known URL cannot be reached, a warning is logged and the stored keys are used.

mod keys;
mod stored_keys;

pub use keys::{Accepted, TrustedKeys, accept, accept_keyring, cached_keyring, cached_keys};
pub use stored_keys::{KeyError, file_of, forget, pin, pinned_keyring};
