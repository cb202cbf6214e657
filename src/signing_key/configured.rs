//! The configured signing key: read from its file when something is signed.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::config::Signing;
use crate::exit::Exit;
use crate::openpgp::{SigningKey, SigningKeyError};
use crate::regular_file;
use crate::time;

/// One byte more than the largest key or passphrase is enough to detect a file that is too large.
const READ_LIMIT: u64 = (1 << 20) + 1;

/// Why the configured key or its passphrase cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    #[error("{} is not a regular file", path.display())]
    NotAFile { path: PathBuf },
    #[error("{}: the first line, which must be the passphrase, is empty", path.display())]
    EmptyPassphrase { path: PathBuf },
    /// The key in `signing.key_file` cannot sign.
    #[error("{}: {source}", file.display())]
    Unusable {
        file: PathBuf,
        source: SigningKeyError,
    },
    /// The error contains the path.
    #[error(transparent)]
    Read(io::Error),
}

impl KeyFileError {
    pub fn exit(&self) -> Exit {
        match self {
            Self::NotAFile { .. }
            | Self::EmptyPassphrase { .. }
            | Self::Unusable { .. }
            | Self::Read(_) => Exit::Usage,
        }
    }
}

/// The key in `signing.key_file`. It is read once, when it is first needed: unlocking it may take a
/// while.
pub struct ConfiguredKey<'a> {
    signing: Option<&'a Signing>,
    key: OnceLock<Option<SigningKey>>,
}

impl<'a> ConfiguredKey<'a> {
    pub fn new(signing: Option<&'a Signing>) -> Self {
        Self {
            signing,
            key: OnceLock::new(),
        }
    }

    #[cfg(test)]
    pub fn none() -> Self {
        Self::new(None)
    }

    /// The key, unlocked; `None` when none is configured.
    pub fn read(&self) -> Result<Option<&SigningKey>, KeyFileError> {
        if self.key.get().is_none() {
            let key = self.signing.map(read).transpose()?;
            // Another thread may have set the same key.
            let _ = self.key.set(key);
        }
        Ok(self.key.get().and_then(Option::as_ref))
    }
}

fn read(signing: &Signing) -> Result<SigningKey, KeyFileError> {
    let passphrase = match &signing.passphrase_file {
        Some(path) => Some(read_passphrase(path)?),
        None => None,
    };
    let bytes = read_secret(&signing.key_file)?;
    let now = time::now();
    let key = SigningKey::read(&bytes, passphrase.as_deref(), now).map_err(|source| {
        KeyFileError::Unusable {
            file: signing.key_file.clone(),
            source,
        }
    })?;
    if key.is_bound_weakly(now) {
        log::warn!(
            "{}: the self-signature of the key uses SHA-1, which newer clients reject; setting a new expiry date with gpg replaces it",
            signing.key_file.display()
        );
    }
    Ok(key)
}

/// The first line of a file, without its line end.
pub fn read_passphrase(path: &Path) -> Result<Vec<u8>, KeyFileError> {
    let bytes = read_secret(path)?;
    let line = bytes
        .split(|byte| *byte == b'\n')
        .next()
        .unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.is_empty() {
        return Err(KeyFileError::EmptyPassphrase {
            path: path.to_owned(),
        });
    }
    Ok(line.to_vec())
}

fn read_secret(path: &Path) -> Result<Vec<u8>, KeyFileError> {
    let file = regular_file::open_named(path).map_err(|error| match error.kind() {
        io::ErrorKind::IsADirectory | io::ErrorKind::InvalidInput => KeyFileError::NotAFile {
            path: path.to_owned(),
        },
        _ => KeyFileError::Read(error),
    })?;
    let metadata = file.metadata().map_err(KeyFileError::Read)?;
    if let Some(mode) = regular_file::open_to_others(&metadata) {
        log::warn!(
            "{} is secret, but other users can read it (mode {mode:04o}): run `chmod 600` on it",
            path.display()
        );
    }
    let mut bytes = Vec::new();
    file.take(READ_LIMIT)
        .read_to_end(&mut bytes)
        .map_err(KeyFileError::Read)?;
    Ok(bytes)
}
