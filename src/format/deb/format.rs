//! The format of APT repositories.

use super::packages::read_origins;
use super::release::with_fields;
use super::release::{Release, redated};
use super::selection::Apt;
use super::version;
use crate::format::error::FormatError;
use crate::format::index::{Index, IndexKind};
use crate::format::interface::{Format, Selected, VersionOrder};
use crate::format::reasons::ChangeReasons;
use crate::format::root::{KeyFile, OwnKey, RootSource, ValidUntil, beside, root_text};
use crate::openpgp::Keyring;
use crate::rel_path::RelPath;
use crate::repo_format::RepoFormat;

pub struct AptFormat;

impl Format for AptFormat {
    fn kind(&self) -> RepoFormat {
        RepoFormat::Apt
    }

    fn everything(&self, root: &RelPath) -> Box<dyn Selected> {
        Box::new(Apt::everything(root))
    }

    fn version_order(&self) -> VersionOrder {
        version::compare
    }

    fn root_among(&self, paths: &mut dyn Iterator<Item = &RelPath>) -> Option<RootSource> {
        let mut release = None;
        for path in paths {
            match path.file_name() {
                "InRelease" => return Some(RootSource::Inline { path: path.clone() }),
                "Release" => release = Some(path),
                _ => {}
            }
        }
        let path = release?;
        Some(RootSource::Detached {
            path: path.clone(),
            signature: path.with_file_name("Release.gpg").ok()?,
        })
    }

    fn compares_dates(&self) -> bool {
        true
    }

    fn date_of(&self, source: &RootSource, bytes: &[u8]) -> Option<i64> {
        let text = root_text(source, bytes).ok()?;
        let release = Release::parse(source.path().as_str(), &text).ok()?;
        release.date
    }

    fn dated(&self, text: &[u8], date: i64, valid_until: ValidUntil) -> Vec<u8> {
        redated(text, date, valid_until)
    }

    fn read_back(&self, path: &RelPath, text: &[u8]) -> Result<(), FormatError> {
        let read = Release::parse(path.as_str(), text);
        read.map(drop).map_err(FormatError::into_read_back_error)
    }

    fn plain(&self, source: &RootSource) -> RelPath {
        beside(source, "Release")
    }

    fn forms(&self, source: &RootSource) -> Vec<RootSource> {
        vec![
            RootSource::Inline {
                path: beside(source, "InRelease"),
            },
            RootSource::Detached {
                path: self.plain(source),
                signature: beside(source, "Release.gpg"),
            },
        ]
    }

    fn reject_signature(&self, signature: &[u8]) -> Option<&'static str> {
        const ARMOR: &[u8] = b"-----BEGIN";
        let is_armored = signature.windows(ARMOR.len()).any(|window| window == ARMOR);
        (!is_armored).then_some("is not armored, which apt 2.6 requires")
    }

    fn key_files(&self, name: &RelPath, keyring: &Keyring) -> Vec<KeyFile> {
        let file = |ending: &str, bytes| KeyFile {
            path: RelPath::parse(&format!("{name}.{ending}"))
                .expect("the configuration left room for the ending"),
            bytes,
        };
        vec![
            file("gpg", keyring.to_binary()),
            file("asc", keyring.to_armored().into_bytes()),
        ]
    }

    /// All keys are in one file for clients.
    fn own_keys(&self, key_name: &RelPath) -> Vec<OwnKey> {
        let own = |ending: &str, is_binary| {
            let path = RelPath::parse(&format!("{key_name}.{ending}")).ok()?;
            Some(OwnKey {
                path,
                is_binary,
                is_shared: true,
            })
        };
        let keys = [own("gpg", true), own("asc", false)];
        keys.into_iter().flatten().collect()
    }

    fn unsigned_setting(&self) -> &'static str {
        "`Trusted: yes`"
    }

    fn has_identity(&self) -> bool {
        true
    }

    fn with_identity(&self, root: &[u8], fields: &[(&str, &str)]) -> Vec<u8> {
        with_fields(root, fields)
    }

    fn is_flat(&self, indexes: &[Index]) -> bool {
        let mut lists = indexes.iter();
        lists.any(|index| index.kind == IndexKind::Packages && index.name == "Packages")
    }

    fn change_reasons(&self) -> ChangeReasons {
        ChangeReasons::Sources { read: read_origins }
    }

    fn carries_files(&self) -> bool {
        true
    }
}
