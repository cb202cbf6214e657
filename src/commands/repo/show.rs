//! `chantal repo show`.

use std::collections::BTreeMap;

use serde::Serialize;

use super::list::{package_check_name, packages_verified, root_check_name};
use crate::cli::OneRepository;
use crate::commands::Context;
use crate::config::{self, KeySource};
use crate::error::Error;
use crate::openpgp::KeySummary;
use crate::output::{bytes, fields};
use crate::publish;
use crate::repo_format::RepoFormat;
use crate::storage;
use crate::store::records::RepositoryRecord;
use crate::time::{now, rfc3339, span};
use crate::trust;

#[derive(Serialize)]
struct Shown {
    repository: String,
    #[serde(rename = "type")]
    format: RepoFormat,
    enabled: bool,
    file: String,
    upstream: String,
    root_signature: &'static str,
    /// `required` or `off`; `None` for a format whose packages have no signatures inside.
    package_signatures: Option<&'static str>,
    /// Where trusted keys come from.
    key_sources: Vec<String>,
    /// The trusted keys, as far as they were fetched.
    keys: Vec<Key>,
    latest_path: Option<String>,
    auto_publish: bool,
    state: Option<State>,
    published: Vec<Tree>,
    /// Places that were unpublished: syncs skip them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unpublished: Vec<String>,
}

#[derive(Serialize)]
struct Key {
    fingerprint: String,
    user_id: Option<String>,
    created: String,
    expires: Option<String>,
    /// Why nothing that it or a subkey signs now is accepted.
    problem: Option<String>,
    signing_subkeys: Vec<String>,
}

impl From<KeySummary> for Key {
    fn from(key: KeySummary) -> Self {
        Self {
            problem: key.signing_problem().map(ToString::to_string),
            fingerprint: key.fingerprint,
            user_id: key.user_id,
            created: rfc3339(key.created),
            expires: key.expires.map(rfc3339),
            signing_subkeys: key
                .subkeys
                .into_iter()
                .filter(|subkey| subkey.problem.is_none())
                .map(|subkey| subkey.fingerprint)
                .collect(),
        }
    }
}

#[derive(Serialize)]
struct State {
    manifest: String,
    packages: u64,
    bytes: u64,
    upstream_date: Option<String>,
    #[serde(skip)]
    upstream_age_seconds: Option<i64>,
    /// Where the upstream's last root says no date: the newest date of those before it.
    #[serde(skip_serializing_if = "Option::is_none")]
    newest_upstream_date: Option<String>,
    upstream_valid_until: Option<String>,
    synced_at: String,
    checked_at: String,
    signed_by: Vec<String>,
    packages_signed_by: BTreeMap<String, u64>,
    /// `None` for a format whose packages have no signatures inside.
    packages_verified: Option<bool>,
    /// Indexes that the metadata lacks because clients cannot read them or the upstream did not give them, and what is wrong with
    /// them.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    left_out: BTreeMap<String, String>,
}

impl State {
    fn describe_undated(&self) -> String {
        match &self.newest_upstream_date {
            Some(date) => format!("not given (before it {date})"),
            None => "not given: syncs cannot tell an older root from a newer one".to_owned(),
        }
    }
}

#[derive(Serialize)]
struct Tree {
    path: String,
    published_at: String,
    /// Whether it shows the state above, also with a root of our own in front of it.
    current: bool,
    /// It is not there: its disk may not be mounted.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    missing: bool,
    earlier_generations: usize,
}

pub fn show(context: &Context<'_>, arguments: &OneRepository) -> Result<(), Error> {
    let repository = context.repository(&arguments.repo_id)?;
    let id = repository.id.as_str();
    let (record, trees) = match storage::open_to_read(&context.config.storage)? {
        Some(store) => store.read(|reader| Ok((reader.repository(id)?, reader.trees()?)))?,
        None => (None, BTreeMap::new()),
    };
    let keys = trust::at_hand(context.config, repository).map_err(|error| Error::Sync {
        repository: id.to_owned(),
        source: error.into(),
    })?;
    let state = record.as_ref().map(|record| record.state.manifest);
    let own = || trees.iter().filter(|(_, tree)| tree.repository == id);
    let mut published = Vec::new();
    for (path, tree) in own().filter(|(_, tree)| tree.manifest.is_some()) {
        published.push(Tree {
            path: path.display().to_string(),
            published_at: rfc3339(tree.published_at),
            current: tree.source.or(tree.manifest) == state,
            missing: publish::is_missing(path, tree)?,
            earlier_generations: tree.earlier.len(),
        });
    }
    let unpublished = own()
        .filter(|(_, tree)| !tree.wanted)
        .map(|(path, _)| path.display().to_string())
        .collect();
    let shown = Shown {
        repository: repository.id.to_string(),
        format: repository.format.kind(),
        enabled: repository.enabled,
        file: repository.file.display().to_string(),
        upstream: repository.upstream.to_string(),
        root_signature: root_check_name(repository.trust.root),
        package_signatures: package_check_name(repository),
        keys: keys.into_iter().map(Key::from).collect(),
        key_sources: repository
            .trust
            .keys
            .iter()
            .map(|key| match key {
                KeySource::Http(url) => url.to_string(),
                KeySource::File(path) => path.display().to_string(),
            })
            .collect(),
        latest_path: repository
            .publish
            .latest_path
            .as_ref()
            .map(|path| path.display().to_string()),
        auto_publish: repository.publish.auto,
        state: record.map(|record| State::of(repository, record)),
        published,
        unpublished,
    };
    context.output.result(&shown, describe)?;
    Ok(())
}

