//! Configurations that cannot be meant: refused with file, line and column before anything is
//! touched.

use std::fs;
use std::process::Command;

use super::Scene;
use crate::kit::chantal::{Chantal, Repository};
use crate::kit::mirror::SYNC;
use crate::kit::upstream::Upstream;

const GLOBAL: &str = "storage:\n  base_path: ../../data\ndownload:\n  retries: 0\n";

#[test]
fn a_repository_with_a_mistake() {
    for scene in Scene::both() {
        let path = scene.chantal.config().join("repos.d/r.yaml");
        let good = fs::read_to_string(path).unwrap();
        let kind = scene.upstream.kind();
        let last = good.lines().count();
        for (yaml, message) in [
            (
                format!("{good}publihs:\n  auto: true\n"),
                format!(":{}:1: unknown key `publihs`\n  {} | publihs:\n     | ^\nhint: did you mean `publish`?", last + 1, last + 1),
            ),
            (
                good.replace("publish:", "publish:\n  keeep: 1h"),
                format!(":{last}:3: unknown key `keeep`\n  {last} |   keeep: 1h\n     |   ^\nhint: did you mean `keep`?"),
            ),
            (
                format!("{good}name: other\n"),
                format!(":{}:1: duplicate key `name`\n  {} | name: other\n     | ^", last + 1, last + 1),
            ),
            (
                format!("{good}enabled: 7\n"),
                format!(":{}:10: expected true or false\n  {} | enabled: 7\n     |          ^", last + 1, last + 1),
            ),
            (
                good.replace("type: ", "type: x"),
                format!(
                    ":2:7: unknown value `x{kind}`, expected one of rpm, apt\n  2 | type: x{kind}\n    |       ^\n\
                     hint: did you mean `{kind}`?"
                ),
            ),
            (good.replace("name: r\n", ""), ": name: is missing".to_owned()),
            (
                format!("{good}proxy:\n  url: x\n"),
                ": proxy: not supported yet".to_owned(),
            ),
            (
                good.replace("http:", "gopher:"),
                ": upstream.url: scheme \"gopher\" is not supported (supported: http, https, file and plain paths)\n\
                 hint: a URL must begin with https://, and a path that contains a colon with ./".to_owned(),
            ),
        ] {
            scene.chantal.write("config/repos.d/r.yaml", &yaml);
            let stderr = format!("error: [dir]/config/repos.d/r.yaml{message}\n");
            scene.sync().fails_with(2, &stderr).says("");
        }
        scene.chantal.repository(&scene.repository);
        scene.is_untouched();
        scene.recovers();
    }
}

#[test]
fn a_global_configuration_with_a_mistake() {
    let scene = Scene::of(Upstream::deb());
    for (yaml, message) in [
        (
            format!("{GLOBAL}  wokers: 3\n"),
            ":5:3: unknown key `wokers`\n  5 |   wokers: 3\n    |   ^\nhint: did you mean `workers`?",
        ),
        (
            format!("{GLOBAL}  timeout: soon\n"),
            ":5:12: \"soon\" is not a duration (seconds, or a number with a unit: 30s, 5m, 24h, 30d)\n\
             \x20 5 |   timeout: soon\n    |            ^",
        ),
        (
            format!("{GLOBAL}storage:\n  pool_path: /x\n"),
            ":5:1: duplicate key `storage`\n  5 | storage:\n    | ^",
        ),
        (
            format!("{GLOBAL}database:\n  url: postgresql://db/chantal\n"),
            ": database.url: postgresql is not supported: the database is a local file, without a server\n\
             hint: set `database.path: PATH`, or omit it: the default is chantal.redb in storage.base_path",
        ),
    ] {
        scene.chantal.global(&yaml);
        let stderr = format!("error: [dir]/config/conf.d/global.yaml{message}\n");
        scene.sync().fails_with(2, &stderr).says("");
    }
    scene.chantal.global(GLOBAL);
    scene.is_untouched();
    scene.recovers();
}

#[test]
fn no_configuration_at_all() {
    let chantal = Chantal::new();
    fs::remove_dir_all(chantal.config()).unwrap();
    chantal.run(&SYNC).fails_with(
        2,
        "error: configuration directory [dir]/config does not exist\n\
         hint: `chantal init` creates it; `--config-dir` sets another directory\n",
    );
    assert!(!chantal.data().exists());
}

#[test]
fn a_repository_that_is_not_configured() {
    let chantal = Chantal::new();
    chantal.run(&SYNC).fails_with(
        2,
        "error: unknown repository r: no repository is configured\n",
    );
    assert!(!chantal.data().exists());
    let scene = Scene::of(Upstream::deb());
    scene
        .chantal
        .run(&["repo", "sync", "--repo-id", "q"])
        .fails_with(2, "error: unknown repository q (known: r)\n");
}

#[test]
fn a_repository_that_is_switched_off() {
    let scene = Scene::of(Upstream::deb());
    scene
        .chantal
        .repository(&scene.repository.clone().more("enabled: false\n"));
    scene
        .chantal
        .run(&["repo", "sync", "--all"])
        .fails_with(2, "error: no repository is enabled\n");
    // By name it is synced all the same.
    scene.sync().succeeds();
    scene.shows_the_new_state();
}

