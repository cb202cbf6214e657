//! The context of one file while it is resolved: the base of its relative paths, and its problems.

use std::path::{Path, PathBuf};

use super::error::{Place, Problem};
use super::location::{self, LocationError};
use super::secret::{Environment, Secret};
use crate::regular_file;

/// Functions that resolve a value return `None` if it is not set or was refused, and continue, so
/// that one run finds all problems. The result of a scope with problems is never used.
pub struct Scope<'a> {
    file: &'a Path,
    /// Absolute.
    dir: PathBuf,
    environment: &'a Environment,
    problems: Vec<Problem>,
    warnings: Vec<String>,
}

impl<'a> Scope<'a> {
    pub fn new(file: &'a Path, dir: PathBuf, environment: &'a Environment) -> Self {
        Self {
            file,
            dir,
            environment,
            problems: Vec::new(),
            warnings: Vec::new(),
        }
    }

    pub fn file(&self) -> &Path {
        self.file
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    pub fn finish(self, problems: &mut Vec<Problem>, warnings: &mut Vec<String>) {
        problems.extend(self.problems);
        warnings.extend(self.warnings);
    }

    pub fn reject(&mut self, key: &str, what: impl Into<String>) {
        self.add(key, what.into(), None);
    }

    pub fn reject_with_hint(
        &mut self,
        key: &str,
        what: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.add(key, what.into(), Some(hint.into()));
    }

    fn add(&mut self, key: &str, what: String, hint: Option<String>) {
        self.problems.push(Problem {
            file: self.file.to_owned(),
            place: Place::Key(key.to_owned()),
            what,
            hint,
        });
    }

    pub fn warn(&mut self, key: &str, what: &str) {
        self.warnings
            .push(format!("{}: {key}: {what}", self.file.display()));
    }

    /// Warns if a file that contains a secret can be read by other users.
    pub fn warn_if_others_can_read(&mut self, key: &str, what: &str, written: &Secret) {
        let metadata = std::fs::metadata(self.file).ok();
        let open_to_others = metadata.and_then(|metadata| regular_file::open_to_others(&metadata));
        if let Some(mode) = open_to_others
            && written.is_literal()
        {
            let what = format!(
                "{what}, but other users can read the file (mode {mode:04o}): run `chmod 600` on it"
            );
            self.warn(key, &what);
        }
    }

    /// Reports an invalid URL of an upstream or a key.
    pub fn reject_location(&mut self, key: &str, err: &LocationError) {
        match err {
            LocationError::Credentials => {
                self.reject_with_hint(key, err.to_string(), "set them under `credentials`");
            }
            LocationError::Scheme(_) => self.reject_with_hint(
                key,
                err.to_string(),
                "a URL must begin with https://, and a path that contains a colon with ./",
            ),
            LocationError::NoScheme | LocationError::HttpUrl => self.reject_with_hint(
                key,
                err.to_string(),
                "a URL begins with https://HOST or http://HOST, a path with / or ./",
            ),
            _ => self.reject(key, err.to_string()),
        }
    }

    /// Refuses keys of features that do not exist yet, if they are set.
    pub fn reject_unsupported(&mut self, keys: &[(&str, bool)]) {
        for (key, set) in keys {
            if *set {
                self.reject(key, "not supported yet");
            }
        }
    }

    /// Makes a path absolute; relative ones are relative to the file.
    pub fn path(&mut self, key: &str, text: Option<&str>) -> Option<PathBuf> {
        match location::path(text?, &self.dir) {
            Ok(path) => Some(path),
            Err(err) => {
                self.reject(key, err.to_string());
                None
            }
        }
    }

    /// A secret with its environment variables replaced.
    pub fn secret(&mut self, key: &str, written: &Secret) -> Option<Secret> {
        match written.expand(self.environment) {
            Ok(secret) => Some(secret),
            Err(err) => {
                self.reject(key, err.to_string());
                None
            }
        }
    }
}