impl State {
    fn of(repository: &config::Repository, record: RepositoryRecord) -> Self {
        let state = record.state;
        Self {
            packages_verified: packages_verified(repository, Some(&state)),
            left_out: state.absent(),
            manifest: state.manifest.to_string(),
            packages: state.packages,
            bytes: state.bytes,
            upstream_date: state.date().map(rfc3339),
            upstream_age_seconds: state.date().map(|date| now().saturating_sub(date)),
            newest_upstream_date: record.newest_root_date.map(rfc3339),
            upstream_valid_until: state.valid_until().map(rfc3339),
            synced_at: rfc3339(state.synced_at),
            checked_at: rfc3339(record.checked_at),
            signed_by: state.signed_by(),
            packages_signed_by: state.packages_signed_by,
        }
    }
}

fn describe(shown: &Shown) -> String {
    let mut pairs = vec![
        ("repository", shown.repository.clone()),
        ("type", shown.format.to_string()),
        (
            "enabled",
            if shown.enabled { "yes" } else { "no" }.to_owned(),
        ),
        ("defined in", shown.file.clone()),
        ("upstream", shown.upstream.clone()),
        ("root signature", shown.root_signature.to_owned()),
    ];
    pairs.extend(
        shown
            .package_signatures
            .map(|check| ("package signatures", check.to_owned())),
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
        Some(state) => {
            pairs.push(("packages", state.packages.to_string()));
            pairs.push(("size", bytes(state.bytes)));
            let date = state.upstream_date.as_ref().map(|date| {
                let age = state.upstream_age_seconds.unwrap_or_default();
                match age {
                    ..0 => format!("{date} (to come in {})", span(age.saturating_neg())),
                    0.. => format!("{date} ({} ago)", span(age)),
                }
            });
            pairs.push((
                "upstream's date",
                date.unwrap_or_else(|| state.describe_undated()),
            ));
            if let Some(time) = &state.upstream_valid_until {
                pairs.push(("valid until", time.clone()));
            }
            pairs.push(("synced", state.synced_at.clone()));
            pairs.push(("checked", state.checked_at.clone()));
            let signers = state.signed_by.join(", ");
            let signers = if signers.is_empty() {
                "nobody".to_owned()
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
                let text = match shown.package_signatures {
                    Some("required") => "not verified yet: the next sync does it",
                    _ => "not verified",
                };
                pairs.push(("packages signed", text.to_owned()));
            }
            pairs.extend(state.left_out.iter().map(describe_left_out));
            pairs.push(("manifest", state.manifest.clone()));
        }
    }
    match &shown.latest_path {
        Some(path) => pairs.push(("latest_path", path.clone())),
        None => pairs.push(("latest_path", "none: not published".to_owned())),
    }
    for tree in &shown.published {
        let current = match (tree.missing, tree.current) {
            (true, _) => "missing: is its file system mounted?",
            (false, true) => "current",
            (false, false) => "an earlier state",
        };
        pairs.push((
            "published",
            format!("{} ({current}, {})", tree.path, tree.published_at),
        ));
    }
    pairs.extend(shown.unpublished.iter().map(|path| {
        let text = format!("{path}: syncs skip it until `chantal publish` publishes it again");
        ("unpublished", text)
    }));
    fields(&pairs)
}

/// An index that new metadata lacks, and why.
pub fn describe_left_out((name, reason): (&String, &String)) -> (&'static str, String) {
    ("left out", format!("{name} ({reason})"))
}

fn describe_key(key: &Key) -> String {
    let mut text = key.fingerprint.clone();
    if let Some(user_id) = &key.user_id {
        text += &format!(" {user_id}");
    }
    match (&key.problem, &key.expires) {
        (Some(problem), _) => text += &format!(" ({problem})"),
        (None, Some(expires)) => text += &format!(" (until {expires})"),
        (None, None) => {}
    }
    text
}
