//! Media that are lost, swapped, replayed, or built on what never arrived.

use std::fs;

use super::{Gap, LATEST};
use crate::kit::chantal::Repository;
use crate::kit::mirror::beside;
use crate::kit::tree::Tree;
use crate::kit::upstream::{Package, Upstream};

/// Puts a transfer aside, as if its medium were somewhere else.
fn take(gap: &Gap, number: usize) -> (std::path::PathBuf, std::path::PathBuf) {
    let folder = gap.folders()[number - 1].clone();
    let aside = gap.outside.chantal.dir().join(format!("transfer-{number}"));
    copy(&folder, &aside);
    fs::remove_dir_all(&folder).unwrap();
    (aside, folder)
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
    Tree::read(from).write_to(to);
}

#[test]
fn a_lost_medium_costs_nothing_but_that_medium() {
    let mut gap = Gap::new(Upstream::deb());
    gap.exported(&LATEST);
    gap.imported(&[]);
    gap.confirm(1);
    gap.next_day("2.0-1");
    gap.exported(&LATEST);
    let _ = take(&gap, 2);
    gap.outside
        .run(&["media", "lost", "2"])
        .succeeds()
        .says("transfer 2 for plant-a is lost: the next export builds on the last confirmed one\n");
    gap.next_day("3.0-1");
    let exported = gap.exported(&LATEST);
    assert_eq!(
        (
            exported["transfer"].as_u64(),
            exported["builds_on"].as_u64()
        ),
        (Some(3), Some(1))
    );
    gap.imported(&[]);
    gap.is_published();
}

#[test]
fn a_gap_is_explained_and_changes_nothing() {
    let mut gap = Gap::new(Upstream::deb());
    gap.exported(&LATEST);
    gap.imported(&[]);
    gap.confirm(1);
    gap.outside
        .next(|upstream| upstream.add(Package::new("more", "1.0-1")));
    gap.outside.sync().succeeds();
    gap.exported(&LATEST);
    let (aside, folder) = take(&gap, 2);
    gap.next_day("3.0-1");
    // Built on a transfer that is assumed to have arrived.
    let exported = gap.exported(&["--repo-id", "r", "--base-last", "1"]);
    assert_eq!(exported["builds_on"], 2);
    let output = gap.import(&[]).exits(5);
    assert!(
        output
            .stderr
            .contains("transfer 3 builds on 2, which was never imported: ")
            && output.stderr.contains(" missing, nothing was changed"),
        "{}",
        output.stderr
    );
    // Both, in order.
    copy(&aside, &folder);
    gap.imported(&[]);
    gap.is_published();
}

#[test]
fn an_older_transfer_brings_its_snapshots_but_not_its_state() {
    let mut gap = Gap::new(Upstream::deb());
    gap.outside.snapshot("monday");
    gap.exported(&["--snapshot", "monday", "--repo-id", "r"]);
    let (aside, folder) = take(&gap, 1);
    gap.next_day("2.0-1");
    gap.exported(&LATEST);
    gap.imported(&[]);
    gap.is_published();
    copy(&aside, &folder);
    let imported = gap.imported(&[]);
    let repository = &imported["transfers"][0]["repositories"][0];
    assert_eq!(repository["latest"], "older_transfer");
    assert_eq!(repository["snapshots_created"][0], "monday");
    gap.is_published();
}

#[test]
fn snapshots_alone_bring_the_latest_state_too() {
    let mut gap = Gap::new(Upstream::deb());
    gap.outside.snapshot("monday");
    gap.next_day("2.0-1");
    gap.outside.snapshot("tuesday");
    gap.exported(&["--snapshot", "monday", "--snapshot", "tuesday"]);
    gap.imported(&[]);
    gap.is_published();
}

#[test]
fn deleted_snapshots_stay_deleted() {
    let gap = Gap::new(Upstream::rpm());
    gap.outside.snapshot("monday");
    gap.exported(&["--snapshot", "monday"]);
    gap.imported(&[]);
    let list = ["snapshot", "list"];
    gap.inside.run(&list).succeeds().mentions("monday");
    let delete = ["snapshot", "delete", "--name", "r/monday"];
    gap.inside.run(&delete).succeeds();
    gap.imported(&[]);
    let output = gap.inside.run(&list).succeeds();
    assert!(!output.stdout.contains("monday"));
    gap.imported(&["--again"]);
    gap.inside.run(&list).succeeds().mentions("monday");
}

