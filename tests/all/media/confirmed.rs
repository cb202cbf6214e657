//! Sent is not arrived: codes and receipts.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{Gap, LATEST};
use crate::kit::tree::Tree;
use crate::kit::upstream::Upstream;

fn code(gap: &Gap, number: u64) -> String {
    let history = gap.inside.run(&["--format", "json", "media", "history"]);
    let history: Value = history.succeeds().json();
    let imported = history["imported"].as_array().unwrap();
    let transfer = imported
        .iter()
        .find(|transfer| transfer["transfer"] == number);
    transfer.unwrap()["confirmation_code"]
        .as_str()
        .unwrap()
        .to_owned()
}

#[test]
fn a_code_confirms_the_transfer_and_what_it_builds_on() {
    let mut gap = Gap::new(Upstream::rpm());
    gap.exported(&LATEST);
    gap.imported(&[]);
    // The confirmation is lost, and the next export assumes that it arrived.
    gap.next_day("2.0-1");
    gap.exported(&["--repo-id", "r", "--base-last", "1"]);
    gap.imported(&[]);
    let code = code(&gap, 2);
    let typed = code.to_lowercase().replace('-', " ");
    let confirm = ["media", "confirm", "--for", "plant-a", &typed];
    gap.outside
        .run(&confirm)
        .succeeds()
        .says("transfer 1 confirmed by plant-a\ntransfer 2 confirmed by plant-a\n");
    gap.outside
        .run(&confirm)
        .succeeds()
        .says("nothing to do: plant-a had confirmed this before\n");
}

#[test]
fn wrong_codes() {
    let gap = Gap::new(Upstream::rpm());
    gap.exported(&LATEST);
    gap.imported(&[]);
    let code = code(&gap, 1);
    let mut mistyped = code.clone().into_bytes();
    mistyped[3] = if mistyped[3] == b'7' { b'8' } else { b'7' };
    let mistyped = String::from_utf8(mistyped).unwrap();
    let confirm = |destination: &str, code: &str| {
        gap.outside
            .run(&["media", "confirm", "--for", destination, code])
    };
    confirm("plant-a", &mistyped).fails_with(
        2,
        "error: the code is not valid: mistyped: the check characters at the end do not match\n\
         hint: compare it with the code that the import has shown\n",
    );
    confirm("plant-b", &code).fails_with(
        2,
        "error: not a code for plant-b; pending: none\n\
         hint: is it a code of another destination or exporter? `media history` lists the transfers\n",
    );
    let other = Gap::new(Upstream::rpm());
    other.exported(&LATEST);
    other
        .outside
        .run(&["media", "confirm", "--for", "plant-a", &code])
        .fails_with(
            2,
            "error: not a code for plant-a; pending: 1\n\
             hint: is it a code of another destination or exporter? `media history` lists the transfers\n",
        );
}

#[test]
fn receipts_are_short_texts() {
    let gap = Gap::new(Upstream::rpm());
    gap.exported(&LATEST);
    gap.imported(&[]);
    let receipt = gap.inside.dir().join("receipt.txt");
    let to = receipt.to_str().unwrap();
    gap.inside.run(&["media", "receipt", "--to", to]).succeeds();
    let text = fs::read_to_string(&receipt).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 5, "{text}");
    assert_eq!(
        (lines[0], lines[2]),
        ("chantal receipt 1", "destination plant-a")
    );
    assert!(
        lines[4].starts_with("transfer 1 sha256:") && lines[4].ends_with(" complete"),
        "{text}"
    );
    let confirm = ["media", "confirm", "--for", "plant-a", to];
    gap.outside
        .run(&confirm)
        .succeeds()
        .says("transfer 1 confirmed by plant-a\n");
    // Of another destination.
    let confirm = ["media", "confirm", "--for", "plant-b", to];
    gap.outside
        .run(&confirm)
        .fails_with(4, "error: the receipt is of plant-a, not of plant-b\n");
}

