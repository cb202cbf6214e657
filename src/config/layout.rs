//! What concerns several files: names that are taken, directories that lie in each other.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::error::{Place, Problem};
use super::location::UpstreamUrl;
use super::resolved::{Config, Repository, StorageConfig};

/// What several files, each sound by itself, contradict each other in.
#[derive(Debug)]
pub struct Contradiction {
    pub problem: Problem,
    /// The files of the repositories that it is about; none where it is about the storage alone.
    pub files: Vec<PathBuf>,
}

/// Disabled repositories count too: their trees may stand there.
pub fn conflicts(config: &Config, config_dir: &Path) -> Vec<Contradiction> {
    let mut found = duplicate_names(&config.repositories);
    let storage = storage_in_itself(&config.storage, config_dir).into_iter();
    found.extend(storage.map(|problem| Contradiction {
        problem,
        files: Vec::new(),
    }));
    found.extend(trees_in_the_way(config, config_dir));
    found
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

fn duplicate_names(repositories: &[Repository]) -> Vec<Contradiction> {
    let mut first_files = BTreeMap::new();
    let mut found = Vec::new();
    for Repository { id, file, .. } in repositories {
        if let Some(first) = first_files.insert(id, file) {
            found.push(Contradiction {
                problem: Problem {
                    file: file.clone(),
                    place: Place::Key("name".to_owned()),
                    what: format!("{id} is already the name in {}", first.display()),
                    hint: None,
                },
                files: vec![first.clone(), file.clone()],
            });
        }
    }
    found
}

/// A path, and where it leads: asked of the file system once, however many others it is compared with.
struct Site<'a> {
    path: &'a Path,
    real: PathBuf,
}

/// A key and what it sets.
type Claim<'a> = (String, Site<'a>);

/// How a site stands to one that is taken, whose that is, and its path.
type Conflict<'a> = (&'static str, &'a str, &'a Path);

fn storage_in_itself(storage: &StorageConfig, config_dir: &Path) -> Vec<Problem> {
    let claims = [
        ("storage.pool_path", &storage.pool_path),
        ("storage.cache_path", &storage.cache_path),
        ("database.path", &storage.database_path),
    ]
    .map(|(key, path)| (key, Site::of(path)));
    let mut problems = Vec::new();
    for (i, (key, site)) in claims.iter().enumerate() {
        for (other_key, other) in &claims[..i] {
            if let Some(relation) = relation(site, other) {
                problems.push(Problem {
                    file: config_dir.join("conf.d"),
                    place: Place::Key((*key).to_owned()),
                    what: described(site.path, (relation, other_key, other.path)),
                    hint: None,
                });
            }
        }
    }
    problems
}

fn described(path: &Path, (relation, owner, other): Conflict<'_>) -> String {
    format!(
        "{} {relation} {owner} ({})",
        path.display(),
        other.display()
    )
}

/// Why no tree can be published at a path that the configuration does not name itself, if so.
pub fn in_the_way(config: &Config, config_dir: &Path, path: &Path) -> Option<String> {
    let own = own_places(config, config_dir);
    let mut taken: Vec<Claim<'_>> = claims(&own).collect();
    for repository in &config.repositories {
        taken.extend(publish_paths(repository).map(|(key, path)| {
            let key = format!("{key} of {}", repository.id);
            (key, Site::of(path))
        }));
    }
    let base = Site::of(&config.storage.base_path);
    let site = Site::of(path);
    let mut upstreams = config.repositories.iter();
    among(&site, &taken)
        .or_else(|| around_base(&site, &base))
        .or_else(|| upstreams.find_map(|repository| over_upstream(&site, &repository.upstream)))
        .map(|conflict| described(path, conflict))
}

fn own_places(config: &Config, config_dir: &Path) -> Vec<(&'static str, PathBuf)> {
    let storage = &config.storage;
    vec![
        ("storage.pool_path", storage.pool_path.clone()),
        ("storage.cache_path", storage.cache_path.clone()),
        ("database.path", storage.database_path.clone()),
        ("the keyrings", storage.keyrings_path()),
        ("the configuration", config_dir.join("conf.d")),
        ("the configuration", config_dir.join("repos.d")),
    ]
}

fn claims<'a>(places: &'a [(&'static str, PathBuf)]) -> impl Iterator<Item = Claim<'a>> {
    let places = places.iter();
    places.map(|(key, path)| ((*key).to_owned(), Site::of(path)))
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
fn trees_in_the_way(config: &Config, config_dir: &Path) -> Vec<Contradiction> {
    let own = own_places(config, config_dir);
    let base = Site::of(&config.storage.base_path);
    let mut taken: Vec<Claim<'_>> = claims(&own).collect();
    // The repository that each place belongs to: those of chantal itself belong to none.
    let mut owners: Vec<Option<&Repository>> = vec![None; taken.len()];
    let mut found = Vec::new();
    for repository in &config.repositories {
        for (key, path) in publish_paths(repository) {
            let site = Site::of(path);
            let conflict = among(&site, &taken)
                .or_else(|| around_base(&site, &base))
                .or_else(|| over_upstream(&site, &repository.upstream));
            if let Some(conflict) = conflict {
                let of_this = taken.iter().position(|(owner, _)| owner == conflict.1);
                let other = of_this.and_then(|place| owners[place]);
                let files = [Some(repository), other].into_iter().flatten();
                found.push(Contradiction {
                    problem: Problem {
                        file: repository.file.clone(),
                        place: Place::Key(key.to_owned()),
                        what: described(path, conflict),
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

fn among<'a>(site: &Site<'_>, taken: &'a [Claim<'_>]) -> Option<Conflict<'a>> {
    taken
        .iter()
        .find_map(|(owner, other)| Some((relation(site, other)?, owner.as_str(), other.path)))
}

/// The base may hold published trees beside what is ours, but it must not be one or lie in one.
fn around_base<'a>(site: &Site<'_>, base: &Site<'a>) -> Option<Conflict<'a>> {
    base.real
        .starts_with(&site.real)
        .then(|| relation(site, base))
        .flatten()
        .map(|relation| (relation, "storage.base_path", base.path))
}

/// Another repository's tree may be an upstream, but publishing over what is mirrored would replace it.
fn over_upstream<'a>(site: &Site<'_>, upstream: &'a UpstreamUrl) -> Option<Conflict<'a>> {
    match upstream {
        UpstreamUrl::File(path) => {
            let other = Site::of(path);
            Some((relation(site, &other)?, "upstream.url", path))
        }
        UpstreamUrl::Http(_) => None,
    }
}

impl<'a> Site<'a> {
    fn of(path: &'a Path) -> Self {
        let real = real(path);
        Self { path, real }
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

fn relation(site: &Site<'_>, other: &Site<'_>) -> Option<&'static str> {
    let (site, other) = (&site.real, &other.real);
    if site == other {
        Some("is also")
    } else if site.starts_with(other) {
        Some("lies inside")
    } else if other.starts_with(site) {
        Some("contains")
    } else {
        None
    }
}