#[test]
fn a_snapshot_with_other_content_is_refused() {
    let mut gap = Gap::new(Upstream::rpm());
    gap.exported(&LATEST);
    gap.imported(&[]);
    let create = ["snapshot", "create", "--repo-id", "r", "--name", "monday"];
    gap.inside.run(&create).exits(0);
    gap.next_day("2.0-1");
    gap.outside.snapshot("monday");
    gap.exported(&["--snapshot", "monday"]);
    gap.import_fails(
        &[],
        4,
        "error: r: not imported: snapshot monday exists with other content\n\
         hint: snapshots are immutable: delete or rename the existing one first\n",
    );
}

#[test]
fn a_state_of_another_origin_is_not_replaced_silently() {
    let mut gap = Gap::new(Upstream::rpm());
    gap.define_inside(|repository| repository);
    gap.inside.run(&["repo", "sync", "--repo-id", "r"]).exits(0);
    gap.next_day("2.0-1");
    gap.exported(&LATEST);
    gap.import_fails(
        &[],
        4,
        "error: r: not imported: its current state is not from this exporter\n\
         hint: `--replace` replaces it\n",
    );
    gap.imported(&["--replace"]);
    gap.is_published();
}

#[test]
fn another_transfer_with_the_same_number() {
    let mut gap = Gap::new(Upstream::rpm());
    let database = gap.outside.chantal.data().join("chantal.redb");
    let backup = fs::read(&database).unwrap();
    gap.exported(&LATEST);
    gap.imported(&[]);
    let _ = take(&gap, 1);
    fs::write(&database, backup).unwrap();
    gap.next_day("2.0-1");
    let exported = gap.export(&LATEST).exits(0);
    assert!(
        exported.stdout.contains("transfer 1 written"),
        "{}",
        exported.stdout
    );
    gap.import_fails(
        &[],
        4,
        "error: MEDIUM/TRANSFER-1: another transfer 1 of this exporter was imported before\n\
         hint: the exporter's database was restored from a backup: export again there\n",
    );
}

/// A transfer can lack nothing although the one before it never arrived.
#[test]
fn nothing_builds_on_a_transfer_whose_base_never_arrived() {
    let mut gap = Gap::new(Upstream::rpm());
    let other = Upstream::rpm().package(Package::new("third", "1.0-1"));
    let (_built, _server) = beside(&gap.outside.chantal, "s", &other, |repository| repository);
    let sync = ["repo", "sync", "--repo-id", "s"];
    gap.outside.run(&sync).succeeds();
    gap.inside.repository(&Repository::of("s", &other, "media"));
    gap.exported(&["--all"]);
    gap.imported(&[]);
    gap.confirm(1);
    gap.next_day("2.0-1");
    gap.exported(&LATEST);
    let (aside, folder) = take(&gap, 2);
    gap.outside.snapshot("monday");
    gap.exported(&["--repo-id", "s", "--base-last", "1"]);
    let imported = gap.imported(&[]);
    let transfer = imported["transfers"].as_array().unwrap().last().unwrap();
    assert_eq!(transfer["confirmation_code"], serde_json::Value::Null);
    assert!(
        transfer["warnings"][0]
            .as_str()
            .unwrap()
            .contains("transfer 3 cannot be confirmed yet: it builds on 2"),
        "{transfer}"
    );
    for command in [&["db", "cleanup"][..], &["db", "stats"], &["db", "check"]] {
        gap.inside.run(command).succeeds();
    }
    copy(&aside, &folder);
    gap.imported(&[]);
    gap.confirm(3);
    gap.is_published();
}

#[test]
fn numbers_continue_after_a_destination_was_forgotten() {
    let mut gap = Gap::new(Upstream::rpm());
    gap.exported(&LATEST);
    gap.imported(&[]);
    gap.outside.run(&["media", "forget", "plant-a"]).succeeds();
    let history = gap.outside.run(&["media", "history"]).succeeds();
    history.says("no transfers\n");
    gap.next_day("2.0-1");
    let exported = gap.exported(&LATEST);
    assert_eq!(exported["transfer"], 2);
    assert_eq!(exported["builds_on"], serde_json::Value::Null);
    gap.imported(&[]);
    gap.is_published();
}
