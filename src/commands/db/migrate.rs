//! `chantal db migrate`.

use serde::Serialize;

use crate::cli::Waiting;
use crate::commands::{Context, requester};
use crate::error::Error;
use crate::storage::Storage;

/// What became of the store's schema version.
#[derive(Serialize)]
struct Migration {
    store: String,
    from: u32,
    to: u32,
    /// The store as it was, where it changed.
    backup: Option<String>,
}

pub fn migrate(context: &Context<'_>, waiting: &Waiting) -> Result<(), Error> {
    let requester = requester("db migrate", waiting)?;
    let places = &context.config.storage;
    let (storage, migrated) = Storage::migrate(places, &requester)?;
    let to = storage.store.schema_version()?;
    let migration = Migration {
        store: places.database_path.display().to_string(),
        from: migrated.as_ref().map_or(to, |migrated| migrated.from),
        to,
        backup: migrated.map(|migrated| migrated.backup.display().to_string()),
    };
    context.output.result(&migration, describe)?;
    Ok(())
}

fn describe(migration: &Migration) -> String {
    let store = &migration.store;
    let (from, to) = (migration.from, migration.to);
    match &migration.backup {
        Some(backup) => format!(
            "the store {store} was migrated from schema version {from} to {to}\nwhat it was is kept in {backup}"
        ),
        None => format!("the store {store} is current: schema version {to}"),
    }
}
