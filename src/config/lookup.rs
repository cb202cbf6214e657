//! Finds repositories by name, and says why a name is unknown.

use std::path::PathBuf;

use super::resolved::{Config, Repository};
use crate::names::{RepoId, known_names};

/// Why a name refers to no configured repository.
#[derive(Debug, thiserror::Error)]
pub enum UnknownRepository {
    /// Its definition is invalid.
    #[error("repository {repository} has an invalid definition: {}", file.display())]
    InvalidDefinition { repository: RepoId, file: PathBuf },
    /// An invalid file may define it.
    #[error("unknown repository {repository}: {} is invalid and may define it", file.display())]
    MayBeInvalid { repository: RepoId, file: PathBuf },
    #[error("unknown repository {repository}{}", configured_names(known))]
    NotConfigured {
        repository: RepoId,
        known: Vec<RepoId>,
    },
}

fn configured_names(known: &[RepoId]) -> String {
    if known.is_empty() {
        return ": no repository is configured".to_owned();
    }
    known_names(known)
}

impl Config {
    /// The definition of this repository.
    pub fn defined_repository(&self, id: &RepoId) -> Result<&Repository, UnknownRepository> {
        self.repository(id).ok_or_else(|| {
            let repository = id.clone();
            if let Some(file) = self.broken_file_of(id) {
                let file = file.to_owned();
                UnknownRepository::InvalidDefinition { repository, file }
            } else if let Some(file) = self.may_be_about(id) {
                let file = file.to_owned();
                UnknownRepository::MayBeInvalid { repository, file }
            } else {
                let known = self.repositories.iter().map(|other| other.id.clone());
                UnknownRepository::NotConfigured {
                    repository,
                    known: known.collect(),
                }
            }
        })
    }

    /// `None` if the repository is one of `stored`, which it may be without being configured;
    /// otherwise its definition. A name that is unknown in both places is a typo.
    pub fn unless_stored<'s>(
        &self,
        id: &RepoId,
        stored: impl IntoIterator<Item = &'s RepoId>,
    ) -> Result<Option<&Repository>, UnknownRepository> {
        if stored.into_iter().any(|other| other == id) {
            return Ok(None);
        }
        self.defined_repository(id).map(Some)
    }
}
