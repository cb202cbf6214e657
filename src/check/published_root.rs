//! Proves a root that was generated, for a published tree or for all places of a state: everything
//! else is what it was generated for, and the root is signed with our key and lists the indexes that
//! are there.

use std::collections::BTreeSet;

use crate::digest::{Algorithm, Hasher, ObjectId};
use crate::format::{Format, RootSource, is_same_text, root_text};
use crate::manifest::{Entry, Role};
use crate::openpgp::{Authority, Keyring, Trusted, VerifyError};
use crate::rel_path::RelPath;
use crate::store::StoreError;

use super::indexes::check_indexes;
use super::listing::Contents;
use super::proof::{ProblemKind, Proof, ProofError};
use super::roots::{OpenRoot, read, report};
use super::source::{ProofSource, read_small};

/// What is believed of the keys that sign generated roots.
#[derive(Clone, Copy)]
pub struct OwnKeys<'a> {
    pub revocations: &'a [Keyring],
    /// In seconds since the epoch.
    pub now: i64,
}

/// A manifest whose root was generated for the manifest `content`.
#[derive(Clone, Copy)]
pub struct GeneratedManifest<'a> {
    pub format: &'static dyn Format,
    pub manifest: ObjectId,
    pub content: ObjectId,
    /// The fingerprint of the key that signed the root; `None` if it is not signed.
    pub root_key: Option<&'a str>,
}

/// Proves the generated root. That its content is good is proved elsewhere.
pub fn prove_generated(
    source: &dyn ProofSource,
    generated: GeneratedManifest<'_>,
    keys: OwnKeys<'_>,
    proof: &mut Proof,
) -> Result<(), ProofError> {
    let same = files_digest(source, generated.manifest).and_then(|shown| {
        let published_from = files_digest(source, generated.content)?;
        Ok(shown == published_from)
    });
    match same {
        Ok(true) => {}
        Ok(false) => {
            let what = "its files are not those of what it was published from";
            proof.problem(ProblemKind::Tree, None, what);
        }
        Err(error) => return proof.row(error),
    }
    let contents = match Contents::read(source, generated.manifest) {
        Ok(contents) => contents,
        Err(error) => return proof.row(error),
    };
    let Some(root) = open(source, generated, &contents, keys, proof) else {
        return Ok(());
    };
    // Others are listed in an index, and those are the same in the manifest that it was made for.
    check_indexes(source, &[root], &contents.indexes, proof)?;
    match read_keys(source, generated.content) {
        Ok(entries) => check_client_keys(source, generated, &contents, &entries, proof),
        Err(error) => return proof.row(error),
    }
    Ok(())
}

fn read_keys(source: &dyn ProofSource, manifest: ObjectId) -> Result<Vec<Entry>, StoreError> {
    let mut keys = Vec::new();
    source.each_entry(manifest, &mut |entry| {
        if entry.role == Role::Key {
            keys.push(entry);
        }
    })?;
    Ok(keys)
}

/// Clients import the key files: besides our key they have those of the state, which are proved
/// with it.
fn check_client_keys(
    source: &dyn ProofSource,
    generated: GeneratedManifest<'_>,
    contents: &Contents,
    of_state: &[Entry],
    proof: &mut Proof,
) {
    let fingerprints = |entry: &Entry| {
        let bytes = read_small(source, entry.content()).ok()?;
        let keyring = Keyring::parse(&bytes, entry.path.as_str()).ok()?;
        Some(keyring.fingerprints())
    };
    let mut known: BTreeSet<String> = of_state.iter().filter_map(fingerprints).flatten().collect();
    known.extend(generated.root_key.map(ToOwned::to_owned));
    // A file that is not a keyring is the same in the state.
    for entry in contents.keys.iter().filter(|key| !of_state.contains(key)) {
        let is_known =
            fingerprints(entry).is_some_and(|keys| keys.iter().all(|key| known.contains(key)));
        if !is_known {
            let what = "contains a key that is neither ours nor of the state";
            proof.problem(ProblemKind::Key, Some(&entry.path), what);
        }
    }
}

/// A digest of everything but roots and keys.
fn files_digest(source: &dyn ProofSource, manifest: ObjectId) -> Result<ObjectId, StoreError> {
    let mut hasher = Hasher::new(Algorithm::Sha256);
    source.each_entry(manifest, &mut |entry| {
        if !matches!(entry.role, Role::Root | Role::Key) {
            // Each part ends in what the others cannot contain.
            let package = entry.package.as_ref().map(ToString::to_string);
            let line = format!(
                "{}\n{}\n{}\n{:?}\n{}\n",
                entry.path,
                entry.object,
                entry.size,
                entry.role,
                package.unwrap_or_default()
            );
            hasher.update(line.as_bytes());
        }
    })?;
    Ok(hasher.finish().0)
}

