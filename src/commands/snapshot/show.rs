//! `chantal snapshot show`.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::cli::OneSnapshot;
use crate::commands::Context;
use crate::commands::repo::show::describe_left_out;
use crate::error::Error;
use crate::names::{RepoId, SnapshotName};
use crate::output::{bytes, count, fields};
use crate::repo_format::RepoFormat;
use crate::snapshot::{self, SnapshotError};
use crate::storage;
use crate::store::Name;
use crate::time::rfc3339;

#[derive(Serialize)]
struct SnapshotDetails {
    repository: RepoId,
    snapshot: SnapshotName,
    #[serde(rename = "type")]
    format: RepoFormat,
    description: Option<String>,
    created_at: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    merged_from: Vec<String>,
    synced_at: String,
    upstream_date: Option<String>,
    upstream_valid_until: Option<String>,
    signed_by: Vec<String>,
    packages_signed_by: BTreeMap<String, u64>,
    /// Indexes that are not in the new metadata because clients cannot read them, and why.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    left_out: BTreeMap<String, String>,
    packages: u64,
    /// Size of all published paths.
    bytes: u64,
    /// Number of different contents, and their size in the pool.
    objects: u64,
    pool_bytes: u64,
    /// Those that nothing else needs: deleting the snapshot would free them.
    own_objects: u64,
    own_bytes: u64,
    manifest: String,
    published: Vec<String>,
}

pub fn show(context: &Context<'_>, arguments: &OneSnapshot) -> Result<(), Error> {
    let Some(store) = storage::open_to_read(&context.config.storage)? else {
        return Err(SnapshotError::NotFound {
            reference: arguments.name.clone(),
            known: Vec::new(),
        }
        .into());
    };
    let snapshot = snapshot::find(&store, &arguments.name)?;
    let state = &snapshot.record.state;
    let (usage, trees) = store.read(|reader| {
        let trees = reader.trees()?;
        let own: BTreeSet<_> = state.manifests().collect();
        // Its own trees are removed with it.
        let is_its_own = |name: &Name| match name {
            Name::State { .. } => false,
            Name::Snapshot { repository, name } => {
                *repository == snapshot.repository && *name == snapshot.name
            }
            Name::Tree {
                repository,
                snapshot: shown,
                ..
            } => *repository == snapshot.repository && shown.as_ref() == Some(&snapshot.name),
        };
        let names = reader.names()?.into_iter();
        let others = names
            .filter(|(name, _)| !is_its_own(name))
            .map(|(_, manifest)| manifest)
            .collect();
        Ok((snapshot::usage(reader, &own, &others)?, trees))
    })?;
    let shown = SnapshotDetails {
        repository: snapshot.repository.clone(),
        snapshot: snapshot.name.clone(),
        format: state.format,
        description: snapshot.record.description.clone(),
        created_at: rfc3339(snapshot.record.created_at),
        merged_from: snapshot.record.merged_from.clone(),
        synced_at: rfc3339(state.synced_at),
        upstream_date: state.date().map(rfc3339),
        upstream_valid_until: state.valid_until().map(rfc3339),
        signed_by: state.signed_by(),
        packages_signed_by: state.packages_signed_by.clone(),
        left_out: state.absent(),
        packages: state.packages,
        bytes: state.bytes,
        objects: usage.objects,
        pool_bytes: usage.bytes,
        own_objects: usage.own_objects,
        own_bytes: usage.own_bytes,
        manifest: state.manifest.to_string(),
        published: trees
            .iter()
            .filter(|(_, tree)| tree.is_of_snapshot(&snapshot.repository, &snapshot.name))
            .map(|(path, _)| path.display().to_string())
            .collect(),
    };
    context.output.result(&shown, describe)?;
    Ok(())
}

fn describe(shown: &SnapshotDetails) -> String {
    let none = || "-".to_owned();
    let mut pairs = vec![
        (
            "snapshot",
            format!("{}/{}", shown.repository, shown.snapshot),
        ),
        ("type", shown.format.to_string()),
    ];
    pairs.extend(shown.description.clone().map(|text| ("description", text)));
    pairs.push(("created", shown.created_at.clone()));
    if !shown.merged_from.is_empty() {
        pairs.push(("merged from", shown.merged_from.join(", ")));
    }
    pairs.push(("synced", shown.synced_at.clone()));
    pairs.push((
        "upstream date",
        shown.upstream_date.clone().unwrap_or_else(none),
    ));
    pairs.extend(
        shown
            .upstream_valid_until
            .clone()
            .map(|time| ("valid until", time)),
    );
    pairs.push((
        "signed by",
        if shown.signed_by.is_empty() {
            "(unsigned)".to_owned()
        } else {
            shown.signed_by.join(", ")
        },
    ));
    pairs.extend(
        shown
            .packages_signed_by
            .iter()
            .map(|(key, packages)| ("packages signed", format!("{packages} by {key}"))),
    );
    pairs.extend(shown.left_out.iter().map(describe_left_out));
    pairs.push(("packages", shown.packages.to_string()));
    pairs.push(("size", bytes(shown.bytes)));
    pairs.push((
        "in the pool",
        format!(
            "{}, {}",
            count(shown.objects, "object"),
            bytes(shown.pool_bytes)
        ),
    ));
    pairs.push((
        "exclusive",
        format!(
            "{}, {}",
            count(shown.own_objects, "object"),
            bytes(shown.own_bytes)
        ),
    ));
    pairs.push(("manifest", shown.manifest.clone()));
    if shown.published.is_empty() {
        pairs.push(("published", "no".to_owned()));
    }
    pairs.extend(
        shown
            .published
            .iter()
            .map(|path| ("published", path.clone())),
    );
    fields(&pairs)
}
