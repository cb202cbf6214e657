//! `filters`: which packages of a repository are selected.

use std::num::NonZeroU32;

use glob::Pattern;

use super::filters::{Filters, Patterns};
use super::scope::Scope;
use super::written;
use crate::repo_format::RepoFormat;

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
            scope.reject(
                &format!("filters.{name}"),
                format!(
                    "is not valid for a repository of type {}",
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
                scope.reject("filters.newest", "must be at least 1");
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
        scope.reject_with_hint(
            &format!("filters.{name}"),
            "contains a pattern that starts with `!`",
            "list unwanted packages in filters.exclude",
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
                scope.reject(&key, format!("{text:?} is not a valid pattern"));
            }
            Ok(pattern) => list.push(pattern),
            Err(error) => scope.reject(
                &key,
                format!("{text:?} is not a valid pattern: {}", error.msg),
            ),
        }
    }
    patterns
}
