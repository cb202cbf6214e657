//! From a verified root to the list of files that the new state needs, and which of them are missing.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::{BufReader, Read};

use crate::digest::Digest;
use crate::format::{FormatError, Index, Presence, Reference, compression};
use crate::manifest::{Entry, Role};
use crate::pool::{BUFFER, Stored};
use crate::rel_path::RelPath;

use super::fetch::{MissingFiles, Want, WantKind};
use super::root::Pinned;
use super::{Session, SyncError};

/// What a new state consists of beside its root, and what of it is not in the pool yet.
#[derive(Debug)]
pub struct Plan {
    /// When the upstream made its root, as it says itself; seconds since the epoch.
    pub root_date: Option<i64>,
    /// Until when that root may be believed, as it says itself.
    pub root_valid_until: Option<i64>,
    /// Its number among the upstream's states, if it has one.
    pub root_revision: Option<u64>,
    /// Indexes, with the paths that they are published under. They are in the pool already.
    pub indexes: Vec<Entry>,
    /// Packages and other files that indexes name, in path order.
    pub files: Vec<Reference>,
    /// What the pool holds of `files`.
    pub known: HashMap<Digest, Stored>,
    pub warnings: Vec<String>,
}

/// What is left to download.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Missing {
    /// Different contents, which is also the number of requests if nothing fails.
    pub files: u64,
    /// As declared.
    pub bytes: u64,
}

impl Missing {
    pub fn of(wants: &[Want]) -> Self {
        // Declared sizes: any two of them may be more than a number holds.
        let sizes = wants.iter().map(|want| want.size.unwrap_or(0));
        Self {
            files: wants.len() as u64,
            bytes: sizes.fold(0, u64::saturating_add),
        }
    }
}

impl Plan {
    pub fn packages(&self) -> u64 {
        let packages = self.files.iter().filter(|file| file.package.is_some());
        packages.count() as u64
    }

    /// The files to download, each content once.
    pub fn wants(&self) -> Vec<Want> {
        let is_new = |file: &&Reference| !self.known.contains_key(&file.digest);
        let mut first: BTreeMap<Digest, &Reference> = BTreeMap::new();
        for file in self.files.iter().filter(is_new) {
            let known = first.entry(file.digest).or_insert(file);
            // Whatever else it is called: content that is a package anywhere is checked as one.
            if known.package.is_none() && file.package.is_some() {
                *known = file;
            }
        }
        let is_first = |file: &&Reference| {
            let first = first.get(&file.digest);
            first.is_some_and(|first| std::ptr::eq(*first, *file))
        };
        self.files
            .iter()
            .filter(is_first)
            .map(|file| Want {
                what: described(file),
                places: vec![file.path.clone()],
                digest: file.digest,
                size: file.size,
                kind: match file.package {
                    Some(_) => WantKind::Package,
                    None => WantKind::Other,
                },
            })
            .collect()
    }

    pub fn missing(&self) -> Missing {
        Missing::of(&self.wants())
    }
}

/// For messages.
pub fn described(file: &Reference) -> String {
    match &file.package {
        Some(package) => format!(
            "package {} {} ({})",
            package.name, package.version, package.architecture
        ),
        None => file.path.to_string(),
    }
}

