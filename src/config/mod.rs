//! Configuration: parses and validates the files of the administrator into types that the rest of
//! the program can rely on.
//!
//! `conf.d/*.yaml` is read in name order, a later file overrides single keys; every
//! `repos.d/*.yaml` is one repository. Steps for a file: text -> [`written`] (serde; refuses
//! unknown keys, knows line and column) -> [`resolved`] (defaults filled in, paths absolute, values
//! parsed). [`load`] guarantees:
//!
//! - paths are absolute, without `.` and `..`; relative ones were resolved relative to the file
//!   that contains them;
//! - repository names are unique, and published trees do not overlap with each other or the
//!   storage;
//! - a key of a feature that does not exist yet is refused, never ignored;
//! - secrets are [`Secret`]s and URLs with a query are [`HttpUrl`]s: neither reveals them when
//!   printed.
//!
//! All problems of all files are reported at once, with two exceptions: in a file with a syntax or
//! type error only the first one, and conflicts between files only if each file is valid on its
//! own.
//!
//! A problem in `conf.d` is fatal. One in `repos.d` only disables the repositories concerned: an
//! invalid file still counts as a repository with an unknown name and unknown publish paths
//! ([`Config::broken`]).

mod credentials;
mod criteria;
mod error;
mod examples;
mod filters;
mod global;
mod layout;
mod location;
mod lookup;
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
pub use layout::{publish_path_conflict, real};
pub use location::{HttpUrl, KeySource, UpstreamUrl, absolute};
pub use lookup::UnknownRepository;
pub use repository::default_key_name;
pub use resolved::{
    Config, Credentials, FormatConfig, Freshness, LogFormat, Logging, PackageCheck, Repository,
    RootCheck, Signing, StorageConfig, Trust,
};
pub use secret::{Secret, SecretSource};
pub use values::parse_duration;

use scope::Scope;
use secret::Environment;

/// A valid configuration with warnings.
#[derive(Debug)]
pub struct LoadedConfig {
    pub config: Config,
    /// Each names its file and key.
    pub warnings: Vec<String>,
    /// The problems of the files in [`Config::broken`].
    pub problems: Vec<Problem>,
}

/// Reads everything below `config_dir`. `${NAME}` in secrets is replaced from the environment of
/// this process.
pub fn load(config_dir: &Path) -> Result<LoadedConfig, ConfigError> {
    load_with(config_dir, &|name| std::env::var(name).ok())
}

fn load_with(config_dir: &Path, environment: &Environment) -> Result<LoadedConfig, ConfigError> {
    // Other errors are reported when its directories are read.
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
    // Conflicts with the storage can be checked only if its settings are valid.
    if problems.is_empty() {
        for layout::LayoutConflict { problem, files } in layout::conflicts(&config, &absolute_dir) {
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
    warnings.extend(layout::ineffective_bandwidth_limits(&config));
    Ok(LoadedConfig {
        config,
        warnings,
        problems: broken,
    })
}

/// The `*.yaml` files of a directory, in name order; hidden ones belong to editors. A directory
/// that does not exist has none.
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
                "{}: ignored: the file name must end in .yaml",
                file.display()
            ));
        }
        extension == "yaml"
    });
    files
}
