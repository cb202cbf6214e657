//! From roots to indexes, and from indexes to the files that they list.

use std::collections::{BTreeMap, HashMap};
use std::io::BufReader;

use crate::digest::{Digest, ObjectId, ObjectRef};
use crate::format::{self, FormatError, Index, Reference, Variant};
use crate::manifest::Entry;
use crate::pool::BUFFER;
use crate::rel_path::RelPath;
use crate::store::StoreError;

use super::finding::Damage;
use super::listing::{Listed, Listing};
use super::proof::{ProblemKind, Proof, ProofError};
use super::roots::OpenRoot;
use super::source::{HashingReader, ProofSource, digest_of};

/// An index with one of its files in the manifest.
pub struct PresentIndex<'r> {
    root: &'r OpenRoot,
    index: &'r Index,
    variant: &'r Variant,
    entry: Entry,
}

/// Whether everything that the indexes list must be in the manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Completeness {
    Required,
    /// The packages were chosen from the indexes.
    Selection,
}

/// Whether all indexes could be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    Complete,
    /// What is not listed in the others cannot be judged.
    Partial,
}

/// Compares the indexes of a manifest with the roots. Returns those that list files, and the
/// entries that are in no root: another index may list them.
pub fn check_indexes<'r>(
    source: &dyn ProofSource,
    roots: &'r [OpenRoot],
    entries: &[Entry],
    proof: &mut Proof,
) -> Result<(Vec<PresentIndex<'r>>, Vec<Entry>), ProofError> {
    let known = named_by(roots);
    // By the numbers of root and index: several indexes may have the same name.
    let mut present: BTreeMap<(usize, usize), PresentIndex<'r>> = BTreeMap::new();
    let mut others = Vec::new();
    for entry in entries {
        source.interrupted()?;
        let Some(named) = known.get(&entry.path) else {
            others.push(entry.clone());
            continue;
        };
        for Named {
            place,
            root,
            index,
            variant,
        } in named
        {
            let declared = std::iter::once(variant.digest).chain(variant.also);
            let mut is_good = true;
            for declared in declared {
                match matches(source, &declared, entry.content())? {
                    Ok(true) => {}
                    Ok(false) => {
                        is_good = false;
                        let what = format!(
                            "the root lists {declared}, the manifest object {}",
                            entry.object
                        );
                        proof.problem(ProblemKind::Index, Some(&entry.path), what);
                    }
                    Err(damage) => {
                        is_good = false;
                        proof.damage(entry, damage);
                    }
                }
            }
            if !is_good || !index.kind.names_files() {
                continue;
            }
            let cost = |variant: &Variant| variant.compression.cost_of_reading();
            if present
                .get(place)
                .is_none_or(|other| cost(variant) < cost(other.variant))
            {
                let entry = entry.clone();
                let (root, index, variant) = (*root, *index, *variant);
                present.insert(
                    *place,
                    PresentIndex {
                        root,
                        index,
                        variant,
                        entry,
                    },
                );
            }
        }
    }
    Ok((present.into_values().collect(), others))
}

/// A file that a root names.
struct Named<'r> {
    /// The numbers of the root and the index.
    place: (usize, usize),
    root: &'r OpenRoot,
    index: &'r Index,
    variant: &'r Variant,
}

fn named_by(roots: &[OpenRoot]) -> HashMap<&RelPath, Vec<Named<'_>>> {
    let mut named: HashMap<&RelPath, Vec<Named<'_>>> = HashMap::new();
    for (root_number, root) in roots.iter().enumerate() {
        for (number, index) in root.root.indexes.iter().enumerate() {
            for variant in &index.variants {
                for path in std::iter::once(&variant.path).chain(&variant.by_hash) {
                    named.entry(path).or_default().push(Named {
                        place: (root_number, number),
                        root,
                        index,
                        variant,
                    });
                }
            }
        }
    }
    named
}

