//! The filters that select the packages of a repository.

use std::num::NonZeroU32;

use glob::Pattern;

/// The selected packages. Without any criterion: all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filters {
    /// Names. Together with [`Self::source_packages`], [`Self::groups`] and [`Self::modules`] they
    /// are one criterion: any of them can select a package.
    pub include: Vec<Pattern>,
    /// Names that are always excluded.
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

/// Which dependencies from the same repository are added to the selected packages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dependencies {
    #[default]
    LeftOut,
    /// Depends and Pre-Depends of apt, Requires of rpm.
    Required,
    /// Also Recommends of both.
    Recommended,
}

/// Wanted values, and unwanted ones (written with a leading `!`).
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
