//! `chantal db`.

mod cleanup;
mod migrate;
mod stats;

pub use cleanup::cleanup;
pub use migrate::migrate;
pub use stats::stats;
