//! What a repository's packages are chosen by.

use std::num::NonZeroU32;

use glob::Pattern;

/// Which packages are wanted. Without any criterion: all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filters {
    /// Names. With [`Self::source_packages`], [`Self::groups`] and [`Self::modules`] one criterion: any of them may name a
    /// package.
    pub include: Vec<Pattern>,
    /// Names that are left out whatever else names them.
    pub exclude: Vec<Pattern>,
    pub source_packages: Patterns,
    pub groups: Patterns,
    /// `NAME` or `NAME:STREAM`.
    pub modules: Patterns,
    pub architectures: Patterns,
    pub sections: Patterns,
    pub priorities: Patterns,
    /// How many versions of each name and architecture, the highest first.
    pub newest: Option<NonZeroU32>,
    /// In bytes.
    pub max_size: Option<u64>,
    pub with_dependencies: Dependencies,
}

/// What is added to the packages that the other filters choose: what they need of the same repository.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dependencies {
    #[default]
    LeftOut,
    /// Depends and Pre-Depends of apt, Requires of rpm.
    Required,
    /// Also Recommends of both.
    Recommended,
}

/// Values that are wanted, and values that are not (written with a `!` before them).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Patterns {
    pub wanted: Vec<Pattern>,
    pub unwanted: Vec<Pattern>,
}

impl Patterns {
    pub fn is_empty(&self) -> bool {
        self.wanted.is_empty() && self.unwanted.is_empty()
    }
}
