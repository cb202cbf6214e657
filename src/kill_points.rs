//! Points before durable steps, where tests kill a run: what is on disk then must be complete, and
//! the next run must finish it. The program itself has no such points.

/// A durable step is about to be made.
#[cfg(not(test))]
pub const fn reach(_step: &'static str) {}

#[cfg(test)]
pub use tests::reach;

#[cfg(test)]
mod tests;
