//! `filters`: which of a repository's packages are wanted.

use std::num::NonZeroU32;

use glob::Pattern;

use super::scope::Scope;
use super::written;
use crate::repo_format::RepoFormat;

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

pub(super) fn resolve(
    written: written::Filters,
    kind: Option<RepoFormat>,
    scope: &mut Scope<'_>,
) -> Filters {
    let foreign = match kind {
        Some(RepoFormat::Apt) => vec![("groups", &written.groups), ("modules", &written.modules)],
        Some(RepoFormat::Rpm) => vec![
            ("sections", &written.sections),
            ("priorities", &written.priorities),
        ],
        None => Vec::new(),
    };
    for (name, list) in foreign {
        if list.is_some() {
            scope.refuse(
                &format!("filters.{name}"),
                format!(
                    "does not belong into a repository of type {}",
                    kind.map_or("", RepoFormat::as_str)
                ),
            );
        }
    }
    Filters {
        include: plain("include", written.include, scope),
        exclude: plain("exclude", written.exclude, scope),
        source_packages: patterns("source_packages", written.source_packages, scope),
        groups: patterns("groups", written.groups, scope),
        modules: patterns("modules", written.modules, scope),
        architectures: patterns("architectures", written.architectures, scope),
        sections: patterns("sections", written.sections, scope),
        priorities: patterns("priorities", written.priorities, scope),
        newest: written.newest.and_then(|newest| {
            let newest = NonZeroU32::new(newest);
            if newest.is_none() {
                scope.refuse("filters.newest", "must be at least 1");
            }
            newest
        }),
        max_size: written.max_size,
        with_dependencies: written.with_dependencies.unwrap_or_default(),
    }
}

/// Patterns without `!`.
fn plain(name: &str, list: Option<Vec<String>>, scope: &mut Scope<'_>) -> Vec<Pattern> {
    let Patterns { wanted, unwanted } = patterns(name, list, scope);
    if !unwanted.is_empty() {
        scope.refuse_with_hint(
            &format!("filters.{name}"),
            "has a pattern with a `!` before it",
            "names that are not wanted belong into filters.exclude",
        );
    }
    wanted
}

fn patterns(name: &str, list: Option<Vec<String>>, scope: &mut Scope<'_>) -> Patterns {
    let key = format!("filters.{name}");
    let mut patterns = Patterns::default();
    let Some(list) = list else {
        return patterns;
    };
    for text in list {
        let (written, list) = match text.strip_prefix('!') {
            Some(unwanted) => (unwanted, &mut patterns.unwanted),
            None => (text.as_str(), &mut patterns.wanted),
        };
        match Pattern::new(written) {
            Ok(_) if written.trim().is_empty() => {
                scope.refuse(&key, format!("{text:?} is not a pattern"));
            }
            Ok(pattern) => list.push(pattern),
            Err(error) => scope.refuse(&key, format!("{text:?} is not a pattern: {}", error.msg)),
        }
    }
    patterns
}
