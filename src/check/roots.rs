//! Roots and their signatures: found among the files of a manifest, verified at a given time, and
//! parsed only after that.

use crate::format::{Companion, Format, Root, RootSource, Selected, is_same_text};
use crate::manifest::Entry;
use crate::openpgp::{Authority, Keyring, Policy, Trusted, VerifyError};
use crate::rel_path::RelPath;
use crate::store::records::RootRecord;

use super::proof::{ProblemKind, Proof};
use super::source::{ProofSource, read_small};

/// A root that was verified as far as its state demands.
pub struct OpenRoot {
    pub source: RootSource,
    pub selected: Box<dyn Selected>,
    pub root: Root,
}

/// How a root is verified.
#[derive(Clone, Copy)]
pub enum RootProof<'k> {
    /// With the trusted keys, as of a time in seconds since the epoch.
    Signed {
        keyring: &'k Keyring,
        at: i64,
        weak: WeakSignatures,
    },
    /// As [`Self::Signed`], but the keys may not be those of its time: that they do not verify it
    /// proves nothing.
    Keyless { keyring: &'k Keyring, at: i64 },
    /// By its recorded digest.
    Unsigned,
}

/// Whether a signature with a weak digest or key counts. The configuration can allow them, and a
/// state does not record that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WeakSignatures {
    /// With a note.
    Accepted,
    Refused,
}

/// The root files of a manifest.
#[derive(Clone, Copy)]
pub struct RootFiles<'a> {
    pub source: &'a dyn ProofSource,
    pub format: &'static dyn Format,
    pub entries: &'a [Entry],
}

impl RootFiles<'_> {
    /// Verifies and parses a recorded root, and compares the files beside it. `None` if that is
    /// not possible, which is reported.
    pub fn open(
        &self,
        record: &RootRecord,
        how: RootProof<'_>,
        proof: &mut Proof,
    ) -> Option<OpenRoot> {
        let Some((source, entry)) = self.find(record) else {
            let what = format!("the root (object {}) is not in the manifest", record.object);
            proof.problem(ProblemKind::Root, record.path.as_ref(), what);
            return None;
        };
        let bytes = read(self.source, entry, proof)?;
        let trusted = self.verify(&source, bytes, how, proof)?;
        let selected = self.format.everything(source.path());
        let root = match selected.open_root(&trusted) {
            Ok(root) => root,
            Err(error) => {
                proof.problem(ProblemKind::Root, Some(source.path()), error.to_string());
                return None;
            }
        };
        if let Authority::Signed(signers) = trusted.authority() {
            proof.signers.extend(signers.iter().cloned());
        }
        self.compare_companions(&source, selected.as_ref(), &trusted, how, proof);
        Some(OpenRoot {
            source,
            selected,
            root,
        })
    }

    /// Reports root files that are not beside one of the roots.
    pub fn report_strays(&self, roots: &[OpenRoot], proof: &mut Proof) {
        for entry in self.entries {
            let parent = entry.path.parent();
            if !roots
                .iter()
                .any(|root| root.source.path().parent() == parent)
            {
                let what = "neither a recorded root nor a form of one";
                proof.problem(ProblemKind::Root, Some(&entry.path), what);
            }
        }
    }

    /// The entry of a recorded root.
    fn find(&self, record: &RootRecord) -> Option<(RootSource, &Entry)> {
        let mut paths = self.entries.iter().map(|entry| &entry.path);
        let source = match &record.path {
            Some(path) => self.format.root_among(&mut std::iter::once(path)),
            // Before schema version 4 only the object was recorded.
            None => self.format.root_among(&mut paths),
        }?;
        let entry = self.entry(source.path())?;
        (entry.object == record.object).then_some((source, entry))
    }

    fn entry(&self, path: &RelPath) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.path == *path)
    }

    fn verify(
        &self,
        source: &RootSource,
        bytes: Vec<u8>,
        how: RootProof<'_>,
        proof: &mut Proof,
    ) -> Option<Trusted> {
        let (keyring, at) = match how {
            RootProof::Signed { keyring, at, .. } | RootProof::Keyless { keyring, at } => {
                (keyring, at)
            }
            RootProof::Unsigned => return unsigned(source, bytes, proof),
        };
        let what = source.path().as_str();
        let signature = match source {
            RootSource::Inline { .. } => None,
            RootSource::Detached { signature, .. } => Some(signature),
        };
        let signed = match signature.map(|path| self.entry(path)) {
            Some(Some(entry)) => Some(read(self.source, entry, proof)?),
            Some(None) => {
                let what = "the signature of the root is not in the manifest";
                proof.problem(ProblemKind::Signature, signature, what);
                return None;
            }
            None => None,
        };
        let verify = |keyring: &Keyring| match &signed {
            None => keyring.verify_inline(&bytes, what, at),
            Some(signed) => keyring.verify_detached(bytes.clone(), signed, what, at),
        };
        match (verify_as_configured(keyring, how, &verify, proof), how) {
            (Ok(trusted), _) => Some(trusted),
            (Err(error), RootProof::Keyless { .. }) if !error.is_revocation() => {
                unsigned(source, bytes, proof)
            }
            (Err(error), _) => {
                report(source.path(), &error, proof);
                None
            }
        }
    }

    /// Every other root file must be a signature or another form of the root.
    fn compare_companions(
        &self,
        source: &RootSource,
        selected: &dyn Selected,
        trusted: &Trusted,
        how: RootProof<'_>,
        proof: &mut Proof,
    ) {
        let mut explained = vec![source.path().clone()];
        if let RootSource::Detached { signature, .. } = source {
            explained.push(signature.clone());
        }
        for companion in selected.companions(source) {
            let Companion::SameRoot { path, signature } = companion else {
                continue;
            };
            self.compare_form((&path, &signature), trusted, how, proof);
            explained.extend([path, signature]);
        }
        let others = self.entries.iter();
        for other in others.filter(|entry| !explained.contains(&entry.path)) {
            let is_beside = other.path.parent() == source.path().parent();
            if is_beside {
                let what = "neither the recorded root nor a form of it";
                proof.problem(ProblemKind::Root, Some(&other.path), what);
            }
        }
    }

    fn compare_form(
        &self,
        (path, signature): (&RelPath, &RelPath),
        trusted: &Trusted,
        how: RootProof<'_>,
        proof: &mut Proof,
    ) {
        let Some(entry) = self.entry(path) else {
            return;
        };
        let Some(bytes) = read(self.source, entry, proof) else {
            return;
        };
        if !is_same_text(&bytes, trusted.bytes()) {
            proof.problem(
                ProblemKind::Root,
                Some(path),
                "differs from the verified root",
            );
            return;
        }
        let (RootProof::Signed { keyring, at, .. }, Some(signature)) = (how, self.entry(signature))
        else {
            return;
        };
        let Some(signed) = read(self.source, signature, proof) else {
            return;
        };
        let verify =
            |keyring: &Keyring| keyring.verify_detached(bytes.clone(), &signed, path.as_str(), at);
        if let Err(error) = verify_as_configured(keyring, how, &verify, proof) {
            report(&signature.path, &error, proof);
        }
    }
}

