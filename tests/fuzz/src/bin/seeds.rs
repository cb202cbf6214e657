//! Writes the inputs that fuzzing starts from: `seeds DIRECTORY` makes `DIRECTORY/<target>/<name>`.

use std::collections::BTreeMap;
use std::path::Path;

use chantal::fuzzing::{TARGETS, seeds};

fn main() {
    let directory = std::env::args_os()
        .nth(1)
        .expect("an argument: the directory");
    let mut written: BTreeMap<&str, usize> = BTreeMap::new();
    for (target, name, bytes) in seeds::all() {
        let directory = Path::new(&directory).join(target);
        std::fs::create_dir_all(&directory).expect("a directory is made");
        std::fs::write(directory.join(name), bytes).expect("a file is written");
        *written.entry(target).or_default() += 1;
    }
    for (target, _) in TARGETS {
        assert!(written.contains_key(target), "{target} has no seed");
    }
}
