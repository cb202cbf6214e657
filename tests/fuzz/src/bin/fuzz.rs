//! The fuzzer: libFuzzer's command line, and in `FUZZ_TARGET` the name of what is fuzzed.

#![no_main]

use std::sync::OnceLock;

use chantal_fuzz::targets::Target;

static TARGET: OnceLock<Target> = OnceLock::new();

libfuzzer_sys::fuzz_target!(
    init: {
        let name = std::env::var("FUZZ_TARGET").expect("FUZZ_TARGET names a target");
        let target = chantal_fuzz::find(&name).expect("FUZZ_TARGET is one of `targets`");
        TARGET.set(target).expect("set once");
    },
    |input: &[u8]| {
        let target = TARGET.get().expect("set at the start");
        let _verdict = target(input);
    }
);
