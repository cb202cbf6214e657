//! Repositories and snapshots as schema versions 1 to 3 wrote them: state and configuration in one
//! record, of snapshots too.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::state::{RepositoryRecord, RootRecord, SnapshotRecord, StateRecord};
use crate::digest::ObjectId;
use crate::repo_format::RepoFormat;

#[derive(Deserialize)]
pub struct RepositoryRecord3 {
    format: RepoFormat,
    upstream: ObjectId,
    selection: ObjectId,
    manifest: ObjectId,
    root: ObjectId,
    root_date: Option<i64>,
    #[serde(default)]
    newest_root_date: Option<i64>,
    root_valid_until: Option<i64>,
    root_revision: Option<u64>,
    synced_at: i64,
    checked_at: i64,
    signed_by: Vec<String>,
    #[serde(default)]
    packages_signed_by: BTreeMap<String, u64>,
    #[serde(default)]
    regenerated: bool,
    #[serde(default)]
    left_out: BTreeMap<String, String>,
    #[serde(default)]
    missing: BTreeMap<String, String>,
    was_signed: bool,
    packages: u64,
    bytes: u64,
}

#[derive(Deserialize)]
pub struct SnapshotRecord3 {
    state: RepositoryRecord3,
    description: Option<String>,
    created_at: i64,
    #[serde(default)]
    merged_from: Vec<String>,
}

impl From<RepositoryRecord3> for RepositoryRecord {
    fn from(old: RepositoryRecord3) -> Self {
        Self {
            origin: old.upstream,
            selection: old.selection,
            checked_at: old.checked_at,
            was_signed: old.was_signed,
            newest_root_date: old.newest_root_date,
            state: old.into(),
        }
    }
}

impl From<RepositoryRecord3> for StateRecord {
    fn from(old: RepositoryRecord3) -> Self {
        Self {
            format: old.format,
            manifest: old.manifest,
            roots: vec![RootRecord {
                path: None,
                object: old.root,
                date: old.root_date,
                valid_until: old.root_valid_until,
                revision: old.root_revision,
                signed_by: old.signed_by,
            }],
            regenerated: old.regenerated,
            evidence: None,
            keyring: None,
            packages_signed_by: old.packages_signed_by,
            left_out: old.left_out,
            missing: old.missing,
            packages: old.packages,
            bytes: old.bytes,
            synced_at: old.synced_at,
        }
    }
}

impl From<SnapshotRecord3> for SnapshotRecord {
    fn from(old: SnapshotRecord3) -> Self {
        Self {
            state: old.state.into(),
            description: old.description,
            created_at: old.created_at,
            merged_from: old.merged_from,
        }
    }
}
