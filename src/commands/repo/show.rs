//! `chantal repo show`.

use std::collections::BTreeMap;
use std::io;

use serde::Serialize;

use crate::cli::OneRepository;
use crate::commands::Context;
use crate::config::{KeySource, PackageCheck, RootCheck};
use crate::digest::ObjectId;
use crate::error::Error;
use crate::names::RepoId;
use crate::openpgp::KeySummary;
use crate::output::{bytes, fields};
use crate::repo_format::RepoFormat;
use crate::report::{RepositoryStatus, TreeContent, TreeStatus};
use crate::storage;
use crate::time::{now, rfc3339, span};
use crate::trust;

#[derive(Serialize)]
struct RepositoryDetails {
    repository: RepoId,
    #[serde(rename = "type")]
    format: RepoFormat,
    enabled: bool,
    file: String,
    upstream: String,
    root_signature: RootCheck,
    /// `None` for a format whose packages have no signatures inside.
    package_signatures: Option<PackageCheck>,
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
    manifest: ObjectId,
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
    /// Indexes that the metadata lacks because clients cannot read them or the upstream did not
    /// give them, and what is wrong with them.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    left_out: BTreeMap<String, String>,
}

impl State {
    fn describe_undated(&self) -> String {
        match &self.newest_upstream_date {
            Some(date) => format!("none (last known date: {date})"),
            None => "none: a sync cannot detect an older version".to_owned(),
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
    let store = storage::open_to_read(&context.config.storage)?;
    let status = RepositoryStatus::read(repository, store.as_ref())?;
    let keys = trust::cached_keys(context.config, repository).map_err(|error| Error::Sync {
        repository: repository.id.clone(),
        source: error.into(),
    })?;
    let shown = RepositoryDetails::of(&status, keys)?;
    context.output.result(&shown, describe)?;
    Ok(())
}

impl RepositoryDetails {
    fn of(status: &RepositoryStatus<'_>, keys: Vec<KeySummary>) -> io::Result<Self> {
        let definition = status.definition;
        let key_sources = definition.trust.keys.iter().map(|key| match key {
            KeySource::Http(url) => url.to_string(),
            KeySource::File(path) => path.display().to_string(),
        });
        let latest_path = definition.publish.latest_path.as_ref();
        let unpublished = status.unpublished();
        Ok(Self {
            repository: definition.id.clone(),
            format: definition.format.kind(),
            enabled: definition.enabled,
            file: definition.file.display().to_string(),
            upstream: definition.upstream.to_string(),
            root_signature: definition.trust.root,
            package_signatures: status.package_check(),
            keys: keys.into_iter().map(Key::from).collect(),
            key_sources: key_sources.collect(),
            latest_path: latest_path.map(|path| path.display().to_string()),
            auto_publish: definition.publish.auto,
            state: State::of(status),
            published: status.published().map(Tree::of).collect::<Result<_, _>>()?,
            unpublished: unpublished
                .map(|tree| tree.path.display().to_string())
                .collect(),
        })
    }
}

impl Tree {
    fn of(tree: &TreeStatus) -> io::Result<Self> {
        Ok(Self {
            path: tree.path.display().to_string(),
            published_at: rfc3339(tree.record.published_at),
            current: tree.content == TreeContent::Current,
            missing: tree.is_missing()?,
            earlier_generations: tree.record.earlier.len(),
        })
    }
}

impl State {
    fn of(status: &RepositoryStatus<'_>) -> Option<Self> {
        let record = status.record.as_ref()?;
        let state = &record.state;
        Some(Self {
            packages_verified: status.packages_verified(),
            left_out: state.absent(),
            manifest: state.manifest,
            packages: state.packages,
            bytes: state.bytes,
            upstream_date: state.date().map(rfc3339),
            upstream_age_seconds: state.date().map(|date| now().saturating_sub(date)),
            newest_upstream_date: record.newest_root_date.map(rfc3339),
            upstream_valid_until: state.valid_until().map(rfc3339),
            synced_at: rfc3339(state.synced_at),
            checked_at: rfc3339(record.checked_at),
            signed_by: state.signed_by(),
            packages_signed_by: state.packages_signed_by.clone(),
        })
    }
}

fn describe(shown: &RepositoryDetails) -> String {
    let mut pairs = vec![
        ("repository", shown.repository.to_string()),
        ("type", shown.format.to_string()),
        (
            "enabled",
            if shown.enabled { "yes" } else { "no" }.to_owned(),
        ),
        ("defined in", shown.file.clone()),
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

fn describe_state(state: &State, check: Option<PackageCheck>) -> Vec<(&'static str, String)> {
    let mut pairs = vec![
        ("packages", state.packages.to_string()),
        ("size", bytes(state.bytes)),
    ];
    let date = state.upstream_date.as_ref().map(|date| {
        let age = state.upstream_age_seconds.unwrap_or_default();
        match age {
            ..0 => format!("{date} ({} in the future)", span(age.saturating_neg())),
            0.. => format!("{date} ({} ago)", span(age)),
        }
    });
    pairs.push((
        "upstream date",
        date.unwrap_or_else(|| state.describe_undated()),
    ));
    if let Some(time) = &state.upstream_valid_until {
        pairs.push(("valid until", time.clone()));
    }
    pairs.push(("synced", state.synced_at.clone()));
    pairs.push(("checked", state.checked_at.clone()));
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

fn describe_trees(shown: &RepositoryDetails) -> Vec<(&'static str, String)> {
    let mut pairs = Vec::new();
    match &shown.latest_path {
        Some(path) => pairs.push(("latest_path", path.clone())),
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
            format!("{} ({current}, {})", tree.path, tree.published_at),
        ));
    }
    pairs.extend(shown.unpublished.iter().map(|path| {
        let text = format!("{path}: syncs skip it until `chantal publish` publishes it again");
        ("unpublished", text)
    }));
    pairs
}

/// An index that new metadata lacks, and why.
pub fn describe_left_out((name, reason): (&String, &String)) -> (&'static str, String) {
    ("skipped", format!("{name} ({reason})"))
}

fn describe_key(key: &Key) -> String {
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
