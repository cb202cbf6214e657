//! Media that are damaged, or have other files than they should.

use std::fs;
use std::path::{Path, PathBuf};

use super::{Gap, LATEST};
use crate::kit::chantal::Chantal;
use crate::kit::mount::Mount;
use crate::kit::tree::Tree;
use crate::kit::upstream::Upstream;

fn exported() -> (Gap, PathBuf) {
    let gap = Gap::new(Upstream::rpm());
    gap.exported(&LATEST);
    let folder = gap.folders().remove(0);
    (gap, folder)
}

/// Flips a bit in the middle of a file.
fn flip(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).unwrap();
}

/// The path of an object below the folder, and its digest.
fn object(folder: &Path) -> (PathBuf, String) {
    let objects = folder.join("objects");
    let largest = {
        let tree = Tree::read(&objects);
        let largest = tree.iter().max_by_key(|(_, bytes)| bytes.len());
        largest.unwrap().0.to_owned()
    };
    let name = largest.rsplit('/').next().unwrap().to_owned();
    (objects.join(largest), name)
}

fn verify(gap: &Gap) -> crate::kit::process::Output {
    let (medium, key) = (gap.medium(), gap.exporter_key());
    let anywhere = Chantal::new();
    anywhere.run(&[
        "media",
        "verify",
        medium.to_str().unwrap(),
        "--key",
        key.to_str().unwrap(),
    ])
}

#[test]
fn a_flipped_bit_in_the_manifest_or_its_signature() {
    for (file, why) in [("manifest.zst", "bad signature"), ("manifest.zst.asc", "")] {
        let (gap, folder) = exported();
        flip(&folder.join(file));
        verify(&gap).exits(4).mentions(why);
        gap.import(&[]).exits(4);
        assert!(!gap.inside.published("r").exists());
    }
}

#[test]
fn a_damaged_object_is_named_and_the_others_are_kept() {
    let (gap, folder) = exported();
    let (path, name) = object(&folder);
    let whole = fs::read(&path).unwrap();
    flip(&path);
    let output = verify(&gap).exits(5);
    assert!(output.stdout.contains(&format!(
        "object {name} is damaged on the medium: its sha256 is "
    )));
    let output = gap.import(&["--receipt"]).exits(5);
    assert_eq!(
        gap.shown(&output.stderr),
        "error: MEDIUM/TRANSFER-1: 1 file missing or damaged\n\
         hint: copy the transfer to the medium again, or export it again to another one\n\
         error: r: not imported: 1 of its files are missing or damaged on the medium\n\
         hint: what is intact was kept: bring the medium again, or a repaired one\n"
    );
    assert!(!output.stdout.contains("confirm outside"));
    let receipt = fs::read_to_string(gap.medium().join("receipt-plant-a-1.txt")).unwrap();
    assert!(receipt.contains(" missing "), "{receipt}");
    // Outside it confirms nothing.
    let receipt = gap.medium().join("receipt-plant-a-1.txt");
    let confirm = [
        "media",
        "confirm",
        "--for",
        "plant-a",
        receipt.to_str().unwrap(),
    ];
    gap.outside
        .run(&confirm)
        .succeeds()
        .mentions("transfer 1 is incomplete at plant-a: missing ");

    fs::write(&path, whole).unwrap();
    let imported = gap.imported(&[]);
    assert_eq!(imported["transfers"][0]["objects_copied"], 1);
    gap.is_published();
}

#[test]
fn a_missing_or_short_object() {
    for is_short in [true, false] {
        let (gap, folder) = exported();
        let (path, name) = object(&folder);
        let why = if is_short {
            let bytes = fs::read(&path).unwrap();
            fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
            format!(
                "object {name} is damaged on the medium: it has {} bytes, expected {}",
                bytes.len() - 1,
                bytes.len()
            )
        } else {
            fs::remove_file(&path).unwrap();
            format!("object {name} is missing on the medium")
        };
        let status = ["media", "status", gap.medium().to_str().unwrap()];
        gap.outside.run(&status).exits(5).mentions(&why);
        gap.import(&[]).exits(5).mentions(&why);
        assert!(!gap.inside.published("r").exists());
    }
}

#[test]
fn undeclared_files_are_refused_unless_they_are_allowed() {
    let (gap, folder) = exported();
    let (path, _) = object(&folder);
    for (file, name) in [
        (folder.join("autorun.inf"), "autorun.inf".to_owned()),
        (
            path.with_file_name("scan.log"),
            format!(
                "objects/{}/scan.log",
                path.parent()
                    .unwrap()
                    .file_name()
                    .unwrap()
                    .to_str()
                    .unwrap()
            ),
        ),
    ] {
        fs::write(&file, "x").unwrap();
        let last = name.rsplit('/').next().unwrap();
        let error = format!(
            "error: MEDIUM/TRANSFER-1: undeclared file {name}\n\
             hint: remove it, or use `--allow {last}` if a program of yours added it\n"
        );
        gap.import_fails(&[], 4, &error);
        let output = verify(&gap).exits(4);
        assert_eq!(gap.shown(&output.stderr), error);
        gap.import(&["--dry-run", "--allow", last]).succeeds();
        fs::remove_file(file).unwrap();
    }
    // Beside the folder, files are none of its business.
    fs::write(gap.medium().join("scan.log"), "x").unwrap();
    fs::create_dir(gap.medium().join("lost+found")).unwrap();
    gap.imported(&[]);
}

