//! Checks across several files: duplicate names, overlapping directories.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::error::{Place, Problem};
use super::location::UpstreamUrl;
use super::resolved::{Config, Repository, StorageConfig};

/// A conflict between several files that are valid on their own.
#[derive(Debug)]
pub struct LayoutConflict {
    pub problem: Problem,
    /// The files of the repositories in the conflict; empty if it is about the storage only.
    pub files: Vec<PathBuf>,
}

/// Disabled repositories are included: their trees may exist.
pub fn conflicts(config: &Config, config_dir: &Path) -> Vec<LayoutConflict> {
    let mut found = duplicate_names(&config.repositories);
    let storage = storage_conflicts(&config.storage, config_dir).into_iter();
    found.extend(storage.map(|problem| LayoutConflict {
        problem,
        files: Vec::new(),
    }));
    found.extend(tree_conflicts(config, config_dir));
    found
}

pub fn ineffective_bandwidth_limits(config: &Config) -> Vec<String> {
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
                "{}: download.bandwidth_limit: has no effect: the global limit is lower",
                repository.file.display()
            )
        })
        .collect()
}

fn duplicate_names(repositories: &[Repository]) -> Vec<LayoutConflict> {
    let mut first_files = BTreeMap::new();
    let mut found = Vec::new();
    for Repository { id, file, .. } in repositories {
        if let Some(first) = first_files.insert(id, file) {
            found.push(LayoutConflict {
                problem: Problem {
                    file: file.clone(),
                    place: Place::Key("name".to_owned()),
                    what: format!("{id} is already used in {}", first.display()),
                    hint: None,
                },
                files: vec![first.clone(), file.clone()],
            });
        }
    }
    found
}

/// A path with its symbolic links resolved, once for all comparisons.
struct ResolvedPath<'a> {
    path: &'a Path,
    real: PathBuf,
}

/// A key and its path.
type ReservedPath<'a> = (String, ResolvedPath<'a>);

/// The relation to a reserved path, the owner of that path, and the path.
type Overlap<'a> = (&'static str, &'a str, &'a Path);

fn storage_conflicts(storage: &StorageConfig, config_dir: &Path) -> Vec<Problem> {
    let reserved_paths = [
        ("storage.pool_path", &storage.pool_path),
        ("storage.cache_path", &storage.cache_path),
        ("database.path", &storage.database_path),
    ]
    .map(|(key, path)| (key, ResolvedPath::of(path)));
    let mut problems = Vec::new();
    for (i, (key, site)) in reserved_paths.iter().enumerate() {
        for (other_key, other) in &reserved_paths[..i] {
            if let Some(relation) = relation(site, other) {
                problems.push(Problem {
                    file: config_dir.join("conf.d"),
                    place: Place::Key((*key).to_owned()),
                    what: describe_overlap(site.path, (relation, other_key, other.path)),
                    hint: None,
                });
            }
        }
    }
    problems
}

fn describe_overlap(path: &Path, (relation, owner, other): Overlap<'_>) -> String {
    format!(
        "{} {relation} {owner} ({})",
        path.display(),
        other.display()
    )
}

/// Why no tree can be published at a path that is not in the configuration; `None` if one can.
pub fn publish_path_conflict(config: &Config, config_dir: &Path, path: &Path) -> Option<String> {
    let own = storage_paths(config, config_dir);
    let mut taken: Vec<ReservedPath<'_>> = reserved_paths(&own).collect();
    for repository in &config.repositories {
        taken.extend(publish_paths(repository).map(|(key, path)| {
            let key = format!("{key} of {}", repository.id);
            (key, ResolvedPath::of(path))
        }));
    }
    let base = ResolvedPath::of(&config.storage.base_path);
    let site = ResolvedPath::of(path);
    let mut upstreams = config.repositories.iter();
    find_overlap(&site, &taken)
        .or_else(|| overlap_with_base_path(&site, &base))
        .or_else(|| {
            upstreams.find_map(|repository| overlap_with_upstream(&site, &repository.upstream))
        })
        .map(|conflict| describe_overlap(path, conflict))
}

