//! From a verified root to the list of files that the new state needs, and which of them are missing.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::Read;

use crate::digest::{Digest, ObjectId, ObjectRef};
use crate::format::{
    Chosen, FormatError, Index, IndexKind, Indexes, Presence, Reference, Root, Variant,
};
use crate::manifest::{Entry, Package, Role};
use crate::rel_path::RelPath;
use crate::state::PooledIndexes;
use crate::upstream::UpstreamError;

use super::fetch::Absent;
use super::planned::{Choice, Plan, Want, WantKind, failed};
use super::root::Pinned;
use super::{Session, SyncError};

impl<'a> Session<'a> {
    /// Downloads the indexes that are new and reads which files they name.
    pub(super) fn plan_from(&self, pinned: &Pinned) -> Result<Plan, SyncError> {
        let root = self.selected.open_root(&pinned.trusted)?;
        self.judge_freshness(pinned, &root)?;
        // A key that cannot be had is known before anything is downloaded, even if no root is verified with it.
        self.keyring()?;
        let mut warnings = self.keys.warnings();
        warnings.extend(pinned.warnings.iter().cloned());
        warnings.extend(root.warnings.iter().cloned());

        let mut choice = Choice {
            chosen: Chosen::default(),
            objects: HashMap::new(),
            indexes: root.indexes.clone(),
        };
        let mut missing = self.fetch_indexes(&mut choice, pinned)?;
        loop {
            let planned = self.plan_of(&choice, &root, warnings.clone());
            let error = match planned {
                Ok(plan) => return Ok(Plan { missing, ..plan }),
                Err(error) => error,
            };
            // What has its digest and not the content that it should have: another variant may.
            let Some((index, variant)) = other_than_unreadable(&choice, &error) else {
                return Err(error);
            };
            // What is damaged in the pool is no fault of the upstream's.
            if !self.pooled(&choice).is_intact(index) {
                return Err(error);
            }
            missing.insert(variant.path.to_string(), error.to_string());
            let digest = variant.digest;
            choice.objects.remove(&digest);
        }
    }

