//! `chantal repo`.

mod history;
mod list;
mod show;
mod sync;

pub use history::history;
pub use list::list;
pub use show::show;
pub use sync::sync;
