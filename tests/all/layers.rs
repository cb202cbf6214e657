//! How the source is laid out, checked: layers point one way, files say what they are and stay
//! small, dependencies say why.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The modules of `src`, the lowest layer first. A module imports from itself and from lower
/// layers, never from its own or a higher one. Put a new module as low as what it imports allows
/// and as high as what it means demands.
const LAYERS: [(&str, &[&str]); 18] = [
    ("what a run ends with", &["exit"]),
    (
        "words: what everything else speaks in",
        &[
            "digest",
            "interrupt",
            "kill_points",
            "names",
            "panics",
            "progress",
            "regular_file",
            "rel_path",
            "repo_format",
            "terminal",
            "threads",
            "time",
        ],
    ),
    ("who may change what", &["lock"]),
    (
        "one thing each: what is configured, believed, kept, listed",
        &["config", "manifest", "openpgp", "pool"],
    ),
    (
        "bytes and their meaning: from upstreams, of rpm and deb, in the database, across the gap; disks",
        &["format", "mounts", "signing_key", "store", "upstream"],
    ),
    (
        "a storage: found, made, locked, opened; what a medium carries",
        &["storage", "transfer"],
    ),
    (
        "stored states and their indexes; trusted keys",
        &["state", "trust"],
    ),
    (
        "states become trees: snapshots are published when they are made, and cleanup tends trees",
        &["publish"],
    ),
    (
        "the work: repositories become states, states get names, what nothing names goes",
        &["cleanup", "snapshot", "sync"],
    ),
    ("what is stored and published is proved", &["check"]),
    ("what was found damaged is got again", &["repair"]),
    ("what is carried to another host", &["media"]),
    (
        "whole repositories: with their trees, snapshots and keys",
        &["repository"],
    ),
    ("results and status as data", &["report"]),
    (
        "what users write and what goes wrong",
        &["cli", "error", "logging"],
    ),
    ("printing", &["output"]),
    ("one file per noun of the command line", &["commands"]),
    (
        "the program, and what fuzzing runs of it",
        &["fuzzing", "run"],
    ),
];

/// They name every module.
const TOPS: [&str; 2] = ["lib", "main"];

/// No file grows beyond this; what needs more is documented here.
const LINES_MAX: usize = 650;
const LONGER: [(&str, &str); 0] = [];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every `.rs` file below `dir`, by its path from the package's root.
fn sources(dir: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut waiting: Vec<PathBuf> = vec![root().join(dir)];
    while let Some(dir) = waiting.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                waiting.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") {
                let name = path.strip_prefix(root()).unwrap().to_str().unwrap();
                found.insert(name.to_owned(), fs::read_to_string(&path).unwrap());
            }
        }
    }
    found
}

/// The module right below `src` that a file belongs to: `src/store/lock.rs` is of `store`.
fn module_of(path: &str) -> &str {
    let path = path.strip_prefix("src/").unwrap();
    path.split('/').next().unwrap().trim_end_matches(".rs")
}

fn layer_of(module: &str) -> Option<usize> {
    LAYERS
        .iter()
        .position(|(_, modules)| modules.contains(&module))
}

/// Names that follow `crate::` in code, `use crate::{a, b::c}` included.
fn imports(source: &str) -> Vec<String> {
    names_after("crate::", source)
}

