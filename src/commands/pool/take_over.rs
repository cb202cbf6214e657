//! `chantal pool take-over`.

use serde::Serialize;

use crate::cli::PoolTakeOver;
use crate::commands::{Context, requester};
use crate::error::Error;
use crate::pool::Owner;
use crate::storage::{Storage, TakeOver};
use crate::terminal::escape;
use crate::time::rfc3339;

#[derive(Serialize)]
struct Taken {
    pool: String,
    /// `null` where the pool did not say.
    from: Option<Party>,
    to: Party,
}

/// One of the two stores.
#[derive(Serialize)]
struct Party {
    store: String,
    at: String,
    host: String,
    /// `null`: never.
    last_used: Option<String>,
}

impl Party {
    fn of(owner: &Owner, last_used: Option<i64>) -> Self {
        Self {
            store: owner.store.clone(),
            at: owner.at.display().to_string(),
            host: owner.host.clone(),
            last_used: last_used.map(rfc3339),
        }
    }

    /// The one that the pool belonged to.
    fn former(owner: &Owner) -> Self {
        Self::of(owner, Some(owner.last_used))
    }

    fn describe(&self) -> String {
        // The marker may say anything.
        escape(&format!(
            "store {}, {} on {}, last used {}",
            self.store,
            self.at,
            self.host,
            self.last_used.as_deref().unwrap_or("never")
        ))
        .into()
    }
}

pub fn take_over(context: &Context<'_>, arguments: &PoolTakeOver) -> Result<(), Error> {
    let output = context.output;
    let requester = requester("pool take-over", &arguments.waiting)?;
    let mut tell = |taken: &TakeOver| {
        let from = taken.from.as_ref().map(Party::former);
        let to = Party::of(&taken.to, taken.last_used);
        let from = from.map_or_else(
            || "a store that left no name".to_owned(),
            |from| from.describe(),
        );
        output.step(&format!("from {from}\nto {}", to.describe()))
    };
    let places = &context.config.storage;
    let (storage, taken) = Storage::take_over(places, &arguments.from, &requester, &mut tell)?;
    let taken = Taken {
        pool: storage.pool.root().display().to_string(),
        from: taken.from.as_ref().map(Party::former),
        to: Party {
            // A copy has another id by now.
            store: storage
                .pool
                .owner()
                .map_or(taken.to.store.clone(), |owner| owner.store),
            ..Party::of(&taken.to, taken.last_used)
        },
    };
    output.result(&taken, |taken| {
        format!(
            "the pool {} belongs to store {} now; what was in it stays until `chantal db cleanup --forget-unknown`",
            taken.pool, taken.to.store
        )
    })?;
    Ok(())
}
