//! The end of a sync: the manifest, and the one transaction that makes it the state.
//!
//! Beside what the upstream has, a manifest lists the trusted keys for clients. No other file of the upstream ever stands in their
//! place: its root may be unsigned, and clients import what they find there.

use std::collections::{BTreeMap, HashSet};

use crate::digest::{ObjectId, ObjectRef};
use crate::format::{KeyFile, Source};
use crate::manifest::{self, Built, ChunkRef, Entry, Role, Version};
use crate::openpgp::Keyring;
use crate::rel_path::RelPath;
use crate::state::PoolSink;
use crate::storage::Storage;
use crate::store::records::{
    HistoryRecord, ObjectRecord, RepositoryRecord, RootRecord, StateRecord, SyncOutcome,
};
use crate::time::now;

use super::planned::{Choice, Plan};
use super::root::Pinned;
use super::verify::PackageSigner;
use super::{Fetched, Report, Session, SyncError};

/// How two states differ in packages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Change {
    added: u64,
    removed: u64,
}

/// What a state consists of, beside the packages, that is in the pool now.
struct Made {
    built: Built,
    /// What new indexes were made from.
    evidence: Option<Built>,
    keyring: Option<ObjectId>,
    /// Indexes of the upstream's that are not in the new ones, and why.
    left_out: BTreeMap<String, String>,
    /// Those that the store does not know yet.
    objects: Vec<ObjectRef>,
}

