//! Whom an importer believes: the exporter for what was sent, the upstream for what is in it.

use std::fs;

use super::{Gap, LATEST};
use crate::kit::chantal::Repository;
use crate::kit::keys::Key;
use crate::kit::mirror::beside;
use crate::kit::tree::Tree;
use crate::kit::upstream::{Package, Upstream};

#[test]
fn only_trusted_keys_sign_media() {
    let gap = Gap::new(Upstream::rpm());
    gap.exported(&LATEST);
    let other = gap
        .inside
        .write("stranger.asc", &Key::stranger().public_armored());
    gap.inside.global(&format!(
        "storage:\n  base_path: ../../data\n  create: true\nmedia:\n  destination: plant-a\n  trusted_keys: {}\n",
        other.display()
    ));
    gap.import(&[]).exits(4).mentions("manifest.zst");
    let storage = "storage:\n  base_path: ../../data\n  create: true\n";
    gap.inside
        .global(&format!("{storage}media:\n  destination: plant-a\n"));
    gap.import_fails(
        &[],
        2,
        "error: media.trusted_keys is not set: no key can be trusted to sign media\n\
         hint: set it to a file with the exporter's public key (`keys/signing.pub.asc` there)\n",
    );
    gap.inside.global(storage);
    gap.import_fails(
        &[],
        2,
        "error: media.destination is not set: this host has no name for exporters\n\
         hint: set it to the name that the exporter uses with `--for`\n",
    );
}

#[test]
fn unsigned_media_need_consent_on_both_sides() {
    let gap = Gap::new(Upstream::rpm());
    fs::remove_file(gap.outside.chantal.config().join("conf.d/signing.yaml")).unwrap();
    gap.export(&LATEST).fails_with(
        2,
        "error: there is no signing key to sign the transfer with\n\
         hint: `chantal config keygen` makes one; `--allow-unsigned` exports without a signature\n",
    );
    gap.exported(&["--repo-id", "r", "--allow-unsigned"]);
    gap.import_fails(
        &[],
        4,
        "error: MEDIUM/TRANSFER-1: the transfer is not signed\n",
    );
    gap.imported(&["--allow-unsigned"]);
    gap.is_published();
}

#[test]
fn the_upstream_is_verified_with_the_importers_keys() {
    for gap in Gap::both() {
        gap.exported(&LATEST);
        gap.define_inside(|repository| repository.filled_by_media().trusting(Key::stranger()));
        let output = gap.import(&[]).exits(4);
        assert!(
            output.stderr.contains("r: not imported: "),
            "{}",
            output.stderr
        );
        assert!(!gap.inside.published("r").exists());
        gap.define_inside(Repository::filled_by_media);
        gap.imported(&[]);
        gap.is_published();
    }
}

#[test]
fn packages_are_verified_as_the_importer_demands() {
    // The exporter does not check them, the importer does.
    let upstream = Upstream::rpm().packages(crate::kit::upstream::Signing::By(Key::stranger()));
    let gap = Gap::with(upstream, |repository| repository.format("gpgcheck: false"));
    gap.exported(&LATEST);
    gap.define_inside(Repository::filled_by_media);
    gap.import(&[]).exits(4).mentions("2 packages refused: ");
    assert!(!gap.inside.published("r").exists());
    gap.define_inside(|repository| repository.filled_by_media().format("gpgcheck: false"));
    gap.imported(&[]);
    gap.is_published();
}

#[test]
fn keys_of_the_upstream_change() {
    let mut gap = Gap::new(Upstream::deb());
    let key_url = |server: &str| format!("gpgkey_url: {server}/key.asc");
    // Inside the keys would come from a URL that cannot be reached.
    let line = key_url("https://upstream.invalid");
    let without_file = |repository: Repository| repository.filled_by_media().format(&line);
    gap.exported(&LATEST);
    gap.define_inside(|repository| without_file(repository.unsigned()).format("gpgcheck: true"));
    let medium = gap.medium().to_str().unwrap().to_owned();
    let output = gap.import(&[]).exits(2);
    assert_eq!(
        output.stderr,
        "error: r: not imported: its keys come from a URL, and were never stored\n\
         hint: `chantal repo trust --repo-id r --from-medium DIR` shows and stores those of the \
         medium; or set gpgkey_file\n"
    );
    let trust = ["repo", "trust", "--repo-id", "r", "--from-medium", &medium];
    let fingerprint = Key::archive().fingerprint();
    gap.inside
        .run(&trust)
        .succeeds()
        .mentions(&format!("r: now trusted: {fingerprint}"));
    gap.imported(&[]);
    gap.confirm(1);
    // The upstream signs with another key from now on, and the exporter trusts it.
    gap.outside.upstream = gap.outside.upstream.clone().signed_by(Key::stranger());
    gap.outside.define(|repository| repository);
    gap.next_day("2.0-1");
    gap.exported(&LATEST);
    let before = gap.inside.published_tree("r");
    gap.import(&[]).exits(4).mentions("repo trust --repo-id r");
    gap.inside.published_tree("r").assert_same(&before);
    let fingerprint = Key::stranger().fingerprint();
    gap.inside
        .run(&trust)
        .succeeds()
        .mentions(&format!("r: now trusted: {fingerprint}"));
    gap.imported(&[]);
    gap.inside.run(&["db", "check"]).succeeds();
}