#[test]
fn receipts_are_signed_where_there_is_a_key() {
    let gap = Gap::new(Upstream::rpm());
    gap.exported(&LATEST);
    gap.imported(&[]);
    let receipt = gap.inside.dir().join("receipt.txt");
    let to = receipt.to_str().unwrap();
    gap.inside.run(&["media", "receipt", "--to", to]).succeeds();
    let unsigned = fs::read(&receipt).unwrap();
    gap.inside.run(&["config", "keygen"]).exits(0);
    gap.inside.run(&["media", "receipt", "--to", to]).succeeds();
    let signed = fs::read_to_string(&receipt).unwrap();
    assert!(
        signed.starts_with("-----BEGIN PGP SIGNED MESSAGE-----"),
        "{signed}"
    );
    assert!(signed.len() < 4096);
    let key = gap.inside.config().join("keys/signing.pub.asc");
    gap.outside.chantal.write(
        "config/conf.d/media.yaml",
        &format!(
            "media:\n  destinations:\n    plant-a:\n      key_file: {}\n",
            key.display()
        ),
    );
    let confirm = ["media", "confirm", "--for", "plant-a", to];
    fs::write(&receipt, unsigned).unwrap();
    let output = gap.outside.run(&confirm).exits(4);
    assert!(
        output
            .stderr
            .contains("not signed, but plant-a has keys for receipts")
    );
    fs::write(&receipt, signed.replace("plant-a", "plant-c")).unwrap();
    gap.outside.run(&confirm).exits(4);
    fs::write(&receipt, signed).unwrap();
    gap.outside
        .run(&confirm)
        .succeeds()
        .says("transfer 1 confirmed by plant-a\n");
}

#[test]
fn a_destination_is_forgotten() {
    let gap = Gap::new(Upstream::rpm());
    gap.exported(&LATEST);
    gap.imported(&[]);
    gap.confirm(1);
    let forget = |name: &str| gap.outside.run(&["media", "forget", name]);
    forget("plant-b").fails_with(
        2,
        "error: nothing was exported for plant-b (known: plant-a)\n",
    );
    forget("plant-a").succeeds();
    fs::remove_dir_all(&gap.folders()[0]).unwrap();
    let exported = gap.exported(&LATEST);
    assert_eq!(exported["builds_on"], Value::Null);
    gap.imported(&[]);
    // The inside lists both transfers.
    let receipt = gap.inside.dir().join("receipt.txt");
    let to = receipt.to_str().unwrap();
    gap.inside.run(&["media", "receipt", "--to", to]).succeeds();
    let confirm = ["media", "confirm", "--for", "plant-a", to];
    let output = gap.outside.run(&confirm).exits(0);
    assert_eq!(
        (output.stdout.as_str(), output.stderr.as_str()),
        (
            "transfer 2 confirmed by plant-a\n",
            "warning: transfer 1 was lost or forgotten: not confirmed\n"
        )
    );
}

#[test]
fn a_repair_carries_only_what_was_damaged() {
    let mut gap = Gap::new(Upstream::rpm());
    gap.exported(&LATEST);
    let folder = gap.folders().remove(0);
    let objects = folder.join("objects");
    let tree = Tree::read(&objects);
    let (largest, bytes) = tree.iter().max_by_key(|(_, bytes)| bytes.len()).unwrap();
    let mut flipped = bytes.to_vec();
    flipped[10] ^= 1;
    fs::write(objects.join(largest), flipped).unwrap();
    gap.import(&["--receipt"]).exits(5);
    let receipt = gap.medium().join("receipt-plant-a-1.txt");
    let receipt = receipt.to_str().unwrap().to_owned();
    fs::remove_dir_all(&folder).unwrap();
    let to = gap.medium().to_str().unwrap().to_owned();
    let export = [
        "--format", "json", "media", "export", "--to", &to, "--repair", &receipt,
    ];
    let exported = gap.outside.run(&export).succeeds().json();
    assert_eq!(exported["builds_on"], 1);
    // The damaged one, and the keyring of the state.
    assert_eq!(exported["objects"], 2);
    gap.imported(&[]);
    gap.is_published();
    gap.confirm(2);
    gap.next_day("2.0-1");
    let exported = gap.exported(&LATEST);
    assert_eq!(exported["builds_on"], 2);
}

