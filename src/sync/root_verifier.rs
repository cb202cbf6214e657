//! The signatures of roots: what has to be signed, and by which keys.

use std::sync::Arc;

use super::error::{RootError, SyncError};
use crate::config::{self, RootCheck};
use crate::manifest::Role;
use crate::openpgp::{Keyring, Trusted, VerifyError};
use crate::rel_path::RelPath;
use crate::trust::{KeyError, TrustedKeys};
use crate::upstream::{Small, Upstream, UpstreamError};

/// Verifies the roots of one repository as its configuration demands.
#[derive(Clone, Copy)]
pub struct RootVerifier<'a> {
    pub upstream: &'a Upstream,
    pub repository: &'a config::Repository,
    pub keys: &'a TrustedKeys<'a>,
    /// An earlier root of this upstream was signed: one without a signature is refused.
    pub was_signed: bool,
    /// When the keys have to be valid; seconds since the epoch.
    pub at: i64,
}

/// The root, or a file beside it.
pub struct RootFile {
    pub path: RelPath,
    pub bytes: Vec<u8>,
    pub role: Role,
}

impl RootVerifier<'_> {
    pub fn keyring(&self) -> Result<Arc<Keyring>, KeyError> {
        self.keys.keyring(self.upstream)
    }

    pub fn verify_inline(&self, path: &RelPath, bytes: &[u8]) -> Result<Trusted, SyncError> {
        let url = self.upstream.shown(path);
        match self.repository.trust.root {
            RootCheck::Off => {
                Trusted::unsigned_inline(bytes, &url).map_err(|error| RootError::from(error).into())
            }
            RootCheck::Required | RootCheck::Auto => {
                self.verified(|keyring| keyring.verify_inline(bytes, &url, self.at))
            }
        }
    }

    /// `signed` is the signature, if there is one.
    pub fn verify_detached(
        &self,
        path: &RelPath,
        bytes: Vec<u8>,
        signature: &RelPath,
        signed: Option<&[u8]>,
    ) -> Result<Trusted, SyncError> {
        let trust = &self.repository.trust;
        let url = || self.upstream.shown(path);
        match (trust.root, signed) {
            (RootCheck::Off, _) => Ok(Trusted::unsigned(bytes)),
            (RootCheck::Auto, Some(_)) if trust.keys.is_empty() => Ok(Trusted::unsigned(bytes)),
            (RootCheck::Auto, None) if !self.was_signed => Ok(Trusted::unsigned(bytes)),
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
                keyring.verify_detached(bytes.clone(), signed, &url(), self.at)
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
    pub fn fetch_signature(&self, path: &RelPath) -> Result<Option<Vec<u8>>, SyncError> {
        match self.upstream.small(path, None) {
            Ok(Small::Body { bytes, .. }) => Ok(Some(bytes)),
            Ok(Small::Missing | Small::NotModified)
            | Err(UpstreamError::Denied { status: 403, .. }) => Ok(None),
            Err(error) => Err(RootError::from(error).into()),
        }
    }
}
