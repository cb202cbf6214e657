//! Release: one stanza with the digests of the indexes of a distribution.
//!
//! Only the lists of SHA-256 and SHA-512 are read, not those of MD5 and SHA-1.

use std::collections::{BTreeMap, BTreeSet};

use super::dates;
use super::fields::text;
use super::stanza::Stanzas;
use crate::digest::{Algorithm, Digest};
use crate::format::error::FormatError;
use crate::format::root::ValidUntil;
use crate::rel_path::RelPath;

/// Ubuntu's lists have about 3,000 files, Debian's 1,500.
const FILES_LIMIT: usize = 50_000;

/// The content of a Release. Names are as written.
#[derive(Debug, Default)]
pub struct Release {
    /// In seconds since the epoch, like `valid_until`.
    pub date: Option<i64>,
    pub valid_until: Option<i64>,
    /// The value of `Valid-Until` if it is not a date.
    pub unread_valid_until: Option<String>,
    pub components: Vec<String>,
    pub architectures: Vec<String>,
    /// Every index is also available under its digest.
    pub acquire_by_hash: bool,
    /// Clients find the packages of `all` in every architecture's Packages
    /// (`No-Support-for-Architecture-all`).
    pub all_in_every_packages: bool,
    /// By their path relative to the directory of Release.
    pub files: BTreeMap<RelPath, ListedFile>,
    /// Why a listed file is contradictory. It matters only if the file is needed: scripts that
    /// append list after list hash an incomplete Release.
    pub contradictions: BTreeMap<RelPath, String>,
    /// Ignored lines that contradict an earlier or stronger one.
    pub overruled: BTreeMap<RelPath, String>,
    /// Warnings about problems that clients ignore.
    pub warnings: Vec<String>,
}

/// A file in Release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedFile {
    pub size: u64,
    /// Strongest first; never empty.
    pub digests: Vec<Digest>,
}

impl ListedFile {
    /// The digest to verify: SHA-256 if it is listed, because objects are named by it and existing
    /// ones are found directly.
    pub fn digest(&self) -> Digest {
        let named = self
            .digests
            .iter()
            .find(|digest| digest.object_id().is_some());
        *named.unwrap_or(&self.digests[0])
    }

    /// Another listed digest.
    pub fn also(&self) -> Option<Digest> {
        let first = self.digest();
        self.digests.iter().copied().find(|digest| *digest != first)
    }
}

/// Whether this file name is that of a list of packages.
fn lists_packages(name: &str) -> bool {
    let file = name.rsplit('/').next().unwrap_or(name);
    ["Packages", "Sources"]
        .iter()
        .any(|list| file.starts_with(list))
}

/// A field that should be a date.
enum Time {
    Missing,
    /// In seconds since the epoch.
    Moment(i64),
    /// The beginning of the value.
    Unread(String),
}

impl Time {
    fn of(value: Option<&[u8]>) -> Self {
        let Some(value) = value else {
            return Self::Missing;
        };
        match std::str::from_utf8(value).ok().and_then(dates::read) {
            Some(moment) => Self::Moment(moment),
            None => Self::Unread(String::from_utf8_lossy(value).chars().take(60).collect()),
        }
    }

    const fn moment(&self) -> Option<i64> {
        match self {
            Self::Moment(moment) => Some(*moment),
            Self::Missing | Self::Unread(_) => None,
        }
    }
}

impl Time {
    /// A warning about an invalid `Date`, for the user.
    fn warning(&self, file: &str) -> Option<String> {
        match self {
            Self::Moment(_) => None,
            Self::Unread(text) => {
                Some(format!("{file}: invalid Date {text:?}, treated as missing"))
            }
            Self::Missing => Some(format!(
                "{file}: no Date: a sync cannot detect an older version"
            )),
        }
    }
}