#[test]
fn an_export_builds_on_a_receipt() {
    let mut gap = Gap::new(Upstream::rpm());
    gap.exported(&LATEST);
    gap.imported(&["--receipt"]);
    gap.next_day("2.0-1");
    let receipt = gap.medium().join("receipt-plant-a-1.txt");
    let (to, receipt) = (gap.medium().to_str().unwrap(), receipt.to_str().unwrap());
    let json = ["--format", "json", "media"];
    let plan = ["plan", "--base", receipt, "--all"];
    let planned = gap
        .outside
        .run(&[&json[..], &plan].concat())
        .succeeds()
        .json();
    assert_eq!(planned["builds_on"], 1);
    // A plan records nothing.
    let history = gap
        .outside
        .run(&[&json[..], &["history"]].concat())
        .succeeds()
        .json();
    assert_eq!(history["exported"][0]["fate"], "pending");
    let export = ["export", "--to", to, "--base", receipt, "--all"];
    let exported = gap
        .outside
        .run(&[&json[..], &export].concat())
        .succeeds()
        .json();
    assert_eq!(
        (&exported["builds_on"], &exported["packages"]),
        (&1.into(), &1.into())
    );
    let history = gap
        .outside
        .run(&[&json[..], &["history"]].concat())
        .succeeds()
        .json();
    assert_eq!(history["exported"][0]["fate"], "confirmed");
    gap.imported(&[]);
    gap.is_published();
}

/// Damages the largest object of a transfer, and imports it.
fn damaged_import(gap: &Gap, folder: &Path) -> PathBuf {
    let objects = folder.join("objects");
    let tree = Tree::read(&objects);
    let (largest, bytes) = tree.iter().max_by_key(|(_, bytes)| bytes.len()).unwrap();
    let mut flipped = bytes.to_vec();
    flipped[10] ^= 1;
    fs::write(objects.join(largest), flipped).unwrap();
    gap.import(&["--receipt"]).exits(5);
    fs::remove_dir_all(folder).unwrap();
    let number = folder.to_str().unwrap().rsplit('-').next().unwrap();
    gap.medium().join(format!("receipt-plant-a-{number}.txt"))
}

#[test]
fn a_repair_is_repaired() {
    let mut gap = Gap::new(Upstream::deb());
    gap.exported(&LATEST);
    gap.imported(&[]);
    gap.confirm(1);
    gap.next_day("2.0-1");
    gap.exported(&LATEST);
    let to = gap.medium().to_str().unwrap().to_owned();
    for number in [2_u64, 3] {
        let folder = gap.folders().pop().unwrap();
        let receipt = damaged_import(&gap, &folder);
        let receipt = receipt.to_str().unwrap();
        let json = ["--format", "json", "media", "export", "--to", &to];
        let export = [&json[..], &["--repair", receipt]].concat();
        let exported = gap.outside.run(&export).succeeds().json();
        assert_eq!(exported["builds_on"], number);
        // The keyring of the state is a published file, too.
        assert_eq!(exported["objects"], 1);
        // What the list does not have.
        let text = fs::read_to_string(receipt).unwrap();
        let known = text.split(" missing ").next().unwrap();
        fs::write(receipt, format!("{known} missing 1000\n")).unwrap();
        let plan = ["media", "plan", "--repair", receipt];
        gap.outside
            .run(&plan)
            .exits(4)
            .mentions("the receipt says that later ones are missing");
    }
    gap.imported(&[]);
    gap.is_published();
    // A receipt without an end.
    let large = gap.inside.write("large", &"x".repeat(20_000));
    let confirm = [
        "media",
        "confirm",
        "--for",
        "plant-a",
        large.to_str().unwrap(),
    ];
    gap.outside
        .run(&confirm)
        .exits(2)
        .mentions("too large for a receipt");
}
