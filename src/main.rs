//! chantal mirrors RPM and APT repositories for networks that have no internet.

mod config;
mod digest;
mod format;
mod manifest;
mod openpgp;
mod pool;
mod progress;
mod rel_path;
mod store;

fn main() {}
