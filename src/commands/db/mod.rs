//! `chantal db`.

mod check;
mod cleanup;
mod findings;
mod migrate;
mod repair;
mod stats;

pub use check::check;
pub use cleanup::cleanup;
pub use migrate::migrate;
pub use stats::stats;