impl Release {
    pub fn parse(file: &str, mut bytes: &[u8]) -> Result<Self, FormatError> {
        let mut stanzas = Stanzas::reading_stray_lines(
            file,
            &mut bytes,
            [
                "Date",
                "Valid-Until",
                "Components",
                "Architectures",
                "Acquire-By-Hash",
                "No-Support-for-Architecture-all",
                "SHA512",
                "SHA256",
            ],
        );
        let Some(
            [
                date,
                valid_until,
                components,
                architectures,
                by_hash,
                no_support_for_all,
                sha512,
                sha256,
            ],
        ) = stanzas.next()?
        else {
            return Err(FormatError::malformed(file, "empty file"));
        };
        let words = |field, value: Option<&[u8]>| {
            let value = text(file, field, value.unwrap_or_default())?;
            Ok::<_, FormatError>(value.split_whitespace().map(str::to_owned).collect())
        };
        // apt ignores an invalid Date, but rejects an invalid Valid-Until.
        let date = Time::of(date);
        let valid_until = Time::of(valid_until);
        let warnings = date.warning(file).into_iter().collect();
        let no_support: Vec<String> = words("No-Support-for-Architecture-all", no_support_for_all)?;
        let mut release = Self {
            date: date.moment(),
            valid_until: valid_until.moment(),
            unread_valid_until: match valid_until {
                Time::Unread(text) => Some(text),
                Time::Moment(_) | Time::Missing => None,
            },
            components: words("Components", components)?,
            architectures: words("Architectures", architectures)?,
            acquire_by_hash: by_hash.is_some_and(|value| value.eq_ignore_ascii_case(b"yes")),
            all_in_every_packages: no_support.iter().any(|word| word == "Packages"),
            files: BTreeMap::new(),
            contradictions: BTreeMap::new(),
            overruled: BTreeMap::new(),
            warnings,
        };
        if sha512.is_none() && sha256.is_none() {
            return Err(FormatError::NoDigest {
                file: file.to_owned(),
                named_by: "the file list".to_owned(),
            });
        }
        release.list(file, "SHA512", Algorithm::Sha512, sha512)?;
        release.list(file, "SHA256", Algorithm::Sha256, sha256)?;
        if stanzas.next()?.is_some() {
            return Err(FormatError::malformed(file, "more than one stanza"));
        }
        let strays = stanzas.strays();
        release
            .warnings
            .extend(strays.map(|line| format!("{file}: {line}")));
        Ok(release)
    }

    /// Adds a list of files; stronger algorithms come first. As in apt, the first line about a file
    /// is used in each list, and the size from the strongest one.
    fn list(
        &mut self,
        file: &str,
        field: &str,
        algorithm: Algorithm,
        lines: Option<&[u8]>,
    ) -> Result<(), FormatError> {
        let lines = text(file, field, lines.unwrap_or_default())?;
        let mut unusable = 0_usize;
        for line in lines.lines().filter(|line| !line.trim().is_empty()) {
            let (hex, rest) = line.split_once([' ', '\t']).unwrap_or((line, ""));
            let rest = rest.trim_start();
            let (size, name) = rest.split_once([' ', '\t']).unwrap_or((rest, ""));
            let name = name.trim();
            if name.is_empty() {
                let what = format!("{field}: a line without a file name");
                return Err(FormatError::malformed(file, what));
            }
            // A file with an invalid path is never needed.
            let path = match RelPath::parse(name) {
                Ok(path) => path,
                Err(source) if lists_packages(name) => {
                    return Err(FormatError::Path {
                        file: file.to_owned(),
                        named_by: field.to_owned(),
                        source,
                    });
                }
                Err(_) => {
                    unusable += 1;
                    continue;
                }
            };
            if self.files.len() + self.contradictions.len() >= FILES_LIMIT {
                let what = format!("{field}: more than {FILES_LIMIT} files");
                return Err(FormatError::malformed(file, what));
            }
            let mut contradicts = |what: String| {
                let what = format!("{field}: {what}");
                self.contradictions.entry(path.clone()).or_insert(what);
            };
            let digest = match Digest::parse(algorithm, hex) {
                Ok(digest) => digest,
                Err(error) => {
                    contradicts(error.to_string());
                    continue;
                }
            };
            let Ok(size) = size.parse() else {
                contradicts(format!("{name:?} has the invalid size {size:?}"));
                continue;
            };
            let listed = self
                .files
                .entry(path.clone())
                .or_insert_with(|| ListedFile {
                    size,
                    digests: Vec::with_capacity(2),
                });
            let known = listed
                .digests
                .iter()
                .find(|other| other.algorithm() == algorithm);
            if listed.size != size || known.is_some_and(|other| *other != digest) {
                let what = format!("{field} contradicts an earlier line");
                self.overruled.entry(path).or_insert(what);
            }
            if known.is_none() {
                listed.digests.push(digest);
            }
        }
        if unusable > 0 {
            self.warnings.push(format!(
                "{file}: {field} lists {unusable} files with unsafe paths"
            ));
        }
        Ok(())
    }
}

