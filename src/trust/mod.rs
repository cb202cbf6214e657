//! The keys that a repository's root and packages are verified with.
//!
//! - Keys from files are read whenever they are needed. Key URLs are asked once in every run that
//!   verifies something, and what they gave is kept in `{base_path}/gpgkeys/<repository>.asc`.
//! - An update of a known key (new subkeys, another expiry, a revocation) is taken. A new key is taken
//!   from a URL that was never asked before; later only where the configuration names its fingerprint or
//!   `repo trust` accepted it ([`accept`]): else whoever controls the URL could replace the trust.
//! - A known URL that cannot be reached is a warning, and the kept keys are used.

mod kept;
mod keys;

pub use kept::{KeyError, file_of, forget};
pub use keys::{Accepted, TrustedKeys, accept, at_hand, keyring_at_hand};
