//! `chantal repo list`.

use serde::Serialize;

use crate::commands::Context;
use crate::config::{PackageCheck, RootCheck};
use crate::digest::ObjectId;
use crate::error::Error;
use crate::names::RepoId;
use crate::output::{bytes, table};
use crate::repo_format::RepoFormat;
use crate::report::{RepositoryStatus, RootSignature};
use crate::storage;
use crate::store::records::StateRecord;
use crate::time::rfc3339;

#[derive(Serialize)]
struct RepositoryRow {
    repository: RepoId,
    #[serde(rename = "type")]
    format: RepoFormat,
    enabled: bool,
    upstream: String,
    /// How roots are checked.
    root_signature: RootCheck,
    /// How packages are checked; `None` for a format whose packages are not signed themselves.
    package_signatures: Option<PackageCheck>,
    /// Whether the current packages were verified; also `None` before the first sync.
    packages_verified: Option<bool>,
    packages: Option<u64>,
    bytes: Option<u64>,
    synced_at: Option<String>,
    checked_at: Option<String>,
    manifest: Option<ObjectId>,
    signed_by: Vec<String>,
}

pub fn list(context: &Context<'_>) -> Result<(), Error> {
    let store = storage::open_to_read(&context.config.storage)?;
    let all = RepositoryStatus::read_all(&context.config.repositories, store.as_ref())?;
    let listed: Vec<RepositoryRow> = all.iter().map(RepositoryRow::from).collect();
    context.output.result(&listed, |listed| {
        if listed.is_empty() {
            return "no repositories configured".to_owned();
        }
        let rows: Vec<Vec<String>> = all.iter().map(row).collect();
        let headings = [
            "REPOSITORY",
            "TYPE",
            "ENABLED",
            "ROOT",
            "GPGCHECK",
            "PACKAGES",
            "SIZE",
            "SYNCED",
        ];
        table(&headings, &rows)
    })?;
    Ok(())
}

impl From<&RepositoryStatus<'_>> for RepositoryRow {
    fn from(status: &RepositoryStatus<'_>) -> Self {
        let definition = status.definition;
        let state = status.state();
        let checked_at = status.record.as_ref().map(|record| record.checked_at);
        Self {
            repository: definition.id.clone(),
            format: definition.format.kind(),
            enabled: definition.enabled,
            upstream: definition.upstream.to_string(),
            root_signature: definition.trust.root,
            package_signatures: status.package_check(),
            packages_verified: status.packages_verified(),
            packages: state.map(|state| state.packages),
            bytes: state.map(|state| state.bytes),
            synced_at: state.map(|state| rfc3339(state.synced_at)),
            checked_at: checked_at.map(rfc3339),
            manifest: state.map(|state| state.manifest),
            signed_by: state.map(StateRecord::signed_by).unwrap_or_default(),
        }
    }
}

fn row(status: &RepositoryStatus<'_>) -> Vec<String> {
    let or_dash = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
    let definition = status.definition;
    let state = status.state();
    let root = match status.root_signature() {
        RootSignature::NotChecked => "not checked",
        RootSignature::NeverSynced => "-",
        RootSignature::Unsigned => "unsigned",
        RootSignature::Signed => "signed",
    };
    let gpgcheck = match (status.package_check(), status.packages_verified()) {
        (None, _) => "-",
        (Some(PackageCheck::Off), _) => "no",
        (Some(PackageCheck::Required), Some(false)) => "not yet",
        (Some(PackageCheck::Required), _) => "yes",
    };
    vec![
        definition.id.to_string(),
        definition.format.kind().to_string(),
        if definition.enabled { "yes" } else { "no" }.to_owned(),
        root.to_owned(),
        gpgcheck.to_owned(),
        or_dash(state.map(|state| state.packages.to_string())),
        or_dash(state.map(|state| bytes(state.bytes))),
        state.map_or_else(|| "never".to_owned(), |state| rfc3339(state.synced_at)),
    ]
}