impl Session<'_> {
    /// Downloads the indexes that are new and reads which files they name.
    pub(super) fn plan_from(&self, pinned: &Pinned) -> Result<Plan, SyncError> {
        let root = self.format.open_root(&pinned.trusted)?;
        self.judge_freshness(pinned, &root)?;
        // A key that cannot be had is known before anything is downloaded, even if no root is verified with it.
        self.keyring()?;
        let mut warnings = self.keys.warnings();
        warnings.extend(pinned.warnings.iter().cloned());
        warnings.extend(root.warnings);

        let objects = self.fetch_indexes(&root.indexes)?;
        let mut indexes = Vec::new();
        let mut files: BTreeMap<RelPath, Reference> = BTreeMap::new();
        let mut architectures: BTreeSet<String> = BTreeSet::new();
        for index in &root.indexes {
            self.context.interrupt.check()?;
            let present: Vec<_> = index
                .variants
                .iter()
                .filter_map(|variant| Some((variant, *objects.get(&variant.digest)?)))
                .collect();
            if present.is_empty() {
                if index.presence == Presence::Optional {
                    continue;
                }
                let tried = index
                    .variants
                    .iter()
                    .map(|variant| self.upstream.shown(&variant.path));
                return Err(SyncError::IndexMissing {
                    name: index.name.clone(),
                    tried: tried.collect(),
                });
            }
            for (variant, stored) in &present {
                let paths = std::iter::once(&variant.path).chain(&variant.by_hash);
                indexes.extend(paths.map(|path| Entry {
                    path: path.clone(),
                    object: stored.object,
                    size: stored.size,
                    role: Role::Index,
                    package: None,
                }));
            }
            if index.kind.names_files() {
                let (variant, stored) = present[0];
                self.read_index(index, variant, stored, &mut |file| {
                    if let Some(package) = &file.package
                        && !architectures.contains(&package.architecture)
                    {
                        architectures.insert(package.architecture.clone());
                    }
                    add_file(&mut files, file)
                })?;
            } else {
                for (variant, stored) in &present {
                    self.refuse_objectionable(variant, *stored)?;
                }
            }
        }
        for architecture in self.format.unmatched_architectures(&architectures) {
            warnings.push(format!(
                "architecture {architecture:?} is wished for, but no package has it"
            ));
        }
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
            warnings,
        })
    }

    /// Nobody reads what is in it; how it begins may be enough.
    fn refuse_objectionable(
        &self,
        variant: &crate::format::Variant,
        stored: Stored,
    ) -> Result<(), SyncError> {
        let mut start = Vec::new();
        let file = self.context.pool.open_object(stored.object)?;
        file.take(16).read_to_end(&mut start)?;
        match self.format.objection_to(&start) {
            Some(what) => Err(FormatError::Malformed {
                file: variant.path.to_string(),
                what: what.to_owned(),
            }
            .into()),
            None => Ok(()),
        }
    }

    /// The variants that the upstream has, by digest. What it lacks is not an error yet: another variant may do.
    fn fetch_indexes(&self, indexes: &[Index]) -> Result<HashMap<Digest, Stored>, SyncError> {
        let variants = || indexes.iter().flat_map(|index| &index.variants);
        let mut objects = self.known_objects(variants().map(|v| (v.digest, v.size)))?;
        let mut seen: BTreeSet<Digest> = BTreeSet::new();
        let wants: Vec<Want> = indexes
            .iter()
            .flat_map(|index| index.variants.iter().map(move |variant| (index, variant)))
            .filter(|(_, variant)| {
                !objects.contains_key(&variant.digest) && seen.insert(variant.digest)
            })
            .map(|(index, variant)| Want {
                what: format!("index {}", index.name),
                // What has its digest in its name cannot change under us.
                places: variant
                    .by_hash
                    .first()
                    .into_iter()
                    .chain([&variant.path])
                    .cloned()
                    .collect(),
                digest: variant.digest,
                size: variant.size,
                kind: WantKind::Other,
            })
            .collect();
        objects.extend(self.fetch(&wants, MissingFiles::AreLeftOut, None)?);
        Ok(objects)
    }

    fn read_index(
        &self,
        index: &Index,
        variant: &crate::format::Variant,
        stored: Stored,
        each: &mut dyn FnMut(Reference) -> Result<(), SyncError>,
    ) -> Result<(), SyncError> {
        let file = self.context.pool.open_object(stored.object)?;
        let file = BufReader::with_capacity(BUFFER, file);
        let read = |source| FormatError::Read {
            file: index.name.clone(),
            source,
        };
        let mut text =
            compression::IndexText::open(variant.compression, variant.open, file).map_err(read)?;
        // The format's errors and ours travel the same way.
        let mut refused = None;
        let parsed = self.format.read_index(index, &mut text, &mut |file| {
            each(file).map_err(|error| {
                let what = error.to_string();
                refused = Some(error);
                FormatError::Malformed {
                    file: index.name.clone(),
                    what,
                }
            })
        });
        if let Some(error) = refused {
            return Err(error);
        }
        parsed?;
        text.verify().map_err(|error| {
            FormatError::Malformed {
                file: index.name.clone(),
                what: error.to_string(),
            }
            .into()
        })
    }

    /// Which of these contents need not be asked for. The store vouches for them, and their files are there.
    fn known_objects(
        &self,
        contents: impl Iterator<Item = (Digest, Option<u64>)>,
    ) -> Result<HashMap<Digest, Stored>, SyncError> {
        let recorded = self.context.store.read(|reader| {
            let mut recorded = HashMap::new();
            for (digest, _) in contents {
                if let Some(object) = reader.object_with(&digest, self.id())?
                    && let Some(record) = reader.object(object)?
                {
                    let size = record.size;
                    recorded.insert(digest, Stored { object, size });
                }
            }
            Ok(recorded)
        })?;
        let mut known = HashMap::new();
        for (digest, stored) in recorded {
            if self.context.pool.size_of(stored.object)? == Some(stored.size) {
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

fn add_file(files: &mut BTreeMap<RelPath, Reference>, file: Reference) -> Result<(), SyncError> {
    if let Some(first) = files.get_mut(&file.path) {
        if first.digest != file.digest {
            return Err(SyncError::TwoContents {
                path: file.path.clone(),
                first: first.digest.to_string(),
                second: file.digest.to_string(),
            });
        }
        match (&first.package, file.package) {
            // Whichever of them clients believe: it can only be one.
            (Some(one), Some(other)) if *one != other => {
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

/// An index that gives a known content another size is wrong, though the content is not.
fn refuse_size_conflicts(
    files: &[Reference],
    known: &HashMap<Digest, Stored>,
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
