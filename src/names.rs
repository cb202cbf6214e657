//! Names given by users: of repositories, snapshots and destinations of transfers.
//!
//! All are valid as a file name and a URL path segment. They are validated at the border: from the
//! command line, the configuration and the database. Their types keep them apart.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Leaves room for prefixes and suffixes in file names.
const LENGTH_MAX: usize = 100;

/// The name of a repository.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct RepoId(Box<str>);

/// The name of a snapshot within its repository.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct SnapshotName(Box<str>);

/// The name of a host that media are made for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct DestinationName(Box<str>);

/// The id of the store that a transfer is from: 32 lowercase hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct ExporterId(Box<str>);

/// Why a text is not a valid name.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum NameError {
    #[error("is empty")]
    Empty,
    #[error("{0:?} starts with `{1}`")]
    Start(String, char),
    #[error("{0:?} contains {1:?}; only letters, digits, `.`, `_` and `-` are allowed")]
    Character(String, char),
    #[error("is longer than {LENGTH_MAX} characters")]
    TooLong,
}

/// Why a text is not a valid name of a snapshot, or `REPOSITORY/NAME`.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SnapshotNameError {
    #[error(transparent)]
    Name(#[from] NameError),
    #[error(
        "`{}` is reserved for the latest state of a repository",
        SnapshotName::LATEST
    )]
    Latest,
}

impl RepoId {
    #[cfg(test)]
    pub fn test(name: &str) -> Self {
        Self::parse(name).expect("a test gives a good name")
    }

    pub fn parse(name: &str) -> Result<Self, NameError> {
        check(name)?;
        Ok(Self(name.into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl SnapshotName {
    /// The name of the current state of a repository where a snapshot can be named.
    pub const LATEST: &'static str = "latest";

    pub fn parse(name: &str) -> Result<Self, SnapshotNameError> {
        if name == Self::LATEST {
            return Err(SnapshotNameError::Latest);
        }
        check(name)?;
        Ok(Self(name.into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl DestinationName {
    pub fn parse(name: &str) -> Result<Self, NameError> {
        check(name)?;
        Ok(Self(name.into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl ExporterId {
    const DIGITS: usize = 32;

    /// `None` if it is not the id of a store.
    pub fn parse(id: &str) -> Option<Self> {
        let is_id = id.len() == Self::DIGITS
            && id
                .bytes()
                .all(|c| c.is_ascii_digit() || (b'a'..=b'f').contains(&c));
        is_id.then(|| Self(id.into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The names that exist, for the message about one that does not; empty if there are none.
pub fn known_names(names: impl IntoIterator<Item: fmt::Display>) -> String {
    let names: Vec<String> = names.into_iter().map(|name| name.to_string()).collect();
    if names.is_empty() {
        return String::new();
    }
    format!(" (known: {})", names.join(", "))
}

fn check(name: &str) -> Result<(), NameError> {
    if name.len() > LENGTH_MAX {
        return Err(NameError::TooLong);
    }
    let first = name.chars().next().ok_or(NameError::Empty)?;
    if let Some(c) = name
        .chars()
        .find(|c| !c.is_ascii_alphanumeric() && !"._-".contains(*c))
    {
        return Err(NameError::Character(name.to_owned(), c));
    }
    if ".-".contains(first) {
        return Err(NameError::Start(name.to_owned(), first));
    }
    Ok(())
}

impl TryFrom<String> for RepoId {
    type Error = NameError;

    fn try_from(name: String) -> Result<Self, NameError> {
        Self::parse(&name)
    }
}

impl TryFrom<String> for SnapshotName {
    type Error = SnapshotNameError;

    fn try_from(name: String) -> Result<Self, SnapshotNameError> {
        Self::parse(&name)
    }
}

impl TryFrom<String> for DestinationName {
    type Error = NameError;

    fn try_from(name: String) -> Result<Self, NameError> {
        Self::parse(&name)
    }
}

impl TryFrom<String> for ExporterId {
    type Error = &'static str;

    fn try_from(id: String) -> Result<Self, Self::Error> {
        Self::parse(&id).ok_or("not the id of a store")
    }
}

impl fmt::Display for ExporterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for RepoId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for SnapshotName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for DestinationName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_repositories() {
        for name in [
            "epel9",
            "Debian_12.updates-x",
            "_",
            "9",
            "latest",
            &"x".repeat(100),
        ] {
            assert_eq!(RepoId::parse(name).unwrap().as_str(), name);
        }
        let err = |name: &str| RepoId::parse(name).unwrap_err();
        assert_eq!(err(""), NameError::Empty);
        assert_eq!(err("../x"), NameError::Character("../x".to_owned(), '/'));
        assert_eq!(err(".x"), NameError::Start(".x".to_owned(), '.'));
        assert_eq!(err("-x"), NameError::Start("-x".to_owned(), '-'));
        assert_eq!(err("é"), NameError::Character("é".to_owned(), 'é'));
        assert_eq!(err(&"x".repeat(101)), NameError::TooLong);
    }

    #[test]
    fn names_of_snapshots() {
        assert_eq!(SnapshotName::parse("2026-01").unwrap().as_str(), "2026-01");
        assert_eq!(
            SnapshotName::parse("latest"),
            Err(SnapshotNameError::Latest)
        );
        assert_eq!(
            SnapshotName::parse("a/b"),
            Err(NameError::Character("a/b".to_owned(), '/').into())
        );
    }

    #[test]
    fn names_of_destinations() {
        let name = DestinationName::parse("plant-a").unwrap();
        assert_eq!(
            (name.as_str(), name.to_string().as_str()),
            ("plant-a", "plant-a")
        );
        assert_eq!(
            DestinationName::parse("a/b"),
            Err(NameError::Character("a/b".to_owned(), '/'))
        );
        let read = serde_json::from_str::<DestinationName>;
        assert_eq!(read(r#""plant-a""#).unwrap(), name);
        read(r#""-a""#).unwrap_err();
    }

    #[test]
    fn json_has_the_plain_text_and_is_checked_when_it_is_read() {
        let (repository, snapshot) = (RepoId::parse("r"), SnapshotName::parse("s"));
        let both = (repository.unwrap(), snapshot.unwrap());
        assert_eq!(serde_json::to_string(&both).unwrap(), r#"["r","s"]"#);
        let read = serde_json::from_str::<(RepoId, SnapshotName)>;
        assert_eq!(read(r#"["r","s"]"#).unwrap(), both);
        for bad in [r#"[".r","s"]"#, r#"["r","latest"]"#, r#"["r","a b"]"#] {
            read(bad).unwrap_err();
        }
    }
}
