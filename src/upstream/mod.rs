//! Access to an upstream: small files are read into memory, all others into the pool.
//!
//! Temporary errors (connections, stalls, truncated bodies, 5xx, 429) are retried with exponential
//! backoff; an interrupted download is resumed. A file gets into the pool only with the expected
//! digest and size.

mod attempts;
mod body;
mod client;
mod credentials;
mod download;
mod error;
mod failure;
mod http;
mod limiter;
mod resolver;
mod validators;
mod wire;

pub use client::{Small, Upstream, authorities};
pub use credentials::{CredentialError, check as check_credentials};
pub use download::Expected;
pub use error::{TlsFailure, UpstreamError};
pub use limiter::Limiter;
pub use validators::Validators;
