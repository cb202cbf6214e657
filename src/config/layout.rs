//! What concerns several files: names that are taken, directories that lie in each other.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

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

/// Why no tree can be published at a path that the configuration does not name itself, if so.
pub fn in_the_way(config: &Config, config_dir: &Path, path: &Path) -> Option<String> {
    let own = own_places(config, config_dir);
    let mut taken: Vec<Claim<'_>> = own
        .iter()
        .map(|(key, path)| (key.clone(), path.as_path()))
        .collect();
    for repository in &config.repositories {
        taken.extend(
            publish_paths(repository)
                .map(|(key, path)| (format!("{key} of {}", repository.id), path)),
        );
    }
    let upstreams = config.repositories.iter();
    taken
        .iter()
        .find_map(|(owner, other)| Some((relation(path, other)?, owner.as_str(), *other)))
        .or_else(|| around_base(path, &config.storage.base_path))
        .or_else(|| {
            upstreams
                .map(|repository| &repository.upstream)
                .find_map(|upstream| over_upstream(path, upstream))
        })
        .map(|(relation, owner, other)| format!("{relation} {owner} ({})", other.display()))
}

fn own_places(config: &Config, config_dir: &Path) -> Vec<(String, PathBuf)> {
    let storage = &config.storage;
    [
        ("storage.pool_path", storage.pool_path.clone()),
        ("storage.cache_path", storage.cache_path.clone()),
        ("database.path", storage.database_path.clone()),
        ("the keyrings", storage.keyrings_path()),
        ("the configuration", config_dir.join("conf.d")),
        ("the configuration", config_dir.join("repos.d")),
    ]
    .map(|(key, path)| (key.to_owned(), path))
    .into()
}

fn publish_paths(repository: &Repository) -> impl Iterator<Item = (&'static str, &Path)> {
    let publish = &repository.publish;
    [
        ("publish.latest_path", publish.latest_path.as_deref()),
        ("publish.snapshots_path", publish.snapshots_path.as_deref()),
    ]
    .into_iter()
    .filter_map(|(key, path)| Some((key, path?)))
}

/// A published tree is replaced as a whole, so nothing else may lie in it, and it in nothing else.
fn trees_in_the_way(config: &Config, config_dir: &Path) -> Vec<Problem> {
    let storage = &config.storage;
    let own = own_places(config, config_dir);
    let mut taken: Vec<Claim<'_>> = own
        .iter()
        .map(|(key, path)| (key.clone(), path.as_path()))
        .collect();
    let mut problems = Vec::new();
    for repository in &config.repositories {
        for (key, path) in publish_paths(repository) {
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

/// Where a path leads, whatever links are on the way to it; what does not exist yet is taken as it is written. A link at its own
/// end stays: what has that name is replaced.
pub fn real(path: &Path) -> PathBuf {
    let Some((parent, name)) = path.parent().zip(path.file_name()) else {
        return path.to_owned();
    };
    match parent.canonicalize() {
        Ok(parent) => parent.join(name),
        Err(_) => real(parent).join(name),
    }
}

fn relation(path: &Path, other: &Path) -> Option<&'static str> {
    let (path, other) = (&real(path), &real(other));
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