    /// The plan from indexes that are there.
    fn plan_of(
        &self,
        choice: &Choice,
        root: &Root,
        mut warnings: Vec<String>,
    ) -> Result<Plan, SyncError> {
        let pooled = self.pooled(choice);
        let absent = choice.indexes.iter();
        let absent = absent.filter_map(|index| self.refuse_absent(&pooled, index).err());
        if let Some(error) = SyncError::of_files(absent.collect(), 0) {
            return Err(error);
        }
        let taken = self.selected.choose(&pooled)?;
        warnings.extend(taken.warnings);
        let chosen = taken.chosen;
        // What was read to choose is not read again.
        let are_lists_read = taken.listed.is_some();
        let listed = taken.listed.unwrap_or_default();
        let mut architectures: BTreeSet<String> = listed.architectures;
        let mut files: BTreeMap<RelPath, Reference> = BTreeMap::new();
        for file in listed.files {
            add_file(&mut files, file)?;
        }
        let mut indexes = Vec::new();
        for index in &choice.indexes {
            self.context.storage.interrupt.check()?;
            if chosen.is_none() {
                indexes.extend(entries_of(&pooled, index));
            }
            // Deltas lead from packages to packages: where some are left out, they go.
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
                    self.refuse_objectionable(variant, packed.object)?;
                }
            }
        }
        if chosen.as_ref().is_some_and(|chosen| chosen.len() == 0) && !architectures.is_empty() {
            return Err(SyncError::NothingChosen);
        }
        for architecture in self.selected.unmatched_architectures(&architectures) {
            warnings.push(format!(
                "architecture {architecture:?} is configured, but no package has it"
            ));
        }
        let choice = chosen.map(|chosen| Choice {
            chosen,
            indexes: choice.indexes.clone(),
            objects: choice.objects.clone(),
        });
        let files: Vec<Reference> = files.into_values().collect();
        let known = self.known_objects(files.iter().map(|file| (file.digest, file.size)))?;
        refuse_size_conflicts(&files, &known)?;
        Ok(Plan {
            root_date: root.date,
            root_valid_until: root.valid_until,
            root_revision: root.revision,
            indexes,
            files,
            known,
            choice,
            missing: BTreeMap::new(),
            warnings,
        })
    }

    /// Nobody reads what is in it; how it begins may be enough.
    fn refuse_objectionable(
        &self,
        variant: &crate::format::Variant,
        object: ObjectId,
    ) -> Result<(), SyncError> {
        let mut start = Vec::new();
        let file = self.context.storage.pool.open_object(object)?;
        file.take(16).read_to_end(&mut start)?;
        match self.selected.format().reject_opaque(&start) {
            Some(what) => Err(FormatError::Malformed {
                file: variant.path.to_string(),
                what: what.to_owned(),
            }
            .into()),
            None => Ok(()),
        }
    }

    /// Gets the variants that the upstream has. What it lacks is not an error where another variant does. Returns by path what it
    /// gave otherwise than it declares.
    fn fetch_indexes(
        &self,
        choice: &mut Choice,
        pinned: &Pinned,
    ) -> Result<BTreeMap<String, String>, SyncError> {
        let indexes = &choice.indexes;
        let variants = || indexes.iter().flat_map(|index| &index.variants);
        let mut objects = self.known_objects(variants().map(|v| (v.digest, v.size)))?;
        let mut wants: Vec<Want> = Vec::new();
        let mut of_digest: HashMap<Digest, usize> = HashMap::new();
        for index in indexes {
            for variant in &index.variants {
                if objects.contains_key(&variant.digest) {
                    continue;
                }
                let want = *of_digest.entry(variant.digest).or_insert_with(|| {
                    wants.push(Want {
                        what: format!("index {}", index.name),
                        places: Vec::new(),
                        digest: variant.digest,
                        size: variant.size,
                        kind: WantKind::Other,
                    });
                    wants.len() - 1
                });
                // What has its digest in its name cannot change under us.
                let places = variant.by_hash.first().into_iter().chain([&variant.path]);
                wants[want].places.extend(places.cloned());
            }
        }
        let brought = self
            .fetcher()
            .fetch(&wants, Absent::LeftOut, &|_, _| Ok(()))?;
        objects.extend(brought.objects);
        let mut absent = brought.absent;
        for variant in indexes.iter().flat_map(|index| &index.variants) {
            if let Some(error) = self.contradiction(variant, &objects)? {
                objects.remove(&variant.digest);
                absent.insert(variant.digest, error);
            }
        }
        let left_out = judge_absent(indexes, &objects, &mut absent)?;
        // Of an upstream in change the same is seen: other bytes, or 403 where it hides what it does not have any more.
        if let Some((path, digest)) = left_out.first_key_value()
            && self.root_again()?.object != pinned.object
            && let Some(source) = absent.remove(digest)
        {
            return Err(failed(&format!("index {path}"), source));
        }
        choice.objects = objects;
        let reason = |digest| absent.get(&digest).map(ToString::to_string);
        let left_out = left_out.into_iter();
        Ok(left_out
            .filter_map(|(path, digest)| Some((path.to_string(), reason(digest)?)))
            .collect())
    }

    /// What the root declares of a file that is there beside what it was held against, and that it is not.
    fn contradiction(
        &self,
        variant: &Variant,
        objects: &HashMap<Digest, ObjectRef>,
    ) -> Result<Option<UpstreamError>, SyncError> {
        let (Some(also), Some(stored)) = (variant.also, objects.get(&variant.digest)) else {
            return Ok(None);
        };
        let object = stored.object;
        let storage = self.context.storage;
        let known = storage.read(|reader| reader.object_with(&also, self.id()))?;
        if known == Some(object) {
            return Ok(None);
        }
        let got = self
            .context
            .storage
            .pool
            .digest_of(object, also.algorithm())?;
        if got == also {
            storage.remember(|writer| writer.put_alias(&also, self.id(), object))?;
            return Ok(None);
        }
        Ok(Some(UpstreamError::Mismatch {
            url: self.upstream.shown(&variant.path),
            expected: also,
            expected_size: variant.size,
            got: Some(got),
            got_size: stored.size,
        }))
    }

    /// A choice's indexes, to be read.
    pub(super) fn pooled(&self, choice: &Choice) -> PooledIndexes<'a> {
        PooledIndexes::new(
            &self.context.storage.pool,
            choice.indexes.clone(),
            choice.objects.clone(),
        )
    }

    fn refuse_absent(&self, pooled: &PooledIndexes<'_>, index: &Index) -> Result<(), SyncError> {
        if index.presence == Presence::Optional || is_had(&pooled.all, index, &pooled.objects) {
            return Ok(());
        }
        // What is there in a compression that is not read is mirrored as it is.
        let prefix = format!("{}.", index.name);
        let foreign = pooled.all.iter().filter(|other| {
            let is_optional = other.presence == Presence::Optional;
            is_optional && other.name.starts_with(&prefix) && !pooled.present(other).is_empty()
        });
        let found: Vec<String> = foreign
            .map(|other| other.name[index.name.len()..].to_owned())
            .collect();
        if !found.is_empty() {
            // Nobody here has to read it.
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
                .map(|variant| self.upstream.shown(&variant.path))
                .collect(),
        })
    }

    fn read_index(
        &self,
        pooled: &PooledIndexes<'_>,
        index: &Index,
        each: &mut dyn FnMut(Reference) -> Result<(), SyncError>,
    ) -> Result<(), SyncError> {
        // The format's errors and ours travel the same way.
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
        match refused {
            Some(error) => Err(error),
            None => Ok(read?),
        }
    }

    /// Which of these contents need not be asked for. The store vouches for them, and their files are there.
    fn known_objects(
        &self,
        contents: impl Iterator<Item = (Digest, Option<u64>)>,
    ) -> Result<HashMap<Digest, ObjectRef>, SyncError> {
        let recorded = self.context.storage.read(|reader| {
            let mut recorded = HashMap::new();
            for (digest, _) in contents {
                if let Some(object) = reader.object_with(&digest, self.id())?
                    && let Some(record) = reader.object(object)?
                {
                    let size = record.size;
                    recorded.insert(digest, ObjectRef { object, size });
                }
            }
            Ok(recorded)
        })?;
        let mut known = HashMap::new();
        for (digest, stored) in recorded {
            if self.context.storage.pool.size_of(stored.object)? == Some(stored.size) {
                known.insert(digest, stored);
            } else {
                log::warn!(
                    "object {} is missing or damaged: it is fetched again",
                    stored.object
                );
            }
        }
        Ok(known)
    }
}

