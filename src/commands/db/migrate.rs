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
            "the store {store} was migrated from schema version {from} to {to}\nwhat it was is kept in {}",
            backup.display()
        ),
        None => format!("the store {store} is current: schema version {to}"),
    }
}
