//! Packages as described by themselves and by an index.

use std::fmt;

use super::error::FormatError;
use crate::manifest::Package;
use crate::openpgp::HashedSignature;
use crate::terminal::is_unsafe;

/// The content of a package's header.
#[derive(Debug)]
pub struct PackageHeader {
    pub identity: Identity,
    /// The signatures that cover the whole package.
    pub signatures: Vec<HashedSignature>,
}

/// Which package it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub name: String,
    pub version: String,
    /// The architectures under which an index may list it, the most usual first.
    pub architectures: Vec<String>,
}

impl Identity {
    /// Whether it matches its entry in an index.
    pub fn is(&self, package: &Package) -> bool {
        self.name == package.name
            && self.version == package.version
            && self.architectures.contains(&package.architecture)
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let architecture = self.architectures.first().map_or("", String::as_str);
        write!(f, "{} {} ({architecture})", self.name, self.version)
    }
}

/// In bytes: several times the longest real names and versions.
const WORD_LIMIT: usize = 512;

impl Package {
    /// Each part must be one short word: they are used in manifests, tables and messages.
    pub fn new(
        file: &str,
        name: &str,
        version: &str,
        architecture: &str,
    ) -> Result<Self, FormatError> {
        for (what, word) in [
            ("name", name),
            ("version", version),
            ("architecture", architecture),
        ] {
            let is_word = !word.is_empty()
                && word.len() <= WORD_LIMIT
                && !word.contains(|c: char| is_unsafe(c) || c.is_whitespace());
            if !is_word {
                let start: String = word.chars().take(60).collect();
                let name: String = name.chars().take(60).collect();
                return Err(FormatError::malformed(
                    file,
                    format!("package {name:?} has the invalid {what} {start:?}"),
                ));
            }
        }
        Ok(Self {
            name: name.to_owned(),
            version: version.to_owned(),
            architecture: architecture.to_owned(),
        })
    }
}
