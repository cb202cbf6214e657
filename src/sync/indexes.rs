//! Fetches the indexes of a root in every variant that the upstream has, and decides which missing
//! variants are acceptable.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::error::SyncError;
use super::fetch::{Fetcher, OnMissing};
use super::planned::{FetchedIndexes, FileKind, WantedFile, download_error};
use crate::digest::{Digest, ObjectRef};
use crate::format::{FormatError, Index, IndexKind, Indexes, Presence, Variant};
use crate::rel_path::RelPath;
use crate::state::PooledIndexes;
use crate::upstream::{Upstream, UpstreamError};

/// Whether the bytes of indexes in the pool are compared with their digests before they are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ObjectsInPool {
    /// They were, when they were stored.
    AreKnown,
    /// One of them was found to be damaged: all are read, and what is damaged is downloaded again.
    AreRead,
}

/// Downloads the variants that the upstream has. A missing one is not an error if another one has
/// the content. `has_root_changed` checks whether the upstream has a new root in the meantime.
pub fn fetch(
    fetcher: &Fetcher<'_>,
    indexes: Vec<Index>,
    in_pool: ObjectsInPool,
    has_root_changed: &dyn Fn() -> Result<bool, SyncError>,
) -> Result<FetchedIndexes, SyncError> {
    let variants = || indexes.iter().flat_map(|index| &index.variants);
    let mut objects = fetcher.known(variants().map(|variant| variant.digest))?;
    if in_pool == ObjectsInPool::AreRead {
        let pool = &fetcher.storage.pool;
        let mut damaged = HashSet::new();
        for (digest, stored) in &objects {
            if pool.adopt(stored.object)?.is_none() {
                damaged.insert(*digest);
            }
        }
        objects.retain(|digest, _| !damaged.contains(digest));
    }
    let mut wants: Vec<WantedFile> = Vec::new();
    let mut of_digest: HashMap<Digest, usize> = HashMap::new();
    for index in &indexes {
        for variant in &index.variants {
            if objects.contains_key(&variant.digest) {
                continue;
            }
            let want = *of_digest.entry(variant.digest).or_insert_with(|| {
                wants.push(WantedFile {
                    what: format!("index {}", index.name),
                    places: Vec::new(),
                    digest: variant.digest,
                    size: variant.size,
                    kind: FileKind::Other,
                });
                wants.len() - 1
            });
            // A file with its digest in its name cannot change during the sync.
            let places = variant.by_hash.first().into_iter().chain([&variant.path]);
            wants[want].places.extend(places.cloned());
        }
    }
    let downloaded = fetcher.fetch(&wants, OnMissing::Skip, &|_, _| Ok(()))?;
    objects.extend(downloaded.objects);
    let mut absent = downloaded.absent;
    for variant in variants() {
        if let Some(error) = check_second_digest(fetcher, variant, &objects)? {
            objects.remove(&variant.digest);
            absent.insert(variant.digest, error);
        }
    }
    let left_out = check_missing(&indexes, &objects, &mut absent)?;
    // An upstream that is changing looks the same: different bytes, or status 403 for files that it
    // no longer has.
    if let Some((path, digest)) = left_out.first_key_value()
        && has_root_changed()?
        && let Some(source) = absent.remove(digest)
    {
        return Err(download_error(&format!("index {path}"), source));
    }
    let reason = |digest| absent.get(&digest).map(ToString::to_string);
    let left_out = left_out.into_iter();
    let missing = left_out
        .filter_map(|(path, digest)| Some((path.to_string(), reason(digest)?)))
        .collect();
    Ok(FetchedIndexes {
        all: indexes,
        objects,
        missing,
    })
}

/// Checks a downloaded file against a second digest in the root; returns the error if it does not
/// match.
fn check_second_digest(
    fetcher: &Fetcher<'_>,
    variant: &Variant,
    objects: &HashMap<Digest, ObjectRef>,
) -> Result<Option<UpstreamError>, SyncError> {
    let (Some(also), Some(stored)) = (variant.also, objects.get(&variant.digest)) else {
        return Ok(None);
    };
    let object = stored.object;
    let storage = fetcher.storage;
    let known = storage.read(|reader| reader.object_with(&also, fetcher.repository))?;
    if known == Some(object) {
        return Ok(None);
    }
    let got = storage.pool.digest_of(object, also.algorithm())?;
    let got = got.ok_or_else(|| FormatError::ObjectDamaged {
        path: variant.path.clone(),
        object,
    })?;
    if got == also {
        storage.remember(|writer| writer.put_alias(&also, fetcher.repository, object))?;
        return Ok(None);
    }
    Ok(Some(UpstreamError::Mismatch {
        url: fetcher.upstream.shown(&variant.path),
        expected: also,
        expected_size: variant.size,
        got: Some(got),
        got_size: stored.size,
    }))
}

