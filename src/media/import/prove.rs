//! Proves the states of one repository, from the upstream's signature, with the importer's keys.

use super::keys::Believed;
use super::packages::verify_packages;
use super::refusal::{NotImported, Refusal};
use crate::check::{
    GeneratedManifest, Origin, OwnKeys, Problem, Proof, ProofSource as _, StorageSource, Trust,
    TrustedKeyring, Verdict, WeakSignatures, prove, prove_generated,
};
use crate::config::{PackageCheck, RootCheck};
use crate::digest::ObjectRef;
use crate::names::RepoId;
use crate::openpgp::Keyring;
use crate::storage::Storage;
use crate::store::records::StateRecord;
use crate::time::now;
use crate::transfer::SignedRoot;

/// A state of a transfer.
#[derive(Clone, Copy)]
pub struct Candidate<'a> {
    pub repository: &'a RepoId,
    /// `latest`, or the name of the snapshot.
    pub name: &'a str,
    pub state: &'a StateRecord,
    /// The sources of a merge; empty for others.
    pub merged_from: &'a [String],
    /// What packages are verified with: for a merge also the keys of its sources.
    pub package_keys: Option<&'a Keyring>,
    /// The root that the exporter generated for it.
    pub signed_root: Option<&'a SignedRoot>,
    /// The keys of exporters. `None` if none need sign.
    pub exporters: Option<&'a Keyring>,
}

/// Proves a state. Returns its record as this host vouches for it: with the keys that it believes
/// and the signatures that it verified.
pub fn prove_state(
    storage: &Storage,
    candidate: Candidate<'_>,
    believed: &Believed,
    keyring: Option<ObjectRef>,
) -> Result<StateRecord, NotImported> {
    check_paths(storage, candidate)?;
    let mut state = candidate.state.clone();
    // The exporter's clock decides as of when keys are judged, but it cannot make a key valid that
    // had expired when the root was made.
    let root = state.date().unwrap_or(i64::MIN);
    state.synced_at = state.synced_at.max(root);
    let is_merge = !candidate.merged_from.is_empty();
    // What proves a merge is the root of the exporter: its keys are those of all its sources.
    let keys = believed.keyring.as_ref().filter(|_| !is_merge);
    let is_verified = keys.is_some() && believed.root != RootCheck::Off;
    if !is_verified {
        for root in &mut state.roots {
            root.signed_by.clear();
        }
    }
    state.keyring = None;
    let origin = if candidate.merged_from.is_empty() {
        Origin::Sync
    } else {
        Origin::Merge {
            sources: Vec::new(),
            missing: candidate.merged_from.to_vec(),
        }
    };
    let source = StorageSource {
        storage,
        repository: candidate.repository,
    };
    let trust = Trust {
        keys: match keys {
            Some(keyring) => TrustedKeyring::Given(keyring),
            None => TrustedKeyring::OfState,
        },
        revocations: &[],
        weak: WeakSignatures::Refused,
        now: now(),
    };
    let proof = prove(&source, &state, &origin, &trust)?;
    if !is_merge {
        state.keyring = keyring.map(|keyring| keyring.object);
    }
    source.interrupted()?;
    candidate.refuse_problems(&proof)?;
    match proof.verdict {
        Verdict::Proved | Verdict::ProvedToEvidence | Verdict::Own => {}
        Verdict::Unsigned if believed.root != RootCheck::Required => {}
        Verdict::Unsigned | Verdict::Unproved => {
            return Err(Refusal::NotSigned {
                state: candidate.name.to_owned(),
            }
            .into());
        }
    }
    prove_signed_root(&source, candidate, &state)?;
    let mut signed_by: Vec<String> = Vec::new();
    for signer in &proof.signers {
        if !signed_by.contains(&signer.fingerprint) {
            signed_by.push(signer.fingerprint.clone());
        }
    }
    for root in &mut state.roots {
        root.signed_by.clone_from(&signed_by);
    }
    state.packages_signed_by.clear();
    if believed.packages == PackageCheck::Required
        && let Some(keyring) = candidate.package_keys
    {
        let format = state.format.rules();
        state.packages_signed_by =
            verify_packages(storage, format, state.manifest, keyring, state.synced_at)?;
    }
    Ok(state)
}

/// The root of a filtered or merged state is the exporter's: it must be signed by one of the keys
/// that sign media.
fn prove_signed_root(
    source: &StorageSource<'_>,
    candidate: Candidate<'_>,
    state: &StateRecord,
) -> Result<(), NotImported> {
    let name = candidate.name.to_owned();
    let Some(root) = candidate.signed_root else {
        // Nothing else proves a merge.
        let is_needed = state.regenerated || !candidate.merged_from.is_empty();
        return if is_needed {
            Err(Refusal::NoSignedRoot { name, key: None }.into())
        } else {
            Ok(())
        };
    };
    let fingerprints = candidate.exporters.map(Keyring::fingerprints);
    let is_trusted = match (&root.key, &fingerprints) {
        (Some(key), Some(trusted)) => trusted.contains(key),
        (None, Some(_)) => false,
        (_, None) => true,
    };
    if !is_trusted {
        return Err(Refusal::NoSignedRoot { name, key: None }.into());
    }
    let generated = GeneratedManifest {
        format: state.format.rules(),
        manifest: root.manifest,
        content: state.manifest,
        root_key: root.key.as_deref(),
    };
    let revocations: Vec<Keyring> = candidate.exporters.cloned().into_iter().collect();
    let keys = OwnKeys {
        revocations: &revocations,
        // Clocks differ.
        now: now().max(root.date),
    };
    let mut proof = Proof::default();
    prove_generated(source, generated, keys, &mut proof)?;
    candidate.refuse_problems(&proof)
}

impl Candidate<'_> {
    fn refuse_problems(&self, proof: &Proof) -> Result<(), NotImported> {
        if proof.problems.is_empty() {
            return Ok(());
        }
        let problems = proof.problems.iter().map(describe).collect();
        let state = self.name.to_owned();
        Err(Refusal::Problems { state, problems }.into())
    }
}

fn describe(problem: &Problem) -> String {
    match &problem.path {
        Some(path) => format!("{path}: {}", problem.what),
        None => problem.what.clone(),
    }
}

/// The paths of a manifest must be sorted across its chunks, and no file may be a directory: both
/// hold for what chantal builds, and publishing relies on it.
fn check_paths(storage: &Storage, candidate: Candidate<'_>) -> Result<(), NotImported> {
    let root = candidate.signed_root.map(|root| root.manifest);
    for manifest in candidate.state.manifests().chain(root) {
        let mut previous = String::new();
        // The paths that the current one begins with: paths with a common beginning are neighbours.
        let mut beginnings: Vec<String> = Vec::new();
        let mut wrong = None;
        storage.read(|reader| {
            reader.each_entry(manifest, &mut |entry| {
                let path = entry.path.as_str();
                beginnings.retain(|beginning| path.starts_with(beginning.as_str()));
                let is_below = beginnings
                    .iter()
                    .any(|beginning| path[beginning.len()..].starts_with('/'));
                if wrong.is_none() && (path <= previous.as_str() || is_below) {
                    wrong = Some(path.to_owned());
                }
                beginnings.push(path.to_owned());
                path.clone_into(&mut previous);
                Ok(())
            })
        })?;
        if let Some(path) = wrong {
            let state = candidate.name.to_owned();
            let problems = vec![format!(
                "{path}: the paths of its manifest are not in order"
            )];
            return Err(Refusal::Problems { state, problems }.into());
        }
    }
    Ok(())
}
