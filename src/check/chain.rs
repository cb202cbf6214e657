//! Proves one state, without network and without the configuration of its repository: a signature
//! by a trusted key, the root, its indexes, the packages that they list.
//!
//! - **Synced as it is**: the root has a good signature; every index in the manifest is the one in
//!   the root; the indexes list every other file with this digest, size and package; everything
//!   that they list is in the manifest. Indexes that were not mirrored are not missed.
//! - **Filtered**: the roots and indexes of the evidence are proved so, and list every package of
//!   the state; the state's own indexes list exactly its packages.
//! - **Merged**: its own indexes list exactly its packages, and each of them is a package of one of
//!   its sources, as far as these exist.
//! - **Unsigned**: where no signature was required, the chain begins at the recorded root.
//!
//! Signatures are verified as of the time of the sync, with the keys that were trusted then and all
//! revocations that are known now: a key that was revoked as compromised never counts, one that was
//! replaced or retired counts until then, and one that has expired since is a note. Keys for
//! clients must be trusted keys.
//!
//! The signatures inside packages are not verified again: the digest of a package was recorded
//! after its signature was verified, and its signers are compared with the revocations.

use std::collections::HashSet;

use crate::digest::{ObjectId, ObjectRef};
use crate::format::Format;
use crate::manifest::Role;
use crate::openpgp::{KeySummary, Keyring};
use crate::store::StoreError;
use crate::store::records::{RootRecord, StateRecord};
use crate::time::utc;

use super::indexes::{Completeness, Reading, check_indexes, match_files, report_unlisted};
use super::listing::{Contents, Listing};
use super::proof::{ProblemKind, Proof, ProofError, Verdict};
use super::roots::{OpenRoot, RootFiles, RootProof, WeakSignatures, read};
use super::source::{ProofSource, read_small, read_unsized};

/// What a proof believes.
#[derive(Clone, Copy)]
pub struct Trust<'a> {
    pub keys: TrustedKeyring<'a>,
    /// Only revocations of these keyrings count.
    pub revocations: &'a [Keyring],
    pub weak: WeakSignatures,
    /// In seconds since the epoch.
    pub now: i64,
}

#[derive(Clone, Copy)]
pub enum TrustedKeyring<'a> {
    /// The one that the state was synced with.
    OfState,
    Given(&'a Keyring),
}

/// Where a state is from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    Sync,
    /// A state that only a tree still shows, before the current one of its repository.
    Earlier {
        root: EarlierRoot,
    },
    Merge {
        /// The manifests of its sources.
        sources: Vec<ObjectId>,
        /// The names of sources that no longer exist, or have changed since.
        missing: Vec<String>,
    },
}

/// The root of an earlier state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EarlierRoot {
    Upstream,
    /// Its indexes may be new ones.
    Generated,
}

/// Proves one state.
pub fn prove(
    source: &dyn ProofSource,
    state: &StateRecord,
    origin: &Origin,
    trust: &Trust<'_>,
) -> Result<Proof, ProofError> {
    let mut prover = Prover {
        source,
        state,
        format: state.format.rules(),
        trust,
        proof: Proof {
            packages: state.packages,
            ..Proof::default()
        },
    };
    match prover.prove(origin) {
        Ok(()) => {}
        Err(ProofError::Store(error)) => prover.proof.row(error)?,
        Err(error) => return Err(error),
    }
    Ok(prover.proof)
}

struct Prover<'a> {
    source: &'a dyn ProofSource,
    state: &'a StateRecord,
    format: &'static dyn Format,
    trust: &'a Trust<'a>,
    proof: Proof,
}