/// What `config check` finds in the files that a configuration names, without asking any upstream.
#[test]
fn files_that_the_configuration_names() {
    let chantal = Chantal::new();
    let repository = Repository::of("r", &Upstream::rpm(), "https://rpm.example.org/");
    chantal.repository(
        &repository
            .format("repo_gpgcheck: true")
            .format("gpgkey_file: absent.asc"),
    );
    chantal.write("config/absent.pem", "no certificate");
    chantal.global("storage:\n  base_path: ../../data\ntls:\n  ca_file: ../absent.pem\n");
    let check = ["config", "check"];
    chantal.run(&check).exits(2).says_on_stderr(
        "error: tls.ca_file: [dir]/config/absent.pem: contains no certificate in PEM format\n\
         error: r: cannot load key: failed to open file `[dir]/config/repos.d/absent.asc`: No such file or directory (os error 2)\n\
         hint: check gpgkey_file or gpgkey_url; the state of the last successful sync is unchanged\n",
    );
}

/// A path that was meant as a URL, or whose disk is away.
#[test]
fn an_upstream_that_is_no_directory() {
    let chantal = Chantal::new();
    let upstream = Upstream::rpm();
    let define = |url: &str| chantal.repository(&Repository::of("r", &upstream, url));
    let check = || chantal.run(&["config", "check"]);
    for url in [
        "deb.example.org/debian",
        "//deb.example.org/debian",
        "https//deb.example.org/debian",
        "192.0.2.1:8080/debian",
    ] {
        define(url);
        check()
            .exits(2)
            .mentions("looks like a URL without a scheme")
            .mentions("hint: a URL begins with https://HOST or http://HOST");
    }
    for url in ["htps://deb.example.org/debian", "s3://bucket/debian"] {
        define(url);
        check().exits(2).mentions("is not supported");
    }
    define("debian");
    let absent = "upstream.url: [dir]/config/repos.d/debian does not exist or is not a directory";
    check().exits(2).mentions(absent);
    define("../../media/debian");
    let absent = "upstream.url: [dir]/media/debian does not exist or is not a directory: is its file system mounted?";
    check().exits(0).mentions(absent);
    chantal.run(&["repo", "sync", "--all"]).exits(4).mentions(
        "error: r: [dir]/media/debian does not exist or is not a directory\nhint: mount it",
    );
}

/// What it wrote by then stays, so it is told.
#[test]
fn an_init_that_fails_half_way() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("config");
    fs::create_dir(&config).unwrap();
    // Nothing can be made there.
    std::os::unix::fs::symlink("nowhere", config.join("repos.d")).unwrap();
    let config_dir = config.to_str().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_chantal"))
        .args(["--config-dir", config_dir, "--format", "json", "init"])
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    let written =
        format!("\n  created before the error, and kept: {config_dir}/conf.d/global.yaml\n");
    assert!(said.contains(&written), "{said}");
    assert!(config.join("conf.d/global.yaml").exists());
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["exit_code"], 1);
}

#[test]
fn half_a_storage_is_told_of() {
    let chantal = Chantal::new();
    chantal
        .global("storage:\n  base_path: ../../data\ndatabase:\n  path: /proc/nope/chantal.redb\n");
    let said = chantal.run(&["init"]).exits(1).stderr;
    let left: Vec<&str> = said
        .lines()
        .filter_map(|line| line.strip_prefix("  created before the error, and kept: "))
        .flat_map(|paths| paths.split(", "))
        .collect();
    assert!(!left.is_empty(), "{said}");
    for path in left {
        let path = path.replace("[dir]", chantal.dir().to_str().unwrap());
        assert!(std::path::Path::new(&path).exists(), "{path}");
    }
}

#[test]
fn several_mistakes_are_told_one_by_one() {
    let chantal = Chantal::new();
    chantal.write("config/repos.d/a.yaml", "name: a\ntype: rpn\n");
    chantal.write("config/repos.d/b.yaml", "name: b\ntype: rpm\n");
    let output = chantal.run(&["--format", "json", "repo", "list"]).exits(2);
    let errors = output
        .stderr
        .lines()
        .filter(|line| line.starts_with("error: [dir]/config/repos.d/"));
    assert_eq!(errors.count(), 3, "{}", output.stderr);
}

/// Also of what is wrong with the command line itself, and beside what is right.
#[test]
fn every_failure_is_in_the_document() {
    let chantal = Chantal::new();
    let upstream = Upstream::rpm();
    chantal.repository(&Repository::of("good", &upstream, "../../media/good"));
    fs::create_dir_all(chantal.dir().join("media/good")).unwrap();
    chantal.repository(&Repository::of("bad", &upstream, "nowhere"));
    let output = chantal
        .run(&["--format", "json", "config", "check"])
        .exits(2);
    let document = output.json();
    assert_eq!(document["repositories"].as_array().unwrap().len(), 1);
    assert_eq!(document["repositories"][0]["repository"], "good");
    assert_eq!(document["errors"][0]["exit_code"], 2);
    assert!(document["errors"][0].get("hint").is_some());
    let text = chantal.run(&["config", "check"]).exits(2).stdout;
    assert!(text.ends_with("1 valid repository\n"), "{text}");

    let output = chantal.run(&["--format", "json", "bogus"]).exits(2);
    let document = output.json();
    assert_eq!(document["exit_code"], 2);
    assert!(document["error"].as_str().unwrap().contains("bogus"));
    assert_eq!(chantal.run(&["bogus"]).exits(2).stdout, "");
}
