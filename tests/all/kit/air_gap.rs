//! Two hosts without a connection between them: an exporter with its mirror `r`, and an importer
//! with the same definition of `r` whose upstream does not exist.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::chantal::{Chantal, Repository};
use super::mirror::Mirror;
use super::process::Output;
use super::tree::Tree;
use super::upstream::Upstream;

/// `media.destination` of the importer.
pub const DESTINATION: &str = "inside";

/// Nothing listens there.
const NO_UPSTREAM: &str = "http://127.0.0.1:9/";

pub struct AirGap {
    pub exporter: Mirror,
    pub importer: Chantal,
}

impl AirGap {
    /// Synced outside, with a new key that the importer trusts. Its storage is empty.
    pub fn of(upstream: Upstream) -> Self {
        Self::defined(upstream, |repository| repository)
    }

    /// With another definition of `r` on both.
    pub fn defined(upstream: Upstream, change: impl Fn(Repository) -> Repository) -> Self {
        let exporter = Mirror::of(upstream).defined(&change);
        let exporter = exporter.with_storage().synced();
        exporter.run(&["config", "keygen"]).succeeds();
        let importer = Chantal::new();
        importer.repository(&change(exporter.usual().at(NO_UPSTREAM)));
        let media =
            format!("media:\n  destination: {DESTINATION}\n  trusted_keys: [../exporter.asc]\n");
        importer.write("config/conf.d/media.yaml", &media);
        let gap = Self { exporter, importer };
        fs::copy(gap.key(), gap.importer.config().join("exporter.asc")).unwrap();
        gap.importer.never_create();
        gap.importer.run(&["init"]).exits(0);
        gap
    }

    /// The public key of the exporter.
    pub fn key(&self) -> PathBuf {
        self.exporter.chantal.config().join("keys/signing.pub.asc")
    }

    /// A new directory for a transfer.
    pub fn medium(&self, name: &str) -> PathBuf {
        let medium = self.exporter.chantal.dir().join(name);
        fs::create_dir(&medium).unwrap();
        medium
    }

    pub fn export_arguments(to: &Path) -> [&str; 7] {
        let to = to.to_str().unwrap();
        ["media", "export", "--for", DESTINATION, "--all", "--to", to]
    }

    pub fn import_arguments(from: &Path) -> [&str; 4] {
        ["media", "import", "--from", from.to_str().unwrap()]
    }

    /// Exports the current state; returns the JSON.
    #[track_caller]
    pub fn export(&self, to: &Path) -> Value {
        self.exporter.json(&Self::export_arguments(to))
    }

    /// Imports everything; returns the JSON.
    #[track_caller]
    pub fn import(&self, from: &Path) -> Value {
        let import = Self::import_arguments(from);
        let args = [&["--format", "json"], &import[..]].concat();
        self.importer.run(&args).succeeds().json()
    }

    /// Tells the exporter what an import has returned.
    #[track_caller]
    pub fn confirm(&self, imported: &Value) {
        let code = &imported["transfers"][0]["confirmation_code"];
        let code = code.as_str().unwrap();
        let confirm = ["media", "confirm", "--for", DESTINATION, code];
        self.exporter.run(&confirm).succeeds();
    }

    /// `media status`, by the importer.
    #[must_use = "nothing is asserted yet"]
    pub fn status(&self, medium: &Path) -> Output {
        let status = ["media", "status", medium.to_str().unwrap()];
        self.importer.run(&status)
    }

    /// `media verify`, by the importer.
    #[must_use = "nothing is asserted yet"]
    pub fn verify(&self, medium: &Path) -> Output {
        let (medium, key) = (medium.to_str().unwrap(), self.key());
        let key = key.to_str().unwrap();
        self.importer
            .run(&["media", "verify", medium, "--key", key])
    }

    /// Both publish the current upstream. They may retain files of earlier generations.
    #[track_caller]
    pub fn is_current(&self) {
        let built = &self.exporter.built;
        let expected = built.mirrored_by(&self.exporter.repository);
        for tree in [self.exporter.tree(), self.importer.published_tree("r")] {
            for (path, bytes) in expected.iter() {
                assert_eq!(tree.find(path).as_deref(), Some(bytes), "{path}");
            }
        }
    }

    /// Both publish the current upstream, and nothing else.
    #[track_caller]
    pub fn is_published(&self) {
        self.exporter.is_published();
        self.importer
            .published_tree("r")
            .assert_same(&self.exporter.tree());
    }

    /// The storages of both are intact.
    #[track_caller]
    pub fn is_intact(&self) {
        for chantal in [&self.exporter.chantal, &self.importer] {
            chantal.run(&["db", "check"]).succeeds();
        }
    }
}

/// The folder of the only transfer on a medium.
pub fn transfer_folder(medium: &Path) -> Option<PathBuf> {
    let entries = fs::read_dir(medium).unwrap();
    let mut paths = entries.map(|entry| entry.unwrap().path());
    let folder = paths.next();
    assert_eq!(paths.next(), None);
    folder
}

/// Every name on a medium is one that FAT can store, and none of a directory differs from another
/// one by case alone.
#[track_caller]
pub fn assert_names_fit_fat(medium: &Path) {
    let tree = Tree::read(medium);
    let mut folded: Vec<String> = Vec::new();
    for path in tree.paths() {
        for name in path.split('/') {
            assert!(name.len() <= 255, "{path}");
            assert!(!name.ends_with(['.', ' ']), "{path}");
            let is_forbidden = |c: char| c.is_control() || ":?*\"<>|\\".contains(c);
            assert!(!name.contains(is_forbidden), "{path}");
            let stem = name.split('.').next().unwrap().to_ascii_uppercase();
            let is_device = ["CON", "PRN", "AUX", "NUL"].contains(&stem.as_str())
                || (stem.len() == 4 && (stem.starts_with("COM") || stem.starts_with("LPT")));
            assert!(!is_device, "{path}");
        }
        folded.push(path.to_lowercase());
    }
    folded.sort();
    let paths = folded.len();
    folded.dedup();
    assert_eq!(folded.len(), paths, "names that differ by case alone");
}
