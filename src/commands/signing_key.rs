//! The configured signing key, for the commands that sign.

use std::io::{self, Read};
use std::path::Path;

use super::Context;
use crate::error::Error;
use crate::openpgp::SigningKey;
use crate::regular_file;
use crate::time;

/// Of a key or a passphrase: one byte more than what can be either is enough to refuse it.
const READ_LIMIT: u64 = (1 << 20) + 1;

/// The key that `signing.key_file` names, unlocked; `None` when none is configured.
pub fn signing_key(context: &Context<'_>) -> Result<Option<SigningKey>, Error> {
    let Some(signing) = &context.config.signing else {
        return Ok(None);
    };
    let passphrase = match &signing.passphrase_file {
        Some(path) => Some(read_passphrase(path)?),
        None => None,
    };
    let bytes = read_secret(&signing.key_file)?;
    let now = time::now();
    let key = SigningKey::read(&bytes, passphrase.as_deref(), now).map_err(|source| {
        Error::SigningKey {
            file: signing.key_file.clone(),
            source,
        }
    })?;
    if key.is_bound_weakly(now) {
        log::warn!(
            "{}: the key says by SHA-1 only that it may sign, which newer clients refuse; a new expiry date, set in gpg, renews that",
            signing.key_file.display()
        );
    }
    Ok(Some(key))
}

/// The first line of a file, without its line end.
pub fn read_passphrase(path: &Path) -> Result<Vec<u8>, Error> {
    let bytes = read_secret(path)?;
    let line = bytes
        .split(|byte| *byte == b'\n')
        .next()
        .unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.is_empty() {
        return Err(Error::Usage(format!(
            "{}: the first line, which is the passphrase, is empty",
            path.display()
        )));
    }
    Ok(line.to_vec())
}

fn read_secret(path: &Path) -> Result<Vec<u8>, Error> {
    let file = regular_file::open_named(path).map_err(|error| match error.kind() {
        io::ErrorKind::IsADirectory | io::ErrorKind::InvalidInput => {
            Error::Usage(format!("{} is not a file", path.display()))
        }
        _ => Error::SigningFile(error),
    })?;
    let metadata = file.metadata().map_err(Error::SigningFile)?;
    if let Some(mode) = regular_file::open_to_others(&metadata) {
        log::warn!(
            "{} is open to others (mode {mode:04o}): whoever reads it can sign in this mirror's name; `chmod 600` closes it",
            path.display()
        );
    }
    let mut bytes = Vec::new();
    file.take(READ_LIMIT)
        .read_to_end(&mut bytes)
        .map_err(Error::SigningFile)?;
    Ok(bytes)
}
