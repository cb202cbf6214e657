//! Why packages changed, according to the metadata.

use std::io::BufRead;

use super::error::FormatError;
use crate::manifest::Package;

/// Where a format has the reasons for changes.
#[derive(Clone, Copy)]
pub enum ChangeReasons {
    /// In advisories, which list their packages.
    Advisories {
        /// The name of the index.
        index: &'static str,
        read: ReadAdvisories,
    },
    /// In source packages: lists of packages contain the source of each.
    Sources { read: ReadOrigins },
}

/// Streams the advisories of an index. Stops at an error of the callback. The first argument is the
/// name of the index, for messages.
pub type ReadAdvisories = fn(
    &str,
    &mut dyn BufRead,
    &mut dyn FnMut(AdvisoryRecord) -> Result<(), FormatError>,
) -> Result<(), FormatError>;

/// Streams the source packages of a list. The first argument is the name of the index, for
/// messages.
pub type ReadOrigins =
    fn(&str, &mut dyn BufRead, &mut dyn FnMut(PackageOrigin<'_>)) -> Result<(), FormatError>;

/// One advisory. All of it is untrusted text, to be escaped for file names and terminals.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdvisoryRecord {
    /// `RHSA-2026:1234`, `FEDORA-2026-0123456789`.
    pub id: String,
    /// `security`, `bugfix`, `enhancement`, ... as written; empty if missing.
    pub kind: String,
    /// `Critical`, `Important`, ... as written.
    pub severity: Option<String>,
    pub title: String,
    /// Each once, in order.
    pub cves: Vec<String>,
    /// Its packages, in all collections.
    pub packages: Vec<Package>,
}

/// A binary package and its source package.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PackageOrigin<'t> {
    pub name: &'t str,
    pub version: &'t str,
    pub architecture: &'t str,
    pub source: &'t str,
    pub source_version: &'t str,
}
