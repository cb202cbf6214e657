//! Proves what is stored and published, without network.

mod finding;

pub use finding::{Damage, DamagedObject, ObjectUse, Owner};
