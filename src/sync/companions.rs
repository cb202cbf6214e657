//! Files next to a root that have no digest in it: they are published if they agree with what was
//! verified, otherwise skipped with a warning.

use super::error::{RootError, SyncError};
use super::root_verifier::{RootFile, RootVerifier};
use crate::config::RootCheck;
use crate::format::{Companion, is_same_text};
use crate::manifest::Role;
use crate::openpgp::{Keyring, Trusted};
use crate::rel_path::RelPath;

/// Collects the files that are published with a root.
pub struct Companions<'a> {
    pub verifier: RootVerifier<'a>,
    pub root: &'a Trusted,
    pub files: Vec<RootFile>,
    pub warnings: Vec<String>,
}

impl Companions<'_> {
    pub fn add(&mut self, companion: &Companion) -> Result<(), SyncError> {
        match companion {
            Companion::Opaque { path } => self.add_key(path),
            Companion::SameRoot { path, signature } => self.add_same_root(path, signature),
        }
    }

    /// Clients import this file: it must not contain other keys than those that verify the root.
    fn add_key(&mut self, path: &RelPath) -> Result<(), SyncError> {
        let Some(bytes) = self.fetch(path)? else {
            return Ok(());
        };
        if self.has_only_trusted_keys(&bytes)? {
            self.push(path, bytes, Role::Key);
        } else {
            self.skip(path, "contains keys that are not trusted");
        }
        Ok(())
    }

    fn add_same_root(&mut self, path: &RelPath, signature: &RelPath) -> Result<(), SyncError> {
        let Some(bytes) = self.fetch(path)? else {
            return Ok(());
        };
        // The upstream may have changed between two requests: then the file is fetched by the next
        // sync.
        if !is_same_text(&bytes, self.root.bytes()) {
            self.skip(path, "differs from the verified root");
            return Ok(());
        }
        let signed = self.fetch(signature)?;
        if self.verifier.trust.root == RootCheck::Required
            && let Some(signed) = &signed
        {
            let verified =
                self.verifier
                    .verify_detached(path, bytes.clone(), signature, Some(signed));
            if let Err(error) = verified {
                log::debug!("{error}");
                self.warnings.push(format!(
                    "{} does not verify {}: both skipped; clients use the root with the inline \
                     signature, no action is needed",
                    self.verifier.upstream.shown(signature),
                    path.file_name()
                ));
                return Ok(());
            }
        }
        self.push(path, bytes, Role::Root);
        if let Some(signed) = signed {
            self.push(signature, signed, Role::Root);
        }
        Ok(())
    }

    /// The root is verified without this file, and clients work without it: errors are only
    /// warnings.
    fn fetch(&mut self, path: &RelPath) -> Result<Option<Vec<u8>>, SyncError> {
        match self.verifier.fetch_signature(path) {
            Err(SyncError::Root(RootError::Upstream(error)))
                if error.affects_one_file() || error.is_server_error() =>
            {
                self.warnings.push(format!("{error}: skipped"));
                Ok(None)
            }
            answer => answer,
        }
    }

    fn push(&mut self, path: &RelPath, bytes: Vec<u8>, role: Role) {
        let path = path.clone();
        self.files.push(RootFile { path, bytes, role });
    }

    fn skip(&mut self, path: &RelPath, why: &str) {
        let url = self.verifier.upstream.shown(path);
        self.warnings.push(format!("{url} skipped: {why}"));
    }

    /// Without configured keys nothing is verified, so there is nothing to protect.
    fn has_only_trusted_keys(&self, bytes: &[u8]) -> Result<bool, SyncError> {
        if self.verifier.trust.keys.is_empty() {
            return Ok(true);
        }
        let trusted = self.verifier.keyring()?.fingerprints();
        let found = Keyring::parse(bytes, "keys");
        Ok(found.is_ok_and(|found| {
            let found = found.fingerprints();
            found.iter().all(|key| trusted.contains(key))
        }))
    }
}
