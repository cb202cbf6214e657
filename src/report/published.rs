//! Results of publishing and unpublishing.

use std::path::PathBuf;

use serde::Serialize;

use super::encode::{Timestamp, path};
use super::failure::Failure;
use crate::names::{RepoId, SnapshotName};
use crate::publish::{
    FileSystemFeature, GeneratedRoot, Outcome, Published, Removal, Summary, Unpublished,
};
use crate::repo_format::RepoFormat;

/// The result of publishing a tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PublishedTree {
    #[serde(serialize_with = "path")]
    pub path: PathBuf,
    /// The path was unpublished: syncs skip it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub unpublished: bool,
    pub changed: bool,
    /// Of the generation that was published.
    pub files: u64,
    pub copied: u64,
    /// Number of earlier generations whose files are retained.
    pub earlier_generations: u64,
    /// What the file system of the tree lacks, if files were copied there: `hard_links`, `modes`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub not_supported: Vec<&'static str>,
    /// Set if chantal generated the root, because the selection excludes packages or because the
    /// path had a newer one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub own_root: Option<OwnRootKind>,
    /// Fingerprint of the key that signed this root.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub own_root_key: Option<String>,
    #[serde(skip)]
    pub format: RepoFormat,
    /// When the root of the upstream expired, if it has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expired: Option<Timestamp>,
}

/// Whether a root that chantal generated is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum OwnRootKind {
    Signed,
    Unsigned,
}

impl From<Published> for PublishedTree {
    fn from(published: Published) -> Self {
        let unpublished = published.outcome == Outcome::Skipped;
        let (changed, summary) = match published.outcome {
            Outcome::Unchanged | Outcome::Skipped => (false, Summary::default()),
            Outcome::Published(summary) => (true, summary),
        };
        let (own_root, own_root_key) = match summary.root {
            GeneratedRoot::None => (None, None),
            GeneratedRoot::Unsigned => (Some(OwnRootKind::Unsigned), None),
            GeneratedRoot::SignedBy(key) => (Some(OwnRootKind::Signed), Some(key)),
        };
        Self {
            path: published.path,
            unpublished,
            changed,
            files: summary.files,
            copied: summary.copied,
            earlier_generations: summary.earlier_generations,
            not_supported: summary.missing_features.into_iter().map(feature).collect(),
            own_root,
            own_root_key,
            format: published.format,
            expired: published.expired.map(Timestamp),
        }
    }
}

fn feature(feature: FileSystemFeature) -> &'static str {
    match feature {
        FileSystemFeature::HardLinks => "hard_links",
        FileSystemFeature::Modes => "modes",
    }
}

/// The result of publishing one repository or snapshot.
#[derive(Clone, Debug, Serialize)]
pub struct Publication {
    pub repository: RepoId,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<SnapshotName>,
    #[serde(flatten)]
    pub tree: Option<PublishedTree>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    #[serde(flatten)]
    pub failure: Option<Failure>,
}

/// A tree that was unpublished.
#[derive(Clone, Debug, Serialize)]
pub struct UnpublishedTree {
    #[serde(serialize_with = "path")]
    pub path: PathBuf,
    /// The tree was missing; only its record was removed.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub missing: bool,
    pub repository: RepoId,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<SnapshotName>,
}

impl From<Unpublished> for UnpublishedTree {
    fn from(tree: Unpublished) -> Self {
        Self {
            path: tree.path,
            missing: tree.removal == Removal::Forgotten,
            repository: tree.record.repository,
            snapshot: tree.record.snapshot,
        }
    }
}
