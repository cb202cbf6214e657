//! The fuzzer: libFuzzer's command line, and in `FUZZ_TARGET` the name of what is fuzzed.
//! `.ci/fuzz` builds and runs it.

#![no_main]

use std::sync::OnceLock;

use chantal::fuzzing::{TARGETS, Target};

static TARGET: OnceLock<Target> = OnceLock::new();

libfuzzer_sys::fuzz_target!(
    init: {
        let name = std::env::var("FUZZ_TARGET").expect("FUZZ_TARGET names a target");
        let mut targets = TARGETS.into_iter();
        let target = targets.find(|(known, _)| *known == name);
        let (_, target) = target.expect("FUZZ_TARGET is one of `TARGETS`");
        TARGET.set(target).expect("set once");
    },
    |input: &[u8]| {
        let target = TARGET.get().expect("set at the start");
        let _verdict = target(input);
    }
);
