//! The root: asked for once, pinned, verified before anything is read from it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::{Asking, RESTARTS_MAX, Session, SyncError};
use crate::config::{RootCheck, UpstreamUrl};
use crate::digest::ObjectId;
use crate::exit::Exit;
use crate::format::{Companion, RootSource};
use crate::manifest::Role;
use crate::openpgp::{Authority, Keyring, Signer, Trusted, VerifyError};
use crate::rel_path::RelPath;
use crate::store::records::ValidatorRecord;
use crate::upstream::{Small, UpstreamError, Validators};

#[derive(Debug, thiserror::Error)]
pub enum RootError {
    #[error("there is no repository: none of {} exists", tried.join(", "))]
    NotFound { tried: Vec<String> },
    /// An upstream that is a path.
    #[error("there is no directory {}", path.display())]
    NoDirectory { path: PathBuf },
    #[error("{url} has no signature ({signature} does not exist or is refused)")]
    SignatureMissing { url: String, signature: String },
    /// As above, for a repository that could do without if it always had.
    #[error(
        "{url} has no signature, but it was signed before ({signature} does not exist or is refused)"
    )]
    SignatureGone { url: String, signature: String },
    #[error(transparent)]
    NotVerified(#[from] VerifyError),
    #[error("the root: {0}")]
    Upstream(#[from] UpstreamError),
}

impl RootError {
    pub fn exit(&self) -> Exit {
        match self {
            Self::Upstream(error) => error.exit(),
            Self::NotFound { .. }
            | Self::NoDirectory { .. }
            | Self::SignatureMissing { .. }
            | Self::SignatureGone { .. }
            | Self::NotVerified(_) => Exit::Refused,
        }
    }
}

impl RootError {
    /// What would be seen if root and signature were of two moments.
    fn blames_the_signature(&self) -> bool {
        matches!(
            self,
            Self::SignatureMissing { .. } | Self::SignatureGone { .. } | Self::NotVerified(_)
        )
    }
}

/// A root as it was fetched, verified.
pub struct Pinned {
    pub source: RootSource,
    /// The root file itself.
    pub object: ObjectId,
    pub trusted: Trusted,
    /// The root and what belongs beside it, to be published as they are.
    pub files: Vec<RootFile>,
    pub validators: Validators,
    pub warnings: Vec<String>,
}

pub struct RootFile {
    pub path: RelPath,
    pub bytes: Vec<u8>,
    pub role: Role,
}

/// What an answer tells of a root that is known.
#[derive(Default)]
pub struct Unchanged {
    /// Those that the root came with, if it came. The ones that it had may not have been worth keeping: it was too new then.
    pub validators: Option<BTreeMap<String, ValidatorRecord>>,
}

/// A root as it came, not verified yet.
struct Found {
    source: RootSource,
    bytes: Vec<u8>,
    validators: Validators,
}

pub enum RootAnswer {
    /// It is the root of the last good state.
    Unchanged(Unchanged),
    Pinned(Box<Pinned>),
}

impl Pinned {
    pub fn signers(&self) -> &[Signer] {
        match self.trusted.authority() {
            Authority::Signed(signers) => signers,
            Authority::Unsigned | Authority::State => &[],
        }
    }
}

impl Session<'_> {
    /// The upstream's root, unless it is known to be the one of the last good state.
    pub(super) fn root(&self) -> Result<RootAnswer, SyncError> {
        let cache = &self.context.config.cache;
        let state = match self.context.asking {
            Asking::Conditional => self.comparable_state()?,
            Asking::Refresh => None,
        };
        if let Some(state) = state {
            let age = self.started.saturating_sub(state.checked_at);
            if u64::try_from(age).is_ok_and(|age| age < cache.ttl.as_secs()) {
                return Ok(RootAnswer::Unchanged(Unchanged::default()));
            }
        }
        // What the upstream did not give is asked for again, under whatever root.
        let state = state.filter(|record| record.state.missing.is_empty());
        let Some(found) = self.ask_for_root(|path| match state {
            Some(_) if cache.enabled => self.validators(path),
            _ => Ok(None),
        })?
        else {
            return Ok(RootAnswer::Unchanged(Unchanged::default()));
        };
        // A server without validators sends the whole root: its bytes say as well that nothing changed.
        if state.is_some_and(|record| record.state.has_root(ObjectId::of(&found.bytes))) {
            let records = self.validator_records(found.source.path(), &found.validators);
            return Ok(RootAnswer::Unchanged(Unchanged {
                validators: Some(records),
            }));
        }
        Ok(RootAnswer::Pinned(Box::new(self.pin_consistent(found)?)))
    }

    /// The root of this moment, to compare with the one that a sync was derived from.
    pub(super) fn root_again(&self) -> Result<Pinned, SyncError> {
        let found = self
            .ask_for_root(|_| Ok(None))?
            .expect("without validators no server can say `not modified`");
        self.pin_consistent(found)
    }

    /// Pins a root, or a newer one: it and a signature beside it are two requests, between which the upstream may change.
    fn pin_consistent(&self, mut found: Found) -> Result<Pinned, SyncError> {
        for _ in 0..RESTARTS_MAX {
            let is_detached = matches!(found.source, RootSource::Detached { .. });
            let object = ObjectId::of(&found.bytes);
            let error = match self.pin(found) {
                Err(SyncError::Root(error)) if is_detached && error.blames_the_signature() => error,
                result => return result,
            };
            match self.ask_for_root(|_| Ok(None)) {
                Ok(Some(now)) if ObjectId::of(&now.bytes) != object => found = now,
                _ => return Err(error.into()),
            }
        }
        self.pin(found)
    }

    /// The first of the possible roots that the upstream has; `None` when it says that ours is current.
    fn ask_for_root(
        &self,
        validators: impl Fn(&RelPath) -> Result<Option<Validators>, SyncError>,
    ) -> Result<Option<Found>, SyncError> {
        let mut tried = Vec::new();
        let mut denied = None;
        for source in self.selected.roots() {
            let path = source.path();
            let validators = validators(path)?;
            let answer = match self.upstream.small(path, validators.as_ref()) {
                // A server may hide so what it does not have: the next one may be there.
                Err(error @ UpstreamError::Denied { status: 403, .. }) => {
                    denied.get_or_insert(error);
                    continue;
                }
                answer => answer.map_err(RootError::from)?,
            };
            match answer {
                Small::Missing => tried.push(self.upstream.shown(path)),
                Small::NotModified => return Ok(None),
                Small::Body { bytes, validators } => {
                    return Ok(Some(Found {
                        source,
                        bytes,
                        validators,
                    }));
                }
            }
        }
        Err(match (denied, &self.repository.upstream) {
            (Some(denied), _) => RootError::Upstream(denied),
            (None, UpstreamUrl::File(path)) if !path.is_dir() => {
                RootError::NoDirectory { path: path.clone() }
            }
            (None, _) => RootError::NotFound { tried },
        }
        .into())
    }

    fn validators(&self, path: &RelPath) -> Result<Option<Validators>, SyncError> {
        let max_age = self.context.config.cache.max_age.as_secs();
        let record = self
            .context
            .storage
            .read(|reader| reader.validator(self.id(), self.origin, path.as_str()))?;
        Ok(record
            .filter(|record| {
                let age = self.started.saturating_sub(record.stored_at);
                u64::try_from(age).is_ok_and(|age| age < max_age)
            })
            .map(|record| Validators {
                etag: record.etag,
                last_modified: record.last_modified,
            }))
    }

    /// What the next run asks with.
    pub(super) fn validator_records(
        &self,
        root: &RelPath,
        validators: &Validators,
    ) -> BTreeMap<String, ValidatorRecord> {
        let mut records = BTreeMap::new();
        if validators.etag.is_some() || validators.last_modified.is_some() {
            records.insert(
                root.as_str().to_owned(),
                ValidatorRecord {
                    etag: validators.etag.clone(),
                    last_modified: validators.last_modified.clone(),
                    stored_at: self.started,
                },
            );
        }
        records
    }

    /// Verifies a root and gathers what belongs beside it.
    fn pin(&self, found: Found) -> Result<Pinned, SyncError> {
        let Found {
            source,
            bytes,
            validators,
        } = found;
        let mut warnings = Vec::new();
        let mut files = vec![RootFile {
            path: source.path().clone(),
            bytes: bytes.clone(),
            role: Role::Root,
        }];
        let trusted = match &source {
            RootSource::Inline { path } => self.verify_inline(path, &bytes)?,
            RootSource::Detached { path, signature } => {
                let signed = self.signature(signature)?;
                let trusted =
                    self.verify_detached(path, bytes.clone(), signature, signed.as_deref())?;
                if signed.is_some()
                    && self.repository.trust.root == RootCheck::Auto
                    && self.repository.trust.keys.is_empty()
                {
                    warnings.push(format!(
                        "{} exists, but no key is configured to verify it with",
                        self.upstream.shown(signature)
                    ));
                }
                let format = self.selected.format();
                let objection = signed
                    .as_deref()
                    .and_then(|signed| format.reject_signature(signed));
                warnings.extend(
                    objection.map(|why| format!("{} {why}", self.upstream.shown(signature))),
                );
                files.extend(signed.map(|bytes| RootFile {
                    path: signature.clone(),
                    bytes,
                    role: Role::Root,
                }));
                trusted
            }
        };
        for companion in self.selected.companions(&source) {
            self.add_companion(&companion, &trusted, &mut files, &mut warnings)?;
        }
        Ok(Pinned {
            object: ObjectId::of(&bytes),
            source,
            trusted,
            files,
            validators,
            warnings,
        })
    }

    fn verify_inline(&self, path: &RelPath, bytes: &[u8]) -> Result<Trusted, SyncError> {
        let url = self.upstream.shown(path);
        match self.repository.trust.root {
            RootCheck::Off => {
                Trusted::unsigned_inline(bytes, &url).map_err(|error| RootError::from(error).into())
            }
            RootCheck::Required | RootCheck::Auto => {
                self.verified(|keyring| keyring.verify_inline(bytes, &url, self.started))
            }
        }
    }

    /// `signed` is the signature, if there is one.
    fn verify_detached(
        &self,
        path: &RelPath,
        bytes: Vec<u8>,
        signature: &RelPath,
        signed: Option<&[u8]>,
    ) -> Result<Trusted, SyncError> {
        let trust = &self.repository.trust;
        let was_signed = self
            .previous
            .as_ref()
            .is_some_and(|state| state.was_signed && state.origin == self.origin);
        let url = || self.upstream.shown(path);
        match (trust.root, signed) {
            (RootCheck::Off, _) => Ok(Trusted::unsigned(bytes)),
            (RootCheck::Auto, Some(_)) if trust.keys.is_empty() => Ok(Trusted::unsigned(bytes)),
            (RootCheck::Auto, None) if !was_signed => Ok(Trusted::unsigned(bytes)),
            (RootCheck::Auto, None) => Err(RootError::SignatureGone {
                url: url(),
                signature: self.upstream.shown(signature),
            }
            .into()),
            (RootCheck::Required, None) => Err(RootError::SignatureMissing {
                url: url(),
                signature: self.upstream.shown(signature),
            }
            .into()),
            (RootCheck::Required | RootCheck::Auto, Some(signed)) => self.verified(|keyring| {
                keyring.verify_detached(bytes.clone(), signed, &url(), self.started)
            }),
        }
    }

    fn verified(
        &self,
        verification: impl Fn(&Keyring) -> Result<Trusted, VerifyError>,
    ) -> Result<Trusted, SyncError> {
        let keyring = self.keyring()?;
        verification(&keyring).map_err(|error| RootError::from(error).into())
    }

    /// A signature that is missing is no signature, also where the server hides what it does not have. Access that is asked for is
    /// another matter.
    fn signature(&self, path: &RelPath) -> Result<Option<Vec<u8>>, SyncError> {
        match self.upstream.small(path, None) {
            Ok(Small::Body { bytes, .. }) => Ok(Some(bytes)),
            Ok(Small::Missing | Small::NotModified)
            | Err(UpstreamError::Denied { status: 403, .. }) => Ok(None),
            Err(error) => Err(RootError::from(error).into()),
        }
    }

    /// Without any key nothing is trusted, and nothing more can be lost.
    fn holds_trusted_keys_only(&self, bytes: &[u8]) -> Result<bool, SyncError> {
        if self.repository.trust.keys.is_empty() {
            return Ok(true);
        }
        let trusted = self.keyring()?.fingerprints();
        let found = Keyring::parse(bytes, "keys");
        Ok(found.is_ok_and(|found| {
            let found = found.fingerprints();
            found.iter().all(|key| trusted.contains(key))
        }))
    }

    /// What stands beside a root that is verified without it: whatever is wrong with it, clients go on.
    fn beside_the_root(
        &self,
        path: &RelPath,
        warnings: &mut Vec<String>,
    ) -> Result<Option<Vec<u8>>, SyncError> {
        match self.signature(path) {
            Err(SyncError::Root(RootError::Upstream(error)))
                if error.affects_one_file() || error.is_server_error() =>
            {
                warnings.push(format!("{error}: it is left out"));
                Ok(None)
            }
            answer => answer,
        }
    }

    fn add_companion(
        &self,
        companion: &Companion,
        trusted: &Trusted,
        files: &mut Vec<RootFile>,
        warnings: &mut Vec<String>,
    ) -> Result<(), SyncError> {
        match companion {
            Companion::Opaque { path } => {
                let Some(bytes) = self.beside_the_root(path, warnings)? else {
                    return Ok(());
                };
                // Clients import it: it must not be anybody else's key than those that were verified with.
                if !self.holds_trusted_keys_only(&bytes)? {
                    warnings.push(format!(
                        "{} holds other keys than the trusted ones and is left out",
                        self.upstream.shown(path)
                    ));
                    return Ok(());
                }
                files.push(RootFile {
                    path: path.clone(),
                    bytes,
                    role: Role::Key,
                });
            }
            Companion::SameRoot { path, signature } => {
                let Some(bytes) = self.beside_the_root(path, warnings)? else {
                    return Ok(());
                };
                // Between two requests the upstream may have changed: then this one waits for the next sync.
                if !says_the_same(&bytes, trusted.bytes()) {
                    warnings.push(format!(
                        "{} is not what the root says and is left out",
                        self.upstream.shown(path)
                    ));
                    return Ok(());
                }
                let signed = self.beside_the_root(signature, warnings)?;
                if self.repository.trust.root == RootCheck::Required
                    && let Some(signed) = &signed
                {
                    let verified =
                        self.verify_detached(path, bytes.clone(), signature, Some(signed));
                    if let Err(error) = verified {
                        log::debug!("{}: {error}", self.id());
                        warnings.push(format!(
                            "{} does not verify {}: both are left out, and clients use the root that has its signature inside; nothing to do",
                            self.upstream.shown(signature),
                            path.file_name()
                        ));
                        return Ok(());
                    }
                }
                files.push(RootFile {
                    path: path.clone(),
                    bytes,
                    role: Role::Root,
                });
                files.extend(signed.map(|bytes| RootFile {
                    path: signature.clone(),
                    bytes,
                    role: Role::Root,
                }));
            }
        }
        Ok(())
    }
}

/// Signing in clear text may change blanks at line ends and the last line's end, and nothing else.
fn says_the_same(a: &[u8], b: &[u8]) -> bool {
    fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
        text.trim_ascii_end()
            .split(|byte| *byte == b'\n')
            .map(<[u8]>::trim_ascii_end)
    }
    lines(a).eq(lines(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clear_signing_changes_blanks_only() {
        assert!(says_the_same(b"a: b\nc\n", b"a: b \r\nc"));
        assert!(!says_the_same(b"a: b\nc\n", b"a: b\nd\n"));
        assert!(!says_the_same(b"a: b\nc\n", b"a: b\nc\nd\n"));
    }
}
