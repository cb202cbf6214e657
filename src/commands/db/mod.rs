//! `chantal db`.

mod cleanup;
mod migrate;
#[allow(dead_code, reason = "being built")]
mod repair_text;
mod stats;

pub use cleanup::cleanup;
pub use migrate::migrate;
pub use stats::stats;
