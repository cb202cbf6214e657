//! `chantal snapshot show`.

use crate::cli::OneSnapshot;
use crate::commands::Context;
use crate::commands::repo::show::describe_left_out;
use crate::error::Error;
use crate::output::{bytes, count, fields};
use crate::report::SnapshotDetails;
use crate::snapshot::{self, SnapshotError};
use crate::storage;

pub fn show(context: &Context<'_>, arguments: &OneSnapshot) -> Result<(), Error> {
    let Some(store) = storage::open_to_read(&context.config.storage)? else {
        return Err(SnapshotError::NotFound {
            reference: arguments.name.clone(),
            known: Vec::new(),
        }
        .into());
    };
    let snapshot = snapshot::find(&store, &arguments.name)?;
    let (usage, trees) = store.read(|reader| {
        let usage = snapshot::exclusive_usage(reader, |name| snapshot.usage_of(name))?;
        Ok((usage, reader.trees()?))
    })?;
    let published = trees
        .into_iter()
        .filter(|(_, tree)| tree.is_of_snapshot(&snapshot.repository, &snapshot.name))
        .map(|(path, _)| path)
        .collect();
    let shown = SnapshotDetails::new(snapshot, usage, published);
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
    pairs.push(("created", shown.created_at.to_string()));
    if !shown.merged_from.is_empty() {
        pairs.push(("merged from", shown.merged_from.join(", ")));
    }
    pairs.push(("synced", shown.synced_at.to_string()));
    pairs.push((
        "upstream date",
        shown
            .upstream_date
            .map_or_else(none, |date| date.to_string()),
    ));
    pairs.extend(
        shown
            .upstream_valid_until
            .map(|time| ("valid until", time.to_string())),
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
    pairs.push(("manifest", shown.manifest.to_string()));
    if shown.published.is_empty() {
        pairs.push(("published", "no".to_owned()));
    }
    pairs.extend(
        shown
            .published
            .iter()
            .map(|path| ("published", path.display().to_string())),
    );
    fields(&pairs)
}
