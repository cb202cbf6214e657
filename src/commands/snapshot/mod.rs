//! `chantal snapshot`.

mod create;
mod delete;
mod diff;
mod list;
mod show;

pub use create::{Created, create, of_synced};
pub use delete::delete;
pub use diff::diff;
pub use list::list;
pub use show::show;
