//! Offline media: a host outside that exports, a host inside that imports, and a directory that is
//! carried between them.

mod clients;
mod confirmed;
mod damaged;
mod order;
mod readme;
mod trusted;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::kit::chantal::{Chantal, Repository};
use crate::kit::mirror::Mirror;
use crate::kit::process::Output;
use crate::kit::tree::Tree;
use crate::kit::upstream::{Package, RpmExtra, Upstream};

/// Two hosts and a medium.
pub struct Gap {
    pub outside: Mirror,
    pub inside: Chantal,
    medium: tempfile::TempDir,
}

/// The parts of what follows `media export --to DIR --for plant-a`.
const LATEST: [&str; 2] = ["--repo-id", "r"];

impl Gap {
    /// The repository is synced outside, and filled by media inside.
    pub fn new(upstream: Upstream) -> Self {
        Self::with(upstream, |repository| repository)
    }

    /// `define` changes the definition outside.
    pub fn with(upstream: Upstream, define: impl FnOnce(Repository) -> Repository) -> Self {
        let upstream = upstream
            .package(Package::new("hello", "1.0-1"))
            .package(Package::new("other", "1.0-1"));
        let outside = Mirror::of(upstream).defined(define);
        outside.run(&["config", "keygen"]).exits(0);
        outside.sync().exits(0);
        let gap = Self {
            inside: Chantal::new(),
            medium: tempfile::tempdir().unwrap(),
            outside,
        };
        gap.configure_inside("media:\n  destination: plant-a\n");
        gap.define_inside(Repository::filled_by_media);
        gap
    }

    pub fn both() -> [Self; 2] {
        Upstream::both().map(Self::new)
    }

    /// Global settings of the inside, with `media` as the last section: the keys are added to it.
    pub fn configure_inside(&self, media: &str) {
        let keys = self.exporter_key();
        self.inside.global(&format!(
            "storage:\n  base_path: ../../data\n  create: true\n{media}  trusted_keys: {}\n",
            keys.display()
        ));
    }

    /// Defines `r` inside as it is outside, changed by `change`.
    pub fn define_inside(&self, change: impl FnOnce(Repository) -> Repository) {
        self.inside.repository(&change(self.outside.usual()));
    }

    /// The public key of the exporter.
    pub fn exporter_key(&self) -> PathBuf {
        self.outside.chantal.config().join("keys/signing.pub.asc")
    }

    pub fn medium(&self) -> &Path {
        self.medium.path()
    }

    /// The folders of transfers, by number.
    pub fn folders(&self) -> Vec<PathBuf> {
        let mut folders: Vec<(u64, PathBuf)> = fs::read_dir(self.medium())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.is_dir())
            .map(|path| {
                let number = path.to_str().unwrap().rsplit('-').next().unwrap();
                (number.parse().unwrap(), path.clone())
            })
            .collect();
        folders.sort();
        folders.into_iter().map(|(_, path)| path).collect()
    }

    #[must_use = "nothing is asserted yet"]
    pub fn export(&self, what: &[&str]) -> Output {
        let to = self.medium().to_str().unwrap();
        let args = ["media", "export", "--to", to, "--for", "plant-a"];
        self.outside.run(&[&args, what].concat())
    }

    /// The transfer as JSON.
    #[track_caller]
    pub fn exported(&self, what: &[&str]) -> Value {
        let to = self.medium().to_str().unwrap();
        let args = [
            "--format", "json", "media", "export", "--to", to, "--for", "plant-a",
        ];
        let output = self.outside.run(&[&args, what].concat());
        output.succeeds().json()
    }

    #[must_use = "nothing is asserted yet"]
    pub fn import(&self, more: &[&str]) -> Output {
        let from = self.medium().to_str().unwrap();
        self.inside
            .run(&[&["media", "import", "--from", from], more].concat())
    }

    /// The medium as JSON.
    #[track_caller]
    pub fn imported(&self, more: &[&str]) -> Value {
        let from = self.medium().to_str().unwrap();
        let args = ["--format", "json", "media", "import", "--from", from];
        let output = self.inside.run(&[&args, more].concat());
        output.succeeds().json()
    }

    /// Confirms a transfer with the code that its import shows.
    #[track_caller]
    pub fn confirm(&self, number: u64) {
        let history = self.inside.run(&["--format", "json", "media", "history"]);
        let history = history.succeeds().json();
        let imported = history["imported"].as_array().unwrap().iter();
        let transfer = imported
            .into_iter()
            .find(|transfer| transfer["transfer"] == number)
            .unwrap();
        let code = transfer["confirmation_code"].as_str().unwrap();
        let confirm = ["media", "confirm", "--for", "plant-a", code];
        self.outside.run(&confirm).succeeds();
    }

    /// The upstream has another `hello`, and the outside has synced it.
    pub fn next_day(&mut self, version: &str) {
        self.outside.next(|upstream| {
            upstream.replace(Package::new("hello", version));
        });
        self.outside.sync().succeeds();
    }

    /// The inside publishes what the outside does. Published elsewhere, it has no files of earlier
    /// generations.
    #[track_caller]
    pub fn is_published(&self) {
        let fresh = |chantal: &Chantal| {
            let to = chantal.dir().join("www/fresh");
            let to = to.to_str().unwrap();
            chantal
                .run(&["publish", "--repo-id", "r", "--to", to])
                .exits(0);
            let tree = Tree::read(Path::new(to));
            chantal.run(&["unpublish", "--path", to]).succeeds();
            tree
        };
        let tree = fresh(&self.outside.chantal);
        fresh(&self.inside).assert_same(&tree);
        let published = self.inside.published_tree("r");
        for (path, bytes) in tree.iter() {
            assert_eq!(published.find(path).as_deref(), Some(bytes), "{path}");
        }
        for chantal in [&self.outside.chantal, &self.inside] {
            chantal.run(&["db", "check"]).succeeds();
        }
    }

    /// Hides what differs between runs in texts.
    pub fn shown(&self, text: &str) -> String {
        let mut text = text.replace(self.medium().to_str().unwrap(), "MEDIUM");
        for folder in self.folders() {
            let name = folder.file_name().unwrap().to_str().unwrap();
            let number = name.rsplit('-').next().unwrap();
            text = text.replace(name, &format!("TRANSFER-{number}"));
        }
        text
    }

    /// An import that fails with this exit code and text, and changes nothing that is published.
    #[track_caller]
    pub fn import_fails(&self, more: &[&str], code: i32, stderr: &str) {
        let www = self.inside.dir().join("www");
        fs::create_dir_all(&www).unwrap();
        let before = Tree::read(&www);
        let output = self.import(more).exits(code);
        assert_eq!(self.shown(&output.stderr), stderr);
        Tree::read(&www).assert_same(&before);
    }
}

