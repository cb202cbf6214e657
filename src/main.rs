//! The program `chantal`. All of it is in the library; `src/lib.rs` is its map.

use std::process::ExitCode;

fn main() -> ExitCode {
    chantal::run()
}