/// A required index must be available in one of its compressions.
pub fn check_available(
    upstream: &Upstream,
    pooled: &PooledIndexes<'_>,
    index: &Index,
) -> Result<(), SyncError> {
    if index.presence == Presence::Optional || is_available(&pooled.all, index, &pooled.objects) {
        return Ok(());
    }
    // Variants in an unsupported compression are mirrored unchanged.
    let prefix = format!("{}.", index.name);
    let foreign = pooled.all.iter().filter(|other| {
        let is_optional = other.presence == Presence::Optional;
        is_optional && other.name.starts_with(&prefix) && !pooled.present(other).is_empty()
    });
    let found: Vec<String> = foreign
        .map(|other| other.name[index.name.len()..].to_owned())
        .collect();
    if !found.is_empty() {
        // This index does not have to be read.
        if index.kind == IndexKind::Opaque {
            return Ok(());
        }
        return Err(FormatError::Compression {
            file: "the root".to_owned(),
            name: index.name.clone(),
            found,
        }
        .into());
    }
    let variants = index.variants.iter();
    Err(SyncError::IndexMissing {
        name: index.name.clone(),
        tried: variants
            .map(|variant| upstream.shown(&variant.path))
            .collect(),
    })
}

/// Whether the content of an index is available, in one of its variants or in the index that it
/// duplicates.
fn is_available(all: &[Index], index: &Index, objects: &HashMap<Digest, ObjectRef>) -> bool {
    let is_there = |index: &Index| {
        let mut variants = index.variants.iter();
        variants.any(|variant| objects.contains_key(&variant.digest))
    };
    let repeats = |other: &&Index| Some(other.name.as_str()) == index.repeats();
    is_there(index) || all.iter().filter(repeats).any(is_there)
}

/// Which of the missing variants can be skipped because they are not needed. If an index is needed,
/// the most severe error of its variants is returned. Variants that simply do not exist are
/// reported only if the index has none.
fn check_missing(
    indexes: &[Index],
    objects: &HashMap<Digest, ObjectRef>,
    absent: &mut HashMap<Digest, UpstreamError>,
) -> Result<BTreeMap<RelPath, Digest>, SyncError> {
    absent.retain(|_, error| !matches!(error, UpstreamError::Missing { .. }));
    let mut left_out = BTreeMap::new();
    let mut needed: Vec<(Digest, &str)> = Vec::new();
    for index in indexes {
        let is_needed =
            index.presence != Presence::Optional && !is_available(indexes, index, objects);
        let mut worst: Option<(Digest, &UpstreamError)> = None;
        for variant in &index.variants {
            let Some(error) = absent.get(&variant.digest) else {
                continue;
            };
            if !is_needed {
                left_out.insert(variant.path.clone(), variant.digest);
            } else if worst.is_none_or(|(_, known)| error.is_more_severe_than(known)) {
                worst = Some((variant.digest, error));
            }
        }
        if let Some((digest, _)) = worst {
            needed.push((digest, &index.name));
        }
    }
    let failures = needed.into_iter().filter_map(|(digest, name)| {
        Some(download_error(
            &format!("index {name}"),
            absent.remove(&digest)?,
        ))
    });
    match SyncError::combine(failures.collect(), 0) {
        Some(error) => Err(error),
        None => Ok(left_out),
    }
}

/// The variant that could not be read, if the index has another one.
pub fn unreadable_variant<'c>(
    indexes: &'c FetchedIndexes,
    error: &SyncError,
) -> Option<&'c Variant> {
    let SyncError::Format(error) = error else {
        return None;
    };
    let (FormatError::Malformed { file, .. } | FormatError::Read { file, .. }) = error else {
        return None;
    };
    let index = indexes.all.iter().find(|index| index.name == *file)?;
    let is_there = |variant: &&Variant| indexes.objects.contains_key(&variant.digest);
    let mut there = index.variants.iter().filter(is_there);
    let (first, second) = (there.next()?, there.next());
    (error.is_about_content() && second.is_some()).then_some(first)
}