/// The fields of a new Release that lists these names: the fields of the last root without the
/// lists of files, with the architectures and components of all roots that exist.
pub(super) fn fields_of(
    file: &str,
    roots: &[&[u8]],
    names: &BTreeSet<&str>,
) -> Result<Vec<u8>, FormatError> {
    let lists = Lists::of(file, roots, names)?;
    let mut kept = Vec::new();
    for_each_field(roots[roots.len() - 1], |name, lines| {
        match name.to_ascii_lowercase().as_str() {
            "md5sum" | "sha1" | "sha256" | "sha384" | "sha512" | "acquire-by-hash"
            | "signed-by" => {}
            "no-support-for-architecture-all" if !lists.all_in_every_packages => {}
            "architectures" => push_words(&mut kept, name, &lists.architectures),
            "components" => push_words(&mut kept, name, &lists.components),
            _ => push_line(&mut kept, lines),
        }
    });
    Ok(kept)
}

/// The component of a path: the part before the first well-known directory of a component.
pub(super) fn component_directory(path: &str) -> Option<&str> {
    let mut end = path.find('/')?;
    loop {
        let rest = &path[end + 1..];
        let segment = rest.split_once('/').map_or(rest, |(segment, _)| segment);
        let is_inside = matches!(
            segment,
            "source" | "i18n" | "dep11" | "cnf" | "debian-installer"
        ) || ["binary-", "installer-", "Contents-"]
            .iter()
            .any(|start| segment.starts_with(start));
        if is_inside {
            return Some(&path[..end]);
        }
        end += 1 + rest.find('/')?;
    }
}

/// `main` of a component `updates/main`.
pub(super) fn last_segment(component: &str) -> &str {
    component
        .rsplit_once('/')
        .map_or(component, |(_, last)| last)
}

/// The architectures and components of several roots that exist.
struct Lists {
    architectures: Vec<String>,
    components: Vec<String>,
    all_in_every_packages: bool,
}

impl Lists {
    fn of(file: &str, roots: &[&[u8]], names: &BTreeSet<&str>) -> Result<Self, FormatError> {
        let there: BTreeSet<&str> = names
            .iter()
            .flat_map(|name| name.split('/'))
            .filter_map(|segment| segment.strip_prefix("binary-"))
            .collect();
        let directories: BTreeSet<&str> = names
            .iter()
            .filter_map(|name| component_directory(name))
            .collect();
        let mut lists = Self {
            architectures: Vec::new(),
            components: Vec::new(),
            all_in_every_packages: true,
        };
        for root in roots {
            let root = Release::parse(file, root)?;
            let has_all = root.architectures.iter().any(|name| name == "all");
            lists.all_in_every_packages &= root.all_in_every_packages || !has_all;
            for name in root.architectures {
                // A flat repository has one Packages for all of them.
                let is_there = there.is_empty() || name == "all" || there.contains(name.as_str());
                if is_there && !lists.architectures.contains(&name) {
                    lists.architectures.push(name);
                }
            }
            for name in root.components {
                let last = last_segment(&name);
                let is_there = directories.is_empty()
                    || directories.contains(name.as_str())
                    || directories.contains(last);
                if is_there && !lists.components.contains(&name) {
                    lists.components.push(name);
                }
            }
        }
        // Clients that find `all` there request a separate Packages for it, unless this field is
        // set.
        if !lists.all_in_every_packages && !there.is_empty() && !there.contains("all") {
            lists.architectures.retain(|name| name != "all");
        }
        Ok(lists)
    }
}

