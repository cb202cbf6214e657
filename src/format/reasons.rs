//! Why packages changed, as far as a format's metadata says so.

use std::io::BufRead;

use super::{FormatError, Package};

/// Where a format says why packages changed.
#[derive(Clone, Copy)]
pub enum ChangeReasons {
    /// In advisories, which name the packages that they are about.
    Advisories {
        /// The name of the index that has them.
        index: &'static str,
        read: ReadAdvisories,
    },
    /// In source packages: lists of packages say what each was built from.
    Sources { read: ReadOrigins },
}

/// Streams the advisories of an index. An error of the callback ends the reading and is passed on.
/// The first argument is the name of the index, for messages.
pub type ReadAdvisories = fn(
    &str,
    &mut dyn BufRead,
    &mut dyn FnMut(AdvisoryRecord) -> Result<(), FormatError>,
) -> Result<(), FormatError>;

/// Streams what the packages of a list were built from. The first argument is the name of the
/// index, for messages.
pub type ReadOrigins =
    fn(&str, &mut dyn BufRead, &mut dyn FnMut(PackageOrigin<'_>)) -> Result<(), FormatError>;

/// One advisory. All of it is the upstream's word, fit for no file name and no terminal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdvisoryRecord {
    /// `RHSA-2026:1234`, `FEDORA-2026-0123456789`.
    pub id: String,
    /// `security`, `bugfix`, `enhancement`, ... as it is written; empty where it is not.
    pub kind: String,
    /// `Critical`, `Important`, ... as it is written.
    pub severity: Option<String>,
    pub title: String,
    /// Each once, in order.
    pub cves: Vec<String>,
    /// What it brings, in all collections.
    pub packages: Vec<Package>,
}

/// A binary package, and the source package that it was built from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PackageOrigin<'t> {
    pub name: &'t str,
    pub version: &'t str,
    pub architecture: &'t str,
    pub source: &'t str,
    pub source_version: &'t str,
}
