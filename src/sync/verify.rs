//! Verifies the signatures inside packages when they enter the pool, once per object and keyring;
//! the results are recorded in the database.
//!
//! - A new package is read again by the thread that downloaded it, while it is still in the page
//!   cache.
//! - A valid signature is not enough: the package must be the one that the index lists, otherwise
//!   an old package with known vulnerabilities could replace a new one.
//! - All refused packages are reported together.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::digest::{Digest, ObjectId, ObjectRef};
use crate::format::{Format, Identity, PackageError, Reference};
use crate::openpgp::Keyring;
use crate::progress::Progress;
use crate::storage::Storage;
use crate::store::records::PackageRecord;
use crate::terminal::escape;
use crate::threads::lock;

use super::error::SyncError;
use super::failures::Failures;
use super::fetch::Workers;

/// After this many results, they are recorded in the database.
const CHECKPOINT_VERDICTS: usize = 5000;

/// Verifies packages with one keyring.
pub struct PackageChecks<'a> {
    storage: &'a Storage,
    format: &'static dyn Format,
    keyring: Arc<Keyring>,
    keyring_id: ObjectId,
    /// The time at which the keys must be valid; seconds since the epoch.
    at: i64,
    verdicts: Mutex<Verdicts>,
}

#[derive(Default)]
struct Verdicts {
    verified: HashMap<ObjectId, VerifiedPackage>,
    /// Objects of `verified` that are not recorded in the database yet.
    unrecorded: Vec<ObjectId>,
}

/// A package with a valid signature.
#[derive(Clone, Debug)]
struct VerifiedPackage {
    /// Fingerprints of the primary keys that signed it.
    signed_by: Vec<String>,
    identity: Identity,
}

/// A key that signed packages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackageSigner {
    /// Of the primary key, uppercase hexadecimal.
    pub fingerprint: String,
    /// As the owner of the key wrote it: escape it for a terminal.
    pub user_id: Option<String>,
    /// Number of packages of the state that it signed.
    pub packages: u64,
}

impl From<PackageRecord> for VerifiedPackage {
    fn from(record: PackageRecord) -> Self {
        Self {
            signed_by: record.signed_by,
            identity: Identity {
                name: record.name,
                version: record.version,
                architectures: record.architectures,
            },
        }
    }
}

impl From<&VerifiedPackage> for PackageRecord {
    fn from(checked: &VerifiedPackage) -> Self {
        let identity = checked.identity.clone();
        Self {
            signed_by: checked.signed_by.clone(),
            name: identity.name,
            version: identity.version,
            architectures: identity.architectures,
        }
    }
}