/// Whether the content of an index is there, in one of its variants or in the index that it repeats.
fn is_had(all: &[Index], index: &Index, objects: &HashMap<Digest, ObjectRef>) -> bool {
    let is_there = |index: &Index| {
        let mut variants = index.variants.iter();
        variants.any(|variant| objects.contains_key(&variant.digest))
    };
    let repeats = |other: &&Index| Some(other.name.as_str()) == index.repeats();
    is_there(index) || all.iter().filter(repeats).any(is_there)
}

/// What may be left out of what did not come, because it is not needed. It is an error where it is: the gravest of what was found
/// about the variants of an index. What is simply not there is told of when none of them is.
fn judge_absent(
    indexes: &[Index],
    objects: &HashMap<Digest, ObjectRef>,
    absent: &mut HashMap<Digest, UpstreamError>,
) -> Result<BTreeMap<RelPath, Digest>, SyncError> {
    absent.retain(|_, error| !matches!(error, UpstreamError::Missing { .. }));
    let mut left_out = BTreeMap::new();
    let mut needed: Vec<(Digest, &str)> = Vec::new();
    for index in indexes {
        let is_needed = index.presence != Presence::Optional && !is_had(indexes, index, objects);
        let mut gravest: Option<(Digest, &UpstreamError)> = None;
        for variant in &index.variants {
            let Some(error) = absent.get(&variant.digest) else {
                continue;
            };
            if !is_needed {
                left_out.insert(variant.path.clone(), variant.digest);
            } else if gravest.is_none_or(|(_, known)| error.is_more_severe_than(known)) {
                gravest = Some((variant.digest, error));
            }
        }
        if let Some((digest, _)) = gravest {
            needed.push((digest, &index.name));
        }
    }
    let failures = needed.into_iter().filter_map(|(digest, name)| {
        Some(failed(&format!("index {name}"), absent.remove(&digest)?))
    });
    match SyncError::of_files(failures.collect(), 0) {
        Some(error) => Err(error),
        None => Ok(left_out),
    }
}

/// The index and its variant that could not be read, where it has another one that is there.
fn other_than_unreadable<'c>(
    choice: &'c Choice,
    error: &SyncError,
) -> Option<(&'c Index, &'c Variant)> {
    let SyncError::Format(error) = error else {
        return None;
    };
    let (FormatError::Malformed { file, .. } | FormatError::Read { file, .. }) = error else {
        return None;
    };
    let index = choice.indexes.iter().find(|index| index.name == *file)?;
    let is_there = |variant: &&Variant| choice.objects.contains_key(&variant.digest);
    let mut there = index.variants.iter().filter(is_there);
    let (first, second) = (there.next()?, there.next());
    (error.is_about_content() && second.is_some()).then_some((index, first))
}

/// The paths of an index that is there.
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
        // Two lists may declare a file that they share by different algorithms.
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
            // Whichever of them clients believe: it can only be one.
            (Some(one), Some(other)) if *one != other && !are_sources(one, &other) => {
                return Err(SyncError::TwoContents {
                    path: file.path,
                    first: one.to_string(),
                    second: other.to_string(),
                });
            }
            // What is a package anywhere is a package, in whatever order the indexes say so.
            (None, package) => first.package = package,
            _ => {}
        }
        return Ok(());
    }
    files.insert(file.path.clone(), file);
    Ok(())
}

/// Whether both are files of APT source packages: several may be made from one tarball.
fn are_sources(one: &Package, other: &Package) -> bool {
    one.architecture == "source" && other.architecture == "source"
}

/// An index that gives a known content another size is wrong, though the content is not.
fn refuse_size_conflicts(
    files: &[Reference],
    known: &HashMap<Digest, ObjectRef>,
) -> Result<(), SyncError> {
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
