//! Fuzzing of everything in chantal that reads bytes from strangers. `.ci/fuzz` builds and runs it.
//!
//! chantal is one binary whose modules are private, so the modules that read are built here a second time, from the same
//! files and under the same names. [`targets`] is also part of chantal's own tests, where it replays `fixtures/fuzz`.

// Not all of what the modules have is used here.
#![allow(dead_code, unused_imports)]

#[path = "../../../src/config/mod.rs"]
mod config;
#[path = "../../../src/digest.rs"]
mod digest;
#[path = "../../../src/format/mod.rs"]
mod format;
#[path = "../../../src/exit.rs"]
mod exit;
#[path = "../../../src/interrupt.rs"]
mod interrupt;
#[path = "../../../src/manifest.rs"]
mod manifest;
#[path = "../../../src/openpgp/mod.rs"]
mod openpgp;
#[path = "../../../src/pool/mod.rs"]
mod pool;
#[path = "../../../src/progress.rs"]
mod progress;
#[path = "../../../src/regular_file.rs"]
mod regular_file;
#[path = "../../../src/repo_format.rs"]
mod repo_format;
#[path = "../../../src/rel_path.rs"]
mod rel_path;
#[path = "../../../src/terminal.rs"]
mod terminal;
#[path = "../../../src/time.rs"]
mod time;
#[path = "../../../src/upstream/mod.rs"]
mod upstream;

pub mod seeds;
pub mod targets;

pub fn find(name: &str) -> Option<targets::Target> {
    let mut targets = targets::TARGETS.into_iter();
    targets
        .find(|(known, _)| *known == name)
        .map(|(_, target)| target)
}
