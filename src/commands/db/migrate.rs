//! `chantal db migrate`.

use crate::cli::WaitOptions;
use crate::commands::{Context, requester};
use crate::error::Error;
use crate::report::Migration;
use crate::storage::Storage;

pub fn migrate(context: &Context<'_>, waiting: &WaitOptions) -> Result<(), Error> {
    let requester = requester("db migrate", waiting)?;
    let places = &context.config.storage;
    let (storage, migrated) = Storage::migrate(places, &requester)?;
    let migration = Migration::of(&storage, migrated)?;
    context.output.result(&migration, describe)?;
    Ok(())
}

fn describe(migration: &Migration) -> String {
    let store = migration.store.display();
    let (from, to) = (migration.from, migration.to);
    match &migration.backup {
        Some(backup) => format!(
            "migrated database {store} from schema version {from} to {to}\nbackup: {}",
            backup.display()
        ),
        None => format!("database {store} already has the current schema version {to}"),
    }
}
