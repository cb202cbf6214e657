//! Copies the elements of kept packages from one index to another.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::io::{BufRead, Write};
use std::ops::Range;

use quick_xml::escape::escape;

use super::files::{CHECKSUM, CHILDREN, LOCATION, package};
use super::tag::{as_start_tag, namespaces, with_attribute, with_namespaces_declared};
use super::updateinfo;
use super::xml::{Child, Record, Records};
use crate::digest::ObjectId;
use crate::format::error::{FormatError, not_written};
use crate::format::regenerate::Chosen;
use crate::manifest::Package;
use crate::rel_path::RelPath;

pub const DECLARATION: &[u8] = b"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";

/// How a metadata type is rewritten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rewrite {
    Primary,
    /// Elements with the pkgid of a package: filelists, other, susedata.
    ByPackage,
    Updates,
    Modules,
    Unchanged,
    LeftOut,
}

impl Rewrite {
    pub fn of(name: &str) -> Self {
        match name {
            "primary" => Self::Primary,
            "filelists" | "other" | "filelists-ext" | "filelists_ext" => Self::ByPackage,
            "updateinfo" => Self::Updates,
            "modules" => Self::Modules,
            "prestodelta" | "deltainfo" => Self::LeftOut,
            // Also for languages: `susedata.de`.
            _ if name.starts_with("susedata") => Self::ByPackage,
            _ if name.ends_with("_db") || name.ends_with("_zck") => Self::LeftOut,
            _ => Self::Unchanged,
        }
    }
}

/// The kept packages of one source.
#[derive(Default)]
pub struct KeptPackages {
    /// As in primary.
    pub pkgids: HashSet<String>,
    pub packages: HashSet<Package>,
    /// The number of elements in primary; one package may be listed twice.
    pub count: u64,
}

impl KeptPackages {
    /// Frees the set of kept packages, but not their number.
    pub fn clear(&mut self) {
        self.pkgids.clear();
        self.packages.clear();
    }
}

/// The element of a package with another location.
fn with_location(element: &[u8], location: Range<usize>, place: &RelPath) -> Vec<u8> {
    let tag = format!("<location href=\"{}\"/>", escape(place.as_str()));
    [
        &element[..location.start],
        tag.as_bytes(),
        &element[location.end..],
    ]
    .concat()
}

/// The state of an index that is being written.
#[derive(Default)]
pub struct OutputState {
    /// The namespaces of the root element; `None` before it is written.
    pub namespaces: Option<BTreeMap<String, String>>,
    /// The number of written elements.
    pub elements: u64,
    /// Advisories: several sources may have the same.
    pub updates: HashSet<ObjectId>,
}

/// Copies elements of one index.
pub struct Elements<'e> {
    pub name: &'e str,
    pub count: Option<u64>,
    /// The number of their source.
    pub source: usize,
    /// By source.
    pub kept: &'e mut [KeptPackages],
    pub chosen: &'e Chosen,
    pub out: &'e mut dyn Write,
}

impl Elements<'_> {
    pub fn copy(
        &mut self,
        text: &mut dyn BufRead,
        path: &[&str; 2],
        state: &mut OutputState,
    ) -> Result<(), FormatError> {
        let mut records = Records::copying(self.name, text, path, CHILDREN);
        if Rewrite::of(self.name) != Rewrite::Primary {
            // In a merged index, an invalid byte of one source would hide the elements of the
            // others.
            records = if self.kept.len() > 1 {
                records.with_invalid_utf8_decoded()
            } else {
                records.with_invalid_utf8_kept()
            };
        }
        let mut record = records.next()?;
        let own = namespaces(records.root_tag());
        if state.namespaces.is_none() {
            self.begin(records.root_tag())?;
            state.namespaces = Some(own.clone());
        }
        while let Some((attributes, children)) = record {
            let location = records.child_span(LOCATION);
            let kept = self.kept_bytes(&attributes, &children, records.copy(), location, state)?;
            if let (Some(element), Some(root)) = (kept, &state.namespaces) {
                if own == *root {
                    self.write(&element)?;
                } else {
                    self.write(&with_namespaces_declared(&element, &own, root))?;
                }
                self.write(b"\n")?;
                state.elements += 1;
            }
            record = records.next()?;
        }
        Ok(())
    }

    /// The output for an element; `None` to omit it. For primary, the kept packages are recorded.
    fn kept_bytes<'c>(
        &mut self,
        attributes: &Child,
        children: &Record<6>,
        element: &'c [u8],
        location: Option<Range<usize>>,
        state: &mut OutputState,
    ) -> Result<Option<Cow<'c, [u8]>>, FormatError> {
        match Rewrite::of(self.name) {
            Rewrite::Primary => {
                let reference = package(self.name, children)?;
                if !self.chosen.has(&reference.path) {
                    return Ok(None);
                }
                let kept = &mut self.kept[self.source];
                let pkgid = children[CHECKSUM].as_ref().map(|checksum| &checksum.text);
                kept.pkgids.extend(pkgid.cloned());
                kept.packages.extend(reference.package);
                Ok(Some(match (self.chosen.moved(&reference.path), location) {
                    (Some(place), Some(location)) => with_location(element, location, place).into(),
                    _ => element.into(),
                }))
            }
            Rewrite::Updates => {
                let is_kept = |package: &Package| {
                    let mut all = self.kept.iter();
                    all.any(|kept| kept.packages.contains(package))
                };
                let update = updateinfo::with_packages(self.name, element, &is_kept)?;
                Ok(update
                    .filter(|update| state.updates.insert(ObjectId::of(update)))
                    .map(Cow::Owned))
            }
            _ => {
                let pkgid = attributes.attribute("pkgid");
                let is_kept =
                    pkgid.is_some_and(|pkgid| self.kept[self.source].pkgids.contains(pkgid));
                Ok(is_kept.then_some(element.into()))
            }
        }
    }

    fn begin(&mut self, root_tag: &[u8]) -> Result<(), FormatError> {
        let mut tag = as_start_tag(root_tag);
        if let Some(count) = self.count {
            tag = with_attribute(&tag, "packages", &count.to_string());
        }
        self.write(DECLARATION)?;
        self.write(&tag)?;
        self.write(b"\n")
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), FormatError> {
        self.out
            .write_all(bytes)
            .map_err(|source| not_written(self.name, source))
    }
}
