//! Roots that were generated for states, so that every place of a state gets the same one.

use serde::{Deserialize, Serialize};

use crate::digest::ObjectId;

/// What a generated root was made for, and how.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct GeneratedRootKey {
    /// The manifest whose root was neither dated nor signed.
    pub source: ObjectId,
    /// The fingerprint of the key that signed it; `None` if it is not signed.
    pub signed_by: Option<String>,
    pub validity: RootValidity,
}

/// The expiry date of the upstream in a generated root.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RootValidity {
    Kept,
    Dropped,
}

/// A generated root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GeneratedRootRecord {
    /// The files of the source with this root.
    pub manifest: ObjectId,
    /// The date with which it was generated, also if clients of the format do not compare dates.
    pub date: i64,
    pub made_at: i64,
    /// It came on a medium: it is published as it is.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub imported: bool,
}