#[test]
fn a_repository_without_a_definition() {
    for gap in Gap::both() {
        fs::remove_file(gap.inside.config().join("repos.d/r.yaml")).unwrap();
        gap.configure_inside("media:\n  destination: plant-a\n  publish_root: ../../www\n");
        gap.exported(&LATEST);
        let fingerprint = Key::archive().fingerprint();
        let output = gap.import(&[]).exits(4);
        assert!(
            output.stderr.contains(
                "r: not imported: it has no definition here, and its keys were never accepted: "
            ) && output.stderr.contains(&fingerprint),
            "{}",
            output.stderr
        );
        // A plan says so, too.
        gap.import(&["--dry-run"]).exits(4).mentions(&fingerprint);
        let imported = gap.imported(&["--accept-keys"]);
        let repository = &imported["transfers"][0]["repositories"][0];
        assert_eq!(repository["accepted_keys"][0], fingerprint);
        gap.inside
            .published_tree("r")
            .assert_same(&gap.outside.tree());
        // The keys are remembered.
        gap.imported(&["--again"]);
    }
    // Nothing proves an unsigned one.
    let gap = Gap::new(Upstream::rpm().unsigned());
    fs::remove_file(gap.inside.config().join("repos.d/r.yaml")).unwrap();
    gap.exported(&LATEST);
    gap.import_fails(
        &["--accept-keys"],
        4,
        "error: r: not imported: it has no definition here, and it is not signed\n\
         hint: define r in repos.d without a signature check, if that is intended\n",
    );
}

#[test]
fn generated_metadata_is_signed_by_the_exporter() {
    for upstream in Upstream::both() {
        let filters = "filters:\n  exclude: [other]\n";
        let mut gap = Gap::with(upstream, |repository| repository.more(filters));
        gap.outside.snapshot("monday");
        gap.exported(&["--repo-id", "r", "--snapshot", "monday"]);
        gap.imported(&[]);
        // Byte for byte: the inside has no key of its own.
        gap.is_published();
        gap.confirm(1);
        gap.outside.next(|upstream| {
            upstream.replace(Package::new("hello", "2.0-1"));
        });
        gap.outside.sync().exits(0);
        gap.exported(&LATEST);
        gap.imported(&[]);
        gap.is_published();
    }
}

#[test]
fn a_merge_is_signed_by_the_exporter() {
    let gap = Gap::new(Upstream::rpm());
    gap.outside.snapshot("one");
    let merge = [
        "snapshot", "merge", "--source", "r/one", "--source", "r/latest", "--name", "merged",
    ];
    gap.outside.run(&merge).exits(0);
    gap.exported(&["--snapshot", "merged"]);
    let imported = gap.imported(&[]);
    let repository = &imported["transfers"][0]["repositories"][0];
    assert_eq!(repository["snapshots_created"][0], "merged");
    // A merge is not the state of the upstream.
    assert_eq!(repository["latest"], serde_json::Value::Null);
    let to = gap.inside.dir().join("www/merged");
    let publish = [
        "publish",
        "--snapshot-name",
        "r/merged",
        "--to",
        to.to_str().unwrap(),
    ];
    gap.inside.run(&publish).exits(0);
    let outside = gap.outside.www("merged");
    let publish = [
        "publish",
        "--snapshot-name",
        "r/merged",
        "--to",
        outside.to_str().unwrap(),
    ];
    gap.outside.run(&publish).exits(0);
    Tree::read(&to).assert_same(&Tree::read(&outside));
    gap.inside.run(&["db", "check"]).succeeds();
    // Without a definition inside, it is the exporter's signature that counts.
    let other = Gap::new(Upstream::rpm());
    fs::remove_file(other.inside.config().join("repos.d/r.yaml")).unwrap();
    other.outside.snapshot("one");
    other.outside.run(&merge).exits(0);
    other.exported(&["--snapshot", "merged"]);
    other.imported(&[]);
}

#[test]
fn syncs_skip_what_media_fill() {
    let gap = Gap::new(Upstream::rpm());
    gap.exported(&LATEST);
    gap.imported(&[]);
    let before = gap.inside.published_tree("r");
    let sync = gap.inside.run(&["repo", "sync", "--all"]).exits(0);
    sync.mentions("r: skipped: filled by `chantal media import`");
    gap.inside.published_tree("r").assert_same(&before);
}

#[test]
fn a_merge_of_repositories_with_different_keys() {
    for (upstream, other) in Upstream::both().into_iter().zip(Upstream::both()) {
        let gap = Gap::new(upstream);
        let other = other
            .signed_by(Key::stranger())
            .package(Package::new("third", "1.0-1"));
        let same = |repository: Repository| repository;
        let (_built, _server) = beside(&gap.outside.chantal, "s", &other, same);
        gap.outside
            .run(&["repo", "sync", "--repo-id", "s"])
            .succeeds();
        gap.inside.repository(&Repository::of("s", &other, "media"));
        let merge = [
            "snapshot", "merge", "--source", "r/latest", "--source", "s/latest", "--name", "both",
        ];
        gap.outside.run(&merge).exits(0);
        gap.exported(&["--snapshot", "r/both", "--all"]);
        let imported = gap.imported(&[]);
        let repositories = &imported["transfers"][0]["repositories"];
        assert_eq!(repositories[0]["snapshots_created"][0], "both");
        assert_eq!(repositories[1]["latest"], "replaced");
        gap.is_published();
    }
}
