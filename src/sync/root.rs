//! The root: fetched once, pinned, and verified before it is parsed.

use super::companions::Companions;
use super::error::{RootError, SyncError};
use super::root_verifier::{RootFile, RootVerifier};
use crate::config::{RootCheck, UpstreamUrl};
use crate::digest::ObjectId;
use crate::format::{RootSource, Selected};
use crate::manifest::Role;
use crate::openpgp::{Authority, Signer, Trusted};
use crate::rel_path::RelPath;
use crate::upstream::{Small, Upstream, UpstreamError, Validators};

/// How often a root is fetched again because its signature belongs to another one.
const ATTEMPTS_MAX: u32 = 3;

/// A verified root.
pub struct PinnedRoot {
    pub source: RootSource,
    /// The root file itself.
    pub object: ObjectId,
    pub trusted: Trusted,
    /// The root and the files that are published with it unchanged.
    pub files: Vec<RootFile>,
    pub validators: Validators,
    pub warnings: Vec<String>,
}

/// A root that is not verified yet.
pub struct FetchedRoot {
    pub source: RootSource,
    pub bytes: Vec<u8>,
    pub validators: Validators,
}

/// Fetches and verifies the roots of one repository.
#[derive(Clone, Copy)]
pub struct RootFetcher<'a> {
    pub upstream: &'a Upstream,
    pub location: &'a UpstreamUrl,
    pub selected: &'a dyn Selected,
    pub verifier: RootVerifier<'a>,
}

impl PinnedRoot {
    pub fn signers(&self) -> &[Signer] {
        match self.trusted.authority() {
            Authority::Signed(signers) => signers,
            Authority::Unsigned | Authority::State => &[],
        }
    }
}

impl RootFetcher<'_> {
    /// The current root of the upstream.
    pub fn fetch_verified(&self) -> Result<PinnedRoot, SyncError> {
        let fetched = self
            .fetch(|_| Ok(None))?
            .expect("a request without validators is never answered with `not modified`");
        self.verify(fetched)
    }

    /// The current root, not verified yet: the first of the possible paths that exists. `None` if
    /// the server answers that it was not modified.
    pub fn fetch(
        &self,
        validators: impl Fn(&RelPath) -> Result<Option<Validators>, SyncError>,
    ) -> Result<Option<FetchedRoot>, SyncError> {
        let mut tried = Vec::new();
        let mut denied = None;
        for source in self.selected.roots() {
            let path = source.path();
            let validators = validators(path)?;
            let answer = match self.upstream.small(path, validators.as_ref()) {
                // Some servers answer 403 for files that do not exist: try the next path.
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
                    return Ok(Some(FetchedRoot {
                        source,
                        bytes,
                        validators,
                    }));
                }
            }
        }
        Err(match (denied, self.location) {
            (Some(denied), _) => RootError::Upstream(denied),
            (None, UpstreamUrl::File(path)) if !path.is_dir() => {
                RootError::NoDirectory { path: path.clone() }
            }
            (None, _) => RootError::NotFound { tried },
        }
        .into())
    }

    /// Verifies a root, or a newer one: a root and its detached signature are two requests, and the
    /// upstream may change between them.
    pub fn verify(&self, mut fetched: FetchedRoot) -> Result<PinnedRoot, SyncError> {
        for _ in 0..ATTEMPTS_MAX {
            let is_detached = matches!(fetched.source, RootSource::Detached { .. });
            let object = ObjectId::of(&fetched.bytes);
            let error = match self.verify_once(fetched) {
                Err(SyncError::Root(error)) if is_detached && error.is_about_signature() => error,
                result => return result,
            };
            match self.fetch(|_| Ok(None)) {
                Ok(Some(now)) if ObjectId::of(&now.bytes) != object => fetched = now,
                _ => return Err(error.into()),
            }
        }
        self.verify_once(fetched)
    }

    /// Verifies a root and collects the files that are published with it.
    fn verify_once(&self, fetched: FetchedRoot) -> Result<PinnedRoot, SyncError> {
        let FetchedRoot {
            source,
            bytes,
            validators,
        } = fetched;
        let mut warnings = Vec::new();
        let mut files = vec![RootFile {
            path: source.path().clone(),
            bytes: bytes.clone(),
            role: Role::Root,
        }];
        let trusted = match &source {
            RootSource::Inline { path } => self.verifier.verify_inline(path, &bytes)?,
            RootSource::Detached { path, signature } => {
                let signed = self.verifier.fetch_signature(signature)?;
                let trusted = self.verifier.verify_detached(
                    path,
                    bytes.clone(),
                    signature,
                    signed.as_deref(),
                )?;
                if signed.is_some()
                    && self.verifier.trust.root == RootCheck::Auto
                    && self.verifier.trust.keys.is_empty()
                {
                    warnings.push(format!(
                        "{} exists, but no key is configured to verify it",
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
        let mut companions = Companions {
            verifier: self.verifier,
            root: &trusted,
            files,
            warnings,
        };
        for companion in self.selected.companions(&source) {
            companions.add(&companion)?;
        }
        let Companions {
            files, warnings, ..
        } = companions;
        Ok(PinnedRoot {
            object: ObjectId::of(&bytes),
            source,
            trusted,
            files,
            validators,
            warnings,
        })
    }
}
