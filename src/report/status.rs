//! One repository as all parts know it: its configuration, what the store has of it, and its
//! published trees.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use crate::config::{PackageCheck, Repository, RootCheck};
use crate::publish;
use crate::store::records::{RepositoryRecord, StateRecord, TreeRecord};
use crate::store::{Store, StoreError};

/// A configured repository.
#[derive(Clone, Debug)]
pub struct RepositoryStatus<'a> {
    pub definition: &'a Repository,
    /// `None` before the first sync.
    pub record: Option<RepositoryRecord>,
    /// Trees of its state and of its snapshots, also those that were unpublished, by path.
    pub trees: Vec<TreeStatus>,
}

/// A place where something of a repository is, or was, published.
#[derive(Clone, Debug)]
pub struct TreeStatus {
    pub path: PathBuf,
    pub content: TreeContent,
    pub record: TreeRecord,
}

/// What a published tree has, compared with the repository's current state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TreeContent {
    /// Nothing: it was unpublished, or its first publishing was killed.
    Nothing,
    /// That state, also with a root of our own.
    Current,
    /// An earlier state, or a snapshot that differs.
    Other,
}

/// What the root of a repository's current state is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RootSignature {
    /// The configuration says not to check it.
    NotChecked,
    NeverSynced,
    Unsigned,
    Signed,
}

impl<'a> RepositoryStatus<'a> {
    /// Of one repository. Without a store there is neither a record nor a tree.
    pub fn read(definition: &'a Repository, store: Option<&Store>) -> Result<Self, StoreError> {
        let id = &definition.id;
        let (record, trees) = match store {
            Some(store) => store.read(|reader| Ok((reader.repository(id)?, reader.trees()?)))?,
            None => (None, BTreeMap::new()),
        };
        Ok(Self::join(definition, record, &trees))
    }

    /// Of all of these repositories, in their order and at one moment.
    pub fn read_all(
        definitions: &'a [Repository],
        store: Option<&Store>,
    ) -> Result<Vec<Self>, StoreError> {
        let (mut records, trees) = match store {
            Some(store) => store.read(|reader| Ok((reader.repositories()?, reader.trees()?)))?,
            None => (BTreeMap::new(), BTreeMap::new()),
        };
        let join = |definition: &'a Repository| {
            let record = records.remove(&definition.id);
            Self::join(definition, record, &trees)
        };
        Ok(definitions.iter().map(join).collect())
    }

    fn join(
        definition: &'a Repository,
        record: Option<RepositoryRecord>,
        trees: &BTreeMap<PathBuf, TreeRecord>,
    ) -> Self {
        let state = record.as_ref().map(|record| record.state.manifest);
        let own = trees
            .iter()
            .filter(|(_, tree)| tree.repository == definition.id);
        let trees = own
            .map(|(path, tree)| TreeStatus {
                path: path.clone(),
                content: match tree.manifest {
                    None => TreeContent::Nothing,
                    Some(_) if tree.content() == state => TreeContent::Current,
                    Some(_) => TreeContent::Other,
                },
                record: tree.clone(),
            })
            .collect();
        Self {
            definition,
            record,
            trees,
        }
    }

    pub fn state(&self) -> Option<&StateRecord> {
        self.record.as_ref().map(|record| &record.state)
    }

    pub fn root_signature(&self) -> RootSignature {
        match (self.definition.trust.root, self.state()) {
            (RootCheck::Off, _) => RootSignature::NotChecked,
            (_, None) => RootSignature::NeverSynced,
            (_, Some(state)) if state.signed_by().is_empty() => RootSignature::Unsigned,
            (_, Some(_)) => RootSignature::Signed,
        }
    }

    /// How packages are checked; `None` for a format whose packages have no signatures inside.
    pub fn package_check(&self) -> Option<PackageCheck> {
        self.definition.package_check()
    }

    /// Whether the packages of the state were verified when it was made; what the configuration
    /// says now holds for the next sync. `None` without a state, and for a format whose packages
    /// have no signatures inside.
    pub fn packages_verified(&self) -> Option<bool> {
        self.package_check()?;
        self.state().map(StateRecord::has_verified_packages)
    }

    /// Trees that show something.
    pub fn published(&self) -> impl Iterator<Item = &TreeStatus> {
        let trees = self.trees.iter();
        trees.filter(|tree| tree.content != TreeContent::Nothing)
    }

    /// Places that syncs skip since they were unpublished.
    pub fn unpublished(&self) -> impl Iterator<Item = &TreeStatus> {
        self.trees.iter().filter(|tree| !tree.record.wanted)
    }
}

