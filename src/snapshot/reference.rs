//! References to snapshots and states on the command line.

use std::fmt;

use crate::names::{RepoId, SnapshotName, SnapshotNameError};

/// A snapshot on the command line: `NAME` if only one repository has it, otherwise
/// `REPOSITORY/NAME`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotReference {
    pub repository: Option<RepoId>,
    pub name: SnapshotName,
}

/// `REPOSITORY/NAME`, `REPOSITORY/latest`, or `NAME` or `REPOSITORY` if only one state matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StateReference {
    Snapshot(SnapshotReference),
    Latest(RepoId),
    /// A name that can be a snapshot or a repository, which means its current state.
    Either(SnapshotName, RepoId),
}

impl SnapshotReference {
    pub fn parse(text: &str) -> Result<Self, SnapshotNameError> {
        let (repository, name) = match text.split_once('/') {
            Some((repository, name)) => (Some(RepoId::parse(repository)?), name),
            None => (None, text),
        };
        Ok(Self {
            repository,
            name: SnapshotName::parse(name)?,
        })
    }

    pub fn matches(&self, repository: &RepoId, name: &SnapshotName) -> bool {
        let owner = self.repository.as_ref();
        self.name == *name && owner.is_none_or(|owner| owner == repository)
    }
}

impl fmt::Display for SnapshotReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.repository {
            Some(repository) => write!(f, "{repository}/{}", self.name),
            None => self.name.fmt(f),
        }
    }
}

impl StateReference {
    pub fn parse(text: &str) -> Result<Self, SnapshotNameError> {
        match text.split_once('/') {
            Some((repository, SnapshotName::LATEST)) => {
                Ok(Self::Latest(RepoId::parse(repository)?))
            }
            Some(_) => Ok(Self::Snapshot(SnapshotReference::parse(text)?)),
            None => Ok(Self::Either(
                SnapshotName::parse(text)?,
                RepoId::parse(text)?,
            )),
        }
    }

    /// `snapshot` is `None` for the current state of the repository.
    pub fn matches(&self, repository: &RepoId, snapshot: Option<&SnapshotName>) -> bool {
        match (self, snapshot) {
            (Self::Latest(id) | Self::Either(_, id), None) => repository == id,
            (Self::Either(name, _), Some(snapshot)) => snapshot == name,
            (Self::Snapshot(reference), Some(snapshot)) => reference.matches(repository, snapshot),
            (Self::Latest(_), Some(_)) | (Self::Snapshot(_), None) => false,
        }
    }
}

impl fmt::Display for StateReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Snapshot(reference) => reference.fmt(f),
            Self::Latest(repository) => write!(f, "{repository}/{}", SnapshotName::LATEST),
            Self::Either(name, _) => name.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references() {
        assert_eq!(
            SnapshotReference::parse("r/2026-01").unwrap().to_string(),
            "r/2026-01"
        );
        assert_eq!(
            SnapshotReference::parse("tested").unwrap().to_string(),
            "tested"
        );
        assert_eq!(
            SnapshotName::parse("latest"),
            Err(SnapshotNameError::Latest)
        );
        assert_eq!(
            SnapshotReference::parse("r/latest"),
            Err(SnapshotNameError::Latest)
        );
        for bad in [
            "", "r/", "/n", "a/b/c", "../n", ".hidden", "-x", "a b", "a\n",
        ] {
            assert!(SnapshotReference::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn what_names_a_state() {
        for text in ["n", "r/n", "r/latest"] {
            assert_eq!(StateReference::parse(text).unwrap().to_string(), text);
        }
        for bad in ["", "latest", "/latest", "r/", "a/b/c", "../latest", "-x"] {
            assert!(StateReference::parse(bad).is_err(), "{bad:?}");
        }
    }
}
