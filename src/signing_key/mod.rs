//! The key that generated metadata is signed with: read as configured, and generated.

mod configured;
mod new_key;

pub use configured::{ConfiguredKey, KeyFileError};
pub use new_key::{NewKeyError, NewKeyPaths};
