//! Selects the indexes in Release: all that a client with these components and architectures may
//! request.
//!
//! An unchanged Release works only if everything that clients request exists. pdiffs are omitted:
//! clients work without them.

use std::collections::{BTreeMap, BTreeSet};

use super::release::{ListedFile, Release, component_directory, last_segment};
use super::selection::{Apt, Layout, Scope};
use crate::format::compression::{Compression, Open, split_foreign};
use crate::format::error::FormatError;
use crate::format::index::{Index, IndexKind, Presence, Variant};
use crate::rel_path::RelPath;

pub(super) struct IndexSelection {
    pub(super) indexes: Vec<Index>,
    pub(super) warnings: Vec<String>,
}

/// The role of a listed file, by its uncompressed name.
type IndexRole = (IndexKind, Presence);

pub(super) fn select_indexes(
    apt: &Apt,
    file: &str,
    release: &Release,
) -> Result<IndexSelection, FormatError> {
    let mut selector = IndexSelector {
        apt,
        layout: apt.layout,
        file,
        release,
        architectures: Vec::new(),
        directories: BTreeSet::new(),
        warnings: Vec::new(),
    };
    match (apt.scope, apt.layout) {
        (Scope::Everything, _) => {
            // A flat repository may also be below `dists`.
            if selector
                .paths()
                .any(|path| Compression::split(path).0 == "Packages")
            {
                selector.layout = Layout::Flat;
            }
            selector.architectures = selector.available_architectures().into_iter().collect();
            selector.architectures.push("all");
            selector.directories = selector.existing_directories();
        }
        (Scope::Selected, Layout::Dists) => {
            selector.architectures = selector.find_architectures()?;
            selector.directories = selector.find_directories()?;
        }
        (Scope::Selected, Layout::Flat) => {}
    }
    let indexes = selector.indexes()?;
    if !indexes.iter().any(|index| index.kind.names_files()) {
        // Clients reject a Release without any files.
        let lists_nothing = release.files.is_empty() && release.contradictions.is_empty();
        if lists_nothing || selector.lists_any() {
            return Err(FormatError::malformed(
                file,
                "no Packages listed for this selection",
            ));
        }
        selector
            .warnings
            .push(format!("{file}: no Packages listed: the suite is empty"));
    } else if apt.scope == Scope::Selected {
        selector.warn_of_missing_packages(&indexes);
    }
    Ok(IndexSelection {
        indexes,
        warnings: selector.warnings,
    })
}

struct IndexSelector<'a> {
    apt: &'a Apt,
    layout: Layout,
    file: &'a str,
    release: &'a Release,
    /// The wanted ones, and `all`.
    architectures: Vec<&'a str>,
    /// Of the wanted components.
    directories: BTreeSet<&'a str>,
    warnings: Vec<String>,
}

impl<'a> IndexSelector<'a> {
    /// Whether there is a list of packages for any selection, including unsupported names.
    fn lists_any(&self) -> bool {
        let contradicted = self.release.contradictions.keys().map(RelPath::as_str);
        self.paths().chain(contradicted).any(|path| {
            let (base, _) = Compression::split(path);
            let base = split_foreign(base).map_or(base, |(base, _)| base);
            let name = base.rsplit('/').next();
            matches!(name, Some("Packages" | "Sources" | "SHA256SUMS"))
        })
    }

    fn paths(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.release.files.keys().map(RelPath::as_str)
    }

