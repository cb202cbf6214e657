//! What concerns several files: names that are taken, directories that lie in each other.

use std::collections::BTreeMap;
use std::path::Path;

use super::error::{Place, Problem};
use super::location::UpstreamUrl;
use super::resolved::{Config, Repository, Storage};

/// Disabled repositories count too: their trees may stand there.
pub fn conflicts(config: &Config, config_dir: &Path) -> Vec<Problem> {
    let mut problems = duplicate_names(&config.repositories);
    problems.extend(storage_in_itself(&config.storage, config_dir));
    problems.extend(trees_in_the_way(config, config_dir));
    problems
}

pub fn useless_bandwidth_limits(config: &Config) -> Vec<String> {
    config
        .repositories
        .iter()
        .filter(|repository| {
            config.download.bandwidth_limit.is_some_and(|global| {
                repository
                    .bandwidth_limit
                    .is_some_and(|limit| limit > global)
            })
        })
        .map(|repository| {
            format!(
                "{}: download.bandwidth_limit: has no effect, the limit of the whole process is lower",
                repository.file.display()
            )
        })
        .collect()
}

fn duplicate_names(repositories: &[Repository]) -> Vec<Problem> {
    let mut first_files = BTreeMap::new();
    let mut problems = Vec::new();
    for Repository { id, file, .. } in repositories {
        if let Some(first) = first_files.insert(id, file) {
            problems.push(Problem {
                file: file.clone(),
                place: Place::Key("name".to_owned()),
                what: format!("{id} is already the name in {}", first.display()),
                hint: None,
            });
        }
    }
    problems
}

/// A key and the path it sets.
type Claim<'a> = (String, &'a Path);

fn storage_in_itself(storage: &Storage, config_dir: &Path) -> Vec<Problem> {
    let claims = [
        ("storage.pool_path", storage.pool_path.as_path()),
        ("storage.cache_path", &storage.cache_path),
        ("database.path", &storage.database_path),
    ];
    let mut problems = Vec::new();
    for (i, (key, path)) in claims.iter().enumerate() {
        for (other_key, other) in &claims[..i] {
            if let Some(relation) = relation(path, other) {
                problems.push(Problem {
                    file: config_dir.join("conf.d"),
                    place: Place::Key((*key).to_owned()),
                    what: format!(
                        "{} {relation} {other_key} ({})",
                        path.display(),
                        other.display()
                    ),
                    hint: None,
                });
            }
        }
    }
    problems
}

/// A published tree is replaced as a whole, so nothing else may lie in it, and it in nothing else.
fn trees_in_the_way(config: &Config, config_dir: &Path) -> Vec<Problem> {
    let storage = &config.storage;
    let keyrings = storage.keyrings_path();
    let conf = [config_dir.join("conf.d"), config_dir.join("repos.d")];
    let mut taken: Vec<Claim<'_>> = vec![
        ("storage.pool_path".to_owned(), &storage.pool_path),
        ("storage.cache_path".to_owned(), &storage.cache_path),
        ("database.path".to_owned(), &storage.database_path),
        ("the keyrings".to_owned(), &keyrings),
        ("the configuration".to_owned(), &conf[0]),
        ("the configuration".to_owned(), &conf[1]),
    ];
    let mut problems = Vec::new();
    for repository in &config.repositories {
        let publish = &repository.publish;
        for (key, path) in [
            ("publish.latest_path", &publish.latest_path),
            ("publish.snapshots_path", &publish.snapshots_path),
        ] {
            let Some(path) = path else { continue };
            let conflict = taken
                .iter()
                .find_map(|(owner, other)| Some((relation(path, other)?, owner.as_str(), *other)))
                .or_else(|| around_base(path, &storage.base_path))
                .or_else(|| over_upstream(path, &repository.upstream));
            if let Some((relation, owner, other)) = conflict {
                problems.push(Problem {
                    file: repository.file.clone(),
                    place: Place::Key(key.to_owned()),
                    what: format!(
                        "{} {relation} {owner} ({})",
                        path.display(),
                        other.display()
                    ),
                    hint: None,
                });
            }
            taken.push((format!("{key} of {}", repository.id), path));
        }
    }
    problems
}

/// The base may hold published trees beside what is ours, but it must not be one or lie in one.
fn around_base<'a>(path: &Path, base: &'a Path) -> Option<(&'static str, &'static str, &'a Path)> {
    base.starts_with(path)
        .then(|| relation(path, base))
        .flatten()
        .map(|relation| (relation, "storage.base_path", base))
}

/// Another repository's tree may be an upstream, but publishing over what is mirrored would replace it.
fn over_upstream<'a>(
    path: &Path,
    upstream: &'a UpstreamUrl,
) -> Option<(&'static str, &'static str, &'a Path)> {
    match upstream {
        UpstreamUrl::File(other) => Some((relation(path, other)?, "upstream.url", other)),
        UpstreamUrl::Http(_) => None,
    }
}

fn relation(path: &Path, other: &Path) -> Option<&'static str> {
    if path == other {
        Some("is also")
    } else if path.starts_with(other) {
        Some("lies inside")
    } else if other.starts_with(path) {
        Some("contains")
    } else {
        None
    }
}
