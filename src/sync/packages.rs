//! Packages that are signed inside are verified when they enter the pool, once per object and keyring; the store remembers
//! the verdicts.
//!
//! A package that came just now is read again while it is still in the page cache, by the thread that downloaded it. One
//! that is refused is reported together with others: whoever has to look wants to know of all of them, not of one a day.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::config::PackageCheck;
use crate::digest::ObjectId;
use crate::format::{PackageError, Reference};
use crate::openpgp::{Keyring, Signer, VerifyError};
use crate::pool::Stored;
use crate::rel_path::RelPath;
use crate::terminal::escape;

use super::plan::{Plan, described};
use super::{Session, SyncError};

/// After so many refused packages the others are not looked at.
pub(super) const REFUSED_MAX: usize = 10;
/// After so many verdicts the store is told.
const CHECKPOINT_VERDICTS: usize = 5000;

/// Fingerprints of the primary keys that signed a package; the same for thousands of packages.
pub type SignedBy = Arc<[String]>;

/// That an object is a good package by the keys of a keyring.
#[derive(Clone, Debug)]
struct Verdict {
    object: ObjectId,
    keyring: ObjectId,
    signed_by: SignedBy,
}

/// The verification of one state's packages.
pub struct PackageChecks {
    /// The keys as they were at its start.
    keyring: Arc<Keyring>,
    keyring_id: ObjectId,
    found: Mutex<Found>,
}

#[derive(Default)]
struct Found {
    signers: HashMap<ObjectId, SignedBy>,
    unrecorded: Vec<Verdict>,
    /// Messages.
    refused: Vec<String>,
}

/// A key that signed packages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackageSigner {
    /// Of the primary key, uppercase hexadecimal.
    pub fingerprint: String,
    /// As the key's owner wrote it: escape it before it reaches a terminal.
    pub user_id: Option<String>,
    /// How many packages of the state it signed.
    pub packages: u64,
}

impl PackageChecks {
    fn lock(&self) -> MutexGuard<'_, Found> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn id_of(&self, keyring: &Keyring) -> ObjectId {
        if std::ptr::eq(keyring, self.keyring.as_ref()) {
            self.keyring_id
        } else {
            keyring.id()
        }
    }
}

