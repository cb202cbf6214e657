//! Names of the files and directories in a pool.

use std::io;
use std::path::{Path, PathBuf};

use fs_err as fs;

use crate::digest::{Digest, ObjectId};
use crate::names::RepoId;

pub const MARKER: &str = "CHANTAL-POOL";
/// Name of the temporary file while the marker is written.
pub const UNFINISHED_MARKER: &str = ".CHANTAL-POOL.new";
/// The first line of the marker. Version 1: `sha256/<2 hex>/<64 hex>`, `partial/`;
/// `damaged/` may be missing.
pub const LAYOUT: &str = "chantal pool, layout 1";
pub const OBJECTS: &str = "sha256";
pub const PARTIAL: &str = "partial";
/// Created when it is first needed.
pub const DAMAGED: &str = "damaged";
/// Prefix in `partial` of objects that are written here; the names of downloads begin with a digest
/// algorithm.
pub const NEW_OBJECT_PREFIX: &str = "made-";

/// The path of an object in the pool at `root`.
pub fn object_path(root: &Path, object: ObjectId) -> PathBuf {
    let hex = object.hex();
    let mut path = root.join(OBJECTS);
    path.push(&hex[..2]);
    path.push(hex);
    path
}

pub fn create_dir(path: &Path) -> io::Result<()> {
    match fs::create_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

/// The file name of a download in `partial`.
pub fn partial_name(expected: Digest, repository: &RepoId) -> String {
    let algorithm = expected.algorithm();
    let name = format!("{}-{}", algorithm.name(), expected.hex());
    if algorithm.is_collision_resistant() {
        name
    } else {
        format!("{name}-{repository}")
    }
}
