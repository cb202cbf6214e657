//! Roots of stored states: which file it is, and another one in its place.

use super::deb::{self, ValidUntil};
use super::{FormatError, RootSource, rpm};
use crate::openpgp::Trusted;
use crate::rel_path::RelPath;
use crate::repo_format::RepoFormat;

/// Where our own key is published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnKey {
    pub path: RelPath,
    /// Not armored.
    pub is_binary: bool,
    /// Whether the keys that are trusted for the upstream stand there too.
    pub is_shared: bool,
}

/// How a format's roots are made.
impl RepoFormat {
    /// The root among the files of a state that are roots or signatures of one.
    pub fn root_among<'p>(self, paths: impl Iterator<Item = &'p RelPath>) -> Option<RootSource> {
        let mut release = None;
        for path in paths {
            match (self, path.file_name()) {
                (Self::Apt, "InRelease") => return Some(RootSource::Inline { path: path.clone() }),
                (Self::Apt, "Release") | (Self::Rpm, "repomd.xml") => release = Some(path),
                _ => {}
            }
        }
        let path = release?;
        let ending = if self == Self::Apt { "gpg" } else { "asc" };
        let signature = path.with_file_name(&format!("{}.{ending}", path.file_name()));
        Some(RootSource::Detached {
            path: path.clone(),
            signature: signature.ok()?,
        })
    }

    /// Whether clients ignore a root that is older than the one they know.
    pub fn compares_dates(self) -> bool {
        self == Self::Apt
    }

    /// When a root that lies somewhere was made, where clients compare that; `None` also for one that cannot be read.
    pub fn date_of(self, source: &RootSource, bytes: &[u8]) -> Option<i64> {
        match self {
            Self::Apt => {
                let text = root_text(source, bytes).ok()?;
                deb::Release::parse(source.path().as_str(), &text)
                    .ok()?
                    .date
            }
            Self::Rpm => None,
        }
    }

    /// The root with another date. dnf takes the one that is there, whatever its date.
    pub fn dated(self, text: &[u8], date: i64, valid_until: ValidUntil) -> Vec<u8> {
        match self {
            Self::Apt => deb::redated(text, date, valid_until),
            Self::Rpm => text.to_vec(),
        }
    }

    /// Reads a root of our own as clients will, before it is signed.
    pub fn read_back(self, path: &RelPath, text: &[u8]) -> Result<(), FormatError> {
        let file = path.as_str();
        let read = match self {
            Self::Apt => deb::Release::parse(file, text).map(drop),
            Self::Rpm => rpm::read_root(file, text).map(drop),
        };
        read.map_err(FormatError::of_written)
    }

    /// Where the root's text stands by itself.
    pub fn plain(self, source: &RootSource) -> RelPath {
        let name = match self {
            Self::Apt => "Release",
            Self::Rpm => "repomd.xml",
        };
        beside(source, name)
    }

    /// The signed forms that clients look for.
    pub fn forms(self, source: &RootSource) -> Vec<RootSource> {
        let detached = |signature| RootSource::Detached {
            path: self.plain(source),
            signature: beside(source, signature),
        };
        match self {
            Self::Apt => {
                let path = beside(source, "InRelease");
                vec![RootSource::Inline { path }, detached("Release.gpg")]
            }
            Self::Rpm => vec![detached("repomd.xml.asc")],
        }
    }

    /// apt's clients find all keys of a place in one file. dnf's look for one key in a file, and zypper's beside repomd.xml.
    pub fn own_keys(self, key_name: &RelPath) -> Vec<OwnKey> {
        let own = |path: &str, is_binary, is_shared| {
            let path = RelPath::parse(path).ok()?;
            Some(OwnKey {
                path,
                is_binary,
                is_shared,
            })
        };
        let keys = match self {
            Self::Apt => [
                own(&format!("{key_name}.gpg"), true, true),
                own(&format!("{key_name}.asc"), false, true),
            ],
            Self::Rpm => [
                own(&format!("{key_name}-mirror"), false, false),
                own("repodata/repomd.xml.key", false, false),
            ],
        };
        keys.into_iter().flatten().collect()
    }
}

/// What a root says, without the signature around it.
pub fn root_text(source: &RootSource, bytes: &[u8]) -> Result<Vec<u8>, FormatError> {
    match source {
        RootSource::Detached { .. } => Ok(bytes.to_vec()),
        RootSource::Inline { path } => Trusted::unsigned_inline(bytes, path.as_str())
            .map(|trusted| trusted.bytes().to_vec())
            .map_err(|error| FormatError::malformed(path.as_str(), error.to_string())),
    }
}

/// A root file with this plain name; the names are shorter than those that the place had room for.
fn beside(source: &RootSource, name: &str) -> RelPath {
    source
        .path()
        .with_file_name(name)
        .expect("a root's directory has room for the names of roots")
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let root = RepoFormat::Apt.root_among(all.iter()).unwrap();
        assert_eq!(root.path().as_str(), "dists/x/InRelease");
        let all = paths(&["Release"]);
        let root = RepoFormat::Apt.root_among(all.iter()).unwrap();
        assert_eq!(root.path().as_str(), "Release");
        let signed: Vec<RootSource> = RepoFormat::Apt.forms(&root);
        assert_eq!(signed[0].path().as_str(), "InRelease");
        let all = paths(&["repodata/repomd.xml.asc", "repodata/repomd.xml"]);
        let root = RepoFormat::Rpm.root_among(all.iter()).unwrap();
        assert_eq!(root.path().as_str(), "repodata/repomd.xml");
        assert!(RepoFormat::Rpm.root_among([].into_iter()).is_none());
    }
}
