//! `chantal repo list`.

use crate::commands::Context;
use crate::config::PackageCheck;
use crate::error::Error;
use crate::output::{bytes, table};
use crate::report::{ListedRepository, RepositoryStatus, RootSignature};
use crate::storage;
use crate::time::rfc3339;

pub fn list(context: &Context<'_>) -> Result<(), Error> {
    let store = storage::open_to_read(&context.config.storage)?;
    let all = RepositoryStatus::read_all(&context.config.repositories, store.as_ref())?;
    let listed: Vec<ListedRepository> = all.iter().map(ListedRepository::from).collect();
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
