//! `chantal pool`.

mod take_over;

pub use take_over::take_over;
