//! The format of RPM repositories.

use std::io::Read;

use super::selection::{Rpm, Selection};
use super::{evr, package, repomd, updateinfo};
use crate::config::Filters;
use crate::format::error::{FormatError, PackageError};
use crate::format::interface::{Format, Selected, VersionOrder};
use crate::format::package::PackageHeader;
use crate::format::reasons::ChangeReasons;
use crate::format::root::{KeyFile, OwnKey, RootSource, ValidUntil, beside};
use crate::openpgp::Keyring;
use crate::rel_path::RelPath;
use crate::repo_format::RepoFormat;

pub struct RpmFormat;

impl Format for RpmFormat {
    fn kind(&self) -> RepoFormat {
        RepoFormat::Rpm
    }

    fn everything(&self, _root: &RelPath) -> Box<dyn Selected> {
        Box::new(Rpm::new(Selection {
            architectures: None,
            sources: true,
            filters: Filters::default(),
        }))
    }

    fn version_order(&self) -> VersionOrder {
        evr::compare
    }

    fn root_among(&self, paths: &mut dyn Iterator<Item = &RelPath>) -> Option<RootSource> {
        let path = paths
            .filter(|path| path.file_name() == "repomd.xml")
            .last()?;
        Some(RootSource::Detached {
            path: path.clone(),
            signature: path.with_file_name("repomd.xml.asc").ok()?,
        })
    }

    fn compares_dates(&self) -> bool {
        false
    }

    fn date_of(&self, _source: &RootSource, _bytes: &[u8]) -> Option<i64> {
        None
    }

    /// dnf accepts a root with any date.
    fn dated(&self, text: &[u8], _date: i64, _valid_until: ValidUntil) -> Vec<u8> {
        text.to_vec()
    }

    fn read_back(&self, path: &RelPath, text: &[u8]) -> Result<(), FormatError> {
        let read = repomd::read(path.as_str(), text);
        read.map(drop).map_err(FormatError::into_read_back_error)
    }

    fn plain(&self, source: &RootSource) -> RelPath {
        beside(source, "repomd.xml")
    }

    fn forms(&self, source: &RootSource) -> Vec<RootSource> {
        vec![RootSource::Detached {
            path: self.plain(source),
            signature: beside(source, "repomd.xml.asc"),
        }]
    }

    fn key_files(&self, name: &RelPath, keyring: &Keyring) -> Vec<KeyFile> {
        vec![KeyFile {
            path: name.clone(),
            bytes: keyring.to_armored_each().into_bytes(),
        }]
    }

    /// dnf expects one key file, and zypper one next to repomd.xml.
    fn own_keys(&self, key_name: &RelPath) -> Vec<OwnKey> {
        let own = |path: &str| {
            let path = RelPath::parse(path).ok()?;
            Some(OwnKey {
                path,
                is_binary: false,
                is_shared: false,
            })
        };
        let keys = [
            own(&format!("{key_name}-mirror")),
            own("repodata/repomd.xml.key"),
        ];
        keys.into_iter().flatten().collect()
    }

    fn unsigned_setting(&self) -> &'static str {
        "`repo_gpgcheck=0`"
    }

    fn is_key_of_a_signature(&self, path: &RelPath) -> bool {
        path.file_name() == "repomd.xml.key"
    }

    fn change_reasons(&self) -> ChangeReasons {
        ChangeReasons::Advisories {
            index: "updateinfo",
            read: updateinfo::read,
        }
    }

    fn read_package_header(&self, package: &mut dyn Read) -> Result<PackageHeader, PackageError> {
        package::read_package_header(package)
    }

    fn reject_opaque(&self, start: &[u8]) -> Option<&'static str> {
        package::is_package(start).then_some("is a package")
    }
}
