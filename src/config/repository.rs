//! `repos.d`: from a file to a [`Repository`].

use crate::names::RepoId;
use crate::rel_path::RelPath;
use crate::repo_format::RepoFormat;

use super::location::UpstreamUrl;
use super::resolved::{
    Apt, Distribution, FormatConfig, Freshness, KEEP, Publish, Repository, Rpm, Trust,
};
use super::scope::Scope;
use super::written;
use super::{credentials, criteria, trust};

pub fn resolve(written: written::Repository, scope: &mut Scope<'_>) -> Option<Repository> {
    reject_unsupported(&written, scope);
    let id = id(written.name.as_deref(), scope);
    let key_name = key_name(
        written.publish.key_name.as_deref(),
        written.kind,
        id.as_ref(),
        scope,
    );
    let publish = publish(&written.publish, key_name, scope);
    let upstream = upstream(&written.upstream, scope);
    let credentials = credentials::resolve(written.credentials, upstream.as_ref(), scope);
    let filters = criteria::resolve(written.filters, written.kind, scope);
    let format = format(written.kind, written.apt, written.rpm, scope);
    let (format, mut trust) = format?;
    trust.allow_weak_signatures = written.allow_weak_signatures.unwrap_or(false);
    Some(Repository {
        id: id?,
        file: scope.file().to_owned(),
        enabled: written.enabled.unwrap_or(true),
        upstream: upstream?,
        credentials: credentials?,
        trust,
        format,
        filters,
        freshness: Freshness {
            check_valid_until: written.check_valid_until.unwrap_or(true),
            check_date: written.check_date.unwrap_or(true),
        },
        publish: publish?,
        bandwidth_limit: written.download.bandwidth_limit,
    })
}

fn reject_unsupported(written: &written::Repository, scope: &mut Scope<'_>) {
    let is_list = |list: &Option<Vec<String>>| list.as_ref().is_some_and(|list| !list.is_empty());
    let upstream = &written.upstream;
    scope.reject_unsupported(&[
        ("upstream.mirrors", is_list(&upstream.mirrors)),
        ("upstream.mirrorlist", upstream.mirrorlist.is_some()),
        ("upstream.metalink", upstream.metalink.is_some()),
        ("proxy", written.proxy.is_some()),
    ]);
}

fn id(written: Option<&str>, scope: &mut Scope<'_>) -> Option<RepoId> {
    let Some(name) = written else {
        scope.reject("name", "is missing");
        return None;
    };
    RepoId::parse(name)
        .map_err(|err| scope.reject("name", err.to_string()))
        .ok()
}

fn publish(
    written: &written::Publish,
    key_name: Option<RelPath>,
    scope: &mut Scope<'_>,
) -> Option<Publish> {
    Some(Publish {
        latest_path: scope.path("publish.latest_path", written.latest_path.as_deref()),
        snapshots_path: scope.path("publish.snapshots_path", written.snapshots_path.as_deref()),
        auto: written.auto.unwrap_or(true),
        keep: written.keep.unwrap_or(KEEP),
        key_name: key_name?,
    })
}

/// The name of the key files of a repository that does not set it or is no longer configured.
pub fn default_key_name(format: RepoFormat, repository: &RepoId) -> RelPath {
    let name = match format {
        RepoFormat::Apt => format!("{repository}-archive-key"),
        RepoFormat::Rpm => format!("RPM-GPG-KEY-{repository}"),
    };
    RelPath::parse(&name).expect("a repository's name leaves room for it")
}

/// Also `None` if the name depends on a value that was already refused.
fn key_name(
    written: Option<&str>,
    kind: Option<RepoFormat>,
    id: Option<&RepoId>,
    scope: &mut Scope<'_>,
) -> Option<RelPath> {
    const KEY: &str = "publish.key_name";
    let (name, longest_ending) = match (written, kind?) {
        (Some(name), RepoFormat::Rpm) => (name.to_owned(), ""),
        (None, RepoFormat::Rpm) => (default_key_name(RepoFormat::Rpm, id?).to_string(), ""),
        (Some(name), RepoFormat::Apt) => {
            let stem = [".gpg", ".asc"]
                .iter()
                .find_map(|ending| name.strip_suffix(ending));
            (stem.unwrap_or(name).to_owned(), ".gpg")
        }
        (None, RepoFormat::Apt) => (default_key_name(RepoFormat::Apt, id?).to_string(), ".gpg"),
    };
    if name.is_empty() || name.starts_with('.') || name.contains('/') {
        let written = written.unwrap_or(&name);
        scope.reject_with_hint(
            KEY,
            format!("{written:?} is not a valid file name"),
            "the key files are at the top of the published tree, and must not be hidden files",
        );
        return None;
    }
    // The name first, so that errors show it as written.
    let path = RelPath::parse(&name);
    let with_ending = RelPath::parse(&format!("{name}{longest_ending}"));
    path.and_then(|path| with_ending.map(|_| path))
        .map_err(|err| scope.reject(KEY, err.to_string()))
        .ok()
}

fn upstream(written: &written::Upstream, scope: &mut Scope<'_>) -> Option<UpstreamUrl> {
    const KEY: &str = "upstream.url";
    if written.media == Some(true) {
        if written.url.is_some() {
            scope.reject("upstream.media", "an upstream is either media or a URL");
            return None;
        }
        return Some(UpstreamUrl::Media);
    }
    let Some(url) = &written.url else {
        scope.reject(KEY, "is missing");
        return None;
    };
    let written = url;
    let url = scope.secret(KEY, written)?;
    match UpstreamUrl::parse(url.expose(), scope.dir()) {
        Ok(upstream) => {
            if matches!(&upstream, UpstreamUrl::Http(url) if url.as_url().query().is_some()) {
                scope.warn_if_others_can_read(KEY, "may contain a secret in its query", written);
            }
            Some(upstream)
        }
        Err(err) => {
            scope.reject_location(KEY, &err);
            None
        }
    }
}

