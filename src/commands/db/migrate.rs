//! `chantal db migrate`.

use serde::Serialize;

use crate::commands::Context;
use crate::error::Error;
use crate::storage::{self, Storage};

/// What became of the store's schema version.
#[derive(Serialize)]
struct Migration {
    store: String,
    /// `None`: there is no store yet.
    from: Option<u32>,
    to: Option<u32>,
    /// The store as it was, where it changed.
    backup: Option<String>,
}

pub fn migrate(context: &Context<'_>) -> Result<(), Error> {
    let places = &context.config.storage;
    let mut migration = Migration {
        store: places.database_path.display().to_string(),
        from: None,
        to: None,
        backup: None,
    };
    if storage::is_made(places)? {
        let (storage, migrated) = Storage::migrate(places)?;
        let version = storage.store.schema_version()?;
        migration.to = Some(version);
        migration.from = Some(migrated.as_ref().map_or(version, |migrated| migrated.from));
        migration.backup = migrated.map(|migrated| migrated.backup.display().to_string());
    }
    context.output.result(&migration, describe)?;
    Ok(())
}

fn describe(migration: &Migration) -> String {
    let store = &migration.store;
    match (migration.from, migration.to, &migration.backup) {
        (Some(from), Some(to), Some(backup)) => {
            format!(
                "the store {store} was migrated from schema version {from} to {to}\nwhat it was is kept in {backup}"
            )
        }
        (_, Some(version), _) => {
            format!("the store {store} is current: schema version {version}")
        }
        _ => format!("there is no store {store} yet"),
    }
}