/// Release with other values of these fields, which are added if missing.
pub fn with_fields(root: &[u8], fields: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in fields {
        push_line(&mut out, format!("{name}: {value}").as_bytes());
    }
    for_each_field(root, |name, lines| {
        if !fields
            .iter()
            .any(|(other, _)| other.eq_ignore_ascii_case(name))
        {
            push_line(&mut out, lines);
        }
    });
    out
}

fn push_words(out: &mut Vec<u8>, name: &str, words: &[String]) {
    push_line(out, format!("{name}: {}", words.join(" ")).as_bytes());
}

fn push_line(out: &mut Vec<u8>, line: &[u8]) {
    out.extend_from_slice(line);
    if !line.ends_with(b"\n") {
        out.push(b'\n');
    }
}

/// Calls `each` for each field with all its lines.
fn for_each_field(root: &[u8], mut each: impl FnMut(&str, &[u8])) {
    let mut start = 0;
    let mut end = 0;
    let mut fields = Vec::new();
    for line in root.split_inclusive(|byte| *byte == b'\n') {
        let is_folded = matches!(line.first(), Some(b' ' | b'\t'));
        if !is_folded && end > start {
            fields.push(start..end);
            start = end;
        }
        end += line.len();
    }
    fields.push(start..end);
    let mut is_behind_stray = false;
    for field in fields {
        let lines = &root[field];
        let first = lines
            .split(|byte| *byte == b'\n')
            .next()
            .unwrap_or_default();
        if matches!(first.first(), Some(b' ' | b'\t')) {
            continue;
        }
        let is_stray = !first.contains(&b':') && !first.trim_ascii().is_empty();
        // Clients ignore an invalid line and the field after it.
        let is_read_over = is_stray || std::mem::take(&mut is_behind_stray);
        is_behind_stray = is_stray;
        if is_read_over {
            continue;
        }
        let name = lines.split(|byte| *byte == b':').next().unwrap_or_default();
        // Release was parsed before: a line without a name is a blank line at its end. A space
        // before the colon belongs to neither name nor value.
        if let Ok(trimmed) = std::str::from_utf8(name.trim_ascii_end())
            && name.len() < lines.len()
        {
            each(trimmed, lines);
        }
    }
}

/// Release with another date, in seconds since the epoch, and without `Signed-By`, which refers to
/// keys of the upstream.
pub fn redated(root: &[u8], date: i64, valid_until: ValidUntil) -> Vec<u8> {
    let mut out = Vec::with_capacity(root.len() + 64);
    let date = format!("Date: {}\n", written_date(date));
    let mut is_dated = false;
    for_each_field(root, |name, lines| {
        match name.to_ascii_lowercase().as_str() {
            "date" if !is_dated => {
                is_dated = true;
                push_line(&mut out, date.as_bytes());
            }
            "date" | "signed-by" => {}
            "valid-until" if valid_until == ValidUntil::IsDropped => {}
            "valid-until" => {
                // Clients support fewer date formats than this parser.
                let value = lines.splitn(2, |byte| *byte == b':').nth(1);
                if let Time::Moment(until) = Time::of(value.map(<[u8]>::trim_ascii)) {
                    let until = format!("Valid-Until: {}\n", written_date(until));
                    push_line(&mut out, until.as_bytes());
                }
            }
            _ => push_line(&mut out, lines),
        }
    });
    if !is_dated {
        out.splice(0..0, date.bytes());
    }
    without_blank_ends(&out)
}

/// A clear-signed text cannot have trailing whitespace.
fn without_blank_ends(text: &[u8]) -> Vec<u8> {
    let lines = text
        .split(|byte| *byte == b'\n')
        .map(<[u8]>::trim_ascii_end);
    let mut out = Vec::with_capacity(text.len());
    for line in lines.filter(|line| !line.is_empty()) {
        push_line(&mut out, line);
    }
    // Elsewhere a carriage return is whitespace to clients, and cannot be signed.
    for byte in out.iter_mut().filter(|byte| **byte == b'\r') {
        *byte = b' ';
    }
    out
}

fn written_date(seconds: i64) -> String {
    let time = jiff::Timestamp::from_second(seconds).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    time.strftime("%a, %d %b %Y %H:%M:%S UTC").to_string()
}

#[cfg(test)]
#[path = "release_tests.rs"]
mod tests;
