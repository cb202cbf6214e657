//! Existing snapshots.

use super::error::SnapshotError;
use super::reference::SnapshotReference;
use super::usage::NameUsage;
use crate::names::{RepoId, SnapshotName};
use crate::store::records::SnapshotRecord;
use crate::store::{Name, Reader, Store, Transaction};

/// An existing snapshot.
#[derive(Clone, Debug)]
pub struct Snapshot {
    pub repository: RepoId,
    pub name: SnapshotName,
    pub record: SnapshotRecord,
}

impl Snapshot {
    /// How a name counts for the disk usage of this snapshot. Its trees are deleted with it.
    pub fn usage_of(&self, name: &Name) -> NameUsage {
        let is_this = |repository: &RepoId, name: &SnapshotName| {
            *repository == self.repository && *name == self.name
        };
        match name {
            Name::Snapshot { repository, name } if is_this(repository, name) => NameUsage::Counted,
            Name::Tree {
                repository,
                snapshot: Some(name),
                ..
            } if is_this(repository, name) => NameUsage::Ignored,
            Name::State { .. } | Name::Snapshot { .. } | Name::Tree { .. } | Name::Transfer(_) => {
                NameUsage::Kept
            }
        }
    }

    /// `REPOSITORY/NAME`, which is never ambiguous.
    pub fn full_name(&self) -> String {
        format!("{}/{}", self.repository, self.name)
    }
}

/// All snapshots, of one repository or of all of them.
pub fn list(reader: &Reader, repository: Option<&RepoId>) -> Transaction<Vec<Snapshot>> {
    let snapshots = reader.snapshots()?.into_iter();
    Ok(snapshots
        .filter(|((owner, _), _)| repository.is_none_or(|repository| repository == owner))
        .map(|((repository, name), record)| Snapshot {
            repository,
            name,
            record,
        })
        .collect())
}

/// Finds the only snapshot that matches.
pub fn find(store: &Store, reference: &SnapshotReference) -> Result<Snapshot, SnapshotError> {
    let all = store.read(|reader| list(reader, None))?;
    let is_match = |snapshot: &&Snapshot| reference.matches(&snapshot.repository, &snapshot.name);
    let matching: Vec<&Snapshot> = all.iter().filter(is_match).collect();
    match matching.as_slice() {
        [snapshot] => Ok((*snapshot).clone()),
        [] => Err(SnapshotError::NotFound {
            reference: reference.clone(),
            known: all.iter().map(Snapshot::full_name).collect(),
        }),
        several => Err(SnapshotError::Ambiguous {
            name: reference.name.clone(),
            candidates: several.iter().map(|one| one.full_name()).collect(),
        }),
    }
}
