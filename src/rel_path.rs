//! Paths inside a repository. A [`RelPath`] cannot leave the directory it is joined to.
//!
//! Every path that an upstream names becomes a `RelPath` before it reaches a URL or the file
//! system.

use std::borrow::Borrow;
use std::fmt;
use std::path::{Path, PathBuf};

/// A relative path of plain components: no empty ones, no `.` or `..`, no control characters, no
/// `\`.
///
/// Ordered by bytes, which is the order of a manifest.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RelPath(Box<str>);

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum RelPathError {
    #[error("the path is empty")]
    Empty,
    #[error("path {0:?} is absolute")]
    Absolute(String),
    #[error("path {0:?} is a URL")]
    Url(String),
    #[error("path {0:?} is outside of the repository")]
    Escapes(String),
    #[error("path {0:?} contains a hidden file name (beginning with a dot)")]
    Hidden(String),
    #[error("path {0:?} contains a control character or a backslash")]
    ForbiddenCharacter(String),
    #[error("path {start:?}... is too long for file systems (limit {limit} bytes)")]
    TooLong { start: String, limit: usize },
}

/// What Linux file systems hold: a component, and a path that leaves room for where it is
/// published.
const COMPONENT_LIMIT: usize = 255;
const PATH_LIMIT: usize = 3000;

impl RelPath {
    /// Resolves `.` and `..` as a web client would, and refuses what then leaves the repository.
    pub fn parse(path: &str) -> Result<Self, RelPathError> {
        Self::resolve(path, &[])
    }

    /// A path as an index names it: below the repository's URL, which clients put before it as it
    /// is. One that begins with a slash is no other for that.
    pub fn parse_named(path: &str) -> Result<Self, RelPathError> {
        let below = path.trim_start_matches('/');
        Self::parse(if below.is_empty() { path } else { below })
    }

    /// What an upstream names, or an error: a file of its own in a published tree must not be
    /// hidden from people there, nor tell a web server what to do (`.htaccess`, `.well-known`).
    /// Manifests of earlier states may have such paths.
    pub fn visible(self) -> Result<Self, RelPathError> {
        if self.0.split('/').any(|name| name.starts_with('.')) {
            return Err(RelPathError::Hidden(self.0.into()));
        }
        Ok(self)
    }

    /// `path` as it is meant by a file in this directory: `dists/x` and `../pool/y` give
    /// `dists/pool/y`.
    pub fn join(&self, path: &str) -> Result<Self, RelPathError> {
        Self::resolve(path, &self.0.split('/').collect::<Vec<_>>())
    }

