//! Builds the manifest of a new state, and the files that it lists besides the downloaded ones: new
//! indexes, evidence, keys.
//!
//! Besides the files of the upstream, a manifest lists the trusted keys for clients. No file of the
//! upstream may replace them: its root may be unsigned, and clients import these files.

use std::collections::BTreeMap;

use super::error::SyncError;
use super::packages::FetchedFiles;
use super::planned::{FetchedIndexes, SyncPlan};
use super::root::PinnedRoot;
use crate::digest::{ObjectId, ObjectRef};
use crate::format::{Chosen, KeyFile, Selected, Source};
use crate::manifest::{self, Built, Entry, Role, Version};
use crate::openpgp::Keyring;
use crate::rel_path::RelPath;
use crate::state::PoolSink;
use crate::storage::Storage;

/// Builds the state of a repository whose files are in the pool.
#[derive(Clone, Copy)]
pub struct StateBuilder<'a> {
    pub storage: &'a Storage,
    /// The name of the key files for clients; `None` if no keys are configured.
    pub key_name: Option<&'a RelPath>,
    pub selected: &'a dyn Selected,
    pub keyring: &'a Keyring,
    /// The manifest of the last successful sync.
    pub previous: Option<ObjectId>,
}

/// The parts of a new state that were added to the pool, except for the packages.
pub struct BuiltState {
    pub built: Built,
    /// The upstream files that the new indexes were generated from.
    pub evidence: Option<Built>,
    pub keyring: Option<ObjectId>,
    /// Indexes of the upstream that are not in the new metadata, and why.
    pub left_out: BTreeMap<String, String>,
    /// Objects that are not in the database yet.
    pub objects: Vec<ObjectRef>,
}

impl StateBuilder<'_> {
    /// Adds everything to the pool that the state lists and that was not downloaded.
    pub fn build(
        &self,
        pinned: &PinnedRoot,
        plan: &SyncPlan,
        fetched: &FetchedFiles<'_>,
    ) -> Result<BuiltState, SyncError> {
        let mut objects = Vec::new();
        let mut roots = Vec::new();
        for file in &pinned.files {
            roots.push(self.add_to_pool(&file.path, &file.bytes, file.role)?);
        }
        let mut entries = plan.indexes.clone();
        entries.extend(file_entries(plan, fetched));
        let (mut evidence, mut left_out) = (None, BTreeMap::new());
        match &plan.chosen {
            None => entries.extend(roots.iter().cloned()),
            Some(chosen) => {
                let (new, absent) = self.regenerate(pinned, &plan.upstream, chosen)?;
                objects.extend(new.iter().map(Entry::content));
                entries.extend(new);
                left_out = absent;
                let read = plan
                    .upstream
                    .pooled(&self.storage.pool)
                    .read_ones()
                    .into_iter();
                let chosen_from = roots
                    .iter()
                    .cloned()
                    .chain(read.map(|(path, content)| Entry::new(path, content, Role::Index)));
                evidence = Some(manifest::build(chosen_from.collect())?);
            }
        }
        objects.extend(roots.iter().map(Entry::content));
        for file in self.key_files(&entries)? {
            let entry = self.add_to_pool(&file.path, &file.bytes, Role::Key)?;
            objects.push(entry.content());
            entries.push(entry);
        }
        let keys = self.keyring.to_binary();
        let keyring = if keys.is_empty() {
            None
        } else {
            let Storage { pool, locks, .. } = self.storage;
            let keyring = pool.add(locks, &keys)?;
            objects.push(keyring);
            Some(keyring.object)
        };
        Ok(BuiltState {
            built: self.build_manifest(entries)?,
            evidence,
            keyring,
            left_out,
            objects,
        })
    }

    /// The manifest of these entries. If the previous manifest lists the same, it is kept, even if
    /// it has an earlier format version: nothing changed.
    fn build_manifest(&self, entries: Vec<Entry>) -> Result<Built, SyncError> {
        if let Some(previous) = self.previous {
            let version = self
                .storage
                .read(|reader| Ok(reader.manifest(previous)?.version))?;
            if version != Version::default() {
                let same = manifest::build_as(version, entries.clone())?;
                if same.id == previous {
                    return Ok(same);
                }
            }
        }
        Ok(manifest::build(entries)?)
    }

    /// Generates new indexes of the selected packages, and a root without date and signature, which
    /// are added when it is published. Returns the entries, and the indexes that were skipped.
    fn regenerate(
        &self,
        pinned: &PinnedRoot,
        upstream: &FetchedIndexes,
        chosen: &Chosen,
    ) -> Result<(Vec<Entry>, BTreeMap<String, String>), SyncError> {
        let mut sink = PoolSink {
            storage: self.storage,
            stored: Vec::new(),
        };
        let source = Source {
            root: pinned.trusted.bytes(),
            indexes: &upstream.pooled(&self.storage.pool),
            chosen,
        };
        let new = self.selected.regenerate(&[source], &mut sink)?;
        let mut entries: Vec<Entry> = new
            .indexes
            .into_iter()
            .map(|(path, content)| Entry::new(path, content, Role::Index))
            .collect();
        entries.push(self.add_to_pool(&new.root_path, &new.root, Role::Root)?);
        let left_out = new.left_out.into_iter();
        let left_out = left_out.map(|index| (index.name, index.reason)).collect();
        Ok((entries, left_out))
    }

    fn add_to_pool(&self, path: &RelPath, bytes: &[u8], role: Role) -> Result<Entry, SyncError> {
        let Storage { pool, locks, .. } = self.storage;
        Ok(Entry::new(path.clone(), pool.add(locks, bytes)?, role))
    }

    /// The trusted keys for clients. Refused if the upstream has different files in their place.
    fn key_files(&self, upstream_entries: &[Entry]) -> Result<Vec<KeyFile>, SyncError> {
        let Some(name) = self.key_name else {
            return Ok(Vec::new());
        };
        let files = self.selected.format().key_files(name, self.keyring);
        for file in &files {
            let directory = format!("{}/", file.path);
            let id = ObjectId::of(&file.bytes);
            let conflict = upstream_entries.iter().find(|entry| {
                (entry.path == file.path && entry.object != id)
                    || entry.path.as_str().starts_with(&directory)
            });
            if let Some(entry) = conflict {
                return Err(SyncError::KeyPlace {
                    path: entry.path.clone(),
                    key_file: file.path.clone(),
                });
            }
        }
        Ok(files)
    }
}

/// The files that the indexes list.
fn file_entries<'a>(
    plan: &'a SyncPlan,
    fetched: &'a FetchedFiles<'_>,
) -> impl Iterator<Item = Entry> + 'a {
    plan.files.iter().map(|file| {
        let stored = fetched
            .objects
            .get(&file.digest)
            .expect("every file of a plan was known or downloaded");
        Entry {
            path: file.path.clone(),
            object: stored.object,
            size: stored.size,
            role: if file.package.is_some() {
                Role::Package
            } else {
                Role::File
            },
            package: file.package.clone(),
        }
    })
}
