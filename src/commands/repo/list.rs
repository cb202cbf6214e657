//! `chantal repo list`.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::commands::Context;
use crate::config::{FormatConfig, PackageCheck, Repository, RootCheck};
use crate::error::Error;
use crate::output::{bytes, table};
use crate::repo_format::RepoFormat;
use crate::storage;
use crate::store::records::StateRecord;
use crate::time::rfc3339;

#[derive(Serialize)]
struct Listed {
    repository: String,
    #[serde(rename = "type")]
    format: RepoFormat,
    enabled: bool,
    upstream: String,
    /// How roots are checked: `required`, `auto` or `off`.
    root_signature: &'static str,
    /// How packages are checked: `required` or `off`; `None` for a format whose packages have no signatures inside.
    package_signatures: Option<&'static str>,
    /// Whether those that are there now were; `None` also before the first sync.
    packages_verified: Option<bool>,
    packages: Option<u64>,
    bytes: Option<u64>,
    synced_at: Option<String>,
    checked_at: Option<String>,
    manifest: Option<String>,
    signed_by: Vec<String>,
}

pub fn list(context: &Context<'_>) -> Result<(), Error> {
    let states = match storage::open_to_read(&context.config.storage)? {
        Some(store) => store.read(crate::store::Reader::repositories)?,
        None => BTreeMap::new(),
    };
    let listed: Vec<Listed> = context
        .config
        .repositories
        .iter()
        .map(|repository| {
            let record = states.get(repository.id.as_str());
            let state = record.map(|record| &record.state);
            Listed {
                repository: repository.id.to_string(),
                format: repository.format.kind(),
                enabled: repository.enabled,
                upstream: repository.upstream.to_string(),
                root_signature: root_check_name(repository.trust.root),
                package_signatures: package_check_name(repository),
                packages_verified: packages_verified(repository, state),
                packages: state.map(|state| state.packages),
                bytes: state.map(|state| state.bytes),
                synced_at: state.map(|state| rfc3339(state.synced_at)),
                checked_at: record.map(|record| rfc3339(record.checked_at)),
                manifest: state.map(|state| state.manifest.to_string()),
                signed_by: state.map(StateRecord::signed_by).unwrap_or_default(),
            }
        })
        .collect();
    context.output.result(&listed, |listed| {
        if listed.is_empty() {
            return "no repository is configured".to_owned();
        }
        let rows: Vec<Vec<String>> = listed.iter().map(row).collect();
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

fn row(listed: &Listed) -> Vec<String> {
    let or_dash = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
    let root = match (
        listed.root_signature,
        listed.synced_at.is_some(),
        listed.signed_by.is_empty(),
    ) {
        ("off", _, _) => "not checked",
        (_, true, true) => "unsigned",
        (_, true, false) => "signed",
        (_, false, _) => "-",
    };
    vec![
        listed.repository.clone(),
        listed.format.to_string(),
        if listed.enabled { "yes" } else { "no" }.to_owned(),
        root.to_owned(),
        match (listed.package_signatures, listed.packages_verified) {
            (Some("off"), _) => "no",
            (Some(_), Some(false)) => "not yet",
            (Some(_), _) => "yes",
            (None, _) => "-",
        }
        .to_owned(),
        or_dash(listed.packages.map(|packages| packages.to_string())),
        or_dash(listed.bytes.map(bytes)),
        listed
            .synced_at
            .clone()
            .unwrap_or_else(|| "never".to_owned()),
    ]
}

pub fn package_check_name(repository: &Repository) -> Option<&'static str> {
    match (&repository.format, repository.trust.packages) {
        (FormatConfig::Apt(_), _) => None,
        (FormatConfig::Rpm(_), PackageCheck::Required) => Some("required"),
        (FormatConfig::Rpm(_), PackageCheck::Off) => Some("off"),
    }
}

/// Whether the packages of a state were verified when it was made. What the configuration asks for now holds for the next sync.
/// `None` without a state, and for a format whose packages have no signatures inside.
pub fn packages_verified(repository: &Repository, state: Option<&StateRecord>) -> Option<bool> {
    package_check_name(repository)?;
    state.map(|state| state.packages == 0 || !state.packages_signed_by.is_empty())
}

pub fn root_check_name(check: RootCheck) -> &'static str {
    match check {
        RootCheck::Required => "required",
        RootCheck::Auto => "auto",
        RootCheck::Off => "off",
    }
}