impl Session<'_> {
    /// Makes the plan's files the repository's state.
    pub(super) fn commit(
        &self,
        pinned: &Pinned,
        plan: &Plan,
        fetched: &Fetched<'_>,
    ) -> Result<Report, SyncError> {
        let keyring = self.keyring()?;
        let made = self.make(pinned, plan, fetched, &keyring)?;
        let change = self.change_to(&made.built)?;
        self.context.storage.interrupt.check()?;
        self.context.storage.pool.flush()?;

        let built = &made.built;
        // Of another root, or by other settings, the same files may come out.
        let before = self.previous.as_ref().map(|known| known.state.manifest);
        let changed = before != Some(built.id);
        let package_signers = signers_of_packages(plan, fetched);
        let known = self.known(pinned, plan, &made, &package_signers, &keyring);
        let state = &known.state;
        let (requests, bytes_downloaded) = self.traffic();
        let record = HistoryRecord {
            started: self.started,
            finished: now(),
            outcome: if changed {
                SyncOutcome::Changed
            } else {
                SyncOutcome::Unchanged
            },
            manifest: Some(built.id),
            root: Some(pinned.object),
            packages: state.packages,
            packages_added: change.added,
            packages_removed: change.removed,
            requests,
            bytes_downloaded,
            signed_by: state.signed_by(),
            packages_signed_by: state.packages_signed_by.keys().cloned().collect(),
            left_out: state.absent().into_keys().collect(),
        };
        let validators = self.validator_records(pinned.source.path(), &pinned.validators);
        self.context.storage.write(|writer| {
            for stored in &made.objects {
                let record = ObjectRecord {
                    size: stored.size,
                    verified_at: self.started,
                };
                writer.put_object(stored.object, record)?;
            }
            writer.put_manifest(built)?;
            if let Some(evidence) = &made.evidence {
                writer.put_manifest(evidence)?;
            }
            writer.put_repository(self.id(), &known)?;
            writer.put_validators(self.id(), self.origin, &validators)?;
            writer.add_history(self.id(), &record)
        })?;
        let warnings = plan.warnings.iter().cloned().chain(state.warnings());
        Ok(Report {
            changed,
            warnings: warnings.collect(),
            state: known.state,
            signers: pinned.signers().to_vec(),
            package_signers,
            packages_added: change.added,
            packages_removed: change.removed,
            requests,
            bytes_downloaded,
        })
    }

    /// Everything that the state names and that was not downloaded as it is.
    fn make(
        &self,
        pinned: &Pinned,
        plan: &Plan,
        fetched: &Fetched<'_>,
        keyring: &Keyring,
    ) -> Result<Made, SyncError> {
        let mut objects = Vec::new();
        let mut roots = Vec::new();
        for file in &pinned.files {
            roots.push(self.add_to_pool(&file.path, &file.bytes, file.role)?);
        }
        let mut entries = plan.indexes.clone();
        entries.extend(named_entries(plan, fetched));
        let (mut evidence, mut left_out) = (None, BTreeMap::new());
        match &plan.choice {
            None => entries.extend(roots.iter().cloned()),
            Some(choice) => {
                let (new, absent) = self.regenerate(pinned, choice)?;
                objects.extend(new.iter().map(Entry::content));
                entries.extend(new);
                left_out = absent;
                let read = self.pooled(choice).read_ones().into_iter();
                let chosen_from = roots
                    .iter()
                    .cloned()
                    .chain(read.map(|(path, content)| Entry::new(path, content, Role::Index)));
                evidence = Some(manifest::build(chosen_from.collect())?);
            }
        }
        objects.extend(roots.iter().map(Entry::content));
        for file in self.key_files(keyring, &entries)? {
            let entry = self.add_to_pool(&file.path, &file.bytes, Role::Key)?;
            objects.push(entry.content());
            entries.push(entry);
        }
        let keys = keyring.to_binary();
        let keyring = if keys.is_empty() {
            None
        } else {
            let Storage { pool, locks, .. } = self.context.storage;
            let keyring = pool.add(locks, &keys)?;
            objects.push(keyring);
            Some(keyring.object)
        };
        Ok(Made {
            built: self.build(entries)?,
            evidence,
            keyring,
            left_out,
            objects,
        })
    }

    /// The manifest of these entries. Where the previous one lists the same it stays, also if it is of an earlier version: nothing
    /// changed.
    fn build(&self, entries: Vec<Entry>) -> Result<Built, SyncError> {
        if let Some(previous) = self.previous.as_ref().map(|known| known.state.manifest) {
            let storage = self.context.storage;
            let version = storage.read(|reader| Ok(reader.manifest(previous)?.version))?;
            if version != Version::default() {
                let same = manifest::build_as(version, entries.clone())?;
                if same.id == previous {
                    return Ok(same);
                }
            }
        }
        Ok(manifest::build(entries)?)
    }

    /// New indexes over the chosen packages, and a root that nobody has signed: publishing dates and signs it. Returns them, and what
    /// is left out of them.
    fn regenerate(
        &self,
        pinned: &Pinned,
        choice: &Choice,
    ) -> Result<(Vec<Entry>, BTreeMap<String, String>), SyncError> {
        let mut sink = PoolSink {
            storage: self.context.storage,
            stored: Vec::new(),
        };
        let source = Source {
            root: pinned.trusted.bytes(),
            indexes: &self.pooled(choice),
            chosen: &choice.chosen,
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
        let Storage { pool, locks, .. } = self.context.storage;
        Ok(Entry::new(path.clone(), pool.add(locks, bytes)?, role))
    }

    /// The trusted keys for clients, as far as the upstream does not have the same files itself.
    fn key_files(&self, keyring: &Keyring, upstreams: &[Entry]) -> Result<Vec<KeyFile>, SyncError> {
        if self.repository.trust.keys.is_empty() {
            return Ok(Vec::new());
        }
        let name = &self.repository.publish.key_name;
        let files = self.selected.format().key_files(name, keyring);
        for file in &files {
            let directory = format!("{}/", file.path);
            let id = ObjectId::of(&file.bytes);
            let in_its_place = upstreams.iter().find(|entry| {
                (entry.path == file.path && entry.object != id)
                    || entry.path.as_str().starts_with(&directory)
            });
            if let Some(entry) = in_its_place {
                return Err(SyncError::KeyPlace {
                    path: entry.path.clone(),
                    key_file: file.path.clone(),
                });
            }
        }
        Ok(files)
    }

    /// What is known of the repository from now on.
    fn known(
        &self,
        pinned: &Pinned,
        plan: &Plan,
        made: &Made,
        package_signers: &[PackageSigner],
        keyring: &Keyring,
    ) -> RepositoryRecord {
        let totals = made.built.manifest.totals();
        let signers = pinned.signers().iter();
        let root = RootRecord {
            path: Some(pinned.source.path().clone()),
            object: pinned.object,
            date: plan.root_date,
            valid_until: plan.root_valid_until,
            revision: plan.root_revision,
            signed_by: signers.map(|signer| signer.fingerprint.clone()).collect(),
        };
        let was_signed = self.previous.as_ref().is_some_and(|known| {
            // An explicit `off` is the administrator's word that it need not be signed any more.
            known.was_signed
                && known.origin == self.origin
                && self.repository.trust.root != crate::config::RootCheck::Off
        });
        RepositoryRecord {
            origin: self.origin,
            selection: self.selection(keyring),
            checked_at: self.started,
            was_signed: was_signed || !root.signed_by.is_empty(),
            newest_root_date: match plan.root_date {
                Some(_) => None,
                None => self.newest_known_date(),
            },
            state: StateRecord {
                format: self.selected.format().kind(),
                manifest: made.built.id,
                roots: vec![root],
                regenerated: plan.choice.is_some(),
                evidence: made.evidence.as_ref().map(|evidence| evidence.id),
                keyring: made.keyring,
                packages_signed_by: package_signers
                    .iter()
                    .map(|signer| (signer.fingerprint.clone(), signer.packages))
                    .collect(),
                left_out: made.left_out.clone(),
                missing: plan.missing.clone(),
                packages: totals.packages,
                bytes: totals.bytes,
                synced_at: self.started,
            },
        }
    }

    /// Compares with the previous state; chunks that both have are not read.
    fn change_to(&self, built: &Built) -> Result<Change, SyncError> {
        let Some(previous) = &self.previous else {
            return Ok(Change {
                added: built.manifest.totals().packages,
                removed: 0,
            });
        };
        let new: HashSet<ObjectId> = built.manifest.chunks.iter().map(|chunk| chunk.id).collect();
        let mut gone: HashSet<(String, ObjectId)> = HashSet::new();
        let mut shared: HashSet<ObjectId> = HashSet::new();
        self.context.storage.read(|reader| {
            for ChunkRef { id, .. } in reader.manifest(previous.state.manifest)?.chunks {
                if new.contains(&id) {
                    shared.insert(id);
                } else {
                    gone.extend(packages(reader.chunk(id)?));
                }
            }
            Ok(())
        })?;
        let mut change = Change::default();
        for (id, encoded) in &built.chunks {
            if shared.contains(id) {
                continue;
            }
            for package in packages(manifest::decode_chunk(encoded)?) {
                if !gone.remove(&package) {
                    change.added += 1;
                }
            }
        }
        change.removed = gone.len() as u64;
        Ok(change)
    }
}

/// Empty where packages are not checked.
fn signers_of_packages(plan: &Plan, fetched: &Fetched<'_>) -> Vec<PackageSigner> {
    let Some(checks) = &fetched.checks else {
        return Vec::new();
    };
    let packages = plan.files.iter().filter(|file| file.package.is_some());
    checks.signers(packages.filter_map(|file| Some(fetched.objects.get(&file.digest)?.object)))
}

/// The files that indexes name.
fn named_entries<'a>(plan: &'a Plan, fetched: &'a Fetched<'_>) -> impl Iterator<Item = Entry> + 'a {
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

fn packages(entries: Vec<Entry>) -> impl Iterator<Item = (String, ObjectId)> {
    entries
        .into_iter()
        .filter(|entry| entry.package.is_some())
        .map(|entry| (entry.path.as_str().to_owned(), entry.object))
}