fn format(
    kind: Option<RepoFormat>,
    apt: Option<written::Apt>,
    rpm: Option<written::Rpm>,
    scope: &mut Scope<'_>,
) -> Option<(FormatConfig, Trust)> {
    let Some(kind) = kind else {
        scope.reject("type", "is missing: set it to rpm or apt");
        return None;
    };
    match kind {
        RepoFormat::Apt => {
            if rpm.is_some() {
                scope.reject("rpm", "is not valid for a repository of type apt");
            }
            let apt = apt.unwrap_or_default();
            let trust = trust::of_apt(&apt, scope);
            Some((FormatConfig::Apt(resolve_apt(apt, scope)?), trust))
        }
        RepoFormat::Rpm => {
            if apt.is_some() {
                scope.reject("apt", "is not valid for a repository of type rpm");
            }
            let rpm = rpm.unwrap_or_default();
            let trust = trust::of_rpm(&rpm, scope);
            let rpm = Rpm {
                architectures: rpm
                    .architectures
                    .map(|names| architectures("rpm", names, &["src", "nosrc"], scope)),
                sources: rpm.sources.unwrap_or(true),
            };
            Some((FormatConfig::Rpm(rpm), trust))
        }
    }
}

fn resolve_apt(written: written::Apt, scope: &mut Scope<'_>) -> Option<Apt> {
    let is_other_language = |list: &Vec<String>| list.iter().any(|language| language != "all");
    scope.reject_unsupported(&[
        (
            "apt.languages",
            written.languages.as_ref().is_some_and(is_other_language),
        ),
        ("apt.contents", written.contents == Some(false)),
        ("apt.appstream", written.appstream == Some(false)),
        ("apt.cnf", written.cnf == Some(false)),
    ]);
    let distribution = distribution(written.distribution.as_deref(), scope);
    let architectures = match written.architectures {
        Some(names) => architectures("apt", names, &["source"], scope),
        None => vec!["amd64".to_owned()],
    };
    Some(Apt {
        components: components(written.components, distribution.as_ref(), scope),
        distribution: distribution?,
        architectures,
        sources: written.sources.unwrap_or(false),
        udebs: written.udebs.unwrap_or(false),
        installer: written.installer.unwrap_or(false),
    })
}

fn distribution(written: Option<&str>, scope: &mut Scope<'_>) -> Option<Distribution> {
    const KEY: &str = "apt.distribution";
    let Some(text) = written else {
        scope.reject_with_hint(
            KEY,
            "is missing",
            "set it to the directory below dists/, or to `./` for a flat repository",
        );
        return None;
    };
    if text.contains(char::is_whitespace) {
        scope.reject(KEY, format!("{text:?} contains whitespace"));
        return None;
    }
    if matches!(text, "/" | "./") {
        return Some(Distribution::Flat(None));
    }
    match RelPath::parse(text) {
        Ok(dir) if text.ends_with('/') => Some(Distribution::Flat(Some(dir))),
        Ok(suite) => Some(Distribution::Suite(suite)),
        Err(err) => {
            scope.reject(KEY, err.to_string());
            None
        }
    }
}

fn components(
    written: Option<Vec<String>>,
    distribution: Option<&Distribution>,
    scope: &mut Scope<'_>,
) -> Vec<String> {
    const KEY: &str = "apt.components";
    let is_flat = matches!(distribution, Some(Distribution::Flat(_)));
    match written {
        None if is_flat => Vec::new(),
        None => vec!["main".to_owned()],
        Some(names) if is_flat => {
            if !names.is_empty() {
                scope.reject(KEY, "a flat repository has no components");
            }
            Vec::new()
        }
        Some(names) => {
            // A component can contain a `/`: `updates/main`.
            let is_component = |name: &str| {
                !name.contains(char::is_whitespace)
                    && RelPath::parse(name).is_ok_and(|path| path.as_str() == name)
            };
            distinct(KEY, names, is_component, "component name", scope)
        }
    }
}

fn architectures(
    section: &str,
    names: Vec<String>,
    source_names: &[&str],
    scope: &mut Scope<'_>,
) -> Vec<String> {
    let key = format!("{section}.architectures");
    for name in names
        .iter()
        .filter(|name| source_names.contains(&name.as_str()))
    {
        scope.reject_with_hint(
            &key,
            format!("{name:?} is not valid here"),
            format!("use {section}.sources to select source packages"),
        );
    }
    let is_architecture = |name: &str| {
        name.chars()
            .all(|c| c.is_ascii_alphanumeric() || "_-".contains(c))
    };
    distinct(&key, names, is_architecture, "architecture name", scope)
}

/// The names without duplicates, in their order; at least one.
fn distinct(
    key: &str,
    names: Vec<String>,
    is_valid: impl Fn(&str) -> bool,
    what: &str,
    scope: &mut Scope<'_>,
) -> Vec<String> {
    if names.is_empty() {
        scope.reject(key, "is an empty list");
    }
    let mut distinct = Vec::new();
    for name in names {
        if name.is_empty() || !is_valid(&name) {
            scope.reject(key, format!("{name:?} is not a valid {what}"));
        } else if !distinct.contains(&name) {
            distinct.push(name);
        }
    }
    distinct
}