fn storage_paths(config: &Config, config_dir: &Path) -> Vec<(&'static str, PathBuf)> {
    let storage = &config.storage;
    vec![
        ("storage.pool_path", storage.pool_path.clone()),
        ("storage.cache_path", storage.cache_path.clone()),
        ("database.path", storage.database_path.clone()),
        ("the keyring directory", storage.keyrings_path()),
        ("the configuration directory", config_dir.join("conf.d")),
        ("the configuration directory", config_dir.join("repos.d")),
    ]
}

fn reserved_paths<'a>(
    places: &'a [(&'static str, PathBuf)],
) -> impl Iterator<Item = ReservedPath<'a>> {
    let places = places.iter();
    places.map(|(key, path)| ((*key).to_owned(), ResolvedPath::of(path)))
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

/// A published tree may be replaced as a whole, so it must not overlap with anything else.
fn tree_conflicts(config: &Config, config_dir: &Path) -> Vec<LayoutConflict> {
    let own = storage_paths(config, config_dir);
    let base = ResolvedPath::of(&config.storage.base_path);
    let mut taken: Vec<ReservedPath<'_>> = reserved_paths(&own).collect();
    // The repository of each reserved path; paths of the storage have none.
    let mut owners: Vec<Option<&Repository>> = vec![None; taken.len()];
    let mut found = Vec::new();
    for repository in &config.repositories {
        for (key, path) in publish_paths(repository) {
            let site = ResolvedPath::of(path);
            let conflict = find_overlap(&site, &taken)
                .or_else(|| overlap_with_base_path(&site, &base))
                .or_else(|| overlap_with_upstream(&site, &repository.upstream));
            if let Some(conflict) = conflict {
                let of_this = taken.iter().position(|(owner, _)| owner == conflict.1);
                let other = of_this.and_then(|place| owners[place]);
                let files = [Some(repository), other].into_iter().flatten();
                found.push(LayoutConflict {
                    problem: Problem {
                        file: repository.file.clone(),
                        place: Place::Key(key.to_owned()),
                        what: describe_overlap(path, conflict),
                        hint: None,
                    },
                    files: files.map(|repository| repository.file.clone()).collect(),
                });
            }
            taken.push((format!("{key} of {}", repository.id), site));
            owners.push(Some(repository));
        }
    }
    found
}

fn find_overlap<'a>(site: &ResolvedPath<'_>, taken: &'a [ReservedPath<'_>]) -> Option<Overlap<'a>> {
    taken
        .iter()
        .find_map(|(owner, other)| Some((relation(site, other)?, owner.as_str(), other.path)))
}

/// The base path may contain published trees, but it must not be one or be inside one.
fn overlap_with_base_path<'a>(
    site: &ResolvedPath<'_>,
    base: &ResolvedPath<'a>,
) -> Option<Overlap<'a>> {
    base.real
        .starts_with(&site.real)
        .then(|| relation(site, base))
        .flatten()
        .map(|relation| (relation, "storage.base_path", base.path))
}

/// The tree of another repository can be an upstream, but publishing over one's own upstream would
/// replace it.
fn overlap_with_upstream<'a>(
    site: &ResolvedPath<'_>,
    upstream: &'a UpstreamUrl,
) -> Option<Overlap<'a>> {
    match upstream {
        UpstreamUrl::File(path) => {
            let other = ResolvedPath::of(path);
            Some((relation(site, &other)?, "upstream.url", path))
        }
        UpstreamUrl::Http(_) | UpstreamUrl::Media => None,
    }
}

impl<'a> ResolvedPath<'a> {
    fn of(path: &'a Path) -> Self {
        let real = real(path);
        Self { path, real }
    }
}

/// Resolves symbolic links in the parents of a path; parts that do not exist yet are kept as
/// written. The last component is not resolved: a tree replaces whatever has that name.
pub fn real(path: &Path) -> PathBuf {
    let Some((parent, name)) = path.parent().zip(path.file_name()) else {
        return path.to_owned();
    };
    match parent.canonicalize() {
        Ok(parent) => parent.join(name),
        Err(_) => real(parent).join(name),
    }
}

fn relation(site: &ResolvedPath<'_>, other: &ResolvedPath<'_>) -> Option<&'static str> {
    let (site, other) = (&site.real, &other.real);
    if site == other {
        Some("is the same path as")
    } else if site.starts_with(other) {
        Some("is inside")
    } else if other.starts_with(site) {
        Some("contains")
    } else {
        None
    }
}