/// Verifies every form of the root, and parses it.
fn open(
    source: &dyn ProofSource,
    generated: GeneratedManifest<'_>,
    contents: &Contents,
    keys: OwnKeys<'_>,
    proof: &mut Proof,
) -> Option<OpenRoot> {
    let format = generated.format;
    let mut paths = contents.roots.iter().map(|entry| &entry.path);
    let Some(root) = format.root_among(&mut paths) else {
        let what = "the manifest has no root";
        proof.problem(ProblemKind::Root, None, what);
        return None;
    };
    let keyring = match generated.root_key {
        Some(key) => Some(signing_keyring(source, contents, key, keys, proof)?),
        None => None,
    };
    let entry = |path: &RelPath| contents.roots.iter().find(|entry| entry.path == *path);
    let mut text: Option<Vec<u8>> = None;
    let mut explained: Vec<RelPath> = Vec::new();
    let forms = match keyring {
        Some(_) => format.forms(&root),
        None => vec![root.clone()],
    };
    for form in forms {
        explained.push(form.path().clone());
        if let RootSource::Detached { signature, .. } = &form {
            explained.push(signature.clone());
        }
        let (Some(file), signature) = (entry(form.path()), signature_of(&form, &entry)) else {
            let what = "a form of the root is not in the manifest";
            proof.problem(ProblemKind::Root, Some(form.path()), what);
            continue;
        };
        let bytes = read(source, file, proof)?;
        let signed = match signature {
            Some(entry) => Some(read(source, entry, proof)?),
            None => None,
        };
        let verified = match &keyring {
            Some(keyring) => verify(keyring, &form, &bytes, signed.as_deref(), keys.now)
                .map_err(|error| report(form.path(), &error, proof))
                .ok()?,
            None => Trusted::of_state(root_text(&form, &bytes).ok()?),
        };
        if let Authority::Signed(signers) = verified.authority() {
            proof.signers.extend(signers.iter().cloned());
        }
        if text
            .as_ref()
            .is_some_and(|text| !is_same_text(text, verified.bytes()))
        {
            let what = "the forms of the root differ";
            proof.problem(ProblemKind::Root, Some(form.path()), what);
        }
        text = Some(verified.bytes().to_vec());
    }
    let trusted = Trusted::of_state(text?);
    for entry in contents
        .roots
        .iter()
        .filter(|entry| !explained.contains(&entry.path))
    {
        let what = "not a form of the generated root";
        proof.problem(ProblemKind::Root, Some(&entry.path), what);
    }
    let selected = format.everything(root.path());
    match selected.open_root(&trusted) {
        Ok(opened) => Some(OpenRoot {
            source: root,
            selected,
            root: opened,
        }),
        Err(error) => {
            proof.problem(ProblemKind::Root, Some(root.path()), error.to_string());
            None
        }
    }
}

fn signature_of<'e>(
    form: &RootSource,
    entry: &impl Fn(&RelPath) -> Option<&'e Entry>,
) -> Option<&'e Entry> {
    match form {
        RootSource::Inline { .. } => None,
        RootSource::Detached { signature, .. } => entry(signature),
    }
}

/// Our key may have expired since: what it signed stays published.
fn verify(
    keyring: &Keyring,
    form: &RootSource,
    bytes: &[u8],
    signed: Option<&[u8]>,
    now: i64,
) -> Result<Trusted, VerifyError> {
    let what = form.path().as_str();
    // A root gets a later date than the one before, which may be ahead of the clock.
    let now = now.saturating_add(24 * 3600);
    match signed {
        Some(signed) => keyring.verify_detached_when_signed(bytes.to_vec(), signed, what, now),
        None => match form {
            RootSource::Inline { .. } => keyring.verify_inline_when_signed(bytes, what, now),
            RootSource::Detached { .. } => {
                keyring.verify_detached_when_signed(bytes.to_vec(), &[], what, now)
            }
        },
    }
}

/// The key with this fingerprint, from the key files of the tree, which always have it.
fn signing_keyring(
    source: &dyn ProofSource,
    contents: &Contents,
    fingerprint: &str,
    keys: OwnKeys<'_>,
    proof: &mut Proof,
) -> Option<Keyring> {
    let mut found: Option<Keyring> = None;
    let mut add = |mut keyring: Keyring| {
        keyring.retain(|key| key == fingerprint);
        if keyring.fingerprints().is_empty() {
            return;
        }
        match &mut found {
            Some(found) => found.extend(keyring),
            None => found = Some(keyring),
        }
    };
    for entry in &contents.keys {
        let bytes = read(source, entry, proof)?;
        if let Ok(keyring) = Keyring::parse(&bytes, entry.path.as_str()) {
            add(keyring);
        }
    }
    if let Some(keyring) = &mut found {
        for other in keys.revocations {
            keyring.add_revocations(other);
        }
    } else {
        let what = format!("the key {fingerprint} that signed its root was not found");
        proof.problem(ProblemKind::Signature, None, what);
    }
    found
}
