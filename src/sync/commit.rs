//! The end of a sync: the manifest, and the one transaction that makes it the state.
//!
//! Beside what the upstream has, a manifest lists the trusted keys for clients. No other file of the upstream ever stands in their
//! place: its root may be unsigned, and clients import what they find there.

use std::collections::{BTreeMap, HashSet};

use crate::digest::ObjectId;
use crate::format::{KeyFile, Source};
use crate::indexes::PoolSink;
use crate::manifest::{self, Built, ChunkRef, Entry, Role};
use crate::openpgp::Keyring;
use crate::rel_path::RelPath;
use crate::store::records::{HistoryRecord, ObjectRecord, RepositoryRecord, SyncOutcome};
use crate::time::now;

use super::fetch::Fetched;
use super::packages::PackageSigner;
use super::planned::{Choice, Plan};
use super::root::Pinned;
use super::{Report, Session, SyncError};

/// How two states differ in packages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Change {
    added: u64,
    removed: u64,
}

impl Session<'_> {
    /// Makes the plan's files the repository's state.
    pub(super) fn commit(
        &self,
        pinned: &Pinned,
        plan: &Plan,
        fetched: &Fetched,
    ) -> Result<Report, SyncError> {
        let mut entries = plan.indexes.clone();
        entries.extend(named_entries(plan, fetched));
        let mut left_out = BTreeMap::new();
        match &plan.choice {
            None => {
                for file in &pinned.files {
                    entries.push(self.add_to_pool(&file.path, &file.bytes, file.role)?);
                }
            }
            Some(choice) => left_out = self.regenerate(pinned, choice, &mut entries)?,
        }
        let keyring = self.keyring()?;
        for file in self.key_files(&keyring, &entries)? {
            entries.push(self.add_to_pool(&file.path, &file.bytes, Role::Key)?);
        }
        let is_new = |entry: &&Entry| match entry.role {
            Role::Root | Role::Key => true,
            Role::Index => plan.choice.is_some(),
            Role::Package | Role::File => false,
        };
        let made: Vec<Entry> = entries.iter().filter(is_new).cloned().collect();
        let built = manifest::build(entries)?;
        let change = self.change_to(&built)?;
        self.context.storage.interrupt.check()?;
        self.context.storage.pool.flush()?;

        // Of another root, or by other settings, the same files may come out.
        let changed = self.previous.as_ref().map(|state| state.manifest) != Some(built.id);
        let package_signers = self.signers_of_packages(plan, fetched)?;
        let state = RepositoryRecord {
            left_out,
            ..self.state(pinned, plan, &built, &package_signers, &keyring)
        };
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
            signed_by: state.signed_by.clone(),
            packages_signed_by: state.packages_signed_by.keys().cloned().collect(),
            left_out: state.absent().into_keys().collect(),
        };
        let validators = self.validator_records(pinned.source.path(), &pinned.validators);
        self.context.storage.write(|writer| {
            for entry in &made {
                writer.put_object(
                    entry.object,
                    ObjectRecord {
                        size: entry.size,
                        verified_at: self.started,
                    },
                )?;
            }
            writer.put_manifest(&built)?;
            writer.put_repository(self.id(), &state)?;
            writer.put_validators(self.id(), &validators)?;
            writer.add_history(self.id(), &record)
        })?;
        let warnings = plan.warnings.iter().cloned().chain(state.warnings());
        Ok(Report {
            changed,
            warnings: warnings.collect(),
            state,
            signers: pinned.signers().to_vec(),
            package_signers,
            packages_added: change.added,
            packages_removed: change.removed,
            requests,
            bytes_downloaded,
        })
    }

    /// New indexes over the chosen packages, and a root that nobody has signed: publishing dates and signs it. Returns what is left
    /// out of them.
    fn regenerate(
        &self,
        pinned: &Pinned,
        choice: &Choice,
        entries: &mut Vec<Entry>,
    ) -> Result<BTreeMap<String, String>, SyncError> {
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
        let indexes = new.indexes.into_iter().map(|(path, packed)| Entry {
            path,
            object: packed.object,
            size: packed.size,
            role: Role::Index,
            package: None,
        });
        entries.extend(indexes);
        entries.push(self.add_to_pool(&new.root_path, &new.root, Role::Root)?);
        let left_out = new.left_out.into_iter();
        Ok(left_out.map(|index| (index.name, index.reason)).collect())
    }

    /// Nobody where packages are not checked.
    fn signers_of_packages(
        &self,
        plan: &Plan,
        fetched: &Fetched,
    ) -> Result<Vec<PackageSigner>, SyncError> {
        let Some(checks) = &fetched.checks else {
            return Ok(Vec::new());
        };
        let packages = plan.files.iter().filter(|file| file.package.is_some());
        let objects = packages.filter_map(|file| Some(fetched.objects.get(&file.digest)?.object));
        self.package_signers(checks, objects)
    }

    fn add_to_pool(&self, path: &RelPath, bytes: &[u8], role: Role) -> Result<Entry, SyncError> {
        let stored = self
            .context
            .storage
            .pool
            .add(&self.context.storage.locks, bytes)?;
        Ok(Entry {
            path: path.clone(),
            object: stored.object,
            size: stored.size,
            role,
            package: None,
        })
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

    fn state(
        &self,
        pinned: &Pinned,
        plan: &Plan,
        built: &Built,
        package_signers: &[PackageSigner],
        keyring: &Keyring,
    ) -> RepositoryRecord {
        let totals = built.manifest.totals();
        let signed_by: Vec<String> = pinned
            .signers()
            .iter()
            .map(|signer| signer.fingerprint.clone())
            .collect();
        let was_signed = self.previous.as_ref().is_some_and(|state| {
            // An explicit `off` is the administrator's word that it need not be signed any more.
            state.was_signed
                && state.upstream == self.origin
                && self.repository.trust.root != crate::config::RootCheck::Off
        });
        RepositoryRecord {
            format: self.selected.format().kind(),
            upstream: self.origin,
            selection: self.selection(keyring),
            manifest: built.id,
            root: pinned.object,
            root_date: plan.root_date,
            newest_root_date: match plan.root_date {
                Some(_) => None,
                None => self.newest_known_date(),
            },
            root_valid_until: plan.root_valid_until,
            root_revision: plan.root_revision,
            synced_at: self.started,
            checked_at: self.started,
            regenerated: plan.choice.is_some(),
            left_out: BTreeMap::new(),
            missing: plan.missing.clone(),
            was_signed: was_signed || !signed_by.is_empty(),
            signed_by,
            packages_signed_by: package_signers
                .iter()
                .map(|signer| (signer.fingerprint.clone(), signer.packages))
                .collect(),
            packages: totals.packages,
            bytes: totals.bytes,
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
            for ChunkRef { id, .. } in reader.manifest(previous.manifest)?.chunks {
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

/// The files that indexes name.
fn named_entries<'a>(plan: &'a Plan, fetched: &'a Fetched) -> impl Iterator<Item = Entry> + 'a {
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
