//! The result of a repair.

use std::path::PathBuf;

use serde::Serialize;

use super::affected::AffectedFile;
use super::encode::{optional_path, path, paths};
use crate::check::DamagedObject;
use crate::digest::ObjectId;
use crate::names::RepoId;
use crate::rel_path::RelPath;
use crate::repair::{Fate, MendedTree, RepairOutcome, RepairSource, Repaired, Unrepaired};

/// What a repair did.
#[derive(Clone, Debug, Serialize)]
pub struct RepairResult {
    pub repaired: Vec<RepairedObject>,
    pub not_repaired: Vec<UnrepairedObject>,
    pub trees: Vec<RepairedTree>,
    /// Generated roots that were not good and that no tree shows: the next publication generates new
    /// ones.
    pub forgotten_roots: u64,
    pub requests: u64,
    pub bytes_downloaded: u64,
}

#[derive(Clone, Debug, Serialize)]
pub struct RepairedObject {
    pub object: ObjectId,
    pub bytes: u64,
    pub from: ObjectSource,
}

/// Where the bytes of an object were found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ObjectSource {
    /// Another run has replaced it.
    Pool,
    PublishedTree {
        #[serde(serialize_with = "path")]
        file: PathBuf,
    },
    PartialDownload,
    TrustedKeys,
    /// Generated again.
    Generated,
    Upstream {
        repository: RepoId,
        path: RelPath,
    },
}

#[derive(Clone, Debug, Serialize)]
pub struct UnrepairedObject {
    pub object: ObjectId,
    pub bytes: u64,
    /// Why it was not found anywhere.
    pub reasons: Vec<String>,
    pub fate: ObjectFate,
    /// Where its damaged file is now, if it was put aside.
    #[serde(
        serialize_with = "optional_path",
        skip_serializing_if = "Option::is_none"
    )]
    pub put_aside: Option<PathBuf>,
    /// Published trees that need it.
    #[serde(serialize_with = "paths")]
    pub trees: Vec<PathBuf>,
    pub used_by: Vec<AffectedFile>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ObjectFate {
    Missing,
    Kept,
    PutAside,
}

/// A published tree in which files were replaced, or could not be.
#[derive(Clone, Debug, Serialize)]
pub struct RepairedTree {
    #[serde(serialize_with = "path")]
    pub path: PathBuf,
    /// Number of files that were replaced.
    pub files: u64,
    pub errors: Vec<String>,
}

impl From<&RepairOutcome> for RepairResult {
    fn from(outcome: &RepairOutcome) -> Self {
        Self {
            repaired: outcome.repaired.iter().map(RepairedObject::from).collect(),
            not_repaired: outcome
                .unrepaired
                .iter()
                .map(UnrepairedObject::from)
                .collect(),
            trees: outcome.trees.iter().map(RepairedTree::from).collect(),
            forgotten_roots: outcome.forgotten_roots,
            requests: outcome.requests,
            bytes_downloaded: outcome.bytes_downloaded,
        }
    }
}

impl From<&Repaired> for RepairedObject {
    fn from(repaired: &Repaired) -> Self {
        Self {
            object: repaired.damaged.object,
            bytes: repaired.damaged.size,
            from: match &repaired.source {
                RepairSource::Pool => ObjectSource::Pool,
                RepairSource::Tree(file) => ObjectSource::PublishedTree { file: file.clone() },
                RepairSource::Partial(_) => ObjectSource::PartialDownload,
                RepairSource::Keys => ObjectSource::TrustedKeys,
                RepairSource::Evidence => ObjectSource::Generated,
                RepairSource::Upstream { repository, path } => ObjectSource::Upstream {
                    repository: repository.clone(),
                    path: path.clone(),
                },
            },
        }
    }
}

impl From<&Unrepaired> for UnrepairedObject {
    fn from(unrepaired: &Unrepaired) -> Self {
        let DamagedObject {
            object, size, uses, ..
        } = &unrepaired.damaged;
        let (fate, put_aside) = match &unrepaired.fate {
            Fate::Missing => (ObjectFate::Missing, None),
            Fate::Kept => (ObjectFate::Kept, None),
            Fate::PutAside(path) => (ObjectFate::PutAside, Some(path.clone())),
        };
        Self {
            object: *object,
            bytes: *size,
            reasons: unrepaired.reasons.clone(),
            fate,
            put_aside,
            trees: unrepaired.trees.iter().cloned().collect(),
            used_by: uses.iter().map(AffectedFile::from).collect(),
        }
    }
}

impl From<&MendedTree> for RepairedTree {
    fn from(mended: &MendedTree) -> Self {
        Self {
            path: mended.path.clone(),
            files: mended.files,
            errors: mended.errors.iter().map(ToString::to_string).collect(),
        }
    }
}