impl TreeStatus {
    /// Whether it is not there now: its disk may not be mounted. This asks the file system.
    pub fn is_missing(&self) -> io::Result<bool> {
        publish::is_missing(&self.path, &self.record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, Config, EXAMPLE_RPM};
    use crate::digest::ObjectId;
    use crate::names::RepoId;

    fn config() -> Config {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("repos.d");
        fs_err::create_dir(&folder).unwrap();
        fs_err::write(folder.join("example.yaml"), EXAMPLE_RPM).unwrap();
        config::load(dir.path()).unwrap().config
    }

    fn record(manifest: ObjectId, packages: u64) -> RepositoryRecord {
        let written = serde_json::json!({
            "state": {
                "format": "rpm",
                "manifest": manifest,
                "roots": [],
                "packages": packages,
                "bytes": 1,
                "synced_at": 1,
            },
            "origin": manifest,
            "selection": manifest,
            "checked_at": 1,
            "was_signed": false,
        });
        serde_json::from_value(written).unwrap()
    }

    fn tree(repository: &RepoId, manifest: Option<ObjectId>) -> TreeRecord {
        let written = serde_json::json!({
            "repository": repository,
            "manifest": manifest,
            "published_at": 1,
            "earlier": [],
            "staging": null,
        });
        serde_json::from_value(written).unwrap()
    }

    #[test]
    fn a_repository_is_joined_with_its_own_trees() {
        let config = config();
        let definition = &config.repositories[0];
        let id = &definition.id;
        let (current, other) = (ObjectId::of(b"current"), ObjectId::of(b"other"));
        let unpublished = TreeRecord {
            wanted: false,
            ..tree(id, None)
        };
        let redated = TreeRecord {
            source: Some(current),
            ..tree(id, Some(other))
        };
        let trees = BTreeMap::from([
            ("/www/another".into(), tree(id, Some(other))),
            ("/www/current".into(), tree(id, Some(current))),
            (
                "/www/foreign".into(),
                tree(&RepoId::test("foreign"), Some(current)),
            ),
            ("/www/redated".into(), redated),
            ("/www/unpublished".into(), unpublished),
        ]);
        let status = RepositoryStatus::join(definition, Some(record(current, 1)), &trees);
        let found: Vec<_> = status
            .trees
            .iter()
            .map(|tree| (tree.path.to_str().unwrap(), tree.content))
            .collect();
        assert_eq!(
            found,
            [
                ("/www/another", TreeContent::Other),
                ("/www/current", TreeContent::Current),
                ("/www/redated", TreeContent::Current),
                ("/www/unpublished", TreeContent::Nothing),
            ]
        );
        assert_eq!(status.published().count(), 3);
        assert_eq!(status.unpublished().count(), 1);
    }

    #[test]
    fn what_was_not_synced_has_no_signatures() {
        let config = config();
        let definition = &config.repositories[0];
        let status = RepositoryStatus::read(definition, None).unwrap();
        assert_eq!(status.root_signature(), RootSignature::NeverSynced);
        assert_eq!(status.packages_verified(), None);
        let manifest = ObjectId::of(b"manifest");
        for (packages, is_verified) in [(0, true), (1, false)] {
            let record = record(manifest, packages);
            let status = RepositoryStatus::join(definition, Some(record), &BTreeMap::new());
            assert_eq!(status.root_signature(), RootSignature::Unsigned);
            assert_eq!(status.packages_verified(), Some(is_verified));
        }
    }
}