fn names_after(prefix: &str, source: &str) -> Vec<String> {
    let code: String = source
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .flat_map(|line| [line, "\n"])
        .collect();
    let mut names = Vec::new();
    for (start, found) in code.match_indices(prefix) {
        if code[..start].ends_with(|c: char| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let rest = &code[start + found.len()..];
        match rest.strip_prefix('{') {
            None => names.push(first_name(rest)),
            Some(group) => {
                // Only names at the group's own depth are modules of the crate.
                let (mut depth, mut expected) = (0, true);
                for (place, c) in group.char_indices() {
                    match c {
                        '{' => depth += 1,
                        '}' if depth == 0 => break,
                        '}' => depth -= 1,
                        ',' if depth == 0 => expected = true,
                        _ if expected && c.is_alphabetic() => {
                            names.push(first_name(&group[place..]));
                            expected = false;
                        }
                        _ => {}
                    }
                }
            }
        }
    }
    names
}

fn first_name(text: &str) -> String {
    let name = |c: &char| c.is_alphanumeric() || *c == '_';
    text.chars().take_while(name).collect()
}

#[test]
fn imports_are_found() {
    let source = "\
//! [`crate::no`]\n\
use crate::a::B;\n\
use crate::{c, d::{e, f}, g_h::I};\n\
use not_crate::x;\n\
    // crate::neither\n\
let x = crate::j::k(&crate::l::M);\n";
    assert_eq!(imports(source), ["a", "c", "d", "g_h", "j", "l"]);
}

#[test]
fn layers_point_one_way() {
    let mut wrong = Vec::new();
    for (path, text) in sources("src") {
        let module = module_of(&path);
        if TOPS.contains(&module) {
            continue;
        }
        let Some(layer) = layer_of(module) else {
            wrong.push(format!("{path}: {module} is in no layer of LAYERS"));
            continue;
        };
        for import in imports(&text) {
            if import == module {
                continue;
            }
            match layer_of(&import) {
                Some(other) if other < layer => {}
                Some(other) => wrong.push(format!(
                    "{path}, layer {layer}, imports {import} of layer {other}"
                )),
                None => wrong.push(format!("{path} imports {import}, which is in no layer")),
            }
        }
    }
    wrong.sort();
    wrong.dedup();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What the `mod.rs` of a folder re-exports, by name: the file that defines it.
fn reexports(text: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for line in text.split("\npub use ").skip(1) {
        let line = line.split(';').next().unwrap();
        let Some((file, names)) = line.split_once("::") else {
            continue;
        };
        for name in names.trim_matches(['{', '}']).split(',') {
            // `a as b` is imported as `b`.
            let name = name.rsplit(" as ").next().unwrap().trim();
            found.insert(name.to_owned(), file.to_owned());
        }
    }
    found
}

#[test]
fn reexports_are_found() {
    let found = reexports("mod a;\n\npub use a::B;\npub use c::{D, e as f};\nuse g::H;\n");
    let found: Vec<_> = found
        .iter()
        .map(|(name, file)| format!("{name} of {file}"))
        .collect();
    assert_eq!(found, ["B of a", "D of c", "f of c"]);
}

/// The names that a file imports from the folder it is in.
fn used_in_folder(folder: &str, text: &str) -> Vec<String> {
    let code = text.split("#[cfg(test)]").next().unwrap();
    let inside = folder.strip_prefix("src").unwrap().replace('/', "::");
    let mut used = names_after("super::", code);
    used.extend(names_after(&format!("crate{inside}::"), code));
    used
}

/// Inside of a folder as well files import one way: what two of them need stands below both. The
/// folder's own `mod.rs` is above all of them; what it re-exports counts as imported from the file
/// that defines it.
#[test]
fn there_are_no_circles_inside_of_folders() {
    let files = sources("src");
    let mut folders: BTreeMap<&str, BTreeMap<&str, Vec<String>>> = BTreeMap::new();
    for (path, text) in &files {
        let Some((folder, file)) = path.rsplit_once('/') else {
            continue;
        };
        let name = file.trim_end_matches(".rs");
        let defined_in = files
            .get(&format!("{folder}/mod.rs"))
            .map_or_else(BTreeMap::new, |text| reexports(text));
        let used = used_in_folder(folder, text)
            .into_iter()
            .map(|name| defined_in.get(&name).unwrap_or(&name).clone())
            .collect();
        if !["mod", "tests", "testing"].contains(&name) {
            folders.entry(folder).or_default().insert(name, used);
        }
    }
    let mut circles = Vec::new();
    for (folder, files) in &folders {
        for start in files.keys() {
            let (mut waiting, mut seen) = (vec![*start], Vec::new());
            while let Some(file) = waiting.pop() {
                let used = files[file].iter().map(String::as_str);
                for next in used.filter(|next| *next != file && files.contains_key(next)) {
                    if next == *start {
                        circles.push(format!(
                            "{folder}: {start} is imported by {file}, which it imports"
                        ));
                    }
                    if !seen.contains(&next) {
                        seen.push(next);
                        waiting.push(next);
                    }
                }
            }
        }
    }
    assert!(circles.is_empty(), "{}", circles.join("\n"));
}

/// `x.rs` is above the files in `x/`, which it declares: they import nothing that it defines.
#[test]
fn files_below_a_file_do_not_import_from_it() {
    let files = sources("src");
    for (path, text) in &files {
        let Some((folder, file)) = path.rsplit_once('/') else {
            continue;
        };
        let is_test = ["tests.rs", "testing.rs"].contains(&file) || folder.ends_with("/tests");
        if is_test || !files.contains_key(&format!("{folder}.rs")) {
            continue;
        }
        for name in used_in_folder(folder, text) {
            let is_sibling = files.contains_key(&format!("{folder}/{name}.rs"))
                || files.contains_key(&format!("{folder}/{name}/mod.rs"));
            assert!(is_sibling, "{path} imports {name} from {folder}.rs");
        }
    }
}

/// Or the tests above would not see it.
#[test]
fn nothing_leaves_its_module_by_way_of_super() {
    for (path, text) in sources("src") {
        let inside = path.matches('/').count() - 1;
        // From `src/a.rs` and `src/a/mod.rs` one `super` leads out of `a`; from a file below, one
        // more does.
        let allowed = inside - usize::from(path.ends_with("/mod.rs"));
        let out = format!("use {}", "super::".repeat(allowed + 1));
        for line in text.lines() {
            // Indented ones are in modules inside the file, which are one deeper.
            let found = line.starts_with(&out) || line.starts_with(&format!("pub {out}"));
            assert!(!found, "{path}: write `use crate::...` for {line:?}");
        }
    }
}

/// Where two types of one name meet in a file, one of them has the wrong name.
#[test]
fn no_type_is_imported_under_another_name() {
    let is_type = |word: &&str| word.starts_with(char::is_uppercase);
    for (path, text) in sources("src") {
        let uses = text.split("\nuse crate::").skip(1);
        let uses = uses.chain(text.split("\nuse super::").skip(1));
        for found in uses {
            let found = found.split(';').next().unwrap();
            for (before, after) in found
                .match_indices(" as ")
                .map(|(at, _)| found.split_at(at))
            {
                let before = before.rsplit(|c: char| !c.is_alphanumeric()).next();
                let after = after[" as ".len()..]
                    .split(|c: char| !c.is_alphanumeric())
                    .next();
                let names = before
                    .filter(is_type)
                    .zip(after.filter(|name| !name.is_empty()));
                assert!(names.is_none(), "{path}: {names:?}");
            }
        }
    }
}

#[test]
fn every_module_has_one_layer_and_every_layer_its_modules() {
    let files = sources("src");
    let mut named: Vec<&str> = LAYERS.iter().flat_map(|(_, m)| *m).copied().collect();
    let mut there: Vec<&str> = files.keys().map(|path| module_of(path)).collect();
    there.retain(|module| !TOPS.contains(module));
    there.dedup();
    named.sort_unstable();
    there.sort_unstable();
    there.dedup();
    assert_eq!(named, there);
}

#[test]
fn every_file_says_what_it_is_and_stays_small() {
    for (path, text) in sources("src").into_iter().chain(sources("tests")) {
        assert!(text.starts_with("//! "), "{path} does not open with //!");
        let lines = text.lines().count();
        let longer = LONGER.iter().any(|(listed, _)| *listed == path);
        assert!(
            lines <= LINES_MAX || longer,
            "{path} has {lines} lines: it holds two ideas"
        );
        assert!(
            lines > LINES_MAX || !longer,
            "{path} has {lines} lines again: take it out of LONGER"
        );
    }
}

/// A comment stands for all dependencies below it up to the next one.
#[test]
fn every_dependency_says_why() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let (mut in_dependencies, mut said) = (false, false);
    let mut count = 0;
    for line in manifest.lines() {
        if line.starts_with('[') {
            in_dependencies = line.ends_with("dependencies]");
            said = false;
        } else if line.starts_with('#') {
            said = true;
        } else if in_dependencies && line.contains(" = ") {
            count += 1;
            assert!(said, "no comment says why: {line}");
        }
    }
    assert!(count > 20, "only {count} dependencies found");
}
