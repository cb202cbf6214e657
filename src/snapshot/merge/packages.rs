//! The packages that a merge selects from each source, and their paths in the result.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::error::MergeError;
use super::input::Input;
use crate::digest::ObjectId;
use crate::format::{Chosen, FormatError};
use crate::manifest::{Entry, Package, Role};
use crate::rel_path::RelPath;

/// Which packages are selected if several sources have them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// All versions from the last source that has the name and architecture.
    Rightmost,
    /// The highest version for each name, architecture and module stream; if several are equal,
    /// that of the last source.
    Latest,
    /// Every version; if several sources have the same version, that of the last source.
    KeepAll,
}

/// For each source, the positions of its selected packages in `Input::packages`.
pub fn select_packages(inputs: &[Input<'_>], strategy: Strategy) -> Vec<Vec<usize>> {
    type Candidate<'p> = (usize, usize, &'p str);
    let compare = inputs[0].stored.selected.format().version_order();
    let mut groups: HashMap<(&str, &str, &str), Vec<Candidate<'_>>> = HashMap::new();
    for (number, input) in inputs.iter().enumerate() {
        for (place, (package, _)) in input.packages.iter().enumerate() {
            let distinct_by = match strategy {
                Strategy::Rightmost => "",
                Strategy::Latest => input.stream(package),
                Strategy::KeepAll => package.version.as_str(),
            };
            let key = (
                package.name.as_str(),
                package.architecture.as_str(),
                distinct_by,
            );
            let candidate = (number, place, package.version.as_str());
            groups.entry(key).or_default().push(candidate);
        }
    }
    let mut selected = vec![Vec::new(); inputs.len()];
    for group in groups.into_values() {
        let highest = match strategy {
            Strategy::Latest => group
                .iter()
                .map(|(_, _, version)| *version)
                .max_by(|a, b| compare(a, b)),
            Strategy::Rightmost | Strategy::KeepAll => None,
        };
        let is_candidate =
            |version: &str| highest.is_none_or(|highest| compare(version, highest).is_eq());
        let candidates = group.iter().filter(|(_, _, version)| is_candidate(version));
        let Some(last) = candidates.clone().map(|(number, _, _)| *number).max() else {
            continue;
        };
        for (number, place, _) in candidates.filter(|(number, _, _)| *number == last) {
            selected[*number].push(*place);
        }
    }
    for places in &mut selected {
        places.sort_unstable();
    }
    selected
}

/// Assigns another path to a package if the path is already used by different content.
pub fn assign_paths(
    inputs: &[Input<'_>],
    selected: &[Vec<usize>],
) -> Result<Vec<Chosen>, MergeError> {
    let mut used_paths: HashMap<RelPath, ObjectId> = HashMap::new();
    let mut all = Vec::new();
    for (input, places) in inputs.iter().zip(selected) {
        let mut chosen = Chosen::default();
        // The files of a source package share a directory and are moved together; other files are
        // moved individually.
        let mut groups: BTreeMap<String, Vec<(&RelPath, ObjectId)>> = BTreeMap::new();
        for place in places {
            let (package, path) = &input.packages[*place];
            let entry = input
                .entries
                .get(path)
                .ok_or_else(|| MergeError::NotInManifest {
                    state: input.name.clone(),
                    path: path.clone(),
                })?;
            let key = match (package.architecture.as_str(), path.parent()) {
                (Package::SOURCE, Some(parent)) => format!("{parent}/"),
                (Package::SOURCE, None) => "/".to_owned(),
                _ => path.to_string(),
            };
            chosen.note(package);
            groups.entry(key).or_default().push((path, entry.object));
        }
        for files in groups.into_values() {
            let directory = free_directory(&used_paths, &files)?;
            for (path, object) in files {
                let new_path = match &directory {
                    Some(directory) => Some(in_directory(path, directory)?),
                    None => None,
                };
                used_paths.insert(new_path.clone().unwrap_or_else(|| path.clone()), object);
                match new_path {
                    Some(new_path) => chosen.move_to(path.clone(), new_path),
                    None => chosen.take(path.clone()),
                }
            }
        }
        all.push(chosen);
    }
    Ok(all)
}

/// The name of a new directory for files whose paths are already used; `None` if they can keep
/// their paths.
fn free_directory(
    used_paths: &HashMap<RelPath, ObjectId>,
    files: &[(&RelPath, ObjectId)],
) -> Result<Option<String>, FormatError> {
    let is_used = |path: &RelPath, object: &ObjectId| {
        used_paths.get(path).is_some_and(|other| other != object)
    };
    let Some((_, object)) = files.iter().find(|(path, object)| is_used(path, object)) else {
        return Ok(None);
    };
    // Another package may use this path, too: then try a longer name.
    for length in [16, 32, 64] {
        let name = &object.hex()[..length];
        let mut is_free = true;
        for (path, object) in files {
            is_free &= !is_used(&in_directory(path, name)?, object);
        }
        if is_free {
            return Ok(Some(name.to_owned()));
        }
    }
    Ok(Some(object.hex()))
}

fn in_directory(path: &RelPath, name: &str) -> Result<RelPath, FormatError> {
    path.with_file_name(&format!("{name}/{}", path.file_name()))
        .map_err(|source| FormatError::Path {
            file: "the merged snapshot".to_owned(),
            named_by: path.to_string(),
            source,
        })
}

/// The manifest entries of the selected packages.
pub fn package_entries(
    inputs: &[Input<'_>],
    selected: &[Vec<usize>],
    chosen: &[Chosen],
) -> Vec<Entry> {
    let mut entries = Vec::new();
    for ((input, places), chosen) in inputs.iter().zip(selected).zip(chosen) {
        // If several packages share a file, the entry must name one that is selected.
        let mut seen: HashSet<&RelPath> = HashSet::new();
        for (package, path) in places.iter().map(|place| &input.packages[*place]) {
            let Some(entry) = input.entries.get(path).filter(|_| seen.insert(path)) else {
                continue;
            };
            entries.push(Entry {
                path: chosen.moved(path).unwrap_or(path).clone(),
                role: Role::Package,
                package: Some(package.clone()),
                ..entry.clone()
            });
        }
    }
    entries
}