    fn resolve(path: &str, base: &[&str]) -> Result<Self, RelPathError> {
        if path.is_empty() {
            return Err(RelPathError::Empty);
        }
        if path.len() > PATH_LIMIT {
            return Err(RelPathError::TooLong {
                start: path.chars().take(60).collect(),
                limit: PATH_LIMIT,
            });
        }
        if path.starts_with('/') {
            return Err(RelPathError::Absolute(path.to_owned()));
        }
        if path.chars().any(|c| c.is_control() || c == '\\') {
            return Err(RelPathError::ForbiddenCharacter(path.to_owned()));
        }
        if path.split_once("://").is_some_and(|(scheme, _)| {
            scheme
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
        }) {
            return Err(RelPathError::Url(path.to_owned()));
        }
        let mut components: Vec<&str> = base.to_vec();
        for component in path.split('/') {
            match component {
                "" | "." => {}
                ".." => {
                    if components.pop().is_none() {
                        return Err(RelPathError::Escapes(path.to_owned()));
                    }
                }
                name if name.len() > COMPONENT_LIMIT => {
                    return Err(RelPathError::TooLong {
                        start: name.chars().take(60).collect(),
                        limit: COMPONENT_LIMIT,
                    });
                }
                name => components.push(name),
            }
        }
        if components.is_empty() {
            return Err(RelPathError::Empty);
        }
        let joined = components.join("/");
        if joined.len() > PATH_LIMIT {
            return Err(RelPathError::TooLong {
                start: joined.chars().take(60).collect(),
                limit: PATH_LIMIT,
            });
        }
        Ok(Self(joined.into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The last component.
    pub fn file_name(&self) -> &str {
        self.0.rsplit_once('/').map_or(&*self.0, |(_, name)| name)
    }

    /// The directory it lies in; `None` at the top.
    pub fn parent(&self) -> Option<Self> {
        let (parent, _) = self.0.rsplit_once('/')?;
        Some(Self(parent.into()))
    }

    /// A file beside this one: `Release` gives `InRelease` with the same directory.
    pub fn with_file_name(&self, name: &str) -> Result<Self, RelPathError> {
        match self.parent() {
            Some(parent) => parent.join(name),
            None => Self::parse(name),
        }
    }

    /// Where it stands below `root` on disk.
    pub fn below(&self, root: &Path) -> PathBuf {
        root.join(&*self.0)
    }
}

/// Equal and ordered as its text.
impl Borrow<str> for RelPath {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Display for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl serde::Serialize for RelPath {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> serde::Deserialize<'de> for RelPath {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn accepts_what_real_repositories_use() {
        for (given, resolved) in [
            ("pool/main/g/gcc-12/g++-12_12.2.0-14_amd64.deb", None),
            ("Packages/0ad-0.0.26%3a~rc1^git.x86_64.rpm", None),
            ("./chantal_1.0_all.deb", Some("chantal_1.0_all.deb")),
            ("a//b", Some("a/b")),
            ("repodata/../Packages/x.rpm", Some("Packages/x.rpm")),
            ("dists/bookworm/main/dep11/icons-48x48@2.tar.gz", None),
            ("a b/ü.deb", None),
            ("...", None),
        ] {
            assert_eq!(
                RelPath::parse(given).unwrap().as_str(),
                resolved.unwrap_or(given)
            );
        }
    }

    #[test]
    fn refuses_what_leaves_the_repository() {
        let escapes = |path: &str| Err(RelPathError::Escapes(path.to_owned()));
        assert_eq!(RelPath::parse("../x"), escapes("../x"));
        assert_eq!(RelPath::parse("a/../../x"), escapes("a/../../x"));
        assert_eq!(
            RelPath::parse("/etc/passwd"),
            Err(RelPathError::Absolute("/etc/passwd".to_owned()))
        );
        assert_eq!(
            RelPath::parse("https://evil/x"),
            Err(RelPathError::Url("https://evil/x".to_owned()))
        );
        for path in ["a\0b", "a\nb", "a\u{1b}[2J", "a\\b", "a\u{85}b"] {
            assert_eq!(
                RelPath::parse(path),
                Err(RelPathError::ForbiddenCharacter(path.to_owned()))
            );
        }
        for path in ["", ".", "./", "a/.."] {
            assert_eq!(RelPath::parse(path), Err(RelPathError::Empty));
        }
        assert!(matches!(
            RelPath::parse(&"x".repeat(256)),
            Err(RelPathError::TooLong { limit: 255, .. })
        ));
        assert!(matches!(
            RelPath::parse(&"x/".repeat(2000)),
            Err(RelPathError::TooLong { limit: 3000, .. })
        ));
    }

    #[test]
    fn what_begins_with_a_dot_is_not_visible() {
        for path in [".htaccess", "a/.well-known/x", "a/.b", "...", "a/...x/b"] {
            let hidden = Err(RelPathError::Hidden(path.to_owned()));
            assert_eq!(RelPath::parse(path).and_then(RelPath::visible), hidden);
        }
        // Only what is left of a path counts.
        for path in ["./a.b", "a/./b.", ".x/../a", "a/../b..c"] {
            assert!(RelPath::parse(path).and_then(RelPath::visible).is_ok());
        }
    }

    #[test]
    fn joins_stay_below_the_top() {
        let dir = RelPath::parse("dists/sid").unwrap();
        assert_eq!(
            dir.join("main/Packages").unwrap().as_str(),
            "dists/sid/main/Packages"
        );
        assert_eq!(dir.join("../../pool/x").unwrap().as_str(), "pool/x");
        assert!(dir.join("../../../x").is_err());
    }

    proptest! {
        #[test]
        fn whatever_is_accepted_stays_below_its_root(text in ".{0,40}|([a-c./]|\\.\\.){0,12}") {
            if let Ok(path) = RelPath::parse(&text) {
                let components: Vec<_> = path.below(Path::new("/r")).components().map(|c| format!("{c:?}")).collect();
                prop_assert!(!components.iter().any(|c| c == "ParentDir" || c == "CurDir"));
                prop_assert!(path.below(Path::new("/r")).starts_with("/r"));
                prop_assert!(path.below(Path::new("/r")) != Path::new("/r"));
                prop_assert_eq!(RelPath::parse(path.as_str()).unwrap(), path);
            }
        }
    }
}
