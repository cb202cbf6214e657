//! Roots: their paths, their content, and generated ones.

use super::error::FormatError;
use super::index::Index;
use crate::openpgp::Trusted;
use crate::rel_path::RelPath;

/// The path of a root, and how it is signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RootSource {
    /// A clear-signed file whose text is the root (`InRelease`).
    Inline { path: RelPath },
    /// A file with a detached signature (`Release` and `Release.gpg`, `repomd.xml` and
    /// `repomd.xml.asc`).
    Detached { path: RelPath, signature: RelPath },
}

impl RootSource {
    pub fn path(&self) -> &RelPath {
        match self {
            Self::Inline { path } | Self::Detached { path, .. } => path,
        }
    }
}

/// A file next to the root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Companion {
    /// Another form of the root (`Release` and `Release.gpg` next to `InRelease`). It is mirrored
    /// only if it has the same content as the root and, if signatures are checked, a valid
    /// signature.
    SameRoot { path: RelPath, signature: RelPath },
    /// Something for clients (`repomd.xml.key`).
    Opaque { path: RelPath },
}

/// Trusted keys for clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyFile {
    pub path: RelPath,
    pub bytes: Vec<u8>,
}

/// The content of a root, reduced to the selection of the repository.
#[derive(Debug)]
pub struct Root {
    /// The date of this state, in seconds since the epoch: `Date` of Release, the newest timestamp
    /// in repomd.
    pub date: Option<i64>,
    /// A revision number that increases with each state, if the format and the upstream have one.
    pub revision: Option<u64>,
    /// Its expiry date (`Valid-Until` of Release), in seconds since the epoch.
    pub valid_until: Option<i64>,
    /// The value of that field if it is not a date.
    pub unread_valid_until: Option<String>,
    pub indexes: Vec<Index>,
    /// Warnings about problems that do not stop a sync.
    pub warnings: Vec<String>,
}

/// The `Valid-Until` of a Release with a new date.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValidUntil {
    Stays,
    IsDropped,
}

/// Where our own key is published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnKey {
    pub path: RelPath,
    /// Not armored.
    pub is_binary: bool,
    /// Whether the trusted keys of the upstream are in the same file.
    pub is_shared: bool,
}

/// The text of a root, without its signature.
pub fn root_text(source: &RootSource, bytes: &[u8]) -> Result<Vec<u8>, FormatError> {
    match source {
        RootSource::Detached { .. } => Ok(bytes.to_vec()),
        RootSource::Inline { path } => Trusted::unsigned_inline(bytes, path.as_str())
            .map(|trusted| trusted.bytes().to_vec())
            .map_err(|error| FormatError::malformed(path.as_str(), error.to_string())),
    }
}

/// Whether two roots have the same text. Clear-signing may change spaces at line ends and the end of
/// the last line, and nothing else.
pub fn is_same_text(a: &[u8], b: &[u8]) -> bool {
    fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
        text.trim_ascii_end()
            .split(|byte| *byte == b'\n')
            .map(<[u8]>::trim_ascii_end)
    }
    lines(a).eq(lines(b))
}

/// The path of a file next to the root.
pub(super) fn beside(source: &RootSource, name: &str) -> RelPath {
    source
        .path()
        .with_file_name(name)
        .expect("a root's directory has room for the names of roots")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repo_format::RepoFormat;

    #[test]
    fn clear_signing_changes_blanks_only() {
        assert!(is_same_text(b"a: b\nc\n", b"a: b \r\nc"));
        assert!(!is_same_text(b"a: b\nc\n", b"a: b\nd\n"));
        assert!(!is_same_text(b"a: b\nc\n", b"a: b\nc\nd\n"));
    }

    #[test]
    fn the_root_is_found_among_its_files() {
        let paths = |names: &[&str]| -> Vec<RelPath> {
            let names = names.iter();
            names.map(|name| RelPath::parse(name).unwrap()).collect()
        };
        let all = paths(&[
            "dists/x/Release",
            "dists/x/InRelease",
            "dists/x/Release.gpg",
        ]);
        let root = RepoFormat::Apt.rules().root_among(&mut all.iter()).unwrap();
        assert_eq!(root.path().as_str(), "dists/x/InRelease");
        let all = paths(&["Release"]);
        let root = RepoFormat::Apt.rules().root_among(&mut all.iter()).unwrap();
        assert_eq!(root.path().as_str(), "Release");
        let signed: Vec<RootSource> = RepoFormat::Apt.rules().forms(&root);
        assert_eq!(signed[0].path().as_str(), "InRelease");
        let all = paths(&["repodata/repomd.xml.asc", "repodata/repomd.xml"]);
        let root = RepoFormat::Rpm.rules().root_among(&mut all.iter()).unwrap();
        assert_eq!(root.path().as_str(), "repodata/repomd.xml");
        assert!(
            RepoFormat::Rpm
                .rules()
                .root_among(&mut [].into_iter())
                .is_none()
        );
    }
}
