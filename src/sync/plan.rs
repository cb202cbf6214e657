//! Determines from a verified root which files the new state needs, and which of them are missing.

use std::collections::HashMap;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

use super::error::SyncError;
use super::fetch::Fetcher;
use super::indexes::{self, ObjectsInPool};
use super::planned::{FetchedIndexes, SyncPlan};
use crate::digest::{Digest, ObjectId, ObjectRef};
use crate::format::{
    Chosen, FormatError, Index, IndexKind, Indexes, Reference, Root, Selected, Variant,
};
use crate::manifest::{Entry, Role};
use crate::rel_path::RelPath;
use crate::state::PooledIndexes;

/// Plans the state of a root.
#[derive(Clone, Copy)]
pub struct Planner<'a> {
    pub fetcher: Fetcher<'a>,
    pub selected: &'a dyn Selected,
    pub indexes: ObjectsInPool,
}

/// The selected files of the indexes.
struct Contents {
    chosen: Option<Chosen>,
    /// The indexes of the upstream, if they are published.
    published: Vec<Entry>,
    files: Vec<Reference>,
    warnings: Vec<String>,
}

impl Planner<'_> {
    /// Downloads new indexes and reads which files they list. `has_root_changed` checks whether the
    /// upstream has a new root in the meantime.
    pub fn plan(
        &self,
        root: &Root,
        has_root_changed: &dyn Fn() -> Result<bool, SyncError>,
    ) -> Result<SyncPlan, SyncError> {
        let mut upstream = indexes::fetch(
            &self.fetcher,
            root.indexes.clone(),
            self.indexes,
            has_root_changed,
        )?;
        let contents = self.read_with_fallbacks(&mut upstream)?;
        let files = contents.files;
        let known = self.fetcher.known(files.iter().map(|file| file.digest))?;
        check_sizes(&files, &known)?;
        Ok(SyncPlan {
            root_date: root.date,
            root_valid_until: root.valid_until,
            root_revision: root.revision,
            indexes: contents.published,
            files,
            known,
            chosen: contents.chosen,
            upstream,
            warnings: contents.warnings,
        })
    }

    /// Reads the indexes. If a variant has the right digest but invalid content, and the index has
    /// another variant, it is skipped.
    fn read_with_fallbacks(&self, indexes: &mut FetchedIndexes) -> Result<Contents, SyncError> {
        loop {
            let error = match self.read(indexes) {
                Ok(contents) => return Ok(contents),
                Err(error) => error,
            };
            let Some(variant) = indexes::unreadable_variant(indexes, &error) else {
                return Err(error);
            };
            let (path, digest) = (variant.path.to_string(), variant.digest);
            indexes.missing.insert(path, error.to_string());
            indexes.objects.remove(&digest);
        }
    }

    /// Reads the available indexes.
    fn read(&self, indexes: &FetchedIndexes) -> Result<Contents, SyncError> {
        let pooled = indexes.pooled(&self.fetcher.storage.pool);
        let upstream = self.fetcher.upstream;
        let absent = indexes.all.iter();
        let absent =
            absent.filter_map(|index| indexes::check_available(upstream, &pooled, index).err());
        if let Some(error) = SyncError::combine(absent.collect(), 0) {
            return Err(error);
        }
        let taken = self.selected.choose(&pooled)?;
        let mut warnings = taken.warnings;
        let chosen = taken.chosen;
        // Indexes that were read for the selection are not read again.
        let are_lists_read = taken.listed.is_some();
        let listed = taken.listed.unwrap_or_default();
        let mut architectures: BTreeSet<String> = listed.architectures;
        let mut files: BTreeMap<RelPath, Reference> = BTreeMap::new();
        for file in listed.files {
            add_file(&mut files, file)?;
        }
        let mut published = Vec::new();
        for index in &indexes.all {
            self.fetcher.storage.interrupt.check()?;
            if chosen.is_none() {
                published.extend(entries_of(&pooled, index));
            }
            // Deltas connect packages: if some packages are excluded, the deltas are dropped.
            let carries_files = self.selected.format().carries_files();
            if chosen.is_some() && index.kind == IndexKind::OtherFiles && !carries_files {
                continue;
            }
            if are_lists_read && index.kind.lists_packages() {
                continue;
            }
            if index.kind.names_files() {
                self.read_index(&pooled, index, &mut |file| {
                    if let Some(package) = &file.package
                        && !architectures.contains(&package.architecture)
                    {
                        architectures.insert(package.architecture.clone());
                    }
                    add_file(&mut files, file)
                })?;
            } else {
                for (variant, packed) in pooled.present(index) {
                    self.check_opaque(variant, packed.object)?;
                }
            }
        }
        if chosen.as_ref().is_some_and(|chosen| chosen.len() == 0) && !architectures.is_empty() {
            return Err(SyncError::NoMatchingPackage);
        }
        for architecture in self.selected.unmatched_architectures(&architectures) {
            warnings.push(format!(
                "architecture {architecture:?} is configured, but no package has it"
            ));
        }
        Ok(Contents {
            chosen,
            published,
            files: files.into_values().collect(),
            warnings,
        })
    }

    /// Checks the first bytes of an index that is not parsed: clients may be unable to read it.
    fn check_opaque(&self, variant: &Variant, object: ObjectId) -> Result<(), SyncError> {
        let mut start = Vec::new();
        let pool = &self.fetcher.storage.pool;
        let file = pool.open_object(object)?;
        file.take(16).read_to_end(&mut start)?;
        let Some(what) = self.selected.format().reject_opaque(&start) else {
            return Ok(());
        };
        let path = variant.path.clone();
        Err(if pool.is_intact(object)? {
            FormatError::Malformed {
                file: path.to_string(),
                what: what.to_owned(),
            }
        } else {
            FormatError::ObjectDamaged { path, object }
        }
        .into())
    }

    fn read_index(
        &self,
        pooled: &PooledIndexes<'_>,
        index: &Index,
        each: &mut dyn FnMut(Reference) -> Result<(), SyncError>,
    ) -> Result<(), SyncError> {
        // Passes our own error through the format's error type.
        let mut refused = None;
        let read = pooled.read(index, &mut |text| {
            self.selected.read_index(index, text, &mut |file| {
                each(file).map_err(|error| {
                    let what = error.to_string();
                    refused = Some(error);
                    FormatError::Malformed {
                        file: index.name.clone(),
                        what,
                    }
                })
            })
        });
        match (read, refused) {
            (Err(damaged @ FormatError::ObjectDamaged { .. }), _) => Err(damaged.into()),
            (_, Some(error)) => Err(error),
            (read, None) => Ok(read?),
        }
    }
}