impl Session<'_> {
    /// Prepares the verification of a plan's packages, and verifies those that are in the pool already. `None` when the
    /// configuration leaves packages unchecked.
    pub(super) fn check_known_packages(
        &self,
        plan: &Plan,
    ) -> Result<Option<PackageChecks>, SyncError> {
        if self.repository.trust.packages == PackageCheck::Off {
            return Ok(None);
        }
        let keyring = self.keyring()?;
        let checks = PackageChecks {
            keyring_id: keyring.id(),
            keyring,
            found: Mutex::default(),
        };
        let mut seen = HashSet::new();
        let known: Vec<(&Reference, Stored)> = plan
            .files
            .iter()
            .filter(|file| file.package.is_some())
            .filter_map(|file| Some((file, *plan.known.get(&file.digest)?)))
            .filter(|(_, stored)| seen.insert(stored.object))
            .collect();
        checks.lock().signers = self.context.store.read(|reader| {
            let mut signers = HashMap::new();
            for (_, Stored { object, .. }) in &known {
                if let Some(signed_by) = reader.package_signers(*object, checks.keyring_id)? {
                    signers.insert(*object, signed_by.into());
                }
            }
            Ok(signers)
        })?;
        let unchecked: Vec<_> = known
            .iter()
            .filter(|(_, stored)| !checks.lock().signers.contains_key(&stored.object))
            .collect();
        let bytes = unchecked.iter().map(|(_, stored)| stored.size).sum();
        let label = format!("{} signatures", self.id());
        let progress = (self.context.progress).downloads(&label, unchecked.len() as u64, bytes);
        let checked = self.in_parallel(&unchecked, |(file, stored)| {
            let active = progress.file(&escape(file.path.file_name()), Some(stored.size));
            self.check_package(&checks, &described(file), &file.path, stored.object)?;
            active.add(stored.size);
            active.done();
            Ok(())
        });
        progress.finish();
        self.finish_package_checks(&checks, checked)?;
        Ok(Some(checks))
    }

    /// Verifies a package that is in the pool; `what` and `path` are for messages. One that is refused is an error only when it is one too many: else
    /// [`Self::finish_package_checks`] says so.
    pub(super) fn check_package(
        &self,
        checks: &PackageChecks,
        what: &str,
        path: &RelPath,
        object: ObjectId,
    ) -> Result<(), SyncError> {
        self.context.interrupt.check()?;
        let what = format!("{what}, {}", self.upstream.shown(path));
        let mut file = self.context.pool.open_object(object)?;
        let refused = match self.format.package_signatures(&mut file) {
            Ok(signatures) => {
                let verdict = self.verify_with_keys(
                    |keyring| {
                        let signers = keyring.verify_passed(&signatures, &what, self.started)?;
                        Ok((signers, checks.id_of(keyring)))
                    },
                    VerifyError::newer_keys_may_help,
                )?;
                match verdict {
                    Ok((signers, keyring)) => {
                        return self.accept(checks, object, keyring, &signers);
                    }
                    Err(error) => error.to_string(),
                }
            }
            Err(PackageError::Io(error)) => return Err(error.into()),
            Err(error) => format!("{what}: {error}"),
        };
        log::debug!("{}: {refused}", self.id());
        let is_too_much = {
            let mut found = checks.lock();
            found.refused.push(refused);
            found.refused.len() >= REFUSED_MAX
        };
        if is_too_much { refuse(checks) } else { Ok(()) }
    }

    fn accept(
        &self,
        checks: &PackageChecks,
        object: ObjectId,
        keyring: ObjectId,
        signers: &[Signer],
    ) -> Result<(), SyncError> {
        let signed_by: Vec<String> = signers
            .iter()
            .map(|signer| signer.fingerprint.clone())
            .collect();
        let mut found = checks.lock();
        let signed_by = found.interned(signed_by);
        found.signers.insert(object, Arc::clone(&signed_by));
        found.unrecorded.push(Verdict {
            object,
            keyring,
            signed_by,
        });
        if found.unrecorded.len() < CHECKPOINT_VERDICTS {
            return Ok(());
        }
        let batch = std::mem::take(&mut found.unrecorded);
        drop(found);
        self.record_verdicts(&batch)
    }

    fn record_verdicts(&self, verdicts: &[Verdict]) -> Result<(), SyncError> {
        if verdicts.is_empty() {
            return Ok(());
        }
        self.context.store.write(self.context.lock, |writer| {
            for verdict in verdicts {
                writer.put_package_signers(verdict.object, verdict.keyring, &verdict.signed_by)?;
            }
            Ok(())
        })?;
        Ok(())
    }

    /// Remembers the verdicts; refused packages are an error, whatever else went wrong, unless somebody ended the run.
    pub(super) fn finish_package_checks<T>(
        &self,
        checks: &PackageChecks,
        result: Result<T, SyncError>,
    ) -> Result<T, SyncError> {
        let verdicts = std::mem::take(&mut checks.lock().unrecorded);
        self.record_verdicts(&verdicts)?;
        if !matches!(result, Err(SyncError::Interrupted(_))) {
            refuse(checks)?;
        }
        result
    }

    /// The keys that signed these packages, and how many each did.
    pub(super) fn package_signers(
        &self,
        checks: &PackageChecks,
        packages: impl Iterator<Item = ObjectId>,
    ) -> Result<Vec<PackageSigner>, SyncError> {
        let found = checks.lock();
        let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
        for object in packages {
            for fingerprint in found.signers.get(&object).into_iter().flat_map(|by| &**by) {
                *counts.entry(fingerprint).or_default() += 1;
            }
        }
        let keys = self.keyring()?.keys(self.started);
        let signers = counts.into_iter().map(|(fingerprint, packages)| {
            let key = keys.iter().find(|key| key.fingerprint == fingerprint);
            PackageSigner {
                fingerprint: fingerprint.to_owned(),
                user_id: key.and_then(|key| key.user_id.clone()),
                packages,
            }
        });
        Ok(signers.collect())
    }
}

impl Found {
    /// The same list as another package's, if there is one: nearly always the last one's.
    fn interned(&self, signed_by: Vec<String>) -> SignedBy {
        match self.unrecorded.last() {
            Some(last) if *last.signed_by == *signed_by => Arc::clone(&last.signed_by),
            _ => signed_by.into(),
        }
    }
}

fn refuse(checks: &PackageChecks) -> Result<(), SyncError> {
    let mut refused = checks.lock().refused.clone();
    if refused.is_empty() {
        return Ok(());
    }
    // Workers find them in any order.
    refused.sort();
    Err(SyncError::PackagesRefused { refused })
}
