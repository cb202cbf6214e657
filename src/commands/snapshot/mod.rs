//! `chantal snapshot`.

mod create;
mod delete;
mod diff;
mod list;
mod merge;
mod show;

pub use create::{create, describe};
pub use delete::delete;
pub use diff::diff;
pub use list::list;
pub use merge::merge;
pub use show::show;