impl Prover<'_> {
    fn prove(&mut self, origin: &Origin) -> Result<(), ProofError> {
        let mut contents = Contents::read(self.source, self.state.manifest)?;
        let Ok(keyring) = self.keyring() else {
            return Ok(());
        };
        match (origin, self.state.regenerated) {
            (Origin::Merge { sources, missing }, _) => {
                self.prove_own_indexes(&mut contents)?;
                self.compare_with_sources(&contents.files, sources, missing)?;
                self.proof.verdict = Verdict::Own;
            }
            (
                Origin::Earlier {
                    root: EarlierRoot::Generated,
                },
                _,
            ) => {
                self.prove_own_indexes(&mut contents)?;
                self.proof
                    .note("unproved: an earlier state, whose evidence is not stored".to_owned());
                return Ok(());
            }
            (
                Origin::Earlier {
                    root: EarlierRoot::Upstream,
                },
                _,
            ) => return self.prove_earlier(&mut contents, keyring.as_ref()),
            (Origin::Sync, true) => {
                self.prove_evidence(&mut contents, keyring.as_ref())?;
                contents.files.reset();
                self.prove_own_indexes(&mut contents)?;
            }
            (Origin::Sync, false) => self.prove_upstream(&mut contents, keyring.as_ref())?,
        }
        if let Some(keyring) = &keyring {
            self.check_client_keys(&contents, keyring);
            self.check_signers(keyring);
        }
        Ok(())
    }

    /// The keys that the state was synced with, and all revocations of them. `None` if there were
    /// none; an error if they cannot be read, which is reported.
    fn keyring(&mut self) -> Result<Option<Keyring>, ()> {
        let mut keyring = match (self.trust.keys, self.state.keyring) {
            (TrustedKeyring::Given(keyring), _) => keyring.clone(),
            (TrustedKeyring::OfState, Some(object)) => self.stored_keyring(object)?,
            (TrustedKeyring::OfState, None) => return Ok(None),
        };
        for other in self.trust.revocations {
            keyring.add_revocations(other);
        }
        Ok(Some(keyring))
    }

    fn stored_keyring(&mut self, object: ObjectId) -> Result<Keyring, ()> {
        let bytes = read_unsized(self.source, object).map_err(|damage| {
            // No manifest lists it.
            let content = ObjectRef { object, size: 0 };
            self.proof.damage_of(content, None, damage);
        })?;
        Keyring::parse(&bytes, "the keyring").map_err(|error| {
            self.proof
                .problem(ProblemKind::Key, None, error.to_string());
        })
    }

    fn is_signed(&self) -> bool {
        !self.state.signed_by().is_empty()
    }

    /// Proves the upstream's own files.
    fn prove_upstream(
        &mut self,
        contents: &mut Contents,
        keyring: Option<&Keyring>,
    ) -> Result<(), ProofError> {
        let roots = self.upstream_roots(contents, keyring);
        self.proof.verdict = self.verdict(keyring, Verdict::Proved);
        let Some(roots) = roots else {
            return Ok(());
        };
        self.prove_lists(&roots, contents, "the indexes")
    }

    /// Proves the upstream's own files with the keys of the current state.
    fn prove_earlier(
        &mut self,
        contents: &mut Contents,
        keyring: Option<&Keyring>,
    ) -> Result<(), ProofError> {
        let at = self.state.synced_at;
        let how = match keyring {
            Some(keyring) if self.is_signed() => RootProof::Keyless { keyring, at },
            _ => RootProof::Unsigned,
        };
        let Some(root) = self.root_of_manifest(contents, how) else {
            return Ok(());
        };
        self.proof.verdict = match (self.is_signed(), self.proof.signers.is_empty()) {
            (false, _) => Verdict::Unsigned,
            (true, false) => Verdict::Proved,
            (true, true) => Verdict::Unproved,
        };
        self.proof
            .note("an earlier state of its repository".to_owned());
        self.prove_lists(&[root], contents, "the indexes")
    }

    /// The verdict if nothing is wrong.
    fn verdict(&mut self, keyring: Option<&Keyring>, signed: Verdict) -> Verdict {
        match (self.is_signed(), keyring) {
            (false, _) => Verdict::Unsigned,
            (true, Some(_)) => signed,
            (true, None) => {
                self.proof
                    .note("unproved: synced before schema version 4, without its keys".to_owned());
                Verdict::Unproved
            }
        }
    }

    /// The verified roots of the upstream. `None` if one of them is not good, which is reported.
    fn upstream_roots(
        &mut self,
        contents: &Contents,
        keyring: Option<&Keyring>,
    ) -> Option<Vec<OpenRoot>> {
        let at = self.state.synced_at;
        let weak = self.trust.weak;
        let client_keys = self.client_keys(contents);
        let how = match (self.is_signed(), keyring, &client_keys) {
            (false, _, _) | (true, None, None) => RootProof::Unsigned,
            (true, Some(keyring), _) => RootProof::Signed { keyring, at, weak },
            (true, None, Some(keyring)) => RootProof::Keyless { keyring, at },
        };
        let files = RootFiles {
            source: self.source,
            format: self.format,
            entries: &contents.roots,
        };
        let records = self.state.roots.iter();
        // All of them are looked at, so that every problem is reported.
        let roots: Vec<Option<OpenRoot>> = records
            .map(|record| files.open(record, how, &mut self.proof))
            .collect();
        let roots: Vec<OpenRoot> = roots.into_iter().collect::<Option<_>>()?;
        files.report_strays(&roots, &mut self.proof);
        Some(roots)
    }

    /// The keys for clients, for states without a keyring.
    fn client_keys(&self, contents: &Contents) -> Option<Keyring> {
        if self.state.keyring.is_some() {
            return None;
        }
        let mut all: Option<Keyring> = None;
        for entry in &contents.keys {
            let bytes = read_small(self.source, entry.content()).ok()?;
            if let Ok(keys) = Keyring::parse(&bytes, entry.path.as_str()) {
                match &mut all {
                    Some(all) => all.extend(keys),
                    None => all = Some(keys),
                }
            }
        }
        for other in self.trust.revocations {
            if let Some(all) = &mut all {
                all.add_revocations(other);
            }
        }
        all
    }

    /// Proves the files that a filtered state was chosen from, and that it has no others.
    fn prove_evidence(
        &mut self,
        contents: &mut Contents,
        keyring: Option<&Keyring>,
    ) -> Result<(), ProofError> {
        let Some(evidence) = self.state.evidence else {
            self.proof
                .note("unproved: synced before schema version 4, without its evidence".to_owned());
            self.proof.verdict = Verdict::Unproved;
            return Ok(());
        };
        let upstream = Contents::read(self.source, evidence)?;
        let roots = self.upstream_roots(&upstream, keyring);
        self.proof.verdict = self.verdict(keyring, Verdict::ProvedToEvidence);
        let Some(roots) = roots else {
            return Ok(());
        };
        let proof = &mut self.proof;
        let (present, others) = check_indexes(self.source, &roots, &upstream.indexes, proof)?;
        for entry in others {
            let what = "evidence that is not in the root";
            proof.problem(ProblemKind::Unlisted, Some(&entry.path), what);
        }
        let files = &mut contents.files;
        let selection = Completeness::Selection;
        if match_files(self.source, &present, files, selection, proof)? == Reading::Complete {
            let by = "the indexes of the upstream";
            report_unlisted(self.source, self.state.manifest, files, by, proof)?;
        }
        Ok(())
    }

    /// Proves that new indexes list exactly the files of the state.
    fn prove_own_indexes(&mut self, contents: &mut Contents) -> Result<(), ProofError> {
        // The recorded roots of a filtered state are those of the upstream.
        match self.root_of_manifest(contents, RootProof::Unsigned) {
            Some(root) => self.prove_lists(&[root], contents, "the new indexes"),
            None => Ok(()),
        }
    }

    /// The root that clients find in a manifest.
    fn root_of_manifest(&mut self, contents: &Contents, how: RootProof<'_>) -> Option<OpenRoot> {
        let files = RootFiles {
            source: self.source,
            format: self.format,
            entries: &contents.roots,
        };
        let mut paths = contents.roots.iter().map(|entry| &entry.path);
        let root = self.format.root_among(&mut paths);
        let root = root.and_then(|root| {
            let mut entries = contents.roots.iter();
            entries.find(|entry| entry.path == *root.path())
        });
        let Some(root) = root else {
            let what = "the manifest has no root";
            self.proof.problem(ProblemKind::Root, None, what);
            return None;
        };
        let record = RootRecord {
            path: Some(root.path.clone()),
            object: root.object,
            date: None,
            valid_until: None,
            revision: None,
            signed_by: Vec::new(),
        };
        let root = files.open(&record, how, &mut self.proof)?;
        files.report_strays(std::slice::from_ref(&root), &mut self.proof);
        Some(root)
    }

    /// Compares all files of the state with its roots and indexes.
    fn prove_lists(
        &mut self,
        roots: &[OpenRoot],
        contents: &mut Contents,
        by: &str,
    ) -> Result<(), ProofError> {
        let proof = &mut self.proof;
        let (present, others) = check_indexes(self.source, roots, &contents.indexes, proof)?;
        for entry in &others {
            contents.files.add(entry);
        }
        let files = &mut contents.files;
        let required = Completeness::Required;
        let before = proof.problems.len();
        let reading = match_files(self.source, &present, files, required, proof)?;
        // Files that did not match the root were left out, and the state says so.
        let is_known =
            |path: Option<&str>| path.is_some_and(|path| self.state.missing.contains_key(path));
        let mut place = 0;
        proof.problems.retain(|problem| {
            place += 1;
            let is_absent = problem.kind == ProblemKind::Absent && place > before;
            !(is_absent && is_known(problem.path.as_ref().map(crate::rel_path::RelPath::as_str)))
        });
        if reading == Reading::Complete {
            report_unlisted(self.source, self.state.manifest, files, by, proof)?;
        }
        Ok(())
    }

    /// Every package of a merge is one of its sources.
    fn compare_with_sources(
        &mut self,
        files: &Listing,
        sources: &[ObjectId],
        missing: &[String],
    ) -> Result<(), StoreError> {
        let mut known: HashSet<ObjectId> = HashSet::new();
        for manifest in sources {
            self.source.each_entry(*manifest, &mut |entry| {
                if matches!(entry.role, Role::Package | Role::File) {
                    known.insert(entry.object);
                }
            })?;
        }
        let is_foreign = |object| !known.contains(&object);
        let foreign = files
            .all()
            .filter(|file| file.is_package && is_foreign(file.content.object))
            .count();
        if !missing.is_empty() {
            let names = missing.join(", ");
            self.proof.note(format!(
                "sources that no longer exist or have changed: {names}; {foreign} packages are only in these"
            ));
            return Ok(());
        }
        if foreign == 0 {
            return Ok(());
        }
        let proof = &mut self.proof;
        self.source.each_entry(self.state.manifest, &mut |entry| {
            if entry.role == Role::Package && is_foreign(entry.object) {
                let what = "a package of none of the merged sources";
                proof.problem(ProblemKind::Unlisted, Some(&entry.path), what);
            }
        })
    }

    /// The keys for clients must be the trusted ones: clients import them.
    fn check_client_keys(&mut self, contents: &Contents, keyring: &Keyring) {
        let trusted = keyring.fingerprints();
        for entry in &contents.keys {
            let Some(bytes) = read(self.source, entry, &mut self.proof) else {
                continue;
            };
            let what = match Keyring::parse(&bytes, entry.path.as_str()) {
                Err(error) => error.to_string(),
                Ok(found) => match found
                    .fingerprints()
                    .into_iter()
                    .find(|key| !trusted.contains(key))
                {
                    Some(key) => format!("contains the key {key}, which was not trusted"),
                    None => continue,
                },
            };
            self.proof
                .problem(ProblemKind::Key, Some(&entry.path), what);
        }
    }

    /// Notes what became of the signers' keys since, and rejects packages of compromised ones.
    fn check_signers(&mut self, keyring: &Keyring) {
        let now = self.trust.now;
        let keys = keyring.keys(now);
        for key in &keys {
            let signed_root =
                |signer: &crate::openpgp::Signer| signer.fingerprint == key.fingerprint;
            if self.proof.signers.iter().any(signed_root) {
                self.note_key(key);
            }
            let packages = self.state.packages_signed_by.get(&key.fingerprint);
            let is_compromised = key.revoked.is_some_and(|revoked| revoked.compromised);
            if let (Some(packages @ 1..), true) = (packages, is_compromised) {
                let what = format!(
                    "{packages} packages are signed by {}, which was revoked as compromised",
                    key.fingerprint
                );
                self.proof.problem(ProblemKind::Untrusted, None, what);
            }
        }
    }

    fn note_key(&mut self, key: &KeySummary) {
        let now = self.trust.now;
        let fingerprint = &key.fingerprint;
        if let Some(expiry) = key.expires.filter(|expiry| *expiry <= now) {
            let note = format!("the key {fingerprint} expired on {}", utc(expiry));
            self.proof.note(note);
        }
        // Otherwise its signature was not accepted.
        if let Some(revoked) = key.revoked {
            let at = utc(revoked.at);
            self.proof.note(format!(
                "the key {fingerprint} was replaced or retired on {at}, after the sync"
            ));
        }
    }
}

#[cfg(test)]
mod tests;