/// The paths of an available index.
fn entries_of<'p>(
    pooled: &'p PooledIndexes<'_>,
    index: &'p Index,
) -> impl Iterator<Item = Entry> + 'p {
    let present = pooled.present(index).into_iter();
    present.flat_map(|(variant, packed)| {
        let paths = std::iter::once(&variant.path).chain(&variant.by_hash);
        paths.map(move |path| Entry {
            path: path.clone(),
            object: packed.object,
            size: packed.size,
            role: Role::Index,
            package: None,
        })
    })
}

fn add_file(files: &mut BTreeMap<RelPath, Reference>, file: Reference) -> Result<(), SyncError> {
    if let Some(first) = files.get_mut(&file.path) {
        // Two indexes may declare the same file with different digest algorithms.
        let is_other = if first.digest.algorithm() == file.digest.algorithm() {
            first.digest != file.digest
        } else {
            first
                .size
                .zip(file.size)
                .is_some_and(|(one, other)| one != other)
        };
        if is_other {
            return Err(SyncError::TwoContents {
                path: file.path.clone(),
                first: first.digest.to_string(),
                second: file.digest.to_string(),
            });
        }
        match (&first.package, file.package) {
            // Clients would only accept one of them.
            (Some(one), Some(other))
                if *one != other && !(one.may_share_files() && other.may_share_files()) =>
            {
                return Err(SyncError::TwoContents {
                    path: file.path,
                    first: one.to_string(),
                    second: other.to_string(),
                });
            }
            // A file that is a package in any index is a package, in whatever order the indexes are
            // read.
            (None, package) => first.package = package,
            _ => {}
        }
        return Ok(());
    }
    files.insert(file.path.clone(), file);
    Ok(())
}

/// An index that declares a wrong size for a known object is invalid, although the object is not.
fn check_sizes(files: &[Reference], known: &HashMap<Digest, ObjectRef>) -> Result<(), SyncError> {
    for file in files {
        if let (Some(declared), Some(stored)) = (file.size, known.get(&file.digest))
            && declared != stored.size
        {
            return Err(SyncError::SizeConflict {
                path: file.path.clone(),
                digest: file.digest.to_string(),
                declared,
                actual: stored.size,
            });
        }
    }
    Ok(())
}
