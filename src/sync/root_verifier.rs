//! Verifies the signatures of roots as configured.

use std::sync::Arc;

use super::error::{RootError, SyncError};
use crate::config::{RootCheck, Trust};
use crate::manifest::Role;
use crate::openpgp::{Keyring, Trusted, VerifyError};
use crate::rel_path::RelPath;
use crate::trust::{KeyError, TrustedKeys};
use crate::upstream::{Small, Upstream, UpstreamError};

/// Verifies the roots of one repository as its configuration requires.
#[derive(Clone, Copy)]
pub struct RootVerifier<'a> {
    pub upstream: &'a Upstream,
    pub trust: &'a Trust,
    pub keys: &'a TrustedKeys<'a>,
    /// An earlier root of this upstream was signed: an unsigned one is refused.
    pub was_signed: bool,
    /// The time at which the keys must be valid; seconds since the epoch.
    pub at: i64,
}

/// The root, or a file that is published with it.
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
        match self.trust.root {
            RootCheck::Off => {
                Trusted::unsigned_inline(bytes, &url).map_err(|error| RootError::from(error).into())
            }
            RootCheck::Required | RootCheck::Auto => {
                self.verified(|keyring| keyring.verify_inline(bytes, &url, self.at))
            }
        }
    }

    /// `signed` is the signature, if it exists.
    pub fn verify_detached(
        &self,
        path: &RelPath,
        bytes: Vec<u8>,
        signature: &RelPath,
        signed: Option<&[u8]>,
    ) -> Result<Trusted, SyncError> {
        let trust = self.trust;
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

    /// `None` if there is no signature. Status 403 counts as missing, because some servers answer
    /// so for files that do not exist; status 401 is an error.
    pub fn fetch_signature(&self, path: &RelPath) -> Result<Option<Vec<u8>>, SyncError> {
        match self.upstream.small(path, None) {
            Ok(Small::Body { bytes, .. }) => Ok(Some(bytes)),
            Ok(Small::Missing | Small::NotModified)
            | Err(UpstreamError::Denied { status: 403, .. }) => Ok(None),
            Err(error) => Err(RootError::from(error).into()),
        }
    }
}
