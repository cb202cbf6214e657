//! Reads the roots of stored states from the pool.

use std::io;

use crate::digest::ObjectId;
use crate::format::{Format, FormatError, RootSource, root_text};
use crate::manifest::{Entry, Role};
use crate::openpgp::{Trusted, VerifyError};
use crate::pool::Pool;
use crate::rel_path::RelPath;
use crate::store::{Store, StoreError};

/// The root of a state, with the bytes that its manifest refers to.
pub struct StoredRoot {
    pub source: RootSource,
    bytes: Vec<u8>,
}

/// Errors of [`read_root`], which callers convert to their own.
#[derive(Debug)]
pub enum RootError {
    NotFound { manifest: ObjectId },
    ObjectMissing { path: RelPath, object: ObjectId },
    Io(io::Error),
}

impl StoredRoot {
    /// The text without its signature.
    pub fn text(&self) -> Result<Vec<u8>, FormatError> {
        root_text(&self.source, &self.bytes)
    }

    /// The text without its signature, which was verified when it was downloaded.
    pub fn into_trusted(self) -> Result<Trusted, VerifyError> {
        match &self.source {
            RootSource::Inline { path } => Trusted::of_state_inline(&self.bytes, path.as_str()),
            RootSource::Detached { .. } => Ok(Trusted::of_state(self.bytes)),
        }
    }
}

/// Reads the root among the entries of a manifest, and checks its digest. If the indexes are new
/// ones, the root is not the upstream's.
pub fn read_root<'e>(
    pool: &Pool,
    manifest: ObjectId,
    entries: impl Iterator<Item = &'e Entry>,
    format: &dyn Format,
) -> Result<StoredRoot, RootError> {
    let roots: Vec<&Entry> = entries.filter(|entry| entry.role == Role::Root).collect();
    let source = format.root_among(&mut roots.iter().map(|entry| &entry.path));
    let source = source.ok_or(RootError::NotFound { manifest })?;
    let mut roots = roots.into_iter();
    let root = roots.find(|entry| entry.path == *source.path());
    let root = root.ok_or(RootError::NotFound { manifest })?;
    let bytes = pool.read_small(root.object).map_err(RootError::Io)?;
    let bytes = bytes.ok_or_else(|| RootError::ObjectMissing {
        path: root.path.clone(),
        object: root.object,
    })?;
    Ok(StoredRoot { source, bytes })
}

/// The paths of the root of a manifest; `None` if it has no root.
pub fn root_source(
    store: &Store,
    manifest: ObjectId,
    format: &dyn Format,
) -> Result<Option<RootSource>, StoreError> {
    let mut roots = Vec::new();
    store.read(|reader| {
        reader.each_entry(manifest, &mut |entry| {
            if entry.role == Role::Root {
                roots.push(entry.path);
            }
            Ok(())
        })
    })?;
    Ok(format.root_among(&mut roots.iter()))
}
