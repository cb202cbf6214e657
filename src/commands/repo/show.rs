//! `chantal repo show`.

use crate::cli::OneRepository;
use crate::commands::Context;
use crate::config::PackageCheck;
use crate::error::Error;
use crate::output::{bytes, fields};
use crate::report::{RepositoryDetails, RepositoryStatus, StateDetails, TrustedKey};
use crate::storage;
use crate::time::{now, span};
use crate::trust;

pub fn show(context: &Context<'_>, arguments: &OneRepository) -> Result<(), Error> {
    let repository = context.repository(&arguments.repo_id)?;
    let store = storage::open_to_read(&context.config.storage)?;
    let status = RepositoryStatus::read(repository, store.as_ref())?;
    let keys = trust::cached_keys(context.config, repository).map_err(|error| Error::Sync {
        repository: repository.id.clone(),
        source: error.into(),
    })?;
    let shown = RepositoryDetails::new(&status, keys)?;
    context.output.result(&shown, describe)?;
    Ok(())
}

fn describe(shown: &RepositoryDetails) -> String {
    let mut pairs = vec![
        ("repository", shown.repository.to_string()),
        ("type", shown.format.to_string()),
        (
            "enabled",
            if shown.enabled { "yes" } else { "no" }.to_owned(),
        ),
        ("defined in", shown.file.display().to_string()),
        ("upstream", shown.upstream.clone()),
        ("root signature", shown.root_signature.name().to_owned()),
    ];
    pairs.extend(
        shown
            .package_signatures
            .map(|check| ("package signatures", check.name().to_owned())),
    );
    pairs.extend(
        shown
            .key_sources
            .iter()
            .map(|source| ("keys from", source.clone())),
    );
    pairs.extend(shown.keys.iter().map(|key| ("key", describe_key(key))));
    match &shown.state {
        None => pairs.push(("state", "never synced".to_owned())),
        Some(state) => pairs.extend(describe_state(state, shown.package_signatures)),
    }
    pairs.extend(describe_trees(shown));
    fields(&pairs)
}

fn describe_state(
    state: &StateDetails,
    check: Option<PackageCheck>,
) -> Vec<(&'static str, String)> {
    let mut pairs = vec![
        ("packages", state.packages.to_string()),
        ("size", bytes(state.bytes)),
    ];
    pairs.push(("upstream date", describe_date(state)));
    if let Some(time) = state.upstream_valid_until {
        pairs.push(("valid until", time.to_string()));
    }
    pairs.push(("synced", state.synced_at.to_string()));
    pairs.push(("checked", state.checked_at.to_string()));
    let signers = state.signed_by.join(", ");
    let signers = if signers.is_empty() {
        "(unsigned)".to_owned()
    } else {
        signers
    };
    pairs.push(("signed by", signers));
    pairs.extend(
        state
            .packages_signed_by
            .iter()
            .map(|(key, packages)| ("packages signed", format!("{packages} by {key}"))),
    );
    if state.packages_verified == Some(false) {
        let text = match check {
            Some(PackageCheck::Required) => "not verified yet: the next sync verifies them",
            _ => "not verified",
        };
        pairs.push(("packages signed", text.to_owned()));
    }
    pairs.extend(state.left_out.iter().map(describe_left_out));
    pairs.push(("manifest", state.manifest.to_string()));
    pairs
}

/// The date of the upstream and its age.
fn describe_date(state: &StateDetails) -> String {
    if let Some(date) = state.upstream_date {
        let age = now().saturating_sub(date.0);
        return match age {
            ..0 => format!("{date} ({} in the future)", span(age.saturating_neg())),
            0.. => format!("{date} ({} ago)", span(age)),
        };
    }
    match state.newest_upstream_date {
        Some(date) => format!("none (last known date: {date})"),
        None => "none: a sync cannot detect an older version".to_owned(),
    }
}

fn describe_trees(shown: &RepositoryDetails) -> Vec<(&'static str, String)> {
    let mut pairs = Vec::new();
    match &shown.latest_path {
        Some(path) => pairs.push(("latest_path", path.display().to_string())),
        None => pairs.push(("latest_path", "none: not published".to_owned())),
    }
    for tree in &shown.published {
        let current = match (tree.missing, tree.current) {
            (true, _) => "missing: is its file system mounted?",
            (false, true) => "current",
            (false, false) => "earlier state",
        };
        pairs.push((
            "published",
            format!("{} ({current}, {})", tree.path.display(), tree.published_at),
        ));
    }
    pairs.extend(shown.unpublished.iter().map(|path| {
        let path = path.display();
        let text = format!("{path}: syncs skip it until `chantal publish` publishes it again");
        ("unpublished", text)
    }));
    pairs
}

/// An index that is not in the new metadata, and why.
pub fn describe_left_out((name, reason): (&String, &String)) -> (&'static str, String) {
    ("skipped", format!("{name} ({reason})"))
}

fn describe_key(key: &TrustedKey) -> String {
    let mut text = key.fingerprint.clone();
    if let Some(user_id) = &key.user_id {
        text += &format!(" {user_id}");
    }
    match (&key.problem, &key.expires) {
        (Some(problem), _) => text += &format!(" ({problem})"),
        (None, Some(expires)) => text += &format!(" (expires {expires})"),
        (None, None) => {}
    }
    text
}