#[test]
fn what_is_exported_is_published_inside_byte_for_byte() {
    for mut gap in Gap::both() {
        gap.outside.snapshot("monday");
        let exported = gap.exported(&["--repo-id", "r", "--snapshot", "monday"]);
        assert_eq!(exported["transfer"], 1);
        assert_eq!(exported["builds_on"], Value::Null);
        assert_eq!(exported["packages"], 2);
        let key = gap.exporter_key();
        let verify = ["media", "verify", gap.medium().to_str().unwrap(), "--key"];
        let verify = [&verify[..], &[key.to_str().unwrap()]].concat();
        // Anywhere: without configuration.
        let anywhere = Chantal::new();
        fs::remove_dir_all(anywhere.config()).unwrap();
        anywhere.run(&verify).succeeds().mentions("all verified");
        let status = ["media", "status", gap.medium().to_str().unwrap()];
        anywhere.run(&status).succeeds().mentions("2 packages");

        let before = Tree::read(gap.medium());
        let imported = gap.imported(&[]);
        Tree::read(gap.medium()).assert_same(&before);
        let transfer = &imported["transfers"][0];
        assert_eq!(transfer["repositories"][0]["latest"], "replaced");
        assert_eq!(
            transfer["repositories"][0]["snapshots_created"][0],
            "monday"
        );
        gap.is_published();
        // The same medium again.
        let again = gap.imported(&[]);
        assert_eq!(again["transfers"][0]["already_imported"], true);

        gap.confirm(1);
        gap.next_day("2.0-1");
        let exported = gap.exported(&LATEST);
        assert_eq!(exported["builds_on"], 1);
        assert_eq!(exported["packages"], 1);
        gap.imported(&[]);
        gap.is_published();
    }
}

#[test]
fn an_increment_carries_what_changed_and_nothing_else() {
    for mut gap in Gap::both() {
        gap.exported(&LATEST);
        gap.imported(&[]);
        gap.confirm(1);
        let old: BTreeSet<Vec<u8>> = contents(&gap.outside.tree());
        gap.next_day("2.0-1");
        let new: BTreeSet<Vec<u8>> = contents(&gap.outside.tree());
        gap.exported(&LATEST);
        let folder = &gap.folders()[1];
        let carried = contents(&Tree::read(&folder.join("objects")));
        // Beside what is published: the keyring of the state.
        let expected: BTreeSet<Vec<u8>> = new.difference(&old).cloned().collect();
        assert!(carried.is_superset(&expected));
        assert!(
            carried.len() <= expected.len() + 1,
            "{} objects",
            carried.len()
        );
    }
}

fn contents(tree: &Tree) -> BTreeSet<Vec<u8>> {
    tree.iter().map(|(_, bytes)| bytes.to_vec()).collect()
}

#[test]
fn a_plan_writes_nothing() {
    let gap = Gap::new(Upstream::rpm());
    let plan = ["media", "plan", "--for", "plant-a", "--all"];
    gap.outside
        .run(&plan)
        .succeeds()
        .mentions("full transfer for plant-a:\n  r (latest): 2 packages, ");
    let dry = gap.export(&["--all", "--dry-run"]);
    dry.succeeds();
    assert_eq!(fs::read_dir(gap.medium()).unwrap().count(), 0);
    let history = ["media", "history"];
    gap.outside.run(&history).succeeds().says("no transfers\n");
    gap.exported(&["--all"]);
    let dry = gap.import(&["--dry-run"]).succeeds();
    dry.mentions("latest would be replaced");
    assert!(!gap.inside.published("r").exists());
}