    fn available_architectures(&self) -> BTreeSet<&'a str> {
        // Some archives omit the field, or list only some of them.
        let mut available: BTreeSet<&str> = self
            .paths()
            .flat_map(|path| path.split('/'))
            .filter_map(|segment| segment.strip_prefix("binary-"))
            .collect();
        available.extend(self.release.architectures.iter().map(String::as_str));
        available
    }

    fn existing_directories(&self) -> BTreeSet<&'a str> {
        self.paths().filter_map(component_directory).collect()
    }

    fn find_architectures(&self) -> Result<Vec<&'a str>, FormatError> {
        let release = self.release;
        let available = self.available_architectures();
        let mut wanted: Vec<&str> = Vec::new();
        // A placeholder may not declare them yet.
        let says_nothing = release.architectures.is_empty() && !self.lists_any();
        for architecture in &self.apt.selection.architectures {
            if !says_nothing && !available.contains(architecture.as_str()) {
                return Err(self.not_found("architecture", architecture, &available));
            }
            wanted.push(architecture);
        }
        if release.architectures.iter().any(|name| name == "all") {
            wanted.push("all");
        }
        Ok(wanted)
    }

    /// The directories of the wanted components. `Components` may contain `updates/main` for a
    /// directory `main`.
    fn find_directories(&mut self) -> Result<BTreeSet<&'a str>, FormatError> {
        let existing = self.existing_directories();
        let named = &self.release.components;
        let mut directories = BTreeSet::new();
        if existing.is_empty() && named.is_empty() && !self.lists_any() {
            return Ok(directories);
        }
        for wanted in &self.apt.selection.components {
            if let Some(directory) = existing.get(wanted.as_str()) {
                directories.insert(*directory);
                continue;
            }
            let last = last_segment(wanted);
            let is_named = named
                .iter()
                .any(|name| name == wanted || last_segment(name) == wanted);
            let mut alike = existing.iter().filter(|name| last_segment(name) == last);
            match (is_named, alike.next(), alike.next()) {
                (true, Some(directory), None) => {
                    directories.insert(*directory);
                }
                (true, None, _) => self.warnings.push(format!(
                    "{}: component {wanted:?} is declared, but none of its files are listed",
                    self.file
                )),
                // It is missing, or ambiguous.
                _ => {
                    let mut available = existing.clone();
                    available.extend(named.iter().map(String::as_str));
                    return Err(self.not_found("component", wanted, &available));
                }
            }
        }
        Ok(directories)
    }

    fn not_found(
        &self,
        what: &'static str,
        wanted: &str,
        available: &BTreeSet<&str>,
    ) -> FormatError {
        FormatError::NotFound {
            file: self.file.to_owned(),
            what,
            wanted: wanted.to_owned(),
            available: available.iter().map(ToString::to_string).collect(),
        }
    }

    fn indexes(&mut self) -> Result<Vec<Index>, FormatError> {
        let release = self.release;
        let mut by_name: BTreeMap<&str, Index> = BTreeMap::new();
        let mut contradicted: BTreeMap<&str, &str> = BTreeMap::new();
        let contradictions = release.contradictions.keys().map(|path| (path, None));
        let files = release
            .files
            .iter()
            .map(|(path, listed)| (path, Some(listed)));
        let is_contradicted = |path: &RelPath| release.contradictions.contains_key(path);
        for (path, listed) in files
            .filter(|(path, _)| !is_contradicted(path))
            .chain(contradictions)
        {
            let (base, compression) = Compression::split(path.as_str());
            let (name, role) = match split_foreign(base) {
                Some((base, _)) => (
                    path.as_str(),
                    self.role(base)
                        .map(|_| (IndexKind::Opaque, Presence::Optional)),
                ),
                None => (base, self.role(base)),
            };
            let Some((kind, presence)) = role else {
                continue;
            };
            let index = by_name.entry(name).or_insert_with(|| Index {
                name: name.to_owned(),
                kind,
                variants: Vec::new(),
                presence,
            });
            match listed {
                Some(listed) => {
                    if let Some(why) = release.overruled.get(path) {
                        let warning = format!("{}: {path}: {why}, which is used", self.file);
                        self.warnings.push(warning);
                    }
                    let variant = self.variant(path, listed, compression)?;
                    index.variants.push(variant);
                }
                None => {
                    contradicted.insert(name, path.as_str());
                }
            }
        }
        for (name, path) in contradicted {
            let why = release
                .contradictions
                .iter()
                .find_map(|(other, why)| (other.as_str() == path).then_some(why.as_str()));
            let why = why.unwrap_or_default();
            match by_name.get(name) {
                Some(index) if index.variants.is_empty() => {
                    // In a stored state only what was not selected can be so.
                    if index.presence == Presence::AnyVariant && self.apt.scope == Scope::Selected {
                        return Err(FormatError::malformed(self.file, why));
                    }
                    by_name.remove(name);
                }
                _ => self
                    .warnings
                    .push(format!("{}: {path} skipped: {why}", self.file)),
            }
        }
        self.refuse_foreign(&by_name)?;
        let mut indexes: Vec<Index> = by_name.into_values().collect();
        for index in &mut indexes {
            index
                .variants
                .sort_by_key(|variant| reading_order(variant.compression));
        }
        Ok(indexes)
    }

    /// A wanted list of packages in an unsupported compression format, which clients may support.
    fn refuse_foreign(&self, by_name: &BTreeMap<&str, Index>) -> Result<(), FormatError> {
        if self.apt.scope == Scope::Everything {
            // It was not selected, or the sync would have failed.
            return Ok(());
        }
        let foreign = |path: &'a str| {
            let (base, _) = split_foreign(path)?;
            let is_list =
                matches!(self.role(base), Some((kind, Presence::AnyVariant)) if kind.names_files());
            (is_list && !by_name.contains_key(base)).then_some(base)
        };
        let Some(name) = self.paths().find_map(foreign) else {
            return Ok(());
        };
        let paths = self.paths().filter(|path| foreign(path) == Some(name));
        Err(FormatError::Compression {
            file: self.file.to_owned(),
            name: name.to_owned(),
            found: paths.map(|path| path[name.len()..].to_owned()).collect(),
        })
    }

    fn variant(
        &self,
        path: &RelPath,
        listed: &ListedFile,
        compression: Compression,
    ) -> Result<Variant, FormatError> {
        let path_error = |source| FormatError::Path {
            file: self.file.to_owned(),
            named_by: "the file list".to_owned(),
            source,
        };
        // Names of files that are not mirrored do not matter, and the distribution is configured by
        // the administrator.
        path.clone().visible().map_err(path_error)?;
        let at = |name: &str| self.apt.beside(name).map_err(path_error);
        let mut by_hash = Vec::new();
        if self.release.acquire_by_hash {
            let directory = path
                .parent()
                .map_or(String::new(), |parent| format!("{parent}/"));
            for digest in &listed.digests {
                let algorithm = digest.algorithm().name().to_uppercase();
                by_hash.push(at(&format!(
                    "{directory}by-hash/{algorithm}/{}",
                    digest.hex()
                ))?);
            }
        }
        let (base, _) = Compression::split(path.as_str());
        // A file named `.gz` has no name without the suffix.
        let open = RelPath::parse(base)
            .ok()
            .filter(|base| !self.release.contradictions.contains_key(base))
            .and_then(|base| self.release.files.get(&base));
        Ok(Variant {
            path: at(path.as_str())?,
            by_hash,
            digest: listed.digest(),
            also: listed.also(),
            size: Some(listed.size),
            compression,
            open: Open {
                digest: open.map(ListedFile::digest),
                also: open.and_then(ListedFile::also),
                size: open.map(|open| open.size),
            },
        })
    }

    /// `None` for what the selection does not need.
    fn role(&self, name: &str) -> Option<IndexRole> {
        if self.layout == Layout::Flat {
            let selection = &self.apt.selection;
            return match name {
                "Packages" => Some((IndexKind::Packages, Presence::AnyVariant)),
                "Sources" if selection.sources => Some((IndexKind::Sources, Presence::AnyVariant)),
                "Sources" => None,
                name => self.role_of_data(&name.split('/').collect::<Vec<_>>()),
            };
        }
        if !name.contains('/') {
            return self.role_of_data(&[name]);
        }
        let directory = component_directory(name)?;
        if !self.directories.contains(directory) {
            return None;
        }
        let below: Vec<&str> = name[directory.len() + 1..].split('/').collect();
        self.role_of_lists(&below)
            .or_else(|| self.role_of_data(&below))
    }

    /// Lists of packages and similar indexes, below a component.
    fn role_of_lists(&self, below: &[&str]) -> Option<IndexRole> {
        let selection = &self.apt.selection;
        let packages = |directory: &str| {
            let architecture = directory.strip_prefix("binary-")?;
            self.has_architecture(architecture).then(|| {
                // Clients do not request binary-all if its packages are in every other Packages.
                if architecture == "all" && self.release.all_in_every_packages {
                    (IndexKind::Packages, Presence::Optional)
                } else {
                    (IndexKind::Packages, Presence::AnyVariant)
                }
            })
        };
        let release = (IndexKind::Opaque, Presence::Optional);
        match *below {
            [directory, "Packages"] => packages(directory),
            [directory, "Release"] if packages(directory).is_some() => Some(release),
            ["debian-installer", directory, "Packages"] if selection.udebs => packages(directory),
            ["debian-installer", directory, "Release"]
                if selection.udebs && packages(directory).is_some() =>
            {
                Some(release)
            }
            ["source", "Sources"] if selection.sources => {
                Some((IndexKind::Sources, Presence::AnyVariant))
            }
            ["source", "Release"] if selection.sources => Some(release),
            [installer, .., "SHA256SUMS"] if selection.installer => {
                let architecture = installer.strip_prefix("installer-")?;
                self.has_architecture(architecture)
                    .then_some((IndexKind::OtherFiles, Presence::AnyVariant))
            }
            _ => None,
        }
    }

    /// Indexes that name no files: descriptions, contents, appstream, command-not-found.
    fn role_of_data(&self, below: &[&str]) -> Option<IndexRole> {
        let selection = &self.apt.selection;
        let is_needed = match *below {
            ["i18n", name] => name.starts_with("Translation-"),
            ["dep11", name] => {
                name.starts_with("icons-")
                    || [("Components-", ".yml"), ("CID-Index-", ".json")]
                        .iter()
                        .any(|(start, end)| {
                            name.strip_prefix(start)
                                .and_then(|rest| rest.strip_suffix(end))
                                .is_some_and(|architecture| self.has_architecture(architecture))
                        })
            }
            ["cnf", name] => name
                .strip_prefix("Commands-")
                .is_some_and(|architecture| self.has_architecture(architecture)),
            [name] => match name.strip_prefix("Contents-") {
                Some("source") => selection.sources,
                Some(rest) => match rest.strip_prefix("udeb-") {
                    Some(architecture) => selection.udebs && self.has_architecture(architecture),
                    None => self.has_architecture(rest),
                },
                None => self.layout == Layout::Flat && name.starts_with("Translation-"),
            },
            _ => false,
        };
        is_needed.then_some((IndexKind::Opaque, Presence::AnyVariant))
    }

    /// A flat repository has one Packages for all of them.
    fn has_architecture(&self, architecture: &str) -> bool {
        match self.layout {
            Layout::Flat => true,
            Layout::Dists => self.architectures.contains(&architecture),
        }
    }

    fn warn_of_missing_packages(&mut self, indexes: &[Index]) {
        let names: BTreeSet<&str> = indexes.iter().map(|index| index.name.as_str()).collect();
        for directory in &self.directories {
            for architecture in &self.architectures {
                let packages = format!("{directory}/binary-{architecture}/Packages");
                if *architecture != "all" && !names.contains(packages.as_str()) {
                    self.warnings
                        .push(format!("{}: {packages} not listed", self.file));
                }
            }
        }
    }
}

/// zstd decompresses about eight times faster than xz at nearly the same size. Uncompressed comes
/// last: it is the largest, and often listed although it does not exist.
const fn reading_order(compression: Compression) -> u8 {
    match compression {
        Compression::Zstd => 0,
        Compression::Xz => 1,
        Compression::Gzip => 2,
        Compression::Bzip2 => 3,
        Compression::Plain => 4,
    }
}

#[cfg(test)]
#[path = "indexes_tests.rs"]
mod tests;