#[test]
fn links_and_pipes_are_not_followed() {
    for is_link in [true, false] {
        let (gap, folder) = exported();
        let (path, _) = object(&folder);
        let aside = gap.inside.dir().join("aside");
        fs::rename(&path, &aside).unwrap();
        if is_link {
            std::os::unix::fs::symlink(&aside, &path).unwrap();
        } else {
            let made = std::process::Command::new("mkfifo").arg(&path).status();
            assert!(made.unwrap().success());
        }
        gap.import(&[])
            .exits(4)
            .mentions("undeclared file objects/");
        assert!(!gap.inside.published("r").exists());
        // The manifest itself.
        let manifest = folder.join("manifest.zst");
        fs::remove_file(&path).unwrap();
        fs::rename(&aside, &path).unwrap();
        fs::rename(&manifest, &aside).unwrap();
        std::os::unix::fs::symlink(&aside, &manifest).unwrap();
        gap.import_fails(
            &[],
            4,
            "error: MEDIUM/TRANSFER-1: manifest.zst is not a regular file\n",
        );
    }
}

#[test]
fn other_formats_and_folders() {
    let (gap, folder) = exported();
    let packed = fs::read(folder.join("manifest.zst")).unwrap();
    let newer = [b"chantal medium 2 needs chantal 7.0\n", &packed[17..]].concat();
    fs::write(folder.join("manifest.zst"), newer).unwrap();
    let status = ["media", "status", gap.medium().to_str().unwrap()];
    let output = gap.outside.run(&status).exits(2);
    assert_eq!(
        gap.shown(&output.stderr),
        "error: MEDIUM/TRANSFER-1: the transfer has format 2 (needs chantal 7.0), this version of \
         chantal reads format 1\n\
         hint: install a newer version of chantal\n"
    );
    fs::write(folder.join("manifest.zst"), packed).unwrap();
    let renamed = gap.medium().join(
        folder
            .file_name()
            .unwrap()
            .to_str()
            .unwrap()
            .replace("-1", "-7"),
    );
    fs::rename(&folder, &renamed).unwrap();
    gap.import(&[])
        .exits(4)
        .mentions("its manifest is that of chantal-");
    verify(&gap)
        .exits(4)
        .mentions("its manifest is that of chantal-");
    fs::rename(&renamed, &folder).unwrap();
    gap.imported(&[]);
    gap.import_fails(
        &["--transfer", "5"],
        5,
        "error: MEDIUM: no transfer was found here\n\
         hint: is the medium mounted? a transfer is a folder whose name begins with `chantal-`\n",
    );
}

#[test]
fn names_on_a_medium_do_not_reach_the_terminal_as_they_are() {
    let (gap, folder) = exported();
    fs::write(folder.join("a\ntransfer 1: all verified\u{1b}[2J"), "x").unwrap();
    let output = verify(&gap).exits(4);
    assert!(
        output
            .stderr
            .contains("undeclared file a\\ntransfer 1: all verified\\u{1b}[2J\n"),
        "{}",
        output.stderr
    );
}

#[test]
fn a_transfer_is_not_written_into_another() {
    let (gap, folder) = exported();
    for inside in [folder.clone(), gap.outside.chantal.data()] {
        let to = inside.to_str().unwrap();
        let export = ["media", "export", "--to", to, "--for", "plant-a", "--all"];
        let output = gap.outside.run(&export).exits(2);
        assert!(
            output
                .stderr
                .contains(": is in the storage, a published tree or another transfer"),
            "{}",
            output.stderr
        );
    }
    gap.imported(&[]);
}

#[test]
fn a_full_disk_is_noticed_before_anything_is_written() {
    let gap = Gap::new(Upstream::rpm());
    let small = gap.medium().join("small");
    fs::create_dir(&small).unwrap();
    let Some(_mount) = Mount::new(&small, "512k") else {
        return;
    };
    let to = small.to_str().unwrap();
    let export = ["media", "export", "--to", to, "--for", "plant-a", "--all"];
    let output = gap.outside.run(&export).exits(1);
    assert!(
        output.stderr.contains("small: not enough space: "),
        "{}",
        output.stderr
    );
    assert_eq!(fs::read_dir(&small).unwrap().count(), 0);
    // Trees on another file system than the pool are copies.
    gap.exported(&LATEST);
    let www = gap.inside.dir().join("www");
    fs::create_dir(&www).unwrap();
    let mount = Mount::new(&www, "8k").unwrap();
    let output = gap.import(&[]).exits(1);
    assert!(
        output.stderr.contains("www: not enough space to publish: "),
        "{}",
        output.stderr
    );
    assert_eq!(fs::read_dir(&www).unwrap().count(), 0);
    drop(mount);
    gap.imported(&[]);
    gap.is_published();
}

#[test]
fn a_receipt_replaces_what_is_in_its_place() {
    for kind in ["link", "pipe"] {
        let (gap, _) = exported();
        let receipt = gap.medium().join("receipt-plant-a-1.txt");
        let victim = gap.inside.write("victim", "mine");
        if kind == "link" {
            std::os::unix::fs::symlink(&victim, &receipt).unwrap();
        } else {
            let made = std::process::Command::new("mkfifo").arg(&receipt).status();
            assert!(made.unwrap().success());
        }
        gap.imported(&["--receipt"]);
        assert_eq!(fs::read_to_string(&victim).unwrap(), "mine");
        let text = fs::read_to_string(&receipt).unwrap();
        assert!(text.starts_with("chantal receipt 1\n"), "{text}");
    }
}
