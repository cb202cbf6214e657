//! `chantal db`.

mod cleanup;
mod stats;

pub use cleanup::cleanup;
pub use stats::stats;
