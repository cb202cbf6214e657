//! `chantal pool take-over`.

use crate::cli::PoolTakeOver;
use crate::commands::{Context, requester};
use crate::error::Error;
use crate::report::{PoolOwner, TakeOverResult};
use crate::storage::{Storage, TakeOver};
use crate::terminal::escape;
use crate::time::rfc3339;

pub fn take_over(context: &Context<'_>, arguments: &PoolTakeOver) -> Result<(), Error> {
    let output = context.output;
    let requester = requester("pool take-over", &arguments.waiting)?;
    let places = &context.config.storage;
    let mut print_owners = |taken: &TakeOver| {
        let taken = TakeOverResult::new(places.pool_path.clone(), taken);
        let from = taken
            .from
            .as_ref()
            .map_or_else(|| "an unknown database".to_owned(), describe_owner);
        output.step(&format!("from {from}\nto {}", describe_owner(&taken.to)))
    };
    let (storage, taken) =
        Storage::take_over(places, &arguments.from, &requester, &mut print_owners)?;
    let taken = TakeOverResult::new(storage.pool.root().to_owned(), &taken);
    output.result(&taken, |taken| {
        format!(
            "pool {} now belongs to database {}; its objects are kept until `chantal db cleanup \
             --forget-unknown`",
            taken.pool.display(),
            taken.to.store
        )
    })?;
    Ok(())
}

fn describe_owner(owner: &PoolOwner) -> String {
    let last_used = owner.last_used.map(|time| rfc3339(time.0));
    // The marker is a file that may contain anything.
    escape(&format!(
        "database {}, {} on {}, last used {}",
        owner.store,
        owner.at.display(),
        owner.host,
        last_used.as_deref().unwrap_or("never")
    ))
    .into()
}