/// The bytes of a small file. `None` if it is damaged, which is reported.
pub fn read(source: &dyn ProofSource, entry: &Entry, proof: &mut Proof) -> Option<Vec<u8>> {
    read_small(source, entry.content())
        .map_err(|damage| proof.damage(entry, damage))
        .ok()
}

/// The root as it was recorded.
fn unsigned(source: &RootSource, bytes: Vec<u8>, proof: &mut Proof) -> Option<Trusted> {
    match source {
        RootSource::Detached { .. } => Some(Trusted::of_state(bytes)),
        RootSource::Inline { path } => Trusted::of_state_inline(&bytes, path.as_str())
            .map_err(|error| proof.problem(ProblemKind::Root, Some(path), error.to_string()))
            .ok(),
    }
}

/// A signature that is good but weak was accepted because the configuration allowed it.
fn verify_as_configured(
    keyring: &Keyring,
    how: RootProof<'_>,
    verify: &dyn Fn(&Keyring) -> Result<Trusted, VerifyError>,
    proof: &mut Proof,
) -> Result<Trusted, VerifyError> {
    let error = match verify(keyring) {
        Err(error) if error.is_weakness() => error,
        result => return result,
    };
    let RootProof::Signed {
        weak: WeakSignatures::Accepted,
        ..
    } = how
    else {
        return Err(error);
    };
    let weak = keyring.clone().with_policy(Policy {
        allow_weak_signatures: true,
    });
    let trusted = verify(&weak)?;
    proof.note("its signature is weak: it was synced with allow_weak_signatures".to_owned());
    Ok(trusted)
}

/// Reports a signature that is not good.
pub fn report(path: &RelPath, error: &VerifyError, proof: &mut Proof) {
    let kind = if error.is_revocation() {
        ProblemKind::Untrusted
    } else {
        ProblemKind::Signature
    };
    proof.problem(kind, Some(path), error.to_string());
}
