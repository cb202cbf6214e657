//! Whole configurations through the loader: what they become, and the exact words for what is wrong
//! with them.

mod accepted;
mod located;
mod refused;

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;

use super::resolved::{Cache, Distribution, Download, Publish, Rpm, Signing, Trust};
use super::*;

/// Files by their path in the configuration directory.
type Files<'a> = &'a [(&'a str, &'a str)];

fn write(files: Files<'_>) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
    }
    dir
}

fn environment(name: &str) -> Option<String> {
    (name == "TOKEN").then(|| "s3cret".to_owned())
}

/// Messages with the temporary directory as `DIR`.
fn without(dir: &tempfile::TempDir, text: &str) -> String {
    text.replace(dir.path().to_str().unwrap(), "DIR")
}

#[track_caller]
fn loaded(files: Files<'_>) -> (tempfile::TempDir, LoadedConfig) {
    let dir = write(files);
    match load_with(dir.path(), &environment) {
        Ok(loaded) if loaded.problems.is_empty() => (dir, loaded),
        Ok(loaded) => panic!("{:?}", loaded.problems),
        Err(err) => panic!("{}", without(&dir, &err.to_string())),
    }
}

fn error(files: Files<'_>) -> String {
    let dir = write(files);
    let error = match load_with(dir.path(), &environment) {
        Ok(loaded) if loaded.problems.is_empty() => return "no error".to_owned(),
        Ok(loaded) => ConfigError::Problems(loaded.problems),
        Err(error) => error,
    };
    without(&dir, &told(&error))
}

/// With the hints.
fn told(error: &ConfigError) -> String {
    let ConfigError::Problems(problems) = error else {
        return error.to_string();
    };
    let told = problems.iter().map(|problem| match &problem.hint {
        Some(hint) => format!("{problem}\nhint: {hint}"),
        None => problem.to_string(),
    });
    told.collect::<Vec<_>>().join("\n\n")
}

fn warnings(files: Files<'_>) -> Vec<String> {
    let (dir, loaded) = loaded(files);
    let warnings = loaded.warnings.iter();
    warnings.map(|text| without(&dir, text)).collect()
}

/// A sound repository in flow style, with `more` keys.
fn apt(more: &str) -> String {
    format!(
        "{{name: r, type: apt, upstream: {{url: https://h/}}, \
         apt: {{distribution: sid, gpgkey_file: k}}{more}}}"
    )
}

/// A repository that needs no key, unless `more` says of keys what it wants.
fn rpm(more: &str) -> String {
    let section = if more.contains("rpm: {") {
        ""
    } else {
        ", rpm: {gpgcheck: false}"
    };
    format!("{{name: r, type: rpm, upstream: {{url: https://h/}}{section}{more}}}")
}

fn repository(text: &str) -> Repository {
    let (_dir, loaded) = loaded(&[("repos.d/r.yaml", text)]);
    loaded.config.repositories.into_iter().next().unwrap()
}
