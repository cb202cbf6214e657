//! Files that need a damaged object.

use std::path::PathBuf;

use serde::Serialize;

use super::encode::optional_path;
use crate::check::{ObjectUse, Owner};
use crate::manifest::Role;
use crate::names::{RepoId, SnapshotName};

/// A file that needs a damaged object.
#[derive(Clone, Debug, Serialize)]
pub struct AffectedFile {
    pub repository: RepoId,
    /// `state`, `snapshot`, `evidence`, `tree`, `generated_root` or `keyring`.
    pub owner: &'static str,
    pub snapshot: Option<SnapshotName>,
    #[serde(serialize_with = "optional_path")]
    pub tree: Option<PathBuf>,
    pub path: String,
    /// `root`, `index`, `package`, `file` or `key`.
    pub role: &'static str,
    /// Name, version and architecture.
    pub package: Option<String>,
}

impl From<&ObjectUse> for AffectedFile {
    fn from(found: &ObjectUse) -> Self {
        let (owner, snapshot, tree) = match &found.owner {
            Owner::State => ("state", None, None),
            Owner::Snapshot(name) => ("snapshot", Some(name), None),
            Owner::Evidence(name) => ("evidence", name.as_ref(), None),
            Owner::Tree(path) => ("tree", None, Some(path)),
            Owner::GeneratedRoot(name) => ("generated_root", name.as_ref(), None),
            Owner::Keyring(name) => ("keyring", name.as_ref(), None),
        };
        Self {
            repository: found.repository.clone(),
            owner,
            snapshot: snapshot.cloned(),
            tree: tree.cloned(),
            path: found.path.to_string(),
            role: match found.role {
                Role::Root => "root",
                Role::Index => "index",
                Role::Package => "package",
                Role::File => "file",
                Role::Key => "key",
            },
            package: found.package.as_ref().map(ToString::to_string),
        }
    }
}