#[test]
fn an_interrupted_export_is_continued() {
    let gap = Gap::new(Upstream::rpm());
    gap.exported(&LATEST);
    let folder = gap.folders().remove(0);
    // As a killed export leaves it: some objects, one of them half, and no manifest.
    fs::write(folder.join("INCOMPLETE"), "").unwrap();
    fs::remove_file(folder.join("manifest.zst")).unwrap();
    let objects = Tree::read(&folder.join("objects"));
    let first = objects.paths()[0];
    let half = &objects.bytes(first)[..objects.bytes(first).len() / 2];
    fs::write(folder.join("objects").join(first), half).unwrap();
    fs::write(folder.join("objects/00-foreign"), "x").unwrap();
    let status = ["media", "status", gap.medium().to_str().unwrap()];
    let output = gap.outside.run(&status).exits(5);
    assert_eq!(
        gap.shown(&output.stderr),
        "error: MEDIUM/TRANSFER-1: the transfer is incomplete: its export was interrupted\n\
         hint: run the export to this medium again: it continues\n"
    );
    let exported = gap.exported(&LATEST);
    // The first one was recorded, so this is another transfer, in the same place.
    assert_eq!(exported["transfer"], 2);
    assert_eq!(exported["resumed_objects"], objects.len() - 1);
    assert_eq!(gap.folders().len(), 1);
    gap.imported(&[]);
    gap.is_published();
}

#[test]
fn several_destinations_share_a_medium() {
    let gap = Gap::new(Upstream::rpm());
    gap.exported(&LATEST);
    let to = gap.medium().to_str().unwrap();
    let other = ["media", "export", "--to", to, "--for", "plant-b", "--all"];
    gap.outside.run(&other).succeeds();
    // Folders have no room for the destination: the second one gets another number.
    assert_eq!(gap.folders().len(), 2);
    let imported = gap.imported(&[]);
    assert_eq!(imported["transfers"].as_array().unwrap().len(), 1);
    fs::remove_dir_all(&gap.folders()[0]).unwrap();
    gap.import_fails(
        &[],
        4,
        "error: MEDIUM/TRANSFER-2: transfer 2 is for plant-b, this host is plant-a\n\
         hint: is it the right medium? `media.destination` names this host\n",
    );
}

#[test]
fn cleanups_keep_what_later_transfers_build_on() {
    let mut gap = Gap::new(Upstream::rpm());
    gap.exported(&LATEST);
    gap.imported(&[]);
    gap.confirm(1);
    gap.next_day("2.0-1");
    gap.next_day("3.0-1");
    // The outside keeps the list of what the inside has; the inside keeps the files.
    gap.outside.run(&["db", "cleanup"]).succeeds();
    let definition = gap.inside.config().join("repos.d/r.yaml");
    fs::remove_file(definition).unwrap();
    let remove = ["repo", "remove", "--repo-id", "r"];
    gap.inside.run(&remove).exits(0);
    let cleanup = gap.inside.run(&["db", "cleanup"]).succeeds();
    cleanup.mentions(" kept only for media (`chantal media history` lists the transfers)");
    gap.define_inside(Repository::filled_by_media);
    let exported = gap.exported(&LATEST);
    assert_eq!(exported["packages"], 1);
    gap.imported(&[]);
    gap.is_published();
}

/// A transfer that the first version with media has written. It must be readable for ever.
#[test]
fn a_transfer_of_format_1() {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/medium-v1");
    let inside = Chantal::new();
    let (medium, key) = (fixture.to_str().unwrap(), fixture.join("exporter.asc"));
    let verify = ["media", "verify", medium, "--key", key.to_str().unwrap()];
    inside.run(&verify).succeeds().mentions("all verified");
    inside.global(&format!(
        "storage:\n  base_path: ../../data\n  create: true\nmedia:\n  destination: plant-a\n  \
         trusted_keys: {}\n",
        key.display()
    ));
    let import = ["media", "import", "--from", medium, "--accept-keys"];
    inside.run(&import).exits(0);
    inside
        .run(&["db", "check"])
        .succeeds()
        .mentions("r/monday: proved");
    let history = inside.run(&["media", "history"]).succeeds();
    history.mentions(" 1-TKGK-N5A0-T3 ");
}

#[test]
fn a_plan_counts_the_advisories_for_what_is_new() {
    let extras = [RpmExtra::Updateinfo].into();
    let upstream = Upstream::rpm().with_rpm(|rpm| rpm.extras = extras);
    let mut gap = Gap::new(upstream);
    let plan = ["media", "plan", "--for", "plant-a", "--all"];
    gap.outside
        .run(&plan)
        .succeeds()
        .mentions("2 packages, ")
        .mentions(", 2 advisories (2 important)\n");
    gap.exported(&LATEST);
    gap.imported(&[]);
    gap.confirm(1);
    gap.next_day("2.0-1");
    gap.outside
        .run(&plan)
        .succeeds()
        .mentions("1 package, ")
        .mentions(", 1 advisory (1 important)\n");
}
