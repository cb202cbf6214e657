//! One file of `repos.d` that cannot be used: the other repositories work, what it may define is
//! left alone, and the run ends with 2.

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use crate::kit::chantal::Chantal;
use crate::kit::mirror::beside;
use crate::kit::server::Server;
use crate::kit::upstream::{Package, Upstream};

struct Scene {
    chantal: Chantal,
    _servers: Vec<Server>,
}

/// Two repositories, synced and published.
fn scene() -> Scene {
    let chantal = Chantal::new();
    let mut servers = Vec::new();
    for name in ["one", "other"] {
        let upstream = Upstream::rpm().package(Package::new("hello", "1.0-1"));
        let (_, server) = beside(&chantal, name, &upstream, |repository| repository);
        servers.push(server);
    }
    chantal.run(&["repo", "sync", "--all"]).exits(0);
    Scene {
        chantal,
        _servers: servers,
    }
}

#[test]
fn whatever_is_wrong_with_a_file_the_others_work() {
    let scene = scene();
    let file = scene.chantal.config().join("repos.d/other.yaml");
    let good = fs::read_to_string(&file).unwrap();
    for (text, words) in [
        ("name: [\n".to_owned(), "repos.d/other.yaml:"),
        (String::new(), "repos.d/other.yaml"),
        (
            good.replace("type: rpm", "type: deb"),
            "repos.d/other.yaml:",
        ),
        (format!("{good}colour: red\n"), "colour"),
        (
            good.replace("name: other", "name: one"),
            "one is already used in",
        ),
        (format!("{good}\u{0}"), "repos.d/other.yaml"),
    ] {
        fs::write(&file, &text).unwrap();
        let both = text.contains("name: one");
        let said = scene.chantal.run(&["repo", "list"]).exits(2);
        assert_eq!(said.stdout.contains("one"), !both, "{}", said.stdout);
        assert!(
            said.stderr.starts_with("error: ") && said.stderr.contains(words),
            "{}",
            said.stderr
        );
        let said = scene.chantal.run(&["repo", "sync", "--all"]).exits(2);
        assert_eq!(
            said.stdout.contains("one: unchanged"),
            !both,
            "{}",
            said.stdout
        );
        assert!(said.stderr.contains(words), "{}", said.stderr);
        let said = scene.chantal.run(&["config", "check"]).exits(2);
        assert!(!said.stdout.contains("configuration OK"), "{}", said.stdout);
        let invalid = if both {
            "2 invalid files in repos.d"
        } else {
            "1 invalid file in repos.d"
        };
        assert!(said.stdout.contains(invalid), "{}", said.stdout);
    }
    fs::remove_file(&file).unwrap();
    symlink("nowhere", &file).unwrap();
    scene
        .chantal
        .run(&["repo", "sync", "--repo-id", "one"])
        .exits(2)
        .mentions("cannot be read");
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    scene
        .chantal
        .run(&["repo", "sync", "--repo-id", "one"])
        .exits(2)
        .mentions("repos.d/other.yaml");
    fs::remove_dir(&file).unwrap();
    fs::write(&file, good).unwrap();
    scene.chantal.run(&["repo", "sync", "--all"]).exits(0);
}

#[test]
fn json_results_stay_one_document() {
    let scene = scene();
    scene
        .chantal
        .write("config/repos.d/other.yaml", "name: [\n");
    let said = scene
        .chantal
        .run(&["repo", "list", "--format", "json"])
        .exits(2);
    let list: serde_json::Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!(list.as_array().unwrap().len(), 1);
}

/// Nobody knows what the file would say.
#[test]
fn what_it_may_define_is_left_alone() {
    let scene = scene();
    let chantal = &scene.chantal;
    let file = chantal.config().join("repos.d/other.yaml");
    let good = fs::read_to_string(&file).unwrap();
    fs::write(&file, "name: [\n").unwrap();
    let tree = chantal.published("other");
    for args in [
        &["repo", "remove", "--repo-id", "other"][..],
        &["repo", "remove", "--repo-id", "other", "--dry-run"],
    ] {
        chantal.run(args).exits(2).mentions("cannot remove other: ");
    }
    let to = tree.display().to_string();
    chantal
        .run(&["publish", "--repo-id", "one", "--to", &to])
        .exits(2)
        .mentions("may configure it as its publish path");
    chantal
        .run(&["repo", "sync", "--repo-id", "other"])
        .exits(2)
        .mentions("repos.d/other.yaml:");
    chantal
        .run(&["repo", "sync", "--repo-id", "third"])
        .exits(2)
        .mentions("unknown repository third: ")
        .mentions("is invalid and may define it");
    chantal.run(&["db", "cleanup"]).exits(2);
    assert!(tree.join("repodata/repomd.xml").exists());
    fs::write(&file, good).unwrap();
    let said = chantal.run(&["repo", "sync", "--all"]).exits(0).stdout;
    assert!(said.contains("other: unchanged, 1 package"), "{said}");
}

/// Nor is a file that its user may not read.
#[test]
fn a_file_that_may_not_be_read() {
    let scene = scene();
    let chantal = &scene.chantal;
    let chmod = |mode: &str, path: &Path| {
        let done = Command::new("chmod").args(["-R", mode]).arg(path).status();
        assert!(done.unwrap().success());
    };
    chmod("a+rX", chantal.dir());
    let file = chantal.config().join("repos.d/other.yaml");
    // Where that user gets to it.
    let binary = chantal.dir().join("chantal");
    fs::copy(env!("CARGO_BIN_EXE_chantal"), &binary).unwrap();
    chmod("755", &binary);
    let mut list = Command::new(binary);
    list.arg("--config-dir").arg(chantal.config());
    list.args(["config", "check"]);
    if rustix::process::geteuid().is_root() {
        // Who reads everything.
        list.uid(65534);
        chmod("600", &file);
    } else {
        chmod("000", &file);
    }
    let output = list.output().unwrap();
    let (said, listed) = (
        String::from_utf8_lossy(&output.stderr),
        String::from_utf8_lossy(&output.stdout),
    );
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(
        said.contains("repos.d/other.yaml: cannot be read: Permission denied"),
        "{said}"
    );
    assert!(listed.contains("1 valid repository"), "{listed}");
}

/// What is wrong with the whole is wrong for all.
#[test]
fn a_broken_global_file_stops_everything() {
    let scene = scene();
    scene.chantal.write("config/conf.d/zz.yaml", "storage: [\n");
    scene
        .chantal
        .write("config/repos.d/other.yaml", "name: [\n");
    let said = scene.chantal.run(&["repo", "list"]).exits(2);
    assert_eq!(said.stdout, "");
    assert!(
        said.stderr.contains("conf.d/zz.yaml") && said.stderr.contains("repos.d/other.yaml"),
        "{}",
        said.stderr
    );
}
