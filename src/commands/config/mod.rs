//! `chantal config`.

mod check;
mod keygen;

pub use check::{check, format_name};
pub use keygen::keygen;