/// Marks the files that the indexes list.
pub fn match_files(
    source: &dyn ProofSource,
    present: &[PresentIndex<'_>],
    files: &mut Listing,
    completeness: Completeness,
    proof: &mut Proof,
) -> Result<Reading, ProofError> {
    let mut reading = Reading::Complete;
    for index in present {
        source.interrupted()?;
        let mut matching = Matching {
            index: &index.index.name,
            files,
            completeness,
            pending: Vec::new(),
            proof,
        };
        match read(source, index, &mut |reference| matching.judge(reference)) {
            Ok(()) => matching.judge_pending(source)?,
            Err(Unread::Damaged(damage)) => {
                reading = Reading::Partial;
                proof.damage(&index.entry, damage);
            }
            Err(Unread::Format(error)) => {
                reading = Reading::Partial;
                proof.problem(
                    ProblemKind::Index,
                    Some(&index.entry.path),
                    error.to_string(),
                );
            }
        }
    }
    Ok(reading)
}

/// Adds a problem for each file that no index lists.
pub fn report_unlisted(
    source: &dyn ProofSource,
    manifest: ObjectId,
    files: &mut Listing,
    by: &str,
    proof: &mut Proof,
) -> Result<(), StoreError> {
    let is_missing = |listed| matches!(listed, Listed::No | Listed::AsOther);
    if !files.all().any(|file| is_missing(file.listed)) {
        return Ok(());
    }
    source.each_entry(manifest, &mut |entry| {
        let listed = files.find(&entry.path).map(|file| file.listed);
        let what = match listed {
            Some(Listed::No) => format!("not listed in {by}"),
            Some(Listed::AsOther) => format!("listed in {by} as another package"),
            Some(Listed::Yes | Listed::Reported) | None => return,
        };
        proof.problem(ProblemKind::Unlisted, Some(&entry.path), what);
    })
}

enum Unread {
    Damaged(Damage),
    Format(FormatError),
}

/// Reads an index from its object, whose digest is compared with its name.
fn read(
    source: &dyn ProofSource,
    present: &PresentIndex<'_>,
    each: &mut dyn FnMut(Reference),
) -> Result<(), Unread> {
    let PresentIndex {
        root,
        index,
        variant,
        entry,
    } = present;
    let file = source.open(entry.object);
    let file = file.map_err(|error| Unread::Damaged(Damage::of_error(&error)))?;
    let mut packed = HashingReader::new(file);
    let buffered = BufReader::with_capacity(BUFFER, &mut packed);
    let read = format::read_text(&index.name, variant, buffered, |text| {
        root.selected.read_index(index, text, &mut |reference| {
            each(reference);
            Ok::<_, FormatError>(())
        })
    });
    packed.finish(entry.content()).map_err(Unread::Damaged)?;
    read.map_err(Unread::Format)
}

/// Compares what one index lists with the files of a manifest.
struct Matching<'a> {
    index: &'a str,
    files: &'a mut Listing,
    completeness: Completeness,
    /// References with a digest that does not name an object.
    pending: Vec<Reference>,
    proof: &'a mut Proof,
}

impl Matching<'_> {
    fn judge(&mut self, reference: Reference) {
        let Some(file) = self.files.find(&reference.path) else {
            if self.completeness == Completeness::Required {
                let what = format!("listed in {}, but not in the manifest", self.index);
                self.proof
                    .problem(ProblemKind::Absent, Some(&reference.path), what);
            }
            return;
        };
        match reference.digest.object_id() {
            Some(object) => {
                let is_same = object == file.content.object;
                self.conclude(&reference, is_same);
            }
            None => self.pending.push(reference),
        }
    }

    fn judge_pending(&mut self, source: &dyn ProofSource) -> Result<(), ProofError> {
        let pending = std::mem::take(&mut self.pending);
        let digests: Vec<Digest> = pending.iter().map(|reference| reference.digest).collect();
        let known = match source.objects_with(&digests) {
            Ok(known) => known,
            // A damaged alias only costs time.
            Err(error) => {
                self.proof.row(error)?;
                vec![None; digests.len()]
            }
        };
        for (reference, known) in pending.iter().zip(known) {
            let Some(content) = self.files.find(&reference.path).map(|file| file.content) else {
                continue;
            };
            if known == Some(content.object) {
                self.conclude(reference, true);
                continue;
            }
            source.interrupted()?;
            match digest_of(source, content, reference.digest.algorithm()) {
                Ok(digest) => self.conclude(reference, digest == reference.digest),
                Err(damage) => {
                    self.proof.damage_of(content, Some(&reference.path), damage);
                    self.mark_reported(reference);
                }
            }
        }
        Ok(())
    }

    fn conclude(&mut self, reference: &Reference, is_same: bool) {
        let Some(file) = self.files.find(&reference.path) else {
            return;
        };
        let ObjectRef { object, size } = file.content;
        let is_size_wrong = reference.size.is_some_and(|declared| declared != size);
        if is_same && !is_size_wrong {
            file.note(reference);
            return;
        }
        let what = if is_same {
            format!("{} lists another size than {size} bytes", self.index)
        } else {
            format!(
                "{} lists {}, the manifest object {object}",
                self.index, reference.digest
            )
        };
        self.proof
            .problem(ProblemKind::Unlisted, Some(&reference.path), what);
        self.mark_reported(reference);
    }

    fn mark_reported(&mut self, reference: &Reference) {
        if let Some(file) = self.files.find(&reference.path) {
            file.listed = Listed::Reported;
        }
    }
}

/// Whether an object has a declared digest.
fn matches(
    source: &dyn ProofSource,
    declared: &Digest,
    content: ObjectRef,
) -> Result<Result<bool, Damage>, ProofError> {
    if let Some(object) = declared.object_id() {
        return Ok(Ok(object == content.object));
    }
    let known = source.objects_with(&[*declared]);
    // A damaged row only costs time; the check of the database reports it.
    if known.is_ok_and(|known| known == [Some(content.object)]) {
        return Ok(Ok(true));
    }
    source.interrupted()?;
    let digest = digest_of(source, content, declared.algorithm());
    Ok(digest.map(|digest| digest == *declared))
}
