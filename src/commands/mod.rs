//! The commands: one file per noun, one function per verb. They print results; the modules below do
//! the work and never print.

pub mod config;
pub mod db;
pub mod generate;
pub mod init;
pub mod media;
pub mod pool;
pub mod publish;
pub mod repo;
pub mod snapshot;

use std::path::{Path, PathBuf};

use crate::cli::{RepositorySelection, WaitOptions};
use crate::config::{Config, Repository, absolute, publish_path_conflict, real};
use crate::error::Error;
use crate::interrupt::Interrupt;
use crate::lock::Requester;
use crate::names::RepoId;
use crate::output::Output;
use crate::progress::Progress;
use crate::publish::{Caller, PublishMode, Publisher};
use crate::signing_key::ConfiguredKey;
use crate::storage::Storage;

pub use crate::report::Failure;

/// The context of every command.
pub struct Context<'a> {
    pub config: &'a Config,
    pub config_dir: &'a Path,
    pub output: Output,
    pub progress: Progress,
    /// Signs the roots that chantal generates.
    pub key: ConfiguredKey<'a>,
}

impl<'a> Context<'a> {
    pub fn repository(&self, id: &RepoId) -> Result<&'a Repository, Error> {
        Ok(self.config.defined_repository(id)?)
    }

    /// The selected repositories: all enabled ones, or the named ones, even if they are disabled.
    pub fn repositories(&self, which: &RepositorySelection) -> Result<Vec<&'a Repository>, Error> {
        if which.all {
            self.enabled_repositories()
        } else {
            self.named_repositories(&which.repo_ids)
        }
    }

    /// The repositories with these names, without duplicates.
    pub fn named_repositories(&self, ids: &[RepoId]) -> Result<Vec<&'a Repository>, Error> {
        let mut chosen: Vec<&Repository> = Vec::new();
        for id in ids {
            let repository = self.repository(id)?;
            if !chosen.iter().any(|other| other.id == *id) {
                chosen.push(repository);
            }
        }
        Ok(chosen)
    }

    /// All enabled repositories; an error if there are none.
    pub fn enabled_repositories(&self) -> Result<Vec<&'a Repository>, Error> {
        let enabled: Vec<&Repository> = self
            .config
            .repositories
            .iter()
            .filter(|repository| repository.enabled)
            .collect();
        if enabled.is_empty() {
            let what = if self.config.broken.is_empty() {
                "no repository is enabled"
            } else {
                "no valid repository is enabled"
            };
            return Err(Error::Usage(what.to_owned()));
        }
        Ok(enabled)
    }
}

impl Context<'_> {
    /// Publishes states and snapshots where the command line says so.
    pub fn publisher<'c>(&'c self, storage: &'c Storage, mode: PublishMode) -> Publisher<'c> {
        Publisher {
            storage,
            config: self.config,
            key: &self.key,
            caller: Caller::Command,
            mode,
        }
    }

    /// A path from the command line where a tree can be published, made absolute.
    pub fn publish_path(&self, path: &Path) -> Result<PathBuf, Error> {
        let path = real(&absolute(path)?);
        match publish_path_conflict(self.config, self.config_dir, &path) {
            Some(conflict) => Err(Error::Usage(conflict)),
            None => Ok(path),
        }
    }
}

/// Identifies this run, and starts to listen for interruptions.
pub fn requester(command: &'static str, waiting: &WaitOptions) -> Result<Requester, Error> {
    Ok(Requester {
        command,
        wait: waiting.wait.unwrap_or_default(),
        interrupt: Interrupt::listen()?,
    })
}

impl From<&Error> for Failure {
    fn from(error: &Error) -> Self {
        Self {
            hint: error.hint(),
            exit_code: error.exit().code(),
        }
    }
}

/// Combines the errors of several repositories into one; its exit code is the most severe.
pub fn conclude(errors: Vec<Error>) -> Result<(), Error> {
    let Some(exit) = Error::most_severe(&errors) else {
        return Ok(());
    };
    Err(Error::Several { exit, errors })
}
