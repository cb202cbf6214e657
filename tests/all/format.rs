//! The file of the program that [`crate::versions`] needs beside the two orders, at the path that
//! they import it from.

#[path = "../../src/format/version.rs"]
pub mod version;
