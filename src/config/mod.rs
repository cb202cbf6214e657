//! Configuration: what the administrator wrote becomes types that the rest can rely on, in this one place.
//!
//! `conf.d/*.yaml` is read in name order, a later file wins key by key; every `repos.d/*.yaml` is one repository.
//! The way of a file: text -> [`written`] (serde; refuses unknown keys, knows line and column) -> [`resolved`]
//! (defaults filled in, paths absolute, texts parsed). What [`load`] returns holds:
//!
//! - paths are absolute and free of `.` and `..`, relative ones were relative to the file that holds them;
//! - repository names are unique, and no published tree shares a place with another or with the storage;
//! - a key whose feature does not exist yet was refused, never ignored;
//! - secrets are [`Secret`]s and URLs with a query are [`HttpUrl`]s: neither shows what it holds when printed.
//!
//! All problems of all files are reported at once, as far as one does not hide the next: in a file that is not
//! YAML of the right shape only the first, and what concerns several files only when each is sound by itself.
//!
//! A problem in `conf.d` ends everything. One in `repos.d` costs the repositories that it is about, and the others work: a file that
//! cannot be used still counts as a repository with an unknown name and unknown publish paths ([`Config::broken`]).

mod credentials;
mod criteria;
mod error;
mod examples;
mod filters;
mod global;
mod layout;
mod location;
mod parse;
mod repository;
mod resolved;
mod scope;
mod secret;
mod trust;
mod values;
mod written;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

pub use error::{ConfigError, Problem};
pub use examples::write_examples;
#[cfg(any(test, fuzzing))]
pub use examples::{EXAMPLE_APT, EXAMPLE_GLOBAL, EXAMPLE_RPM};
pub use filters::{Dependencies, Filters, Patterns};
pub use layout::{in_the_way, real};
pub use location::{HttpUrl, KeySource, UpstreamUrl, absolute};
pub use repository::default_key_name;
pub use resolved::{
    Config, Credentials, FormatConfig, Freshness, LogFormat, Logging, PackageCheck, RepoId,
    RepoIdError, Repository, RootCheck, Signing, StorageConfig,
};
pub use secret::{Secret, SecretSource};
pub use values::parse_duration;

use scope::Scope;
use secret::Environment;

/// A configuration, and what its author should know although it works.
#[derive(Debug)]
pub struct Loaded {
    pub config: Config,
    /// Each names its file and key.
    pub warnings: Vec<String>,
    /// What is wrong with the files in [`Config::broken`].
    pub problems: Vec<Problem>,
}

/// Reads everything below `config_dir`. `${NAME}` in secrets is taken from the environment of this process.
pub fn load(config_dir: &Path) -> Result<Loaded, ConfigError> {
    load_with(config_dir, &|name| std::env::var(name).ok())
}

fn load_with(config_dir: &Path, environment: &Environment) -> Result<Loaded, ConfigError> {
    // What else is wrong with it shows when its folders are read.
    if std::fs::metadata(config_dir).is_err_and(|err| err.kind() == std::io::ErrorKind::NotFound) {
        return Err(ConfigError::NoDirectory(config_dir.to_owned()));
    }
    let absolute_dir = location::absolute(config_dir)
        .map_err(|err| ConfigError::Problems(vec![Problem::unreadable(config_dir, &err)]))?;
    let mut problems = Vec::new();
    let mut warnings = Vec::new();

    let mut layer = global::Layer::default();
    for file in yaml_files(config_dir, "conf.d", &mut problems, &mut warnings) {
        let mut scope = Scope::new(&file, absolute_dir.join("conf.d"), environment);
        match parse::file(&file) {
            Ok(written) => layer = global::Layer::new(written, &mut scope).over(layer),
            Err(problem) => problems.push(problem),
        }
        scope.finish(&mut problems, &mut warnings);
    }
    let mut config = layer.finish(&mut problems);

    let mut broken = Vec::new();
    for file in yaml_files(config_dir, "repos.d", &mut problems, &mut warnings) {
        let mut scope = Scope::new(&file, absolute_dir.join("repos.d"), environment);
        let mut of_file = Vec::new();
        let repository = match parse::file(&file) {
            Ok(written) => repository::resolve(written, &mut scope),
            Err(problem) => {
                of_file.push(problem);
                None
            }
        };
        scope.finish(&mut of_file, &mut warnings);
        if of_file.is_empty() {
            config.repositories.extend(repository);
        } else {
            config.broken.push(file);
            broken.extend(of_file);
        }
    }
    // What the storage is must be known before anything is compared with it.
    if problems.is_empty() {
        for layout::Contradiction { problem, files } in layout::conflicts(&config, &absolute_dir) {
            if files.is_empty() {
                problems.push(problem);
            } else {
                broken.push(problem);
                config.broken.extend(files);
            }
        }
    }
    if !problems.is_empty() {
        problems.extend(broken);
        return Err(ConfigError::Problems(problems));
    }
    config.broken.sort();
    config.broken.dedup();
    let Config {
        repositories,
        broken: files,
        ..
    } = &mut config;
    repositories.retain(|repository| !files.contains(&repository.file));
    repositories.sort_by(|a, b| a.id.cmp(&b.id));
    warnings.extend(layout::useless_bandwidth_limits(&config));
    Ok(Loaded {
        config,
        warnings,
        problems: broken,
    })
}

/// The `*.yaml` files of a folder, in name order; hidden ones are an editor's. A folder that is not there has none.
fn yaml_files(
    config_dir: &Path,
    folder: &str,
    problems: &mut Vec<Problem>,
    warnings: &mut Vec<String>,
) -> Vec<PathBuf> {
    let dir = config_dir.join(folder);
    let entries = match std::fs::read_dir(&dir).and_then(Iterator::collect::<Result<Vec<_>, _>>) {
        Ok(entries) => entries,
        Err(err) if err.kind() == std::io::ErrorKind::NotFound => return Vec::new(),
        Err(err) => {
            problems.push(Problem::unreadable(&dir, &err));
            return Vec::new();
        }
    };
    let mut files: Vec<PathBuf> = entries
        .iter()
        .filter(|entry| !entry.file_name().as_encoded_bytes().starts_with(b"."))
        .map(std::fs::DirEntry::path)
        .collect();
    files.sort();
    files.retain(|file| {
        let extension = file.extension().unwrap_or_default();
        if extension == "yml" {
            warnings.push(format!(
                "{}: not read, its name must end in .yaml",
                file.display()
            ));
        }
        extension == "yaml"
    });
    files
}
