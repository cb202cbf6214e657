//! `chantal config`.

mod check;
mod keygen;

pub use check::check;
pub use keygen::keygen;
