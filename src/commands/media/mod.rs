//! `chantal media`.

mod confirm;
mod export;
mod history;
mod import;
mod inspect;

pub use confirm::{confirm, forget, lost, receipt};
pub use export::{export, plan};
pub use history::history;
pub use import::import;
pub use inspect::{list, status, verify};
