//! The formats of repositories.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What kind of repository it is: the `type` of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RepoFormat {
    Rpm,
    Apt,
}

impl RepoFormat {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rpm => "rpm",
            Self::Apt => "apt",
        }
    }
}

impl fmt::Display for RepoFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
