//! The files of a generated root: the root in the forms that clients request, and the key files.

use super::error::PublishError;
use crate::format::{Format, RootSource};
use crate::manifest::{Entry, Role};
use crate::openpgp::{Keyring, SigningKey};
use crate::rel_path::RelPath;
use crate::storage::Storage;

/// The parameters of a generated root, with the key that was read.
#[derive(Clone, Copy)]
pub struct RootSigner<'a> {
    pub format: &'static dyn Format,
    /// `None` for an unsigned root.
    pub key: Option<&'a SigningKey>,
    pub key_name: &'a RelPath,
}

type File = (RelPath, Vec<u8>, Role);

/// The files of the root. Without a key they have no signature.
pub fn root_files(
    root: Vec<u8>,
    source: &RootSource,
    signer: RootSigner<'_>,
    date: i64,
) -> Result<Vec<File>, PublishError> {
    let mut files = Vec::new();
    if let Some(key) = signer.key {
        for form in signer.format.forms(source) {
            let (path, bytes) = match form {
                RootSource::Inline { path } => (path, key.sign_inline(&root, date)?),
                RootSource::Detached { signature, .. } => {
                    (signature, key.sign_detached(&root, date)?)
                }
            };
            files.push((path, bytes, Role::Root));
        }
    }
    files.push((signer.format.plain(source), root, Role::Root));
    Ok(files)
}

/// The files of the signing key, at the paths where clients of the format expect keys. `entries` are
/// those of the manifest that the root is generated for.
pub fn key_files(
    storage: &Storage,
    entries: &[Entry],
    signer: RootSigner<'_>,
) -> Result<Vec<File>, PublishError> {
    let mut files = Vec::new();
    let Some(key) = signer.key else {
        return Ok(files);
    };
    for file in signer.format.own_keys(signer.key_name) {
        let there = entries.iter().find(|entry| entry.path == file.path);
        let mut keyring = key.public();
        match there {
            Some(entry) if entry.role == Role::Key && file.is_shared => {
                // Clients of this tree may trust the upstream's key, and continue to work with
                // either.
                let trusted = Keyring::parse(&read_key(storage, entry)?, entry.path.as_str());
                if let Ok(trusted) = trusted {
                    keyring.extend(trusted);
                }
            }
            Some(entry) if entry.role != Role::Key => {
                return Err(PublishError::KeyPathTaken {
                    path: entry.path.clone(),
                });
            }
            _ => {}
        }
        let bytes = if file.is_binary {
            keyring.to_binary()
        } else {
            keyring.to_armored().into_bytes()
        };
        files.push((file.path, bytes, Role::Key));
    }
    Ok(files)
}

fn read_key(storage: &Storage, entry: &Entry) -> Result<Vec<u8>, PublishError> {
    let bytes = storage.pool.read_small(entry.object)?;
    bytes.ok_or_else(|| PublishError::ObjectMissing {
        path: entry.path.to_string(),
        object: entry.object,
    })
}
