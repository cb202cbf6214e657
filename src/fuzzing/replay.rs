//! Runs all inputs of `fixtures/fuzz`: findings of the fuzzer, and inputs of known problematic
//! kinds.
//!
//! Each file is in the directory of its target. Its name starts with the expected result: `good-`
//! or `bad-`. The secret keys among them were made for this purpose and are not trusted anywhere.

use std::collections::BTreeMap;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

use super::{TARGETS, Target, Verdict};

fn entries(directory: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = fs_err::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    paths
}

fn name(path: &Path) -> &str {
    path.file_name().unwrap().to_str().unwrap()
}

fn wanted(name: &str) -> Verdict {
    match name.split_once('-') {
        Some(("good", _)) => Verdict::Accepted,
        Some(("bad", _)) => Verdict::Refused,
        _ => panic!("{name} begins with neither good- nor bad-"),
    }
}

/// The unexpected results of a target for these inputs.
fn unexpected_results(target: Target, inputs: &[(&str, &[u8])]) -> Vec<String> {
    let mut unexpected_results = Vec::new();
    for (name, input) in inputs {
        match catch_unwind(|| target(input)) {
            Ok(verdict) if verdict == wanted(name) => {}
            Ok(verdict) => unexpected_results.push(format!("{name}: {verdict:?}")),
            Err(_) => unexpected_results.push(format!("{name}: a panic, see above")),
        }
    }
    unexpected_results
}

#[test]
fn every_kept_input_has_its_verdict() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/fuzz");
    let mut targets: BTreeMap<&str, Target> = TARGETS.into_iter().collect();
    let mut wrong = Vec::new();
    for directory in entries(&root) {
        let target = targets
            .remove(name(&directory))
            .unwrap_or_else(|| panic!("{} belongs to no target", directory.display()));
        let files = entries(&directory);
        let contents: Vec<Vec<u8>> = files
            .iter()
            .map(|file| fs_err::read(file).unwrap())
            .collect();
        let inputs: Vec<(&str, &[u8])> = files
            .iter()
            .zip(&contents)
            .map(|(file, content)| (name(file), content.as_slice()))
            .collect();
        for verdict in ["good-", "bad-"] {
            assert!(
                inputs.iter().any(|(name, _)| name.starts_with(verdict)),
                "{} has no {verdict} input",
                directory.display()
            );
        }
        let target_name = name(&directory);
        wrong.extend(
            unexpected_results(target, &inputs)
                .into_iter()
                .map(|complaint| format!("{target_name}/{complaint}")),
        );
    }
    assert!(targets.is_empty(), "no inputs: {:?}", targets.keys());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn wrong_verdicts_and_panics_are_noticed() {
    let accepts: Target = |_| Verdict::Accepted;
    let panics: Target = |_| panic!("as a broken parser would");
    assert!(unexpected_results(accepts, &[("good-x", b"")]).is_empty());
    assert_eq!(
        unexpected_results(accepts, &[("bad-x", b"")]),
        ["bad-x: Accepted"]
    );
    assert_eq!(
        unexpected_results(panics, &[("bad-x", b"")]),
        ["bad-x: a panic, see above"]
    );
}
