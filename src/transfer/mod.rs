//! What exporters and importers exchange.
//!
//! A transfer is one export of a storage, the exporter, to a destination. It has a number, counted
//! from 1 for each exporter and destination, and a packed manifest whose SHA-256 names its content.
//!
//! - [`code`]: a confirmation that a person types.
//! - [`receipt`]: a confirmation as a file, with what is missing.

#[cfg_attr(not(test), expect(dead_code, reason = "for the import of transfers"))]
pub mod code;
#[cfg_attr(not(test), expect(dead_code, reason = "for the import of transfers"))]
pub mod receipt;
