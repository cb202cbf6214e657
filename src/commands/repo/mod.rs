//! `chantal repo`.

mod history;
mod list;
mod remove;
pub mod show;
mod sync;
mod trust;

pub use history::history;
pub use list::list;
pub use remove::remove;
pub use show::show;
pub use sync::sync;
pub use trust::trust;