impl<'a> PackageChecks<'a> {
    pub fn new(
        storage: &'a Storage,
        format: &'static dyn Format,
        keyring: Arc<Keyring>,
        at: i64,
    ) -> Self {
        Self {
            storage,
            format,
            keyring_id: keyring.id(),
            keyring,
            at,
            verdicts: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Verdicts> {
        lock(&self.verdicts)
    }

    /// Loads the recorded results for these objects.
    fn load_verdicts(&self, objects: impl Iterator<Item = ObjectId>) -> Result<(), SyncError> {
        self.lock().verified = self.storage.read(|reader| {
            let mut verified = HashMap::new();
            for object in objects {
                if let Some(record) = reader.package(object, self.keyring_id)? {
                    verified.insert(object, record.into());
                }
            }
            Ok(verified)
        })?;
        Ok(())
    }

    fn has_verified(&self, object: ObjectId) -> bool {
        self.lock().verified.contains_key(&object)
    }

    /// Verifies packages that are already in the pool. Returns the digests of damaged files, which
    /// are not known any more.
    pub fn check_known(
        &self,
        packages: &[(&Reference, ObjectRef)],
        work: KnownPackageCheck<'_>,
    ) -> Result<Vec<Digest>, SyncError> {
        let KnownPackageCheck {
            workers,
            progress,
            label,
            describe,
            failures,
        } = work;
        self.load_verdicts(packages.iter().map(|(_, stored)| stored.object))?;
        let mut seen = HashSet::new();
        let unchecked: Vec<_> = packages
            .iter()
            .filter(|(_, stored)| seen.insert(stored.object) && !self.has_verified(stored.object))
            .collect();
        let bytes = unchecked.iter().map(|(_, stored)| stored.size).sum();
        failures.count_checked((packages.len() - unchecked.len()) as u64);
        let progress = progress.downloads(&label, unchecked.len() as u64, bytes);
        let damaged: Mutex<Vec<Digest>> = Mutex::default();
        let checked = workers.in_parallel(&unchecked, |(file, stored)| {
            let active = progress.file(&escape(file.path.file_name()), Some(stored.size));
            let verdict = self.verify(&describe(file), stored.object)?;
            active.add(stored.size);
            active.done();
            if verdict.is_err() && self.storage.pool.adopt(stored.object)?.is_none() {
                lock(&damaged).push(file.digest);
                return Ok(());
            }
            failures.count_checked(1);
            match verdict {
                Ok(()) => Ok(()),
                Err(what) => failures.report(SyncError::PackageRefused { what }),
            }
        });
        progress.finish();
        self.record()?;
        // The remaining files may have failures, too: these are reported together.
        if checked.is_err() {
            failures.conclude_with(checked)?;
        }
        Ok(damaged.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    /// Verifies a package in the pool; `what` is its name in messages.
    pub fn check(&self, what: &str, object: ObjectId) -> Result<(), SyncError> {
        let verdict = self.verify(what, object)?;
        verdict.map_err(|what| SyncError::PackageRefused { what })
    }

    /// Verifies a package in the pool; the inner `Err` is the message why it is refused.
    fn verify(&self, what: &str, object: ObjectId) -> Result<Result<(), String>, SyncError> {
        self.storage.interrupt.check()?;
        let mut file = self.storage.pool.open_object(object)?;
        let inside = match self.format.read_package_header(&mut file) {
            Ok(inside) => inside,
            Err(PackageError::Io(error)) => return Err(error.into()),
            Err(error) => return Ok(Err(format!("{what}: {error}"))),
        };
        let signers = match self
            .keyring
            .verify_hashed(&inside.signatures, what, self.at)
        {
            Ok(signers) => signers,
            Err(error) => return Ok(Err(error.to_string())),
        };
        let mut signed_by: Vec<String> = Vec::new();
        for signer in signers {
            if !signed_by.contains(&signer.fingerprint) {
                signed_by.push(signer.fingerprint);
            }
        }
        let identity = inside.identity;
        let mut verdicts = self.lock();
        let checked = VerifiedPackage {
            signed_by,
            identity,
        };
        verdicts.verified.insert(object, checked);
        verdicts.unrecorded.push(object);
        if verdicts.unrecorded.len() >= CHECKPOINT_VERDICTS {
            drop(verdicts);
            self.record()?;
        }
        Ok(Ok(()))
    }

    /// Records the results so far.
    pub fn record(&self) -> Result<(), SyncError> {
        let records: Vec<_> = {
            let mut verdicts = self.lock();
            let unrecorded = std::mem::take(&mut verdicts.unrecorded);
            unrecorded
                .into_iter()
                .filter_map(|object| {
                    let record = PackageRecord::from(verdicts.verified.get(&object)?);
                    Some((object, record))
                })
                .collect()
        };
        if records.is_empty() {
            return Ok(());
        }
        self.storage.remember(|writer| {
            for (object, record) in &records {
                writer.put_package(*object, self.keyring_id, record)?;
            }
            Ok(())
        })?;
        Ok(())
    }

    /// Checks that every package was verified, and is the one that the index lists.
    pub fn check_identities<'f>(
        &self,
        packages: impl Iterator<Item = (&'f Reference, ObjectRef)>,
        describe: Describe<'_>,
        failures: &Failures,
    ) -> Result<(), SyncError> {
        for (file, stored) in packages {
            let Some(package) = &file.package else {
                continue;
            };
            let why = match self.lock().verified.get(&stored.object) {
                Some(checked) if checked.identity.is(package) => continue,
                Some(checked) => format!("the package file contains {}", checked.identity),
                None => "not verified".to_owned(),
            };
            let what = format!("{}: {why}", describe(file));
            failures.add(SyncError::PackageRefused { what });
        }
        failures.conclude()
    }

    /// The keys that signed these packages, with the number of packages for each.
    pub fn signers(&self, packages: impl Iterator<Item = ObjectId>) -> Vec<PackageSigner> {
        let verdicts = self.lock();
        let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
        for object in packages {
            let checked = verdicts.verified.get(&object);
            for fingerprint in checked.iter().flat_map(|checked| &checked.signed_by) {
                *counts.entry(fingerprint).or_default() += 1;
            }
        }
        let keys = self.keyring.keys(self.at);
        let signers = counts.into_iter().map(|(fingerprint, packages)| {
            let key = keys.iter().find(|key| key.fingerprint == fingerprint);
            PackageSigner {
                fingerprint: fingerprint.to_owned(),
                user_id: key.and_then(|key| key.user_id.clone()),
                packages,
            }
        });
        signers.collect()
    }
}

/// Names a file in messages.
pub type Describe<'a> = &'a (dyn Fn(&Reference) -> String + Sync);

/// Parameters of the verification of known packages.
pub struct KnownPackageCheck<'w> {
    pub workers: Workers<'w>,
    pub progress: &'w Progress,
    pub label: String,
    pub describe: Describe<'w>,
    pub failures: &'w Failures,
}
